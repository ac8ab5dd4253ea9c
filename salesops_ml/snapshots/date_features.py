"""The calendar's part: age, distance to the expected close, season, and quarter end."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from salesops_ml.snapshots.visible import KEY, days_between


def date_features(states: ir.Table, *, fiscal_start_month: int) -> ir.Table:
    """f_age_days: old deals lose. f_days_to_expected_close, f_overdue: what the rep promised.
    f_days_to_quarter_end: the push before it. f_month, f_weekday: season and week.
    """
    month = (states.as_of.month() - fiscal_start_month + 12) % 3
    quarter_end = states.as_of.truncate("M") + (3 - month).as_interval("M")
    expected = states.expected_close_date.cast("timestamp")
    to_close = days_between(states.as_of, expected)
    return states.select(
        *KEY,
        f_age_days=days_between(states.created_at, states.as_of),
        f_days_to_expected_close=to_close,
        f_overdue=(to_close < 0).cast("float64"),
        f_days_to_quarter_end=days_between(states.as_of, quarter_end),
        f_month=states.as_of.month().cast("float64"),
        f_weekday=states.as_of.day_of_week.index().cast("float64"),
        f_created_month=states.created_at.month().cast("float64"),
    )


def amount_features(states: ir.Table) -> ir.Table:
    """f_log_amount: big deals behave otherwise. f_amount_ratio: grown or shrunk since the start."""
    positive = ibis.ifelse(states.amount > 0, states.amount, None)
    ratio = positive / ibis.ifelse(states.first_amount > 0, states.first_amount, None)
    return states.select(
        *KEY,
        f_log_amount=positive.ln(),
        f_amount_ratio=ratio,
        f_product=states["product"],
        f_forecast_category=states.forecast_category,
    )
