"""Ping-pong: deals that go back and forth between two stages, or between two reps.

An episode is a run A-B-A-B or longer; staying with the same side is no move. Its extra days begin
at the first return, the third step of the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from salesops_ml.errors import DataError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.influence import AtRisk, ratio, share_of_exits, summed
from salesops_ml.mining.rework import amount_days, difference_columns, rate_columns, totals
from salesops_ml.mining.steps import ENDED, NEVER, OPEN, WON, Floats, Ints, Steps, as_steps
from salesops_ml.mining.visits import endings_after

if TYPE_CHECKING:
    import pandas as pd

SHORTEST = 4

COLUMNS = {
    "between": "stages or reps",
    "one": "the one side, first by name",
    "other": "the other",
    "deals": "deals that went back and forth at least once, A-B-A-B",
    "episodes": "runs of that kind",
    "returns": "moves in these runs after the first, A-B",
    "deals_moved": "deals that moved between the two sides at all",
    "extra_days": "days from the first return to the end of the runs, so far",
    "extra_days_low": "lower end of its bootstrap interval, drawn by deal",
    "extra_days_high": "upper end",
    "extra_amount_days": "the same times the deals' amounts, company currency; null where none is known",
    "extra_amount_days_low": "lower end of its bootstrap interval, drawn by deal",
    "extra_amount_days_high": "upper end",
    "win_rate_with": "share won of these deals from the first A-B-A-B on, open deals censored",
    "win_rate_with_low": "lower end of its interval",
    "win_rate_with_high": "upper end",
    "win_rate_without": "share won of the deals that moved between the two, and ended without that",
    "win_rate_without_low": "lower end of its interval",
    "win_rate_without_high": "upper end",
    "win_rate_difference": "with less without",
    "win_rate_difference_low": "lower end of its interval",
    "win_rate_difference_high": "upper end",
    "examples": "ids of such deals, those with most returns first",
    "finding": "the row in words",
}
_EXAMPLES = 5


@dataclass(frozen=True)
class _Sequence:
    """Sides in turn, one row a change of side: (n,) deal, side, row in `Steps`; names of the sides."""

    case: Ints
    side: Ints
    row: Ints
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Runs:
    """One row a run: (k,) pair of sides, deal, rows of its first return, its fourth step, its last."""

    pair: Ints
    case: Ints
    back: Ints
    fourth: Ints
    last: Ints
    returns: Ints


def ping_pong(
    log: Any,
    owners: Sequence[Any] | None = None,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    clock: Clock | None = None,
    level: float = 0.95,
    seed: int = 7,
) -> pd.DataFrame:
    """Pairs of stages, and of reps, between which deals go back and forth.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns.
        owners: who owned the deal at each event, in the order of (case, time), such as `rep` of
            `segments`; without it only stages are looked at. Events without an owner are passed over.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        clock: calendar days (default) or working days.
        level: what the intervals promise. seed: of the bootstrap.

    Returns:
        A frame with the columns of `COLUMNS`, stages first, most deals first; no row where nothing
        goes back and forth.

    Raises:
        DataError: `owners` has not one entry an event. SchemaError, UsageError: see `as_steps`.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame({"case:concept:name": ["a"] * 4,
        ...     "concept:name": ["Lead", "Offer", "Lead", "Offer"],
        ...     "time:timestamp": pd.to_datetime(["2026-01-01", "2026-01-05", "2026-01-09",
        ...                                       "2026-01-12"])})
        >>> found = ping_pong(log)
        >>> found[["one", "other", "deals", "returns", "extra_days"]].values.tolist()
        [['Lead', 'Offer', 1, 2, 3.0]]
    """
    import pandas as pd

    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    if owners is not None and len(owners) != len(steps.case):
        raise DataError(
            f"`owners` has {len(owners)} entries for a log of {len(steps.case)} events; "
            "give one an event"
        )
    found = [("stages", _by_stage(steps))]
    if owners is not None:
        found.append(("reps", _by_owner(steps, owners)))
    frames = [
        _table(steps, told, between, clock or Clock(), level, seed) for between, told in found
    ]
    frame = pd.concat([part for part in frames if len(part)] or frames[:1], ignore_index=True)
    frame["finding"] = [_words(row) for row in frame.to_dict("records")]
    return frame.reindex(columns=list(COLUMNS))


def _by_stage(steps: Steps) -> _Sequence:
    rows = np.arange(len(steps.case))
    return _changes(steps, rows, steps.activity, steps.activities)


def _by_owner(steps: Steps, owners: Sequence[Any]) -> _Sequence:
    import pandas as pd

    codes, names = pd.factorize(pd.Series(list(owners), dtype=object), sort=True)
    rows = np.flatnonzero(codes >= 0)
    return _changes(steps, rows, codes[rows].astype(np.int64), tuple(map(str, names)))


def _changes(steps: Steps, rows: Ints, side: Ints, names: tuple[str, ...]) -> _Sequence:
    """The rows at which a deal changes side."""
    case = steps.case[rows]
    new = np.ones(len(rows), dtype=bool)
    new[1:] = (case[1:] != case[:-1]) | (side[1:] != side[:-1])
    return _Sequence(case[new], side[new], rows[new], names)


def _runs(told: _Sequence) -> _Runs:
    """The runs that are long enough; each step that is as the one before the last goes on with one."""
    case, side, size = told.case, told.side, max(len(told.names), 1)
    goes_on = np.zeros(len(case), dtype=bool)
    goes_on[2:] = (case[2:] == case[:-2]) & (side[2:] == side[:-2])
    edge = np.diff(np.concatenate([[0], goes_on.astype(np.int8), [0]]))
    start, stop = np.flatnonzero(edge == 1), np.flatnonzero(edge == -1)
    long = stop - start >= SHORTEST - 2
    start, stop = start[long], stop[long]
    low, high = np.minimum(side[start], side[start - 1]), np.maximum(side[start], side[start - 1])
    return _Runs(
        low * size + high, case[start], told.row[start], told.row[start + 1], told.row[stop - 1],
        stop - start,
    )  # fmt: skip


def _table(
    steps: Steps, told: _Sequence, between: str, clock: Clock, level: float, seed: int
) -> pd.DataFrame:
    import pandas as pd

    runs, size = _runs(told), max(len(told.names), 1)
    pairs, pair = np.unique(runs.pair, return_inverse=True)
    pair, count = pair.astype(np.int64), len(pairs)
    deals = np.unique(pair * len(steps.case_ids) + runs.case) // max(len(steps.case_ids), 1)
    days = clock.days(steps.at[runs.back], _ends(steps, runs.last))
    names = np.array(told.names, dtype=object)
    frame = pd.DataFrame({
        "between": np.full(count, between, dtype=object),
        "one": names[pairs // size] if count else [],
        "other": names[pairs % size] if count else [],
        "deals": np.bincount(deals, minlength=count),
        "episodes": np.bincount(pair, minlength=count),
        "returns": summed(pair, runs.returns.astype(float), count).astype(np.int64),
        **totals("extra_days", pair, runs.case, days, count, level, seed),
        **amount_days(steps, pair, runs.case, days, count, level, seed),
        **_moved(steps, told, runs, pairs, level),
        "examples": [_examples(steps, runs, pair == turn) for turn in range(count)],
    })  # fmt: skip
    return frame.sort_values(["deals", "one", "other"], ascending=[False, True, True])


def _ends(steps: Steps, last: Ints) -> Ints:
    """(k,) when each run's last step was left; until now where it was not."""
    left = steps.left[last]
    so_far = np.where(steps.waiting[last], steps.as_of, steps.at[last])
    return np.where(left == NEVER, so_far, left)


