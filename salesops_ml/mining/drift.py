"""Drift: when the process changed, and what changed then.

Every stage's pace and every way out of it is watched along the calendar (`calendar_exits`), with
deals that are open counted for as long as they have waited; a change takes hold of all deals that
stand in the stage on that day. Changes are looked for in all things at once (`change_points`), so
that in a process that stays as it is an alarm is raised with a chance of at most `alarm`, however
many stages it has. The day of a change is then told as narrowly as the record allows, and what lies
before and after its interval is searched in the same way, with half of that chance each.

A regular swing, such as the rush at the end of a quarter, is no change as long as the record holds
several of them; a season of which the record holds one or two looks like one. So does the end of a
record that knows no outcomes, where cases that would go on are taken to end with their last event.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.errors import UsageError
from salesops_ml.mining.calendar_exits import (
    Exits,
    Watched,
    exits_of,
    pairs,
    record_of,
    things_to_watch,
)
from salesops_ml.mining.change_points import (
    ALARM,
    FEWEST_STRETCHES,
    ChangePoint,
    find_change,
    split_interval,
    stretches,
)
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.comparison_words import lasting, percent
from salesops_ml.mining.dwell import stage_quantiles
from salesops_ml.mining.steps import NEVER, Floats, Ints, Steps, as_steps
from salesops_ml.mining.transitions import END, START
from salesops_ml.mining.visits import NOWHERE

if TYPE_CHECKING:
    import pandas as pd

MOST_STRETCHES = 60
EXITS_A_STRETCH = 20
_FINE, _MOST_PAIRS = 1500, 20_000_000
_DAY = 86_400_000_000

COLUMNS = {
    "change": "1 for the first change, 2, 3, ...",
    "date": "the day on which it took hold, most likely",
    "date_low": "lower end of its interval",
    "date_high": "upper end",
    "p_value": "chance of so large a change where nothing changes, by permutation of the stretches",
    "kind": "stage, start (into a first stage), step (stage to stage) or end (out of a last one)",
    "source": "the stage, or the stage left; ▶ for a start",
    "target": "the stage entered, ■ for an end; null for a stage",
    "measure": "dwell, or share of all that leave the source (or begin)",
    "before": "between the last change and this: median days, or share 0..1; null if not reached",
    "after": "between this change and the next",
    "strength": "standardised difference; for dwell above 0 where deals leave sooner than before",
    "finding": "the row in words",
}


def drift(
    log: Any,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    alarm: float = ALARM,
    level: float = 0.9,
    draws: int = 999,
    seed: int = 7,
) -> pd.DataFrame:
    """When the process changed, a row for each thing that changed; no row where nothing did.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        alarm: chance of a false alarm in a process that stays as it is.
        level: what the intervals of the dates promise.
        draws: permutations a test. seed: of the permutations.

    Returns:
        A frame with the columns of `COLUMNS`, by date, the strongest first.

    Raises:
        UsageError: `alarm` or `level` is not between 0 and 1. SchemaError, DataError: see `as_steps`.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame([(f"d{n:03}", name, pd.Timestamp("2026-01-01") + pd.Timedelta(days=day))
        ...     for n in range(300) for name, day in (
        ...         ("Lead", n), ("Offer", n + (2 if n < 160 else 12) + 0.1 * (n % 7)))],
        ...     columns=["case:concept:name", "concept:name", "time:timestamp"])
        >>> found = drift(log, draws=199)
        >>> found[["date", "source", "measure", "before", "after"]].round(1).values.tolist()
        [[Timestamp('2026-06-12 00:00:00'), 'Lead', 'dwell', 2.3, 12.3]]
    """
    import pandas as pd

    for name, value in (("alarm", alarm), ("level", level)):
        if not 0 < value < 1:
            raise UsageError(f"`{name}`: {value:g} is not between 0 and 1")
    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    exits = exits_of(steps)
    span = _span(steps, exits)
    search = _Search(steps, exits, things_to_watch(steps, exits), alarm, level, draws, seed)
    rows = list(_rows(search, _changes(search, *span), span)) if span is not None else []
    frame = pd.DataFrame(rows, columns=list(COLUMNS)[:-1])
    frame["finding"] = pd.Series([_words(row) for row in frame.to_dict("records")], dtype=object)
    return frame


@dataclass(frozen=True)
class _Search:
    """What is searched for changes, and how."""

    steps: Steps
    exits: Exits
    watched: list[Watched]
    alarm: float
    level: float
    draws: int
    seed: int


@dataclass(frozen=True)
class _Change:
    """One change with its moment and the ends of that moment's interval."""

    found: ChangePoint
    moment: int
    low: int
    high: int


def _span(steps: Steps, exits: Exits) -> tuple[int, int] | None:
    """From the first event to the end of the record; None where nothing happens in between."""
    if not len(exits.stage):
        return None
    end = steps.as_of if steps.as_of != NEVER else int(steps.at.max())
    begin = int(steps.at.min())
    return (begin, end) if end - begin >= FEWEST_STRETCHES else None


def _changes(search: _Search, begin: int, end: int) -> list[_Change]:
    """All changes between two moments, in the order of time; two halves share the alarm of a whole."""
    open_spans, found = [(begin, end, search.alarm)], []
    while open_spans:
        begin, end, alarm = open_spans.pop()
        edges = stretches(begin, end, _how_many(search.exits, begin, end))
        seen = _within(search, search.watched, edges)
        one = find_change(*seen, alarm=alarm, draws=search.draws, seed=search.seed)
        if one is not None:
            found.append(_dated(search, one, begin, end))
            open_spans += [(begin, found[-1].low, alarm / 2), (found[-1].high, end, alarm / 2)]
    return sorted(found, key=lambda one: one.moment)


