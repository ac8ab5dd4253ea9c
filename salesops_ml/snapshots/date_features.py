"""The calendar's part: age, distance to the expected close, season, and quarter end."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import lru_cache

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from salesops_ml.fiscal_calendar import FiscalCalendar
from salesops_ml.snapshots.visible import KEY, days_between
from salesops_ml.snapshots.working_time import with_working_time

_FIRST_DAY, _LAST_DAY = date(1970, 1, 1), date(2100, 1, 1)


def date_features(states: ir.Table, *, fiscal: FiscalCalendar, calendar: ir.Table) -> ir.Table:
    """f_age_days: old deals lose. f_days_to_expected_close, f_overdue: what the rep promised.
    f_promised_days: the cycle that was promised at first. f_promise_used: how much of it is gone.
    f_closes_this_quarter: promised to somebody above. f_expected_days_to_month_end: a close date on
    the last of a month is a placeholder. f_days_to_quarter_end, f_quarter_month: the push before it.
    f_month, f_weekday: season, and moment of the week (0 is Monday, 0 h). f_created_month,
    f_created_weekday, f_created_hour: when it came in, on local clocks.
    """
    states = _with_quarter(states, fiscal)
    month, quarter_end = states["quarter_month"], states["quarter_end"]
    expected = states.expected_close_date.cast("timestamp")
    promised = days_between(states.created_at, states.first_expected.cast("timestamp"))
    to_close = days_between(states.as_of, expected)
    age = days_between(states.created_at, states.as_of)
    month_end = expected.truncate("M") + ibis.interval(months=1)
    dated = states.mutate(
        f_age_days=age,
        f_days_to_expected_close=to_close,
        f_overdue=(to_close < 0).cast("float64"),
        f_promised_days=promised,
        f_promise_used=age / ibis.ifelse(promised > 0, promised, None),
        f_closes_this_quarter=(expected < quarter_end).cast("float64"),
        f_expected_days_to_month_end=days_between(expected, month_end) - 1,
        f_days_to_quarter_end=days_between(states.as_of, quarter_end),
        f_quarter_month=(month + 1).cast("float64"),
        f_month=states.as_of.month().cast("float64"),
        f_weekday=states.as_of.day_of_week.index() + states.as_of.hour() / 24.0,
        f_created_month=states.created_at.month().cast("float64"),
    )
    dated = with_working_time(dated, calendar, at="created_at", name="worked", shift="shift")
    local = dated.created_at + dated["shift"].as_interval("s")
    dated = dated.mutate(
        f_created_weekday=local.day_of_week.index().cast("float64"),
        f_created_hour=local.hour().cast("float64"),
    )
    return dated.select(*KEY, *[name for name in dated.columns if name.startswith("f_")])


def _with_quarter(states: ir.Table, fiscal: FiscalCalendar) -> ir.Table:
    """`states` with `quarter_month` (0, 1, 2: which month of the fiscal quarter) and `quarter_end`."""
    if not fiscal.by_weeks:
        month = (states.as_of.month() - fiscal.starts + 12) % 3
        quarter_end = states.as_of.truncate("M") + (3 - month).as_interval("M")
        return states.mutate(quarter_month=month, quarter_end=quarter_end)
    quarters = ibis.memtable(_days_of_quarters(fiscal))
    found = states.left_join(quarters, states.as_of.date() == quarters["quarter_day"])
    return found.select(*states.columns, "quarter_month", "quarter_end")


@lru_cache(maxsize=8)
def _days_of_quarters(fiscal: FiscalCalendar) -> pa.Table:
    """One row per day from 1970 to 2100: quarter_day, quarter_month, quarter_end."""
    days, places, ends = [], [], []
    for quarter in fiscal.periods_between(_FIRST_DAY, _LAST_DAY, "quarter"):
        months = fiscal.periods_between(quarter.start, quarter.end - timedelta(days=1), "month")
        for place, month in enumerate(months):
            length = (month.end - month.start).days
            days += [month.start + timedelta(days=number) for number in range(length)]
            places += [place] * length
            ends += [datetime.combine(quarter.end, time())] * length
    stamp = pa.array(ends, pa.timestamp("us"))
    return pa.table({"quarter_day": days, "quarter_month": places, "quarter_end": stamp})


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