def _moved(steps: Steps, told: _Sequence, runs: _Runs, pairs: Ints, level: float) -> dict[str, Any]:
    """Deals that moved between the sides of each pair, and win rates with and without ping-pong."""
    rows = [_of_pair(steps, told, runs, int(pair), level) for pair in pairs]
    names = ["deals_moved", *(name for name in COLUMNS if name.startswith("win_rate"))]
    return {name: [row.get(name, np.nan) for row in rows] for name in names}


def _of_pair(
    steps: Steps, told: _Sequence, runs: _Runs, pair: int, level: float
) -> dict[str, float]:
    """One pair: its movers from their first move on, until ping-pong, the end, or now."""
    size = len(told.names)
    ends = np.array([pair // size, pair % size])
    here = np.isin(told.side, ends)
    move = np.flatnonzero(here[1:] & here[:-1] & (told.case[1:] == told.case[:-1])) + 1
    case, first = np.unique(told.case[move], return_index=True)
    begun = steps.at[told.row[move[first]]]
    mine = runs.pair == pair
    hit, run = np.unique(runs.case[mine], return_index=True)
    fourth = np.full(len(steps.case_ids), NEVER)
    fourth[hit] = steps.at[runs.fourth[mine][run]]
    counted: dict[str, float] = {"deals_moved": len(case)}
    if (steps.outcome == ENDED).any():
        return counted
    after = endings_after(steps, hit, fourth[hit], Clock())
    inside = share_of_exits(_alone(after.days, after.known), after.won)
    other = endings_after(steps, case, begun, Clock())
    back = fourth[case] != NEVER
    days = np.where(back, Clock().days(begun, np.where(back, fourth[case], begun)), other.days)
    ended = ~back & (steps.outcome[case] != OPEN)
    won = ended & (steps.outcome[case] == WON)
    outside = ratio(_alone(days, back | ended), won.astype(float), ended.astype(float))
    closed = np.array([float(after.known.sum())]), np.array([float(ended.sum())])
    columns = {
        **rate_columns("win_rate_with", inside, hit, closed[0], level),
        **rate_columns("win_rate_without", outside, case, closed[1], level),
        **difference_columns("win_rate_difference", inside, hit, outside, case, level),
    }
    return counted | {name: float(value[0]) for name, value in columns.items()}


def _alone(days: Floats, known: npt.NDArray[np.bool_]) -> AtRisk:
    """All stays as one group."""
    return AtRisk.of(np.zeros(len(days), dtype=np.int64), days, known, 1)


def _examples(steps: Steps, runs: _Runs, mine: npt.NDArray[np.bool_]) -> list[str]:
    """Deals with most returns first."""
    order = np.lexsort((runs.case[mine], -runs.returns[mine]))
    cases = dict.fromkeys(runs.case[mine][order].tolist())
    return [str(steps.case_ids[case]) for case in list(cases)[:_EXAMPLES]]


def _words(row: Mapping[Any, Any]) -> str:
    """The row as a sentence."""
    deals = f"{row['deals']:,} deal" + ("s" if row["deals"] != 1 else "")
    told = f"{deals} went back and forth between {row['one']} and {row['other']}"
    return f"{told}, {row['extra_days']:,.0f} extra days in all."
