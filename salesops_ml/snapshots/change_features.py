"""What the deal's own fields said by then, and how often somebody changed them."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from salesops_ml.schema import Attribute
from salesops_ml.snapshots.visible import KEY, days_between, numbered, visible
from salesops_ml.warehouse import Warehouse

OWN_FIELDS = "salesops_"
"""Fields that this package writes back start with this; they are never read as history."""


def field_states(warehouse: Warehouse, spine: ir.Table) -> ir.Table:
    """Per look, the value that each tracked field had then: amount, expected close, owner, ...

    Columns: deal_id, as_of, amount (company currency, float), first_amount, own_amount (the deal's
    currency), expected_close_date, first_expected (the first one), rep_id, product,
    forecast_category. A field without history is null.
    """
    seen = visible(spine, _changes(warehouse), at="changed_at")

    def last(name: str) -> ir.Value:
        return seen.new_value.argmax(seen.place, where=seen.field == name)

    def first(name: str) -> ir.Value:
        return seen.new_value.argmin(seen.place, where=seen.field == name)

    return seen.group_by(*KEY).agg(
        amount=ibis.coalesce(last("amount_base"), last("amount")).try_cast("float64"),
        first_amount=ibis.coalesce(first("amount_base"), first("amount")).try_cast("float64"),
        own_amount=last("amount").try_cast("float64"),
        expected_close_date=last("expected_close_date").try_cast("date"),
        first_expected=first("expected_close_date").try_cast("date"),
        rep_id=last("rep_id"),
        product=last("product"),
        forecast_category=last("forecast_category"),
    )


def change_features(warehouse: Warehouse, spine: ir.Table) -> ir.Table:
    """Counts and recency of changes, over the life of the deal and its last 30 days.

    f_amount_changes, f_days_since_amount_change: a deal that is still being shaped.
    f_amount_raises, f_amount_cuts, f_last_amount_ratio: growing, or being haggled down. f_pushes,
    f_days_pushed: a close date that keeps moving away. f_pushes_30d: moving away now. f_pulls:
    coming nearer. f_days_since_push, f_last_push_days: how fresh and how big the last push was.
    f_owner_changes: handed from rep to rep. f_category_changes: the rep's mind changes.
    f_changes_30d: somebody is tending it.
    """
    seen = visible(spine, _moved(warehouse), at="changed_at")
    seen = seen.mutate(
        days_ago=days_between(seen.changed_at, seen.as_of), changed=seen.old_value.notnull()
    )
    return seen.group_by(*KEY).agg(
        **_amount_moves(seen),
        **_close_moves(seen),
        f_owner_changes=_count(seen.changed & (seen.field == "rep_id")),
        f_category_changes=_count(seen.changed & (seen.field == "forecast_category")),
        f_changes_30d=_count(seen.changed & (seen.days_ago < 30)),
    )


def _amount_moves(seen: ir.Table) -> dict[str, ir.Value]:
    either = seen.changed & seen.field.isin(["amount", "amount_base"])
    return {
        "f_amount_changes": _count(seen.changed & (seen.field == "amount")),
        "f_days_since_amount_change": seen.days_ago.min(where=either),
        "f_amount_raises": _count(seen.amount_ratio > 1),
        "f_amount_cuts": _count(seen.amount_ratio < 1),
        "f_last_amount_ratio": seen.amount_ratio.argmax(
            seen.place, where=seen.amount_ratio.notnull()
        ),
    }


def _close_moves(seen: ir.Table) -> dict[str, ir.Value]:
    pushed = seen.changed & (seen.pushed_days > 0)
    return {
        "f_pushes": _count(pushed),
        "f_days_pushed": seen.pushed_days.sum(where=seen.changed).cast("float64"),
        "f_pushes_30d": _count(pushed & (seen.days_ago < 30)),
        "f_pulls": _count(seen.changed & (seen.pushed_days < 0)),
        "f_days_since_push": seen.days_ago.min(where=pushed),
        "f_last_push_days": seen.pushed_days.argmax(seen.place, where=pushed),
    }


def _count(condition: ir.Value) -> ir.Value:
    return condition.sum().cast("float64")


def attribute_states(
    warehouse: Warehouse, spine: ir.Table, attributes: tuple[Attribute, ...]
) -> ir.Table:
    """Declared extra attributes as features `f_x_*`: at creation from `deals`, else from history."""
    fixed = [a for a in attributes if a.known == "at_creation"]
    moving = [a for a in attributes if a.known == "over_time"]
    deals = warehouse.table("deals")
    looks = spine.select(*KEY)
    columns = {f"f_{a.column}": _plain(deals[a.column], a.kind) for a in fixed}
    known = deals.select("deal_id", **columns)
    frames = [looks.left_join(known, "deal_id").select(*KEY, *columns)]
    if moving:
        seen = visible(spine, _changes(warehouse), at="changed_at")
        frames.append(
            seen.group_by(*KEY).agg(
                **{
                    f"f_{a.column}": _plain(
                        seen.new_value.argmax(seen.place, where=seen.field == a.name), a.kind
                    )
                    for a in moving
                }
            )
        )
    if len(frames) == 1:
        return frames[0]
    still, moving_states = frames
    names = [name for name in moving_states.columns if name not in KEY]
    return still.left_join(moving_states, list(KEY)).select(*KEY, *columns, *names)


def _plain(value: ir.Value, kind: str) -> ir.Value:
    """A float for numbers, flags and moments (days since 1970), text for the rest."""
    if kind == "string":
        return value.cast("string")
    if kind == "timestamp":
        return value.try_cast("timestamp").epoch_seconds().cast("float64") / 86_400.0
    if kind == "boolean":
        return value.try_cast("boolean").cast("float64")
    return value.try_cast("float64")


def _changes(warehouse: Warehouse) -> ir.Table:
    """The history of people's changes, ranked; our own written-back fields are left out."""
    changes = warehouse.table("deal_changes")
    own = changes.field.startswith(OWN_FIELDS)
    return numbered(changes.filter(~own), "changed_at", "seq")


def _moved(warehouse: Warehouse) -> ir.Table:
    """Changes with what they moved.

    `pushed_days`: by how much a change of expected close moved it later; `amount_ratio`: the new
    amount by the old, in the deal's currency.
    """
    changes = _changes(warehouse)
    later = changes.new_value.try_cast("date").delta(changes.old_value.try_cast("date"), unit="day")
    is_close = changes.field == "expected_close_date"
    before = changes.old_value.try_cast("float64")
    ratio = changes.new_value.try_cast("float64") / ibis.ifelse(before > 0, before, None)
    return changes.mutate(
        pushed_days=ibis.ifelse(is_close, later, None).cast("float64"),
        amount_ratio=ibis.ifelse(changes.field == "amount", ratio, None),
    )
