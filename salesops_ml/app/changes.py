"""What changed since a day: the open pipeline, step by step, and the forecast, cause by cause."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pandas as pd

from salesops_ml.app.open_looks import OpenLooks
from salesops_ml.app.revenue import scored_pipeline, usable_origins
from salesops_ml.errors import UsageError
from salesops_ml.forecasts.combine import Weights
from salesops_ml.forecasts.forecast_change import ForecastDay, forecast_change
from salesops_ml.forecasts.history import read_history
from salesops_ml.forecasts.outlook import local_day
from salesops_ml.forecasts.photographs import without_removed
from salesops_ml.forecasts.waterfall import pipeline_waterfall
from salesops_ml.models import DealScores
from salesops_ml.periods import Period
from salesops_ml.settings import Company, Settings
from salesops_ml.warehouse import Warehouse

WEEK = timedelta(days=7)
ROOT = "company"
_YEARS = timedelta(days=2 * 366)


def change_since(
    warehouse: Warehouse,
    deal_model: DealScores,
    weights: Weights,
    settings: Settings,
    *,
    since: datetime,
    as_of: datetime,
    periods: Sequence[str] | None = None,
    looks: OpenLooks | None = None,
) -> pd.DataFrame:
    """Why the forecast of `as_of` is not that of `since`: `forecast_change` of the two.

    One deal model and one set of weights speak on both days, so that what is told is news of the deals
    and not of the models.

    Args:
        periods: labels; by default the month and the quarter of `since`, and the quarter after it.
        looks: where the looks at open deals are remembered.

    Raises:
        UsageError: `since` is not before `as_of`, nothing was known by then, or a period was not
            forecast.
    """
    if since >= as_of:
        raise UsageError(f"the forecast's day {as_of} is not after {since}; give an earlier day")
    if not usable_origins(warehouse, [since]):
        raise UsageError(
            f"nothing had been won and lost by {since:%Y-%m-%d}, so nothing was forecast then; give a"
            " later day"
        )
    moments = [since, as_of]
    seen = (looks or OpenLooks()).on(warehouse, deal_model.spec, moments)
    before, after = (
        ForecastDay.made(
            warehouse,
            scored_pipeline(deals, deal_model.curves(deals), as_of=moment, money=weights.money),
            as_of=moment,
            settings=settings,
            weights=weights,
        )
        for moment, deals in zip(moments, seen, strict=True)
    )
    view = before.model.view
    usual = [period.label for period in (view.months[0], *view.quarters[:2])]
    return forecast_change(before, after, usual if periods is None else periods)


def last_week(
    warehouse: Warehouse,
    deal_model: DealScores,
    weights: Weights,
    settings: Settings,
    *,
    as_of: datetime,
    looks: OpenLooks | None = None,
) -> pd.DataFrame:
    """`change_since` a week before, with that day as `since`; empty where nothing was known by then."""
    since = as_of - WEEK
    if not usable_origins(warehouse, [since]):
        return pd.DataFrame()
    told = change_since(
        warehouse, deal_model, weights, settings, since=since, as_of=as_of, looks=looks
    )
    return told.assign(since=since)


def champion_change(
    warehouse: Warehouse,
    settings: Settings,
    *,
    since: datetime,
    as_of: datetime,
    period: str | None = None,
) -> pd.DataFrame:
    """`change_since` by the models in use."""
    from salesops_ml.registry import load_champion

    deals = load_champion(settings, settings.registry.deal_model).model
    weights = load_champion(settings, settings.registry.revenue_model).model.weights
    asked = None if period is None else [period]
    return change_since(
        warehouse, deals, weights, settings, since=since, as_of=as_of, periods=asked
    )


def pipeline_change(
    warehouse: Warehouse,
    settings: Settings,
    *,
    since: datetime,
    as_of: datetime,
    period: str | None = None,
) -> pd.DataFrame:
    """`pipeline_waterfall` between two days of one record, with what its photographs tell of removals.

    Args:
        period: label of a month or quarter; the whole open pipeline by default.

    Returns:
        `node`, `period` (what is told: the label, or `all open deals`) and the steps.

    Raises:
        UsageError: `since` is not before `as_of`, or there is no such period.
        DataError: no deal had begun by `since`.
    """
    company = settings.company
    asked = None if period is None else period_called(period, company, near=as_of)
    before, after = (
        without_removed(read_history(warehouse, as_of=moment, settings=settings), warehouse)
        for moment in (since, as_of)
    )
    told = pipeline_waterfall(before, after, period=asked, time_zone=company.time_zone)
    told.insert(1, "period", period or "all open deals")
    return told


def period_called(label: str, company: Company, *, near: datetime) -> Period:
    """The month or quarter of that name within two years of a moment.

    Raises:
        UsageError: there is none.
    """
    day = local_day(near, company.time_zone)
    for grain in ("month", "quarter"):
        for period in company.calendar.periods_between(day - _YEARS, day + _YEARS, grain):
            if period.label == label:
                return period
    now = [company.calendar.period_of(day, grain).label for grain in ("month", "quarter")]
    raise UsageError(
        f"`{label}` is no month or quarter within two years of {day}; write one such as"
        f" {' or '.join(now)}"
    )


def at_node(frame: pd.DataFrame, node: str | None) -> pd.DataFrame:
    """The rows of a node and of those right below it; the company's by default.

    Raises:
        UsageError: nothing moved at that node, or there is none of that name.
    """
    wanted = node or ROOT
    below = frame["node"].str.rpartition("/")[0] == wanted
    rows = frame[(frame["node"] == wanted) | below]
    if node is not None and not (rows["node"] == node).any():
        known = sorted(set(frame["node"]))[:6]
        raise UsageError(
            f"`{node}` has nothing to tell of these days; nodes that have: {', '.join(known)} ..."
        )
    return rows


def as_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Steps as rows and nodes as columns; steps that moved nothing anywhere are left out."""
    told = frame.set_index("node").drop(columns="period").T
    kept = told.index.isin(["start", "end"]) | (told.abs() >= 0.5).any(axis=1)
    return told[kept].rename_axis("step").rename_axis(None, axis=1).reset_index()
