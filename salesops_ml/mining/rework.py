"""Rework: deals that come back to a stage where they have been, and what that takes.

The rate is the share of the deals that come back before they end, deals that are still open being
censored. Extra days are those of every visit after the first; times the amount they say how much
money was held up. Win rates are an association: deals that come back may be the worse ones anyway.
They are told so that waiting to come back is no merit: deals that came back are followed from
there on, the others from their first visit until they end or come back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.mining.clock import Clock
from salesops_ml.mining.first_visits import FirstVisits, first_visits, last_seen
from salesops_ml.mining.influence import (
    AtRisk,
    Figure,
    normal_interval,
    ratio,
    share_interval,
    share_of_exits,
    summed,
)
from salesops_ml.mining.stages import stage_order
from salesops_ml.mining.steps import ENDED, OPEN, WON, Floats, Ints, Steps, as_steps
from salesops_ml.mining.visits import endings_after, visits_of

if TYPE_CHECKING:
    import pandas as pd

DRAWS = 400

COLUMNS = {
    "stage": "the stage",
    "position": "its turn in the process: 0, 1, 2, ...",
    "deals": "deals that were ever in it",
    "returned": "of these, deals that came to it more than once so far",
    "visits_again": "visits after a deal's first",
    "visits_same": "visits entered straight from the same stage",
    "visits_back": "visits entered from a later stage, a deal's first among them",
    "rework_rate": "share of the deals that come back before they end, open deals censored, 0..1",
    "rework_low": "lower end of its interval",
    "rework_high": "upper end",
    "extra_days": "days of all visits after the first, so far",
    "extra_days_low": "lower end of its bootstrap interval, drawn by deal",
    "extra_days_high": "upper end",
    "extra_amount_days": "the same times the deals' amounts, company currency; null where none is known",
    "extra_amount_days_low": "lower end of its bootstrap interval, drawn by deal",
    "extra_amount_days_high": "upper end",
    "win_rate_with": "share won of deals that came back, from there on, open deals censored",
    "win_rate_with_low": "lower end of its interval",
    "win_rate_with_high": "upper end",
    "win_rate_without": "share won of deals that ended without coming back, open deals censored",
    "win_rate_without_low": "lower end of its interval",
    "win_rate_without_high": "upper end",
    "win_rate_difference": "with less without",
    "win_rate_difference_low": "lower end of its interval",
    "win_rate_difference_high": "upper end",
    "finding": "the row in words",
}


def rework(
    log: Any,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    clock: Clock | None = None,
    order: Sequence[str] = (),
    level: float = 0.95,
    seed: int = 7,
) -> pd.DataFrame:
    """How often deals come back to each open stage, and what that takes.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        clock: calendar days (default) or working days.
        order: agreed order of the stages, see `stage_order`.
        level: what the intervals promise.
        seed: of the bootstrap.

    Returns:
        A frame with the columns of `COLUMNS`, in the order of the process.

    Raises:
        SchemaError, DataError, UsageError: see `as_steps`.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame({"case:concept:name": ["a", "a", "a", "b"],
        ...     "concept:name": ["Lead", "Offer", "Lead", "Lead"],
        ...     "time:timestamp": pd.to_datetime(["2026-01-01", "2026-01-05", "2026-01-09",
        ...                                       "2026-01-02"])})
        >>> found = rework(log, order=["Lead", "Offer"])
        >>> found[["stage", "deals", "returned", "rework_rate"]].values.tolist()
        [['Lead', 2, 1, 0.5], ['Offer', 1, 0, 0.0]]
    """
    import pandas as pd

    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    turn = stage_order(steps, order)
    first = first_visits(steps)
    names = len(steps.activities)
    told = {
        "stage": pd.Series(steps.activities, dtype=object),
        "position": turn,
        "deals": np.bincount(first.stage, minlength=names),
        "returned": summed(first.stage, first.again, names).astype(np.int64),
        **_repeats(steps, turn, first),
        **_rate(steps, first, level),
        **_extra(steps, first, clock or Clock(), level, seed),
        **_win_rates(steps, first, level),
    }
    frame = pd.DataFrame(told)[~steps.closing].sort_values("position", ignore_index=True)
    frame["finding"] = [_words(row) for row in frame.to_dict("records")]
    return frame[list(COLUMNS)]


def _repeated(steps: Steps, first: FirstVisits) -> Ints:
    """Rows of the visits that are not a deal's first to their stage."""
    new = np.zeros(len(steps.case), dtype=bool)
    new[first.row] = True
    return np.flatnonzero(~new)


def _repeats(steps: Steps, turn: Ints, first: FirstVisits) -> dict[str, Any]:
    """How many visits come again, and how many are entered backwards."""
    names, again = len(steps.activities), steps.activity[_repeated(steps, first)]
    row = np.flatnonzero(~steps.first)
    stage, before = steps.activity[row], steps.activity[row - 1]
    return {
        "visits_again": np.bincount(again, minlength=names),
        "visits_same": np.bincount(stage[before == stage], minlength=names),
        "visits_back": np.bincount(stage[turn[before] > turn[stage]], minlength=names),
    }


