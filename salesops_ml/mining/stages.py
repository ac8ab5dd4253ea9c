"""Stages: how many deals pass, how long they stay, how much money stands there now.

Dwell is the Kaplan-Meier estimate over any exit, deals that are still there counting as "at least so
long"; leaving them out would leave out just the slow ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.mining.clock import Clock
from salesops_ml.mining.codes import distinct_pairs
from salesops_ml.mining.dwell import exit_weights, share_at_end, stage_means, weighted_quantiles
from salesops_ml.mining.steps import ENDED, Floats, Ints, Steps, as_steps
from salesops_ml.mining.transitions import sum_known
from salesops_ml.mining.visits import Visits, endings_after, visits_of

if TYPE_CHECKING:
    import pandas as pd

QUANTILES = (0.25, 0.5, 0.75, 0.9)

COLUMNS = {
    "stage": "the stage",
    "position": "its turn in the process: 0, 1, 2, ..., closing stages last",
    "is_closed": "it ends a deal",
    "is_won": "it wins a deal",
    "visits": "how often deals entered it",
    "cases": "deals that were ever in it",
    "returns": "share of its visits by deals that had been there before, 0..1",
    "dwell_p25_days": "a quarter of the visits last at most so long; null where never reached",
    "dwell_p50_days": "median",
    "dwell_p75_days": "three quarters",
    "dwell_p90_days": "nine in ten",
    "dwell_mean_days": "mean, up to the longest visit seen",
    "target_days": "days that are agreed, else the best quantile of the visits",
    "target_from": "agreed, quantile, or none",
    "share_past_target": "share of the visits that last longer than that, 0..1",
    "open_now": "deals in it at `as_of`",
    "past_target_now": "of these, how many are past the target",
    "amount_now": "their amount, company currency; null where no amount is known",
    "amount": "sum over all its deals, company currency; null where no amount is known",
    "win_rate_after": "share of visits won of those that close, open deals censored; null if none",
}


def stage_dwell(
    log: Any,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    clock: Clock | None = None,
    expected_days: Mapping[str, float] | None = None,
    target_quantile: float = 0.25,
    order: Sequence[str] = (),
) -> pd.DataFrame:
    """Every stage of the log with its dwell times, open deals censored, in the order of the process.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        clock: calendar days (default) or working days.
        expected_days: agreed days by stage.
        target_quantile: where none are agreed, the target is this quantile of the dwell.
        order: agreed order of stages; others follow by the median turn at which deals reach them.

    Returns:
        A frame with the columns of `COLUMNS`.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame({"case:concept:name": ["a", "a", "b"],
        ...     "concept:name": ["Lead", "Won", "Lead"],
        ...     "time:timestamp": pd.to_datetime(["2026-01-01", "2026-01-05", "2026-01-02"])})
        >>> found = stage_dwell(log, won=["Won"], as_of=datetime(2026, 1, 20))
        >>> found[["stage", "visits", "open_now", "dwell_p50_days", "dwell_mean_days"]].values
        array([['Lead', 2, 1, 4.0, 11.0],
               ['Won', 1, 0, nan, nan]], dtype=object)
    """
    import pandas as pd

    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    visits = visits_of(steps, clock or Clock())
    names = len(steps.activities)
    weight = exit_weights(visits.stage, visits.days, visits.exited, names)
    asked = (*QUANTILES, target_quantile)
    quantiles = weighted_quantiles(visits.stage, visits.days, weight, names, asked, of_all=True)
    target, origin = _targets(steps, quantiles[:, -1], expected_days or {})
    past = visits.days > target[visits.stage]
    frame = pd.DataFrame({
        "stage": pd.Series(steps.activities, dtype=object),
        "position": stage_order(steps, order),
        "is_closed": steps.closing,
        "is_won": steps.winning,
        **dict(zip(("dwell_p25_days", "dwell_p50_days", "dwell_p75_days", "dwell_p90_days"),
                   quantiles.T[:4], strict=True)),
        "dwell_mean_days": stage_means(visits.stage, visits.days, visits.exited, names),
        "target_days": target,
        "target_from": origin,
        "share_past_target": _share_past(visits, weight, target),
        **_traffic(steps),
        **_standing(steps, visits, past),
        "win_rate_after": _win_rate(steps),
    })  # fmt: skip
    return frame[list(COLUMNS)].sort_values("position", ignore_index=True)


def stage_order(steps: Steps, order: Sequence[str] = ()) -> Ints:
    """(a,) each activity's turn, 0 .. a - 1: as agreed, else by when deals first reach it.

    Closing stages come last, the winning before the losing.
    """
    agreed = {name: float(turn) for turn, name in enumerate(order)}
    told = np.array([agreed.get(name, np.nan) for name in steps.activities])
    if not order:
        told = steps.place
    reached = _median_turn(steps)
    ends = np.where(steps.closing, np.where(steps.winning, 1, 2), 0)
    known = ~np.isnan(told)
    place = np.array(told)
    for code in np.flatnonzero(~known):
        earlier = known & (reached <= reached[code]) & (ends == ends[code])
        place[code] = told[earlier].max() + 0.5 if earlier.any() else -0.5
    sorting = np.lexsort((reached, place, ends))
    turn = np.empty(len(place), dtype=np.int64)
    turn[sorting] = np.arange(len(place))
    return turn


def _median_turn(steps: Steps) -> Floats:
    """(a,) median, over the deals, of the turn at which they first entered the stage."""
    starts = np.flatnonzero(steps.first)
    turn = np.arange(len(steps.case)) - starts[steps.case]
    width = max(len(steps.case_ids), 1)
    _, row = np.unique(steps.activity * width + steps.case, return_index=True)
    activity, first = steps.activity[row], turn[row]
    sorting = np.lexsort((first, activity))
    count = np.bincount(activity, minlength=len(steps.activities))
    middle = np.cumsum(count) - count + (count - 1) // 2
    return np.asarray(first[sorting][middle], dtype=np.float64)


def _targets(
    steps: Steps, quantile: Floats, expected: Mapping[str, float]
) -> tuple[Floats, Sequence[str]]:
    agreed = np.array([expected.get(name, np.nan) for name in steps.activities])
    target = np.where(np.isnan(agreed), quantile, agreed)
    target = np.where(steps.closing, np.nan, target)
    origin = np.where(np.isnan(agreed), "quantile", "agreed").astype(object)
    origin[np.isnan(target)] = "none"
    return target, list(origin)


def _share_past(visits: Visits, weight: Floats, target: Floats) -> Floats:
    """(a,) Kaplan-Meier share of visits that last longer than the target."""
    within = visits.days <= target[visits.stage]
    gone = np.bincount(visits.stage, weights=np.where(within, weight, 0.0), minlength=len(target))
    seen = np.bincount(visits.stage, minlength=len(target)) > 0
    return np.where(seen & ~np.isnan(target), np.clip(1 - gone, 0, 1), np.nan)


def _traffic(steps: Steps) -> dict[str, Any]:
    """Who ever came."""
    names = len(steps.activities)
    stage, deal = distinct_pairs(steps.activity, steps.case, names)
    visits = np.bincount(steps.activity, minlength=names)
    cases = np.bincount(stage, minlength=names)
    return {
        "visits": visits,
        "cases": cases,
        "returns": (visits - cases) / np.maximum(visits, 1),
        "amount": sum_known(stage, steps.amount[deal], names),
    }


def _standing(steps: Steps, visits: Visits, past: Any) -> dict[str, Any]:
    """Who stands there now."""
    names, here = len(steps.activities), ~visits.exited
    return {
        "open_now": np.bincount(visits.stage[here], minlength=names),
        "past_target_now": np.bincount(visits.stage[here & past], minlength=names),
        "amount_now": sum_known(visits.stage[here], steps.amount[visits.case[here]], names),
    }


def _win_rate(steps: Steps) -> Floats:
    names = len(steps.activities)
    if not len(steps.case) or (steps.outcome == ENDED).any():
        return np.full(names, np.nan)
    after = endings_after(steps, steps.case, steps.at, Clock())
    return share_at_end(steps.activity, after.days, after.known, after.won, names)
