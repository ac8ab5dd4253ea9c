"""What was offered, at which discount, and what the customer did with it."""

from __future__ import annotations

import ibis.expr.types as ir

from salesops_ml.snapshots.visible import KEY, days_between, numbered, visible
from salesops_ml.warehouse import Warehouse

STATUSES = ("selected", "created", "sent", "sent_back", "accepted", "declined", "cancelled")


def quote_features(warehouse: Warehouse, spine: ir.Table) -> ir.Table:
    """Quotes and discounts over the whole life of the deal.

    f_quotes: an offer is out. f_quote_status: what became of the last one. f_days_since_quote: an
    offer that waits grows cold. f_discount, f_discount_change: pressed on price. f_quote_amount:
    what is on paper. f_quotes_<status>: how often it came so far.
    """
    quotes = numbered(warehouse.table("quotes"), "sent_at", "quote_id")
    seen = visible(spine, quotes, at="sent_at")
    ago = days_between(seen.sent_at, seen.as_of)
    first = seen.discount.argmin(seen.place, where=seen.discount.notnull())
    last = seen.discount.argmax(seen.place, where=seen.discount.notnull())
    by_status = {
        f"f_quotes_{status}": (seen.status == status).sum().cast("float64") for status in STATUSES
    }
    return seen.group_by(*KEY).agg(
        **by_status,
        f_quotes=seen.count().cast("float64"),
        f_quote_status=seen.status.argmax(seen.place),
        f_days_since_quote=ago.min(),
        f_discount=last,
        f_discount_change=last - first,
        f_quote_amount=seen.amount.argmax(seen.place, where=seen.amount.notnull()).cast("float64"),
    )
