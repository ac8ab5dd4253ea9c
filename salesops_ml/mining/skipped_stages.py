"""Skipped stages: which agreed stages deals leave out, and whether that serves them.

Only deals that have reached a later stage, or were won, can have skipped one; a deal that is still
open and short of a stage has not. Win rates begin when a deal reaches the first open stage beyond,
and compare those that had been in the stage by then with those that had not, so that what a deal
does later cannot decide on which side it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.mining.clock import Clock
from salesops_ml.mining.influence import AtRisk, Figure, share_interval, share_of_exits, summed
from salesops_ml.mining.rework import difference_columns, rate_columns
from salesops_ml.mining.stages import stage_order
from salesops_ml.mining.steps import ENDED, WON, Floats, Ints, Mask, Steps, as_steps
from salesops_ml.mining.visits import endings_after

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 5
_LATER = np.iinfo(np.int64).max

COLUMNS = {
    "stage": "the stage",
    "position": "its turn in the process: 0, 1, 2, ...",
    "reached_later": "deals that reached a later stage, or were won",
    "skipped": "of these, deals that were never in the stage",
    "visited_late": "of these, deals that came to it only after a later stage",
    "skip_rate": "skipped / reached_later, 0..1; null where nobody came so far",
    "skip_low": "lower end of its interval",
    "skip_high": "upper end",
    "win_rate_skipped": "share won of deals that reached a later open stage without having been in it",
    "win_rate_skipped_low": "lower end of its interval",
    "win_rate_skipped_high": "upper end",
    "win_rate_visited": "share won of deals that had been in it by then",
    "win_rate_visited_low": "lower end of its interval",
    "win_rate_visited_high": "upper end",
    "win_rate_difference": "skipped less visited",
    "win_rate_difference_low": "lower end of its interval",
    "win_rate_difference_high": "upper end",
    "examples": "ids of deals that skipped it, the latest first",
    "finding": "the row in words",
}


def skipped_stages(
    log: Any,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    order: Sequence[str] = (),
    level: float = 0.95,
) -> pd.DataFrame:
    """How many deals leave out each agreed stage.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        order: the agreed stages in their order; else those that the log knows a place of; else
            all, in the order in which deals reach them.
        level: what the intervals promise.

    Returns:
        A frame with the columns of `COLUMNS`: a row per agreed open stage, in the order of the
        process. Win rates are null where the log knows no outcomes.

    Raises:
        SchemaError, DataError, UsageError: see `as_steps`.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame({"case:concept:name": ["a", "a", "b", "c"],
        ...     "concept:name": ["Lead", "Offer", "Offer", "Lead"],
        ...     "time:timestamp": pd.to_datetime(["2026-01-01", "2026-01-05", "2026-01-09",
        ...                                       "2026-01-02"])})
        >>> found = skipped_stages(log, order=["Lead", "Offer"])
        >>> found[["stage", "reached_later", "skipped"]].values.tolist()
        [['Lead', 2, 1], ['Offer', 0, 0]]
    """
    import pandas as pd

    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    turn = stage_order(steps, order)
    agreed = _agreed(steps, order)
    rows = [_row(steps, turn, int(stage), level) for stage in np.argsort(turn) if agreed[stage]]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)[:-1])
    frame["finding"] = [_words(row) for row in frame.to_dict("records")]
    return frame[list(COLUMNS)]


def _agreed(steps: Steps, order: Sequence[str]) -> Mask:
    """(a,) whether the open stage is one of those agreed."""
    told = np.isin(np.array(steps.activities, dtype=object), np.array(list(order), dtype=object))
    if not order:
        told = ~np.isnan(steps.place)
        told = told if told[~steps.closing].any() else np.ones(len(told), dtype=bool)
    return np.asarray(told & ~steps.closing)


def _row(steps: Steps, turn: Ints, stage: int, level: float) -> dict[str, Any]:
    """One stage."""
    deals = len(steps.case_ids)
    losing = steps.closing & ~steps.winning
    beyond = (turn[steps.activity] > turn[stage]) & ~losing[steps.activity]
    past = np.zeros(deals, dtype=bool)
    past[steps.case[beyond]] = True
    past |= steps.outcome == WON
    entered = _first_at(steps, steps.activity == stage)
    later = _first_at(steps, beyond & ~steps.closing[steps.activity])
    skipped, late = past & (entered == _LATER), past & (entered != _LATER) & (entered > later)
    counts = np.array([past.sum(), skipped.sum(), late.sum()])
    rate = counts[1] / counts[0] if counts[0] else np.nan
    error = np.sqrt(rate * (1 - rate) / max(counts[0], 1))
    low, high = share_interval(np.array([rate]), np.array([error]), counts[:1].astype(float), level)
    latest = np.flatnonzero(skipped)
    latest = latest[np.lexsort((latest, -steps.at[steps.first][latest]))][:EXAMPLES]
    return {
        "stage": steps.activities[stage],
        "position": int(turn[stage]),
        **dict(zip(("reached_later", "skipped", "visited_late"), counts.tolist(), strict=True)),
        "skip_rate": rate,
        "skip_low": low[0],
        "skip_high": high[0],
        **_win_rates(steps, entered > later, later, level),
        "examples": [str(steps.case_ids[case]) for case in latest],
    }


def _first_at(steps: Steps, rows: Mask) -> Ints:
    """(m,) the row at which each deal first had one of `rows`; `_LATER` where it never had."""
    found = np.full(len(steps.case_ids), _LATER)
    chosen = np.flatnonzero(rows)[::-1]
    found[steps.case[chosen]] = chosen  # the first is written last
    return found


def _win_rates(steps: Steps, without: Mask, later: Ints, level: float) -> dict[str, float]:
    """From the first open stage beyond: shares won without (m,) and with the stage."""
    case = np.flatnonzero(later != _LATER)
    if not len(case) or (steps.outcome == ENDED).any():
        return {}
    group = np.where(without[case], 0, 1)
    after = endings_after(steps, case, steps.at[later[case]], Clock())
    figures: list[tuple[Figure, Ints]] = []
    columns: dict[str, Floats] = {}
    for side, name in enumerate(("skipped", "visited")):
        mine = group == side
        stays = AtRisk.of(np.zeros(mine.sum(), np.int64), after.days[mine], after.known[mine], 1)
        figure = share_of_exits(stays, after.won[mine])
        closed = summed(stays.group, stays.exited, 1)
        columns |= rate_columns(f"win_rate_{name}", figure, case[mine], closed, level)
        figures.append((figure, case[mine]))
    columns |= difference_columns("win_rate_difference", *figures[0], *figures[1], level)
    return {name: float(value[0]) for name, value in columns.items()}


def _words(row: Mapping[Any, Any]) -> str:
    """The row as a sentence."""
    if not row["reached_later"]:
        return f"No deal has come past {row['stage']} yet."
    told = f"{row['skipped']:,} of {row['reached_later']:,} deals skipped {row['stage']}"
    if row["win_rate_difference_low"] > 0 or row["win_rate_difference_high"] < 0:
        points = 100 * row["win_rate_difference"]
        told += f"; they are won {abs(points):.0f} points {'more' if points > 0 else 'less'} often"
    return told + "."
