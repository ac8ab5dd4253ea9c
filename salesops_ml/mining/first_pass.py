"""First-pass yield: how many deals go through each stage in one go.

A deal passes a stage at the first attempt if it moves on, or is won, from its first visit and never
comes back. It fails by being lost there, by going back, by entering the same stage again, or by
coming back later. Deals that are still open and have not failed are censored: they may yet.
Multiplied along the process the yields give the rolled yield: the share of deals that would go
through every stage so far without a fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.mining.clock import Clock
from salesops_ml.mining.first_visits import FirstVisits, first_visits, last_seen
from salesops_ml.mining.influence import AtRisk, Figure, share_interval, share_of_exits, summed
from salesops_ml.mining.stages import stage_order
from salesops_ml.mining.steps import ENDED, OPEN, Floats, Ints, Mask, Steps, as_steps
from salesops_ml.mining.visits import stays_of

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "stage": "the stage",
    "position": "its turn in the process: 0, 1, 2, ...",
    "entered": "deals that came to it",
    "passed": "deals that moved on or were won from their first visit, and ended without coming back",
    "lost_there": "deals lost out of their first visit",
    "went_back": "deals that left it backwards, or entered it again at once",
    "came_back": "deals that moved on, and came back later",
    "pending": "deals of which it is not known yet: still there, or still open further on",
    "first_pass_yield": "share that passes at the first attempt, pending deals censored, 0..1",
    "first_pass_low": "lower end of its interval",
    "first_pass_high": "upper end",
    "rolled_yield": "product of the yields up to and with this stage",
    "rolled_low": "lower end of its interval",
    "rolled_high": "upper end",
}


def first_pass_yield(
    log: Any,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    order: Sequence[str] = (),
    level: float = 0.95,
) -> pd.DataFrame:
    """The first-pass yield of each open stage, and rolled through the process.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`. In a log that knows no
            outcomes nothing is lost, and ending in a stage is passing it.
        order: agreed order of the stages, see `stage_order`.
        level: what the intervals promise.

    Returns:
        A frame with the columns of `COLUMNS`, in the order of the process.

    Raises:
        SchemaError, DataError, UsageError: see `as_steps`.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame({"case:concept:name": ["a", "a", "a", "b", "b"],
        ...     "concept:name": ["Lead", "Offer", "Lead", "Lead", "Offer"],
        ...     "time:timestamp": pd.to_datetime(["2026-01-01", "2026-01-05", "2026-01-09",
        ...                                       "2026-01-02", "2026-01-03"])})
        >>> found = first_pass_yield(log, order=["Lead", "Offer"])
        >>> found[["stage", "passed", "first_pass_yield", "rolled_yield"]].values.tolist()
        [['Lead', 1, 0.5, 0.5], ['Offer', 1, 0.5, 0.25]]
    """
    import pandas as pd

    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    turn, names = stage_order(steps, order), len(steps.activities)
    every = first_visits(steps)
    first = every.only(~steps.closing[every.stage])
    lost_there, went_back, moved = _exits(steps, turn, first)
    came_back = moved & first.again
    known = lost_there | went_back | came_back | (moved & (steps.outcome[first.case] != OPEN))
    passed = known & moved & ~came_back
    end = np.where(passed | ~known, last_seen(steps, first.case), _failed_at(steps, first, moved))
    days = Clock().days(steps.at[first.row], np.maximum(end, steps.at[first.row]))
    stays = AtRisk.of(first.stage, days, known, names)
    figure = share_of_exits(stays, passed)
    ended = summed(first.stage, known, names)
    low, high = share_interval(figure.value, figure.error(first.case), ended, level)
    frame = pd.DataFrame({
        "stage": pd.Series(steps.activities, dtype=object),
        "position": turn,
        **{name: summed(first.stage, which, names).astype(np.int64) for name, which in (
            ("entered", np.ones(len(known), bool)), ("passed", passed), ("lost_there", lost_there),
            ("went_back", went_back), ("came_back", came_back), ("pending", ~known))},
        "first_pass_yield": figure.value,
        "first_pass_low": low,
        "first_pass_high": high,
        **_rolled(figure, first, turn, ended, level),
    })  # fmt: skip
    frame = frame[~steps.closing].sort_values("position", ignore_index=True)
    return frame[list(COLUMNS)]


def _exits(steps: Steps, turn: Ints, first: FirstVisits) -> tuple[Mask, Mask, Mask]:
    """(n,) whether the first visit ended by being lost, backwards, or onward or won."""
    stays = stays_of(steps, turn, Clock())
    over = stays.visits.exited & ~(stays.onward | stays.won | stays.back | stays.lost)
    told = np.zeros((3, len(steps.case)), dtype=bool)
    told[:, stays.visits.row] = [stays.lost, stays.back, stays.onward | stays.won | over]
    told[2] |= steps.last & (steps.outcome[steps.case] == ENDED)
    lost, back, moved = told[:, first.row]
    return lost, back, moved


def _failed_at(steps: Steps, first: FirstVisits, moved: Mask) -> Ints:
    """(n,) when the first attempt failed: on leaving, or on coming back."""
    return np.where(moved, steps.at[np.maximum(first.second, 0)], steps.left[first.row])


def _rolled(
    figure: Figure, first: FirstVisits, turn: Ints, ended: Floats, level: float
) -> dict[str, Floats]:
    """Products of the yields along the process; influences add up on the scale of logarithms."""
    names = len(turn)
    columns = {
        name: np.full(names, np.nan) for name in ("rolled_yield", "rolled_low", "rolled_high")
    }
    rolled, fewest = 1.0, np.inf
    moved = np.zeros(int(first.case.max(initial=-1)) + 1)
    for stage in np.argsort(turn):
        if np.isnan(figure.value[stage]):
            continue
        here = first.stage == stage
        one = float(figure.value[stage])
        rolled, fewest = rolled * one, min(fewest, ended[stage])
        if one > 0:
            np.add.at(moved, first.case[here], figure.influence[here] / one)
        error = rolled * float(np.sqrt((moved**2).sum()))
        low, high = share_interval(np.array([rolled]), np.array([error]), np.array([fewest]), level)
        for name, value in zip(columns, (rolled, low[0], high[0]), strict=True):
            columns[name][stage] = value
    return columns
