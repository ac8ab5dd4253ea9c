"""Deals without any dates: one look each, attributes only, and only the outcome to learn.

Where no deal says when it began, there are no days to look at, nothing can be forecast, and "by when"
has no meaning; what remains is how deals with such attributes end.
"""

from __future__ import annotations

from datetime import datetime

import ibis
import ibis.expr.types as ir

from salesops_ml.warehouse import Warehouse


def is_dated(warehouse: Warehouse) -> bool:
    """Whether any deal says when it began."""
    return bool(warehouse.table("deals").created_at.notnull().any().execute())


def undated_spine(warehouse: Warehouse, *, as_of: datetime, only_open: bool) -> ir.Table:
    """One look at each deal, told as of `as_of`; of open deals only, where asked."""
    deals = warehouse.table("deals")
    if only_open:
        deals = deals.filter(deals.status == "open")
    return deals.select("deal_id", "created_at", as_of=ibis.literal(as_of).cast("timestamp(6)"))


def with_bare_outcome(warehouse: Warehouse, table: ir.Table) -> ir.Table:
    """`table` with `outcome`; closed deals ended at once, open ones were not watched at all."""
    outcomes = warehouse.table("deals").select("deal_id", outcome="status")
    joined = table.left_join(outcomes, "deal_id")
    closed = joined.outcome != "open"
    return joined.select(
        *[table[name] for name in table.columns],
        outcome=joined.outcome,
        days_to_outcome=ibis.ifelse(closed, 0.0, None).cast("float64"),
        days_observed=ibis.literal(0.0),
    )
