"""What was offered, at which discount, and what the customer did with it."""

from __future__ import annotations

import ibis.expr.types as ir

from salesops_ml.snapshots.visible import KEY, days_between, numbered, visible
from salesops_ml.snapshots.vocabulary import slugs
from salesops_ml.warehouse import Warehouse


def quote_features(warehouse: Warehouse, spine: ir.Table, *, statuses: tuple[str, ...]) -> ir.Table:
    """Quotes and discounts over the whole life of the deal.

    f_quotes: an offer is out. f_quotes_30d: haggling now. f_quote_status: what became of the last
    one. f_days_since_quote: an offer that waits grows cold. f_discount, f_discount_change: pressed
    on price. f_quote_amount: what is on paper. f_quote_ratio: the last quote against the first. For
    each of the usual `statuses`: f_quotes_<status>, how often it came so far, and
    f_days_since_quote_<status>, how long the customer has had it, or we have had the answer.
    """
    quotes = numbered(warehouse.table("quotes"), "sent_at", "quote_id")
    seen = visible(spine, quotes, at="sent_at")
    seen = seen.mutate(ago=days_between(seen.sent_at, seen.as_of), sum=seen.amount.cast("float64"))
    last = seen.discount.argmax(seen.place, where=seen.discount.notnull())
    first = seen.discount.argmin(seen.place, where=seen.discount.notnull())
    quoted = seen["sum"].argmax(seen.place, where=seen["sum"].notnull())
    begun = seen["sum"].argmin(seen.place, where=seen["sum"] > 0)
    return seen.group_by(*KEY).agg(
        **_by_status(seen, statuses),
        f_quotes=seen.count().cast("float64"),
        f_quotes_30d=(seen.ago < 30).sum().cast("float64"),
        f_quote_status=seen.status.argmax(seen.place),
        f_days_since_quote=seen.ago.min(),
        f_discount=last,
        f_discount_change=last - first,
        f_quote_amount=quoted,
        f_quote_ratio=quoted / begun,
        first_quote_ago=seen.ago.max(),
    )


def _by_status(seen: ir.Table, statuses: tuple[str, ...]) -> dict[str, ir.Value]:
    done: dict[str, ir.Value] = {}
    for status, name in slugs(statuses).items():
        mine = seen.status == status
        done[f"f_quotes_{name}"] = mine.sum().cast("float64")
        done[f"f_days_since_quote_{name}"] = seen.ago.min(where=mine)
    return done
