"""What one would have said without a model: CRM-weighted pipeline, run rate, the totals' own past.

Each gives means by leaf and period, closed so far included, from the same day's knowledge as the
forecast that it is held against.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from salesops_ml.forecasts.batch import Floats
from salesops_ml.forecasts.history import History
from salesops_ml.forecasts.model import RevenueModel
from salesops_ml.forecasts.outlook import Outlook, local_day
from salesops_ml.forecasts.projection import Closed
from salesops_ml.periods import Period

RUN_RATES = {"run_rate": 12, "run_rate_3": 3}
"""Months that each run rate averages over."""


def crm_weighted(
    history: History, model: RevenueModel, periods: Sequence[Period], closed: Floats
) -> Floats | None:
    """Closed so far, and amount x the CRM's stage probability of deals due in the period.

    None where the CRM keeps no probability or no expected close date.

    Args:
        periods: of one grain, the first being that of `as_of`.
        closed: in the books of the first period, (leaves,).
    """
    due = history.open.dropna(subset=["probability", "expected_close_date", "amount"])
    if due.empty:
        return None
    due = due[due["node"].isin(model.leaves)]
    weighted = (due["amount"] * due["probability"]).to_numpy(dtype=np.float64)
    days = pd.to_datetime(due["expected_close_date"]).to_numpy(dtype="datetime64[D]")
    leaves = model.tree.places(due["node"])
    total = np.zeros((len(model.leaves), len(periods)))
    for column, period in enumerate(periods):
        inside = (days >= np.datetime64(period.start)) & (days < np.datetime64(period.end))
        total[:, column] = np.bincount(
            leaves[inside], weights=weighted[inside], minlength=len(model.leaves)
        )
    total[:, 0] += closed
    return total


def run_rate(history: History, model: RevenueModel, months: int) -> Floats | None:
    """Average won amount a month over the last whole months, by leaf; (leaves,).

    Uses as many as there are, up to `months`; None where there is none.
    """
    view = model.view
    won = history.won[history.won["node"].isin(model.leaves)]
    if won.empty:
        return None
    whole = _whole_months(won["closed_at"].min(), view, months)
    if not whole:
        return None
    start = whole[0].bounds(view.time_zone)[0]
    inside = (won["closed_at"] >= start) & (won["closed_at"] < view.month_opened)
    amounts = won.loc[inside, "amount"].fillna(0.0).to_numpy(dtype=np.float64)
    places = model.tree.places(won.loc[inside, "node"])
    return np.bincount(places, weights=amounts, minlength=len(model.leaves)) / len(whole)


def at_pace(pace: Floats, view: Outlook, closed: Closed) -> dict[str, Floats]:
    """Month and quarter totals if every month ahead brings `pace` (leaves,) or (leaves, months)."""
    months = len(view.months)
    future = np.broadcast_to(pace.reshape(len(pace), -1), (len(pace), months)).copy()
    future[:, 0] *= view.ahead
    quarterly = future @ view.months_of_quarters.T
    future[:, 0] += closed.month
    quarterly[:, 0] += closed.quarter
    return {"month": future, "quarter": quarterly}


def by_share(model: RevenueModel) -> Floats:
    """The series model's months, shared out as the last twelve months were; (leaves, months)."""
    return np.outer(usual_share(model), model.series_mean)


def usual_share(model: RevenueModel) -> Floats:
    """Each leaf's share of what was won over the last twelve months, (leaves,)."""
    total, count = model.trailing.sum(), len(model.trailing)
    return model.trailing / total if total > 0 else np.full(count, 1.0 / count)


def _whole_months(first: pd.Timestamp, view: Outlook, most: int) -> list[Period]:
    """The last whole months before that of `as_of`, none before the second month of the record."""
    current = view.months[0].start
    began = min(local_day(first.floor("us").to_pydatetime(), view.time_zone), current)
    months = view.calendar.periods_between(began, current, "month")
    known = months[1:-1] or months[:-1]
    return known[-most:]
