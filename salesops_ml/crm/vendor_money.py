"""A CRM's own exchange rates as `exchange_rates`: company currency for one unit, day by day.

A rate holds from its start until the next one, or until the day of the load. A row stands at its start
and every four weeks after, since a rate older than a month is taken for missing.
"""

from __future__ import annotations

from datetime import date

import ibis
import ibis.expr.types as ir

from salesops_ml.crm.vendor_rows import Rows
from salesops_ml.crm.vendors import Surroundings

FIRST_DAY = date(1995, 1, 1)
_STEP_DAYS = 28


def dated_rates(rates: Rows, corporate: Rows, around: Surroundings) -> ir.Table:
    """Salesforce's DatedConversionRate: units of a currency for one of the corporate one, by period.

    Where the company's base currency is not the corporate one, rates go through the corporate one; where
    it has no rate, nothing does, and deals in other money are rejects.
    """
    rates.require("IsoCode", "StartDate", "ConversionRate")
    rows = rates.table.select(
        currency=rates.text("IsoCode"),
        start=rates.day("StartDate"),
        end=rates.day("NextStartDate").fill_null(date(9999, 12, 31)),
        units=rates.number("ConversionRate"),
    )
    return _through_base(rows, corporate, around)


def standing_rates(currencies: Rows, around: Surroundings) -> ir.Table:
    """Salesforce's CurrencyType: one rate for all time, the one of today."""
    currencies.require("IsoCode", "ConversionRate")
    rows = currencies.table.select(
        currency=currencies.text("IsoCode"),
        start=ibis.literal(FIRST_DAY),
        end=ibis.literal(date(9999, 12, 31)),
        units=currencies.number("ConversionRate"),
    )
    return _through_base(rows, currencies, around)


def _through_base(rows: ir.Table, corporate: Rows, around: Surroundings) -> ir.Table:
    """Periods of units for one corporate unit, as base currency for one unit."""
    rows = rows.filter(rows.units > 0, rows.start.notnull())
    told = rows.filter(rows.currency == around.base_currency)
    base = told.select(_from="start", _until="end", _base="units").union(
        _corporate_itself(told, corporate, around.base_currency)
    )
    both = rows.join(base, [rows.start < base["_until"], base["_from"] < rows.end])
    periods = both.select(
        currency=both.currency,
        start=ibis.greatest(both.start, both["_from"]),
        end=ibis.least(both.end, both["_until"]),
        rate=both["_base"] / both.units,
    )
    return by_day(periods, around)


def _corporate_itself(told: ir.Table, corporate: Rows, base: str) -> ir.Table:
    """One corporate unit for itself, where the base currency is the corporate one and is not listed."""
    always = ibis.memtable(
        {"_from": [FIRST_DAY], "_until": [date(9999, 12, 31)], "_base": [1.0]},
        schema={"_from": "date", "_until": "date", "_base": "float64"},
    )
    unlisted = always.filter(told.count().as_scalar() == 0)
    if not (corporate.here and corporate.has("IsCorporate")):
        return unlisted
    rows = corporate.table.filter(corporate.flag("IsCorporate"))
    named = rows.filter(corporate.only(rows).text("IsoCode") == base)
    return unlisted.filter(named.count().as_scalar() > 0)


def by_day(periods: ir.Table, around: Surroundings) -> ir.Table:
    """Periods (currency, start, end, rate) as `exchange_rates`, up to the day of the load."""
    start = ibis.greatest(periods.start, ibis.literal(FIRST_DAY))
    until = ibis.least(periods.end, ibis.literal(around.read_on) + ibis.interval(days=1))
    days = ibis.range(
        start.cast("timestamp"), until.cast("timestamp"), ibis.interval(days=_STEP_DAYS)
    )
    rows = periods.select(currency="currency", day=days.unnest().cast("date"), rate="rate")
    return rows.group_by("currency", "day").agg(rate=rows.rate.max())
