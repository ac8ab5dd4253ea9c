"""The pace of winning beside what the ages of deals promise: the rush at quarter ends, and lately.

Rates by age are an average over the whole window. Months in which more deals were won than their
ages promised tell two things more: that the last month of a quarter is quicker than its first, and
that the company wins more (or less) lately than it used to.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from salesops_ml.forecasts.batch import Floats
from salesops_ml.forecasts.lag_to_win import LagToWin
from salesops_ml.forecasts.outlook import Outlook
from salesops_ml.periods import Period

_DAY = 86_400e6
_RHYTHM_CREDIBLE, _LEVEL_CREDIBLE = 25.0, 50.0
"""Expected wins at which what was seen counts half."""
_LEVEL_HALF_LIFE_MONTHS = 4.0
_LEVEL_RANGE = (0.5, 2.0)


@dataclass(frozen=True)
class Pace:
    """Factors on the rates of winning by age.

    Attributes:
        rhythm: by month ahead, from its place in the fiscal quarter; (months,).
        level: of late, whatever the month.
    """

    rhythm: Floats
    level: float


def learn_pace(deals: pd.DataFrame, lag: LagToWin, view: Outlook, *, since: datetime) -> Pace:
    """The pace in the whole months since `since`; factors of 1 where nothing was seen.

    Args:
        deals: dated deals: created_at, status, closed_at.
        lag: company rates of winning by age.
    """
    past = view.calendar.periods_between(since.date(), view.months[0].start, "month")[1:-1]
    seen, promised = _wins_by_month(deals, lag, view, past)
    places = np.array([_place(month, view) for month in past], dtype=np.int64)
    by_place = [np.bincount(places, weights=counts, minlength=3) for counts in (seen, promised)]
    factor = (by_place[0] + _RHYTHM_CREDIBLE) / (by_place[1] + _RHYTHM_CREDIBLE)
    ago = np.arange(len(past))[::-1]
    weight = 0.5 ** (ago / _LEVEL_HALF_LIFE_MONTHS)
    expected = promised * factor[places] if len(past) else promised
    level = (weight @ seen + _LEVEL_CREDIBLE) / (weight @ expected + _LEVEL_CREDIBLE)
    rhythm = np.array([factor[_place(month, view)] for month in view.months])
    return Pace(rhythm, float(np.clip(level, *_LEVEL_RANGE)))


def _wins_by_month(
    deals: pd.DataFrame, lag: LagToWin, view: Outlook, past: list[Period]
) -> tuple[Floats, Floats]:
    """Wins of each past month, and those that the ages of the deals open in it promise."""
    risk = np.concatenate([[0.0], np.cumsum(lag.hazard)])
    ages = np.arange(len(risk))
    born = deals["created_at"].to_numpy(dtype="datetime64[us]")
    ended = deals["closed_at"].fillna(pd.Timestamp(view.as_of)).to_numpy(dtype="datetime64[us]")
    is_won = (deals["status"] == "won").to_numpy()
    seen, promised = np.zeros(len(past)), np.zeros(len(past))
    for row, month in enumerate(past):
        start, end = (np.datetime64(moment, "us") for moment in month.bounds(view.time_zone))
        first, last = np.maximum(born, start), np.minimum(ended, end)
        there = last > first
        risk_at = [
            np.interp((moment[there] - born[there]).astype(np.float64) / _DAY, ages, risk)
            for moment in (first, last)
        ]
        promised[row] = (risk_at[1] - risk_at[0]).sum()
        seen[row] = (is_won & (ended >= start) & (ended < end)).sum()
    return seen, promised


def _place(month: Period, view: Outlook) -> int:
    """0, 1 or 2: which month of its fiscal quarter."""
    return view.calendar.month_of_quarter(month.start)