def _how_many(exits: Exits, begin: int, end: int) -> int:
    """Stretches of a day and more, with exits enough in each; none where these are too few."""
    seen = int((exits.exited & (exits.end > begin) & (exits.end <= end)).sum())
    most = min(MOST_STRETCHES, (end - begin) // _DAY, seen // EXITS_A_STRETCH)
    return max(int(most), 1)


def _within(search: _Search, watched: list[Watched], edges: Ints) -> tuple[Floats, Floats]:
    """Surprises and variances (k, w) between the edges, which may leave out parts of the record."""
    ends = _span(search.steps, search.exits) or (int(edges[0]), int(edges[-1]))
    outer = np.unique(np.concatenate([[ends[0]], edges, [ends[1]]]))
    told = record_of(search.steps, search.exits, watched, outer)
    kept = slice(int(np.searchsorted(outer, edges[0])), int(np.searchsorted(outer, edges[-1])))
    return told.surprise[:, kept], told.variance[:, kept]


def _dated(search: _Search, one: ChangePoint, begin: int, end: int) -> _Change:
    """The moment of a change with its interval, told by the things that changed, day by day."""
    watched = [search.watched[turn] for turn in np.flatnonzero(one.changed)]
    fine = int(np.clip(np.ceil((end - begin) / _DAY), FEWEST_STRETCHES, _FINE))
    edges = stretches(begin, end, fine)
    while fine > 2 * FEWEST_STRETCHES and pairs(search.exits, watched, edges) > _MOST_PAIRS:
        fine //= 2
        edges = stretches(begin, end, fine)
    seen = _within(search, watched, edges)
    after, low, high = split_interval(*seen, level=search.level, draws=200, seed=search.seed)
    return _Change(one, int(edges[after]), int(edges[low]), int(edges[high]))


def _rows(
    search: _Search, changes: list[_Change], span: tuple[int, int]
) -> Iterator[dict[str, Any]]:
    """Each change with each thing that changed, the strongest first."""
    borders = [span[0], *(one.moment for one in changes), span[1]]
    for turn, one in enumerate(changes):
        dates = [_day(moment) for moment in (one.moment, one.low, one.high)]
        strength = one.found.strength
        changed = np.flatnonzero(one.found.changed)
        for which in changed[np.argsort(-np.abs(strength[changed]), kind="stable")]:
            watched = search.watched[which]
            before, after = (
                _value(
                    search.steps, search.exits, watched, borders[turn + k], borders[turn + k + 1]
                )
                for k in (0, 1)
            )
            yield {
                "change": turn + 1,
                **dict(zip(("date", "date_low", "date_high"), dates, strict=True)),
                "p_value": one.found.p_value,
                **_place(search.steps, watched),
                "measure": watched.measure,
                "before": before,
                "after": after,
                "strength": float(strength[which]),
            }


def _day(moment: int) -> pd.Timestamp:
    """The nearest midnight."""
    import pandas as pd

    return pd.Timestamp(moment, unit="us").round("D")


def _place(steps: Steps, watched: Watched) -> dict[str, str | None]:
    """Kind, source and target in the words of the other tables."""
    source = START if watched.source is None else steps.activities[watched.source]
    if watched.measure == "dwell" or watched.target is None:
        return {"kind": "stage", "source": source, "target": None}
    if watched.target == NOWHERE:
        return {"kind": "end", "source": source, "target": END}
    kind = "start" if watched.source is None else "step"
    return {"kind": kind, "source": source, "target": steps.activities[watched.target]}


def _value(steps: Steps, exits: Exits, watched: Watched, begin: int, end: int) -> float:
    """The median stay, or the share, between two moments."""
    if watched.source is None:
        begun = steps.at[steps.first]
        chosen = steps.activity[steps.first][(begun >= begin) & (begun <= end)]
        return float((chosen == watched.target).mean()) if len(chosen) else float("nan")
    here = exits.stage == watched.source
    if watched.measure == "share":
        left = here & exits.exited & (exits.end > begin) & (exits.end <= end)
        return float((exits.target[left] == watched.target).mean()) if left.any() else float("nan")
    here = here & exits.timed & (exits.begun >= begin) & (exits.begun < end)
    until = np.minimum(exits.end[here], end)
    gone = exits.exited[here] & (exits.end[here] <= end)
    days, nobody = Clock().days(exits.begun[here], until), np.zeros(int(here.sum()), dtype=np.int64)
    return (
        float(stage_quantiles(nobody, days, gone, 1, (0.5,))[0, 0]) if len(days) else float("nan")
    )


def _words(row: dict[Any, Any]) -> str:
    """The row as a sentence."""
    when = f"Since {row['date']:%d %B %Y}"
    if row["measure"] == "dwell":
        way = "shorter" if row["strength"] > 0 else "longer"
        told = f"{when} deals stay {way} in {row['source']}"
        if np.isfinite(row["before"]) and np.isfinite(row["after"]):
            told += f": {lasting(row['after'])} in the median, {lasting(row['before'])} before"
        return told + "."
    after, before = percent(row["after"]), percent(row["before"])
    if row["source"] == START:
        what = f"of the deals begin in {row['target']}"
    elif row["target"] == END:
        what = f"of the deals that leave {row['source']} end there"
    else:
        what = f"of the deals that leave {row['source']} go to {row['target']}"
    return f"{when} {after} {what}, {before} before."
