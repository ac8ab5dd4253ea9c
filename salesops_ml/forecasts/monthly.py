"""Company totals by month, and where they go next by their own past alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from salesops_ml.forecasts.batch import Floats
from salesops_ml.forecasts.outlook import Outlook, local_day
from salesops_ml.forecasts.series import forecast_series
from salesops_ml.periods import Period

_HISTORY = 60
"""Months that a total's past reaches back at most."""
_Z80 = 1.2816
_WEEKS_MONTH_DAYS = 91 / 3


@dataclass(frozen=True)
class MonthlyTotals:
    """Totals of whole months before the month of `as_of`, oldest first.

    The first month in which anything happened is left out where later ones exist: records seldom
    begin on the first of a month.

    Attributes:
        first: first day of the first month.
        values: totals, (months,); empty where no whole month is known.
        partial: total of everything before, the month of `as_of` included, for want of better.
        partial_months: the time that `partial` covers, in months.
        lengths, ahead: how long each month of `values`, and each month from that of `as_of` on, is
            where fiscal months are weeks (1 is a third of a 13-week quarter); None where all count 1.
    """

    first: date
    values: Floats
    partial: float
    partial_months: float
    lengths: Floats | None = None
    ahead: Floats | None = None


def monthly_series(moments: pd.Series[pd.Timestamp], worth: Floats, view: Outlook) -> MonthlyTotals:
    """Add up `worth` by the month that `moments` fall in, up to the month of `view.as_of`.

    Args:
        moments: naive UTC, none after `as_of`.
        worth: one number for each, such as 1 for a count.
    """
    current = view.months[0].start
    if len(moments) == 0:
        return MonthlyTotals(current, np.empty(0), 0.0, 1.0)
    earliest = moments.min().floor("us").to_pydatetime()
    began = min(local_day(earliest, view.time_zone), current)
    months = view.calendar.periods_between(began, current, "month")
    borders = [month.bounds(view.time_zone)[0] for month in months]
    place = np.searchsorted(np.array(borders, dtype="datetime64[us]"), moments, side="right") - 1
    totals = np.bincount(place, weights=worth, minlength=len(months))
    whole = totals[1:-1][-_HISTORY:].astype(np.float64)
    elapsed = max((view.as_of - earliest).total_seconds() / 86_400.0, 1.0) / 30.4375
    first = months[1].start if len(months) > 1 else current
    if len(totals) - 2 > _HISTORY:
        first = months[-1 - _HISTORY].start
    if not view.calendar.by_weeks:
        return MonthlyTotals(first, whole, float(totals.sum()), elapsed)
    lengths = _lengths(months[1:-1])[-_HISTORY:]
    return MonthlyTotals(first, whole, float(totals.sum()), elapsed, lengths, _lengths(view.months))


def _lengths(months: Sequence[Period]) -> Floats:
    days = [(month.end - month.start).days for month in months]
    return np.array(days, dtype=np.float64) / _WEEKS_MONTH_DAYS


def next_months(past: MonthlyTotals, count: int, *, season: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the totals of the month of `as_of` and those after it.

    Without a single whole month, the pace so far goes on, give or take half. Months of four weeks and
    of five are made equally long before their past is read, and get their own length back.
    """
    length = np.ones(count) if past.ahead is None else past.ahead[:count]
    if len(past.values) == 0:
        pace = past.partial / past.partial_months
        return length * pace, length * 0.5 * abs(pace)
    values = past.values if past.lengths is None else past.values / past.lengths
    stamps = pd.date_range(past.first, periods=len(past.values), freq="MS")
    panel = pd.DataFrame({"unique_id": "company", "ds": stamps, "y": values})
    found = forecast_series(
        panel, horizon=count, season_length=season, freq="MS", levels=(80,), mode="fast"
    )
    mean = found["mean"].to_numpy(dtype=np.float64)
    return length * mean, length * (found["hi_80"].to_numpy(dtype=np.float64) - mean) / _Z80
