"""What each deal was when it began: whose, for which account, of which kind, at which price.

The first value that was ever recorded is the one that counts, since later records, even of earlier
days, were not known then. `known_*` says when each became known.
"""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

from salesops_ml.warehouse import Warehouse


def deal_beginnings(warehouse: Warehouse, fixed: Sequence[str], keys: Sequence[str]) -> ir.Table:
    """One row per deal: created_at, rep_id, account_id, the `keys`, first_amount, known_<what>.

    Args:
        fixed: columns of `deals` declared as known at creation.
        keys: further columns by whose values deals are counted; `product` through its history.
    """
    deals = warehouse.table("deals")
    plain = {name: deals[name] for name in keys if name != "product"}
    plain["made_for"] = deals["product"] if "product" in fixed else ibis.null("string")
    plain["seller"] = deals.rep_id if "rep_id" in fixed else ibis.null("string")
    done = deals.select("deal_id", "created_at", "account_id", **plain)
    for part in (_first_rep(warehouse), _first_values(warehouse)):
        done = done.left_join(part, "deal_id").drop("deal_id_right")
    bare = ("product", "rep_id")
    return done.select(
        "deal_id",
        "created_at",
        "account_id",
        *[name for name in keys if name not in bare],
        "first_amount",
        "known_amount",
        "known_product",
        "known_rep",
        product=ibis.coalesce(done.first_product, done.made_for),
        rep_id=ibis.coalesce(done.first_rep, done.seller),
    )


def _first_values(warehouse: Warehouse) -> ir.Table:
    """The first amount (in the company's currency, where both were told at once) and product."""
    changes = warehouse.table("deal_changes")
    wanted = changes.filter(changes.field.isin(["amount_base", "amount", "product"]))
    wanted = wanted.mutate(foreign=wanted.field == "amount")
    wanted = wanted.filter(wanted.new_value.notnull())
    wanted = _in_order(wanted, "foreign", "changed_at", "seq")
    product = wanted.field == "product"
    return wanted.group_by("deal_id").agg(
        first_amount=wanted.new_value.argmin(wanted.place, where=~product).try_cast("float64"),
        known_amount=wanted.recorded_at.argmin(wanted.place, where=~product),
        first_product=wanted.new_value.argmin(wanted.place, where=product),
        known_product=wanted.recorded_at.argmin(wanted.place, where=product),
    )


def _first_rep(warehouse: Warehouse) -> ir.Table:
    """The first rep that the history names, a change of the field before a stage's mover."""
    changes, events = warehouse.table("deal_changes"), warehouse.table("stage_events")
    named = changes.filter(changes.field == "rep_id").select(
        "deal_id", "recorded_at", "seq", rep="new_value", at="changed_at", source=ibis.literal(0)
    )
    moved = events.select(
        "deal_id", "recorded_at", "seq", rep="rep_id", at="entered_at", source=ibis.literal(1)
    )
    both = named.union(moved.select(named.columns))
    both = _in_order(both.filter(both.rep.notnull()), "source", "at", "seq")
    return both.group_by("deal_id").agg(
        first_rep=both.rep.argmin(both.place), known_rep=both.recorded_at.min()
    )


def _in_order(rows: ir.Table, *order: str) -> ir.Table:
    """`rows` with `place`, their rank by when they were recorded."""
    window = ibis.window(
        group_by="deal_id", order_by=[rows.recorded_at, *[rows[name] for name in order]]
    )
    return rows.mutate(place=ibis.row_number().over(window))
