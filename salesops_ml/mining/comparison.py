"""Two populations of deals side by side: won and lost, quarter and quarter, team and team.

Every stage and every transition is asked three things: how many take it, how long they stay, and how
many of them win. Deals that are still open are censored; each difference has an interval in which a
deal's stays count together, a p-value by drawing the sides anew deal by deal (`permutation`), and a
q-value over all the questions asked, so that of all findings at most a share of `FALSE_SHARE` is
false (Benjamini and Hochberg 1995, J. Royal Stat. Soc. B 57, 289-300).

Where the outcome decides on which side a deal stands, the ways to an end and the win rates say
nothing but that; they are marked and not tested, and shares are taken of the other moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.errors import UsageError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.comparison_words import in_words
from salesops_ml.mining.dwell import stage_quantiles
from salesops_ml.mining.first_visits import first_visits, last_seen
from salesops_ml.mining.grounds import Ground, Told
from salesops_ml.mining.permutation import DRAWS, permuted_p_values, q_values
from salesops_ml.mining.populations import NEITHER, by_column, pair_of, sides, told_by_outcome
from salesops_ml.mining.quantile_bounds import one_exit_quantile
from salesops_ml.mining.stages import stage_order
from salesops_ml.mining.steps import ENDED, NEVER, OPEN, Floats, Ints, Mask, Steps, as_steps
from salesops_ml.mining.transitions import END, START
from salesops_ml.mining.visits import NOWHERE, Visits, endings_after, visits_of

if TYPE_CHECKING:
    import pandas as pd

FALSE_SHARE = 0.1
FEWEST_DEALS = 10
"""Deals on each side, and times that a thing happened or not in all, without which nothing is tested."""

COLUMNS = {
    "kind": "stage, start (into a first stage), step (stage to stage) or end (out of a last one)",
    "source": "the stage, or the stage left; ▶ for a start",
    "target": "the stage entered, ■ for an end; null for a stage",
    "measure": "share (of a stage: deals that come to it; of a transition: those that go this way), "
    "dwell, or win_rate (of those that close after it)",
    "first": "the figure in the first population: a share 0..1, or mean days up to `limit_days`",
    "second": "in the second",
    "difference": "second less first",
    "low": "lower end of its interval, drawn by deal",
    "high": "upper end",
    "first_p50_days": "for dwell, the median in the first population; null where not reached",
    "second_p50_days": "in the second",
    "limit_days": "up to how many days both are followed; null where no deal is open",
    "first_count": "stays, moves or deals of the first population that the figure rests on",
    "second_count": "of the second",
    "by_outcome": "the outcome decides on the side, so that this is no finding; not tested",
    "p_value": "two-sided, by drawing the sides anew deal by deal; null where not tested",
    "q_value": "the same, adjusted for all tests (Benjamini-Hochberg)",
    "found": "whether it counts as a finding, q < 0.1",
    "finding": "the finding in words; null where it is none",
}


@dataclass
class _Row:
    """One question: its place, its figures and whether it is tested."""

    kind: str
    source: str
    target: str | None
    measure: str
    told: Told
    counts: tuple[int, int]
    limit: float
    tested: bool
    by_outcome: bool = False
    halves: tuple[float, float] = (np.nan, np.nan)

    def cells(self) -> dict[str, Any]:
        """The row of the table, as far as it is known before the tests."""
        told = self.told
        return {
            "kind": self.kind, "source": self.source, "target": self.target,
            "measure": self.measure, "first": told.first, "second": told.second,
            "difference": told.difference, "low": told.low, "high": told.high,
            "first_p50_days": self.halves[0], "second_p50_days": self.halves[1],
            "limit_days": self.limit if np.isfinite(self.limit) else np.nan,
            "first_count": self.counts[0], "second_count": self.counts[1],
            "by_outcome": self.by_outcome,
        }  # fmt: skip


@dataclass(frozen=True)
class _Asked:
    """What the questions are asked of: the log, the sides, and how."""

    steps: Steps
    side: Ints
    visits: Visits
    level: float
    by_outcome: bool
    clock: Clock

    def followed(self, begun: Ints, clock: Clock) -> Floats:
        """(n,) days from the moments `begun` (n,) to the end of the record; infinite without one."""
        if self.steps.as_of == NEVER:
            return np.full(len(begun), np.inf)
        end = np.maximum(np.full(len(begun), self.steps.as_of), begun)
        return clock.days(begun, end)

    def name(self, code: int) -> str:
        """The stage of that code, or the end."""
        return END if code == NOWHERE else self.steps.activities[code]

    def closes(self, code: int) -> bool:
        """Whether to enter it is to end."""
        return code == NOWHERE or bool(self.steps.closing[code])


def compare(
    log: Any,
    first: Any = None,
    second: Any = None,
    *,
    by: tuple[str, Any, Any] | None = None,
    names: Sequence[str] = ("first", "second"),
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    clock: Clock | None = None,
    order: Sequence[str] = (),
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 7,
) -> pd.DataFrame:
    """Stages and transitions of two populations of deals, with what differs beyond chance.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns.
        first, second: the populations, each a sequence of case ids or a mask; see `populations`.
        by: in their place, a column of the log and the values of it that make the two, such as
            `("outcome", "won", "lost")`; a deal's value is that at its first event.
        names: what to call them in the findings.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        clock: calendar days (default) or working days, for the dwell times.
        order: agreed order of the stages, for the order of the rows.
        level: what the intervals promise.
        draws: most draws for a test. seed: of the draws.

    Returns:
        A frame with the columns of `COLUMNS`: stages in the order of the process, then transitions,
        most frequent first.

    Raises:
        UsageError: the populations overlap, or are not given as told. DataError: one is empty.
        SchemaError: see `as_steps`.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame({"case:concept:name": [f"d{n:02}" for n in range(40) for _ in (0, 1)],
        ...     "concept:name": ["Lead", "Offer"] * 40,
        ...     "time:timestamp": pd.Timestamp("2026-01-01") + pd.to_timedelta(
        ...         [day for n in range(40) for day in (n, n + (2 if n % 2 else 9) + n % 3)], "D"),
        ...     "team": [team for n in range(40) for team in ["North", "South"][n % 2 : n % 2 + 1] * 2]})
        >>> found = compare(log, by=("team", "North", "South"), names=("North", "South"), draws=999)
        >>> found.loc[found.found & (found.kind == "stage"), "finding"].tolist()
        ['Deals stay 7.1 days shorter in Lead in South than in North (2.9 days against 10.0 days).']
    """
    import pandas as pd

    called = pair_of(names, "names")
    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    steps, side = _only(steps, _sides(steps, log, first, second, by))
    clock = clock or Clock()
    visits = visits_of(steps, clock)
    asked = _Asked(steps, side, visits, level, told_by_outcome(steps, side), clock)
    rows = [*_stage_rows(asked), *_start_rows(asked), *_step_rows(asked)]
    frame = pd.DataFrame([row.cells() for row in rows], columns=list(COLUMNS)[:15])
    frame["p_value"] = _p_values(rows, side, draws, seed)
    frame["q_value"] = q_values(frame["p_value"].to_numpy())
    frame["found"] = frame["q_value"] < FALSE_SHARE
    told = [in_words(row, called) if row["found"] else None for row in frame.to_dict("records")]
    frame["finding"] = pd.Series(told, index=frame.index, dtype=object)
    return _sorted(frame, steps, order)[list(COLUMNS)]


def _sides(
    steps: Steps, log: Any, first: Any, second: Any, by: tuple[str, Any, Any] | None
) -> Ints:
    """(m,) on which side each deal stands, however that is given."""
    if by is not None:
        if first is not None or second is not None:
            raise UsageError("give `first` and `second`, or `by`, not both")
        return sides(steps, steps, *by_column(steps, log, *by))
    if first is None or second is None:
        raise UsageError("give `first` and `second`, or `by`: the two populations to compare")
    return sides(steps, log, first, second)


def _p_values(rows: Sequence[_Row], side: Ints, draws: int, seed: int) -> Floats:
    """(k,) one a question; NaN where it is not tested."""
    p_values = np.full(len(rows), np.nan)
    tested = [turn for turn, row in enumerate(rows) if row.tested and not row.by_outcome]
    if tested:
        scores = np.stack([rows[turn].told.score for turn in tested], axis=1)
        p_values[tested] = permuted_p_values(scores, side == 0, draws=draws, seed=seed)
    return p_values


def _only(steps: Steps, side: Ints) -> tuple[Steps, Ints]:
    """The deals that stand on a side."""
    kept = side != NEITHER
    rows = kept[steps.case]
    number = np.cumsum(kept) - 1
    inside = Steps(
        number[steps.case[rows]], steps.activity[rows], steps.at[rows], steps.case_ids[kept],
        steps.activities, steps.outcome[kept], steps.closed[kept], steps.amount[kept],
        steps.closing, steps.winning, steps.place, steps.as_of,
    )  # fmt: skip
    return inside, side[kept]


def _enough(ground: Ground, chosen: Mask, counted: Mask) -> bool:
    """Whether there are deals enough on each side, and enough of both kinds in all."""
    yes, all_of = int((chosen & counted).sum()), int(counted.sum())
    kinds = min(yes, all_of - yes) >= FEWEST_DEALS
    return kinds and min(ground.deals_on_each_side()) >= FEWEST_DEALS


def _stage_rows(asked: _Asked) -> Iterator[_Row]:
    """Each stage: deals that come to it, their stay, and what becomes of them."""
    steps = asked.steps
    first = first_visits(steps)
    for stage in np.unique(steps.activity).tolist():
        yield _reach(
            asked, stage, first.case[first.stage == stage], first.row[first.stage == stage]
        )
        if steps.closing[stage]:
            continue
        here = asked.visits.stage == stage
        if here.any():
            yield _stage_dwell(asked, stage, here)
        rows = np.flatnonzero(steps.activity == stage)
        yield from _win_rate(asked, "stage", stage, None, rows)


def _reach(asked: _Asked, stage: int, case: Ints, row: Ints) -> _Row:
    """How many of the deals ever come to a stage."""
    steps = asked.steps
    everyone = np.arange(len(steps.case_ids))
    begun = steps.at[steps.first]
    end = np.maximum(last_seen(steps, everyone), begun)
    came = np.zeros(len(everyone), dtype=bool)
    came[case] = True
    end[case] = steps.at[row]
    known = came | (steps.outcome != OPEN)
    followed = asked.followed(begun, Clock())
    ground = Ground.of(everyone, Clock().days(begun, end), known, followed, asked.side)
    return _Row(
        "stage", asked.name(stage), None, "share", ground.share(came, known, asked.level),
        ground.count(came), ground.limit, _enough(ground, came, known),
        asked.by_outcome and asked.closes(stage),
    )  # fmt: skip


def _stage_dwell(asked: _Asked, stage: int, here: Mask) -> _Row:
    ground = _stays(asked, np.flatnonzero(here))
    half = stage_quantiles(ground.side, ground.days, ground.exited, 2, (0.5,))[:, 0]
    enough = min(ground.deals_on_each_side()) >= FEWEST_DEALS and ground.exited.any()
    return _Row(
        "stage", asked.name(stage), None, "dwell", ground.restricted_days(asked.level),
        ground.count(np.ones(len(ground.case), dtype=bool)), ground.limit, bool(enough),
        halves=(float(half[0]), float(half[1])),
    )  # fmt: skip


def _stays(asked: _Asked, rows: Ints, ended: Ints | None = None) -> Ground:
    """The visits in `rows`, and in a log without outcomes the events in `ended`, of no length."""
    visits, over = asked.visits, np.zeros(0, np.int64) if ended is None else ended
    begun = asked.steps.at[np.concatenate([visits.row[rows], over])]
    return Ground.of(
        np.concatenate([visits.case[rows], asked.steps.case[over]]),
        np.concatenate([visits.days[rows], np.zeros(len(over))]),
        np.concatenate([visits.exited[rows], np.ones(len(over), dtype=bool)]),
        asked.followed(begun, asked.clock), asked.side,
    )  # fmt: skip


def _win_rate(
    asked: _Asked, kind: str, source: int, target: int | None, rows: Ints
) -> Iterator[_Row]:
    """What becomes of deals after the events in `rows`; nothing where no outcomes are known."""
    steps = asked.steps
    if asked.by_outcome or (steps.outcome == ENDED).any() or not len(rows):
        return
    case = steps.case[rows]
    after = endings_after(steps, case, steps.at[rows], Clock())
    followed = asked.followed(steps.at[rows], Clock())
    ground = Ground.of(case, after.days, after.known, followed, asked.side)
    yield _Row(
        kind, asked.name(source), None if target is None else asked.name(target), "win_rate",
        ground.share(after.won, after.known, asked.level), ground.count(after.known), ground.limit,
        _enough(ground, after.won, after.known),
    )  # fmt: skip


def _start_rows(asked: _Asked) -> Iterator[_Row]:
    """In which stage deals begin."""
    steps = asked.steps
    stage, case = steps.activity[steps.first], np.arange(len(steps.case_ids))
    everyone = np.ones(len(case), dtype=bool)
    ground = Ground.of(case, np.zeros(len(case)), everyone, np.zeros(len(case)), asked.side)
    for code in np.unique(stage).tolist():
        begins = stage == code
        yield _Row(
            "start", START, asked.name(code), "share", ground.share(begins, everyone, asked.level),
            ground.count(begins), np.inf, _enough(ground, begins, everyone),
            asked.by_outcome and asked.closes(code),
        )  # fmt: skip


def _step_rows(asked: _Asked) -> Iterator[_Row]:
    """Each way out of each stage."""
    visits, steps = asked.visits, asked.steps
    over = np.flatnonzero(steps.last & (steps.outcome[steps.case] == ENDED))
    for source in np.unique(np.concatenate([visits.stage, steps.activity[over]])).tolist():
        rows = np.flatnonzero(visits.stage == source)
        ended = over[steps.activity[over] == source]
        ground = _stays(asked, rows, ended)
        nowhere = np.full(len(ended), NOWHERE)
        target, exited = np.concatenate([visits.target[rows], nowhere]), ground.exited
        counted = exited
        if asked.by_outcome:
            ends = (target == NOWHERE) | steps.closing[np.maximum(target, 0)]
            counted = exited & ~ends
        for door in np.unique(target[exited]).tolist():
            taken = exited & (target == door)
            yield from _one_way(asked, ground, source, door, taken, counted)
            if door != NOWHERE and not steps.closing[door]:
                row = visits.row[rows[taken[: len(rows)]]]
                yield from _win_rate(asked, "step", source, door, row + 1)


def _one_way(
    asked: _Asked, ground: Ground, source: int, door: int, taken: Mask, counted: Mask
) -> Iterator[_Row]:
    """How many leave this way, and after how long."""
    told = asked.by_outcome and asked.closes(door)
    place = ("end" if door == NOWHERE else "step", asked.name(source), asked.name(door))
    of = ground.exited if told else counted
    yield _Row(
        *place, "share", ground.share(taken, of, asked.level), ground.count(taken), ground.limit,
        _enough(ground, taken, of), told,
    )  # fmt: skip
    halves = one_exit_quantile(ground.apart, ground.days, ground.case, taken, 0.5, asked.level)[0]
    yield _Row(
        *place, "dwell", ground.mean_days(taken, asked.level), ground.count(taken), ground.limit,
        min(ground.count(taken)) >= FEWEST_DEALS, told, (float(halves[0]), float(halves[1])),
    )  # fmt: skip


def _sorted(frame: pd.DataFrame, steps: Steps, order: Sequence[str]) -> pd.DataFrame:
    """Stages in the order of the process, then transitions, most frequent first."""
    turn = dict(zip(steps.activities, stage_order(steps, order).tolist(), strict=True))
    kinds, measures = ("stage", "start", "step", "end"), ("share", "dwell", "win_rate")
    shares = frame[frame.measure == "share"].set_index(["kind", "source", "target"])
    often = (shares.first_count + shares.second_count).to_dict()
    place = list(zip(frame.kind, frame.source, frame.target, strict=True))
    keys = frame.assign(
        a=[kinds.index(kind) if kind == "stage" else 1 for kind in frame.kind],
        b=[turn[x[1]] if x[0] == "stage" else -often[x] for x in place],
        c=frame.measure.map(measures.index),
    )
    keys = keys.sort_values(["a", "b", "source", "target", "c"], kind="stable")
    return frame.loc[keys.index].reset_index(drop=True)
