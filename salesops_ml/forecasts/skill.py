"""The record week by week: how far off each method was in that week of the quarter, and our skill.

Skill is 1 - (our miss / theirs) on the forecasts that both made: 0 is no better, 1 would be perfect,
below 0 is worse. Intervals draw whole quarters, whose weeks belong together.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from salesops_ml.forecasts.backtest_scores import backtest_summary
from salesops_ml.forecasts.batch import Floats
from salesops_ml.forecasts.combine import PARTS

OURS = "ours"
DRAWS = 500
WEEK_DAYS = 7
_PAIR = ["level", "week", "origin", "node", "period"]


def record_by_week(record: pd.DataFrame, *, seed: int = 7) -> pd.DataFrame:
    """Score a replay of quarters by week of the quarter.

    Args:
        record: rows of `backtest_revenue`.
        seed: of the draws of quarters.

    Returns:
        One row per level, week (1 is the first) and method, with the figures of `backtest_summary` and
        `skill`, `skill_low`, `skill_high`: ours beside that method, with its 95 % interval. NaN where
        there is nothing to compare, and the interval where fewer than three quarters are known.

    Example:
        >>> rows = pd.DataFrame({"method": ["ours", "run_rate"], "grain": "quarter", "horizon": 0,
        ...     "level": "company", "node": "company", "origin": pd.Timestamp("2026-01-08"),
        ...     "period": "2026-Q1", "period_start": pd.Timestamp("2026-01-01"),
        ...     "mean": [9.0, 14.0], "actual": 10.0})
        >>> from salesops_ml.forecasts.combine import QUANTILES
        >>> told = record_by_week(rows.assign(**{name: float("nan") for name in QUANTILES}))
        >>> told[["week", "method", "wape", "skill"]].values.tolist()
        [[2, 'ours', 0.1, nan], [2, 'run_rate', 0.4, 0.75]]
    """
    rows = in_weeks(record)
    if rows.empty:
        return pd.DataFrame(columns=["level", "week", "method"])
    told = backtest_summary(rows, by=("level", "week", "method"))
    skill = pd.DataFrame(_skills(rows, seed))
    if skill.empty:
        return told.assign(skill=np.nan, skill_low=np.nan, skill_high=np.nan)
    return told.merge(skill, on=["level", "week", "method"], how="left")


def parts_by_week(record: pd.DataFrame) -> pd.DataFrame:
    """What carries the company's forecast: the share of closed, open, new and adjustment, by week.

    Returns:
        `week` and one column per part; the shares of a week sum to 1.
    """
    rows = in_weeks(record)
    rows = rows[(rows["method"] == OURS) & (rows["level"] == "company")]
    sums = rows.groupby("week")[[*PARTS]].sum()
    return sums.div(sums.sum(axis=1), axis=0).reset_index()


def in_weeks(record: pd.DataFrame) -> pd.DataFrame:
    """The forecasts of running quarters, with the `week` of the quarter in which they were made."""
    rows = record[(record["grain"] == "quarter") & (record["horizon"] == 0)]
    gone = pd.to_datetime(rows["origin"]) - pd.to_datetime(rows["period_start"])
    days = np.floor(gone / pd.Timedelta(days=1) + 0.5).astype(int)
    return rows.assign(week=days // WEEK_DAYS + 1)


def _skills(rows: pd.DataFrame, seed: int) -> list[dict[str, object]]:
    miss = rows.assign(miss=(rows["mean"] - rows["actual"]).abs())
    ours = miss[miss["method"] == OURS][[*_PAIR, "miss"]]
    told = []
    for method, theirs in miss[miss["method"] != OURS].groupby("method"):
        pairs = ours.merge(theirs[[*_PAIR, "miss"]], on=_PAIR, suffixes=("", "_theirs"))
        for (level, week), some in pairs.groupby(["level", "week"]):
            by_quarter = some.groupby("period")[["miss", "miss_theirs"]].sum().to_numpy()
            value, low, high = _skill(by_quarter, seed)
            told.append(
                {
                    "level": level, "week": week, "method": method,
                    "skill": value, "skill_low": low, "skill_high": high,
                }
            )  # fmt: skip
    return told


def _skill(misses: Floats, seed: int) -> tuple[float, float, float]:
    """Skill and its interval from our and their miss in each quarter, (quarters, 2)."""
    value = float(_ratio(misses.sum(axis=0)[None])[0])
    count = len(misses)
    if count < 3:
        return value, float("nan"), float("nan")
    picks = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=DRAWS)
    low, high = np.nanquantile(_ratio(picks @ misses), [0.025, 0.975])
    return value, float(low), float(high)


def _ratio(sums: Floats) -> Floats:
    ours, theirs = sums.T
    return np.asarray(np.where(theirs > 0, 1.0 - ours / np.where(theirs > 0, theirs, 1.0), np.nan))
