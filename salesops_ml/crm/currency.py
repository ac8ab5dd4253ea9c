"""Amounts in the company's currency.

A deal's amount is converted at the rate of the day it closed, or was created while it is open; a changed
amount at the rate of the day of the change. The rate of a day is the last one published up to it, at
most a month before; a deal without one is a reject that names currency and day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.draft import Draft, rejects_of
from salesops_ml.schema import ARROW
from salesops_ml.settings import Settings

OLDEST_RATE = timedelta(days=31)


def with_base_amounts(draft: Draft, settings: Settings) -> Draft:
    """The deals with `currency` and `amount_base` filled, where the source did not bring them."""
    deals = _with_currency(draft.tables["deals"], settings.company.base_currency)
    draft = replace(draft, tables={**draft.tables, "deals": deals})
    if "amount" not in deals.column_names:
        return draft
    days = pa.chunked_array([pa.nulls(deals.num_rows, ARROW["timestamp"])])
    for name in ("closed_at", "created_at"):
        if name in deals.column_names:
            days = pc.coalesce(days, deals[name])
    rates = rates_on(draft.tables, deals["currency"], days, settings.company.base_currency)
    amounts = in_base(deals["amount"], rates)
    if "amount_base" in deals.column_names:
        amounts = pc.coalesce(deals["amount_base"], amounts)
        deals = deals.drop_columns("amount_base")
    deals = deals.append_column("amount_base", amounts)
    draft = replace(draft, tables={**draft.tables, "deals": deals})
    unpriced = pc.and_(pc.is_valid(deals["amount"]), pc.is_null(amounts))
    rows = deals.filter(unpriced)
    shown = pc.coalesce(days.filter(unpriced).cast(pa.date32(), safe=False).cast(pa.string()),
                        pa.scalar("an unknown day"))  # fmt: skip
    reason = pc.binary_join_element_wise(
        pa.scalar("no rate for"), rows["currency"], pa.scalar("on"), shown, " "
    )
    noted = rejects_of(
        rows, table="deals", column="currency", values=rows["currency"], reason=reason,
        cure="add the rate to `exchange_rates`, or map `amount_base`",
    )  # fmt: skip
    return draft.without("deals", unpriced, noted)


def rates_on(
    tables: Mapping[str, pa.Table], currencies: pa.ChunkedArray, moments: pa.ChunkedArray, base: str
) -> pa.ChunkedArray:
    """Company currency for one unit of each currency on each day; null where there is no rate."""
    asked = pd.DataFrame({"currency": currencies.to_pandas(), "at": moments.to_pandas()})
    rates = pd.Series(1.0, index=asked.index).where(asked["currency"] == base)
    table = tables.get("exchange_rates")
    foreign = asked[(asked["currency"] != base) & asked["at"].notna()]
    if table is not None and len(foreign):
        known = table.select(["currency", "rate"]).to_pandas()
        known["day"] = table["day"].cast(ARROW["timestamp"]).to_pandas()
        found = pd.merge_asof(
            foreign.assign(row=foreign.index).sort_values(["at", "row"]),
            known.sort_values("day"), left_on="at", right_on="day", by="currency",
            tolerance=OLDEST_RATE,
        )  # fmt: skip
        rates.loc[found["row"]] = found["rate"].to_numpy()
    return pa.chunked_array([pa.array(rates, pa.float64(), from_pandas=True)])


def in_base(amounts: pa.ChunkedArray, rates: pa.ChunkedArray) -> pa.ChunkedArray:
    """Money times rate, to the cent; an amount at rate 1 stays exactly what it is."""
    product = pc.round(pc.multiply(amounts.cast(pa.float64()), rates), 2)
    converted = product.cast(ARROW["money"], safe=False)
    return pc.if_else(pc.equal(rates, 1.0), amounts, converted)


def _with_currency(deals: pa.Table, base: str) -> pa.Table:
    if "currency" not in deals.column_names:
        return deals.append_column("currency", pa.repeat(base, deals.num_rows))
    place = deals.column_names.index("currency")
    filled = pc.utf8_upper(pc.fill_null(deals["currency"], base))
    return deals.set_column(place, "currency", filled)