def _until_return(steps: Steps, first: FirstVisits) -> AtRisk:
    """From the first visit until the deal comes back, ends, or is last seen."""
    end = last_seen(steps, first.case)
    end = np.where(first.again, steps.at[first.second], np.maximum(end, steps.at[first.row]))
    known = first.again | (steps.outcome[first.case] != OPEN)
    days = Clock().days(steps.at[first.row], end)
    return AtRisk.of(first.stage, days, known, len(steps.activities))


def _rate(steps: Steps, first: FirstVisits, level: float) -> dict[str, Floats]:
    stays = _until_return(steps, first)
    rate = share_of_exits(stays, first.again)
    deals = summed(first.stage, stays.exited, stays.groups)
    low, high = share_interval(rate.value, rate.error(first.case), deals, level)
    return {"rework_rate": rate.value, "rework_low": low, "rework_high": high}


def _extra(
    steps: Steps, first: FirstVisits, clock: Clock, level: float, seed: int
) -> dict[str, Floats]:
    """Days, and days times amount, of the visits that come again; drawn by deal."""
    names = len(steps.activities)
    visits = visits_of(steps, clock)
    kept = np.isin(visits.row, _repeated(steps, first))
    stage, case, days = visits.stage[kept], visits.case[kept], visits.days[kept]
    told = totals("extra_days", stage, case, days, names, level, seed)
    return told | amount_days(steps, stage, case, days, names, level, seed)


def totals(
    name: str, group: Ints, case: Ints, value: Floats, groups: int, level: float, seed: int
) -> dict[str, Floats]:
    """Columns `name`, `name_low` and `name_high`: (groups,) sums of `value`, with bootstrap intervals.

    Each draw takes every deal as often as a Poisson number of mean 1 says, so that how many deals
    there are is drawn too.

    Args:
        group, case: (n,) codes.
        value: (n,) what is summed.
        groups: how many groups there are.
        level: what the intervals promise. seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    deals, place = np.unique(case, return_inverse=True)
    drawn = np.zeros((DRAWS, groups))
    for turn in range(DRAWS):
        often = rng.poisson(1.0, len(deals))[place]
        drawn[turn] = summed(group, value * often, groups)
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return {name: summed(group, value, groups), f"{name}_low": low, f"{name}_high": high}


def amount_days(
    steps: Steps, group: Ints, case: Ints, days: Floats, groups: int, level: float, seed: int
) -> dict[str, Floats]:
    """`totals` of days times amount; NaN where no amount of a group's deals is known."""
    known = ~np.isnan(steps.amount[case])
    worth = np.where(known, days * np.nan_to_num(steps.amount[case]), 0.0)
    told = totals("extra_amount_days", group, case, worth, groups, level, seed)
    some = summed(group, known, groups) > 0
    return {name: np.where(some, value, np.nan) for name, value in told.items()}


def _win_rates(steps: Steps, first: FirstVisits, level: float) -> dict[str, Floats]:
    """Shares won of deals that came back, and of those that ended without."""
    names = len(steps.activities)
    if not len(steps.case) or (steps.outcome == ENDED).any():
        empty = np.full(names, np.nan)
        return {name: empty for name in COLUMNS if name.startswith("win_rate")}
    back = first.only(first.again)
    after = endings_after(steps, back.case, steps.at[back.second], Clock())
    inside = share_of_exits(AtRisk.of(back.stage, after.days, after.known, names), after.won)
    stays = _until_return(steps, first)
    ended = stays.exited & ~first.again
    winning = ended & (steps.outcome[first.case] == WON)
    outside = ratio(stays, winning.astype(float), ended.astype(float))
    closed = summed(back.stage, after.known, names), summed(first.stage, ended, names)
    return {
        **rate_columns("win_rate_with", inside, back.case, closed[0], level),
        **rate_columns("win_rate_without", outside, first.case, closed[1], level),
        **difference_columns("win_rate_difference", inside, back.case, outside, first.case, level),
    }


def rate_columns(
    name: str, rate: Figure, case: Ints, most: Floats, level: float
) -> dict[str, Floats]:
    """Columns `name`, `name_low` and `name_high` of a share that rests on at most `most` deals."""
    low, high = share_interval(rate.value, rate.error(case), most, level)
    return {name: rate.value, f"{name}_low": low, f"{name}_high": high}


def difference_columns(
    name: str, one: Figure, case: Ints, other: Figure, other_case: Ints, level: float
) -> dict[str, Floats]:
    """Columns `name`, `name_low` and `name_high` of the difference between two shares."""
    value = one.value - other.value
    error = np.hypot(one.error(case), other.error(other_case))
    low, high = normal_interval(value, error, level)
    return {
        name: value,
        f"{name}_low": np.maximum(low, -1.0),
        f"{name}_high": np.minimum(high, 1.0),
    }


def _words(row: Mapping[Any, Any]) -> str:
    """The row as a sentence."""
    if not row["returned"]:
        return f"No deal has come back to {row['stage']}."
    told = (
        f"{row['returned']:,} of {row['deals']:,} deals came back to {row['stage']}, "
        f"{row['extra_days']:,.0f} extra days in all"
    )
    if not row["win_rate_difference_low"] <= 0 <= row["win_rate_difference_high"]:
        points = 100 * row["win_rate_difference"]
        if np.isfinite(points):
            told += (
                f"; they are won {abs(points):.0f} points {'more' if points > 0 else 'less'} often"
            )
    return told + "."
