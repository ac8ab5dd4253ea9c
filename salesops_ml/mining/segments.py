"""What kind of deal it was when it entered a stage: product, size, discount, region, team, ...

Each value is the one known at that moment, so that neither the stay itself nor anything after it can
explain how long the stay was. Amounts, discounts and account sizes are kept as numbers.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import ibis
import ibis.expr.types as ir

if TYPE_CHECKING:
    import pandas as pd

    from salesops_ml.warehouse import Warehouse

KEY = ("case_id", "position")
CATEGORIES = (
    "product", "lead_source", "deal_type", "account_region", "industry", "rep_team", "rep",
)  # fmt: skip
NUMBERS = ("amount", "discount", "account_employees")


def segments(
    warehouse: Warehouse,
    log: ir.Table,
    *,
    as_of: datetime,
    known_at_creation: tuple[str, ...] = ("account_id", "pipeline", "lead_source", "deal_type"),
) -> pd.DataFrame:
    """One row per row of `log`, an `event_log` at the same `as_of`, in its order.

    Columns: `CATEGORIES` and declared attributes (`x_*`, those that are known at creation and text)
    as text, `NUMBERS` as float; null where nothing was known at the moment of entry.

    Args:
        warehouse: where the histories lie.
        log: what `event_log` returned.
        as_of: naive UTC; nothing recorded later is read.
        known_at_creation: columns of `deals` that never change.
    """
    moment = ibis.literal(as_of).cast("timestamp")
    spine = log.select("case_id", "position", "entered_at", "rep_id").mutate(
        entered_at=ibis.least(log.entered_at, moment)
    )
    parts = [
        _fixed(warehouse, spine, known_at_creation),
        _tracked(warehouse, spine),
        _discounts(warehouse, spine),
        _rep(warehouse, spine),
    ]
    joined = spine.select(*KEY)
    for part in parts:
        joined = joined.left_join(part, list(KEY)).drop(*(f"{name}_right" for name in KEY))
    rows: pd.DataFrame = joined.order_by(list(KEY)).execute()
    return rows


def _fixed(warehouse: Warehouse, spine: ir.Table, known: tuple[str, ...]) -> ir.Table:
    """What was known from creation on, and the account as it stood at the entry."""
    deals = warehouse.table("deals")
    named = {
        name: deals[name] if name in known else ibis.null().cast("string")
        for name in ("account_id", "lead_source", "deal_type")
    }
    extra = {
        attribute.column: deals[attribute.column]
        for attribute in warehouse.attributes()
        if attribute.known == "at_creation" and attribute.kind == "string"
    }
    deals = deals.select(deal_key=deals.deal_id, **named, **extra)
    found = spine.left_join(deals, spine.case_id == deals.deal_key)
    found = found.select(*KEY, "entered_at", *named, *extra)
    accounts = warehouse.table("accounts")
    accounts = accounts.filter(accounts.valid_from.notnull())
    place = ibis.row_number().over(
        ibis.window(group_by="account_id", order_by=[accounts.valid_from, accounts.recorded_at])
    )
    accounts = accounts.select(
        "industry", "region", "employees", "valid_from", "recorded_at",
        account_key=accounts.account_id, place=place,
    )  # fmt: skip
    seen = found.left_join(
        accounts,
        [
            found.account_id == accounts.account_key,
            accounts.valid_from <= found.entered_at,
            accounts.recorded_at <= found.entered_at,
        ],
    )
    columns = {name: seen[name].arbitrary() for name in ("lead_source", "deal_type", *extra)}
    return seen.group_by(*KEY).aggregate(
        **columns,
        account_region=seen.region.argmax(seen.place),
        industry=seen.industry.argmax(seen.place),
        account_employees=seen.employees.argmax(seen.place).cast("float64"),
    )


def _tracked(warehouse: Warehouse, spine: ir.Table) -> ir.Table:
    """Product and amount as the history of the deal's own fields has them at the entry."""
    changes = warehouse.table("deal_changes")
    changes = changes.filter(changes.field.isin(["product", "amount_base", "amount"]))
    place = ibis.row_number().over(
        ibis.window(group_by="deal_id", order_by=[changes.changed_at, changes.seq])
    )
    changes = changes.mutate(place=place)
    seen = spine.join(
        changes,
        [
            spine.case_id == changes.deal_id,
            changes.changed_at <= spine.entered_at,
            changes.recorded_at <= spine.entered_at,
        ],
    )

    def last(name: str) -> ir.Value:
        return seen.new_value.argmax(seen.place, where=seen.field == name)

    return seen.group_by(*KEY).aggregate(
        product=last("product"),
        amount=ibis.coalesce(last("amount_base"), last("amount")).try_cast("float64"),
    )


def _discounts(warehouse: Warehouse, spine: ir.Table) -> ir.Table:
    """The discount of the last quote sent by the entry."""
    quotes = warehouse.table("quotes")
    quotes = quotes.filter(quotes.discount.notnull())
    place = ibis.row_number().over(
        ibis.window(group_by="deal_id", order_by=[quotes.sent_at, quotes.quote_id])
    )
    quotes = quotes.mutate(place=place)
    seen = spine.join(
        quotes,
        [
            spine.case_id == quotes.deal_id,
            quotes.sent_at <= spine.entered_at,
            quotes.recorded_at <= spine.entered_at,
        ],
    )
    return seen.group_by(*KEY).aggregate(discount=seen.discount.argmax(seen.place))


def _rep(warehouse: Warehouse, spine: ir.Table) -> ir.Table:
    """Who owned or moved the deal into the stage, and the rep's team then."""
    reps = warehouse.table("reps")
    reps = reps.filter(reps.valid_from.notnull())
    place = ibis.row_number().over(
        ibis.window(group_by="rep_id", order_by=[reps.valid_from, reps.recorded_at])
    )
    reps = reps.select("team", "valid_from", "recorded_at", rep_key=reps.rep_id, place=place)
    seen = spine.left_join(
        reps,
        [
            spine.rep_id == reps.rep_key,
            reps.valid_from <= spine.entered_at,
            reps.recorded_at <= spine.entered_at,
        ],
    )
    return seen.group_by(*KEY).aggregate(
        rep_team=seen.team.argmax(seen.place), rep=seen.rep_id.arbitrary()
    )
