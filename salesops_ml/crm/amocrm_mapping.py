"""amoCRM's records as canonical tables.

History comes from events: each has the value before and after. What stood there when a lead began is the
value before its first event, else today's. Won and lost are two statuses that every pipeline has; a
renamed status has one name throughout, today's. There is no standard field for the expected close, the
forecast category, the product, the source or the type of a deal: settings name the company's own.

Sources: amoCRM developer documentation, pages "Leads", "Leads pipelines" (statuses 142 and 143),
"Events and notes" and "Account" (one currency for all leads).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ibis
import ibis.expr.types as ir

from salesops_ml.crm.amocrm_people import accounts_of, activities_of, reps_of
from salesops_ml.crm.amocrm_rows import column_of
from salesops_ml.crm.vendor_history import (
    STAGE,
    all_entries,
    changes_of,
    deal_changes_of,
    entries,
    stage_events_of,
)
from salesops_ml.crm.vendor_rows import Rows, landed_rows
from salesops_ml.crm.vendor_tables import (
    custom_columns,
    deal_type_words,
    in_pipelines,
    stages_in_order,
    with_reason,
)
from salesops_ml.crm.vendors import Link, Shape, Surroundings
from salesops_ml.crm_settings import AmoCrmSource
from salesops_ml.errors import SourceError

Tables = Mapping[str, ir.Table]

SHAPE = Shape(
    deals={
        "leads": "id",
        "lead_events": "deal_id",
        "lead_contacts": "deal_id",
        "tasks": "deal_id",
        "lead_notes": "deal_id",
    },
    links={"contact_notes": Link("contact_id", "lead_contacts", "contact_id")},
    own={"activities": (("tasks", "lead_notes", "contact_notes"), "activity_id")},
    apart={"companies": "accounts", "users": "reps"},
)

_STANDARD = {"lead_status_changed": STAGE, "sale_field_changed": "amount",
             "entity_responsible_changed": "rep_id"}  # fmt: skip
_OVER_TIME = ("amount", "expected_close_date", "forecast_category", "product")
ROBOT = "0"
"""Who is named as the author of what the account's own robots do."""
CATEGORIES = ("omitted", "pipeline", "best_case", "commit", "closed")


def shape(_: AmoCrmSource) -> Shape:
    """Which tables belong to deals."""
    return SHAPE


def references(options: AmoCrmSource) -> dict[str, str]:
    """The fields of leads that settings name: the setting -> id or code.

    Example:
        >>> references(AmoCrmSource(type="amocrm", url="https://x.kommo.com", token="env:KOMMO",
        ...                         canonical_fields={"product": "PRODUCT"}))
        {'canonical_fields.product': 'PRODUCT'}
    """
    named = {f"canonical_fields.{name}": ref for name, ref in options.canonical_fields.items()}
    return named | {
        f"custom_fields.{name}": field.column or name
        for name, field in options.custom_fields.items()
    }


def map_amocrm(tables: Tables, options: AmoCrmSource, around: Surroundings) -> dict[str, ir.Table]:
    """Canonical tables from amoCRM's.

    Args:
        tables: landed tables: account, leads, lead_events, lead_contacts, pipelines, statuses,
            loss_reasons, custom_fields, users, companies, tasks, lead_notes and contact_notes; leads and
            statuses are needed.
        options: custom fields, pipelines, and who writes as software (ids of users).
        around: base currency and day of the load.

    Raises:
        SourceError: a table that nothing can be read without has not landed, or the account's money is
            not the company's.
    """
    _check_money(tables, around)
    world = _World(tables, options)
    told = changes_of(_entries(world), software=options.integration_users)
    changes = around.keep(told.mutate(by=told.by.nullif(ROBOT)))
    done = {
        "deals": _deals(world, changes),
        "stages": world.stages.drop("key"),
        "stage_events": stage_events_of(changes),
        "deal_changes": deal_changes_of(changes),
        "deal_daily": _today(world),
        **accounts_of(tables, options),
        **reps_of(tables, options),
        **activities_of(tables, world.deals, options),
    }
    return {name: table for name, table in done.items() if table is not None}


def _check_money(tables: Tables, around: Surroundings) -> None:
    """amoCRM has no exchange rates, so its one currency must be the company's."""
    rows = landed_rows(tables, "account")
    if not rows.has("currency"):
        return
    told = rows.live.table.select(money=rows.live.text("currency")).to_pyarrow()
    for money in told["money"].drop_null().to_pylist():
        if money != around.base_currency:
            raise SourceError(
                f"`company.base_currency` is {around.base_currency}, but the amoCRM account counts in "
                f"{money} and has no exchange rates; set it to {money}"
            )


def tracked(tables: Tables, options: AmoCrmSource) -> frozenset[str]:
    """The fields whose past events tell; the expected close and category only as fields of their own."""
    if not landed_rows(tables, "lead_events").here:
        return frozenset()
    return frozenset({"stage", "amount", "rep_id", *(_OVER_TIME & options.canonical_fields.keys())})


class _World:
    """amoCRM's tables, with the deals that still stand and their stages by name."""

    def __init__(self, tables: Tables, options: AmoCrmSource) -> None:
        self.tables, self.options = tables, options
        self.fields = {n: column_of(ref) for n, ref in options.canonical_fields.items()}
        self.stages = _stages(tables, options)
        landed = landed_rows(tables, "leads").require("id", "stage", "created_at")
        self.deals = self._live(landed)

    def _live(self, landed: Rows) -> Rows:
        """Deals that are not deleted, with stage, pipeline, loss reason and the account's money."""
        kept = landed.live
        labels = self.stages.select(
            _key="key", _stage="stage", _won="is_won", _closed="is_closed", _of="pipeline"
        )
        table = kept.table.left_join(labels, kept.text("stage") == labels["_key"]).drop("_key")
        names = _pipelines(self.tables)
        table = table.left_join(names, kept.text("pipeline_id") == names["_pipeline_id"])
        reasons = landed_rows(self.tables, "loss_reasons")
        told = reasons.table.select(_reason_id=reasons.text("id"), _reason=reasons.text("name"))
        table = table.left_join(told, kept.text("loss_reason_id") == told["_reason_id"])
        account = landed_rows(self.tables, "account")
        money = account.table.select(_currency=account.text("currency"))
        money = money.agg(_currency=money["_currency"].max())
        table = table.cross_join(money)
        named = ibis.coalesce(table["_of"], table["_label"], kept.text("pipeline_id"))
        table = table.mutate(_pipeline=named)
        table = table.drop("_pipeline_id", "_label", "_of", "_reason_id")
        return kept.only(in_pipelines(table, self.options.pipelines))

    def text_today(self, field: str) -> ir.StringValue:
        """What stands in a field today, as events tell it."""
        rows = self.deals
        if field == STAGE:
            return rows.text("stage")
        custom = self.options.custom_fields.get(field)
        if field in self.fields:
            return rows.text(self.fields[field])
        if custom is not None:
            return rows.text(column_of(custom.column or field))
        return rows.text("price" if field == "amount" else "responsible_user_id")


def _pipelines(tables: Tables) -> ir.Table:
    rows = landed_rows(tables, "pipelines")
    label = ibis.coalesce(rows.text("name"), rows.text("id"))
    return rows.table.select(_pipeline_id=rows.text("id"), _label=label)


def _stages(tables: Tables, options: AmoCrmSource) -> ir.Table:
    """`stages` with `key`; deleted ones stay, since history speaks of them."""
    rows = landed_rows(tables, "statuses").require("stage", "id", "pipeline_id", "name")
    names = _pipelines(tables)
    won = (rows.text("id") == str(options.won_status)).fill_null(False)
    lost = (rows.text("id") == str(options.lost_status)).fill_null(False)
    table = rows.table.select(
        key=rows.text("stage"), _of=rows.text("pipeline_id"), label=rows.text("name"),
        order=rows.number("sort").fill_null(0), is_won=won, is_closed=won | lost,
    )  # fmt: skip
    return stages_in_order(table, names, key="key", called="_label")


def _deals(world: _World, changes: ir.Table) -> ir.Table:
    rows, fields = world.deals, world.fields
    closed = rows.table["_closed"].fill_null(False)
    won = rows.table["_won"].fill_null(False)
    chosen: dict[str, Any] = {
        "deal_id": rows.text("id"),
        "account_id": rows.text("company_id"),
        "rep_id": rows.text("responsible_user_id"),
        "pipeline": rows.table["_pipeline"],
        "currency": rows.table["_currency"],
        "amount": rows.money(fields.get("amount", "price")),
        "created_at": rows.moment("created_at"),
        "status": ibis.cases((closed & won, "won"), (closed, "lost"), else_="open"),
        "lost_reason": rows.table["_reason"],
        "_closed_on": rows.moment("closed_at"),
        "_closed": closed,
    }
    readers: dict[str, Callable[[str], ir.Value]] = {
        "product": rows.text, "lead_source": rows.text, "lost_reason": rows.text,
        "deal_type": lambda name: deal_type_words(rows.text(name)),
        "expected_close_date": rows.day, "service_start": rows.day, "term_months": rows.integer,
        "forecast_category": lambda name: _category(rows.text(name)),
    }  # fmt: skip
    chosen |= {name: read(fields[name]) for name, read in readers.items() if name in fields}
    chosen |= custom_columns(rows, _as_landed(world.options))
    table = rows.table.select(**with_reason(chosen, rows))
    ended = _ended(world, changes)
    table = table.left_join(ended, table.deal_id == ended["_deal"]).drop("_deal")
    at = ibis.coalesce(table["_closed_on"], table["_ended_at"])
    at = ibis.ifelse(table["_closed"], at, ibis.null("timestamp"))
    return table.mutate(closed_at=at).drop("_ended_at", "_closed_on", "_closed")


def _as_landed(options: AmoCrmSource) -> AmoCrmSource:
    """The settings with the fields that they name by their landed columns."""
    fields = {
        name: field.model_copy(update={"column": column_of(field.column or name)})
        for name, field in options.custom_fields.items()
    }
    canonical = {name: column_of(ref) for name, ref in options.canonical_fields.items()}
    return options.model_copy(update={"custom_fields": fields, "canonical_fields": canonical})


def _ended(world: _World, changes: ir.Table) -> ir.Table:
    """When each deal last moved into a closing stage."""
    closing = world.stages.filter(world.stages.is_closed).select(_closing="stage").distinct()
    moves = changes.filter(changes.field == STAGE)
    ends = moves.semi_join(closing, moves.value == closing["_closing"])
    return ends.group_by(_deal="deal_id").agg(_ended_at=ends["at"].max())


def _category(text: ir.StringValue) -> ir.StringValue:
    """A forecast category in our words; one that the company made itself counts as pipeline."""
    plain = text.lower().replace(" ", "_")
    return ibis.cases(
        (text.isnull(), ibis.null("string")),
        (plain.isin(list(CATEGORIES)), plain),
        else_="pipeline",
    )


def histories(options: AmoCrmSource) -> dict[str, str]:
    """The fields with a history of events -> the id or code of the custom field."""
    found = {n: ref for n, ref in options.canonical_fields.items() if n in _OVER_TIME}
    return found | {
        name: field.column or name
        for name, field in options.custom_fields.items()
        if field.known == "over_time"
    }


def _entries(world: _World) -> ir.Table:
    """What events tell of each field, and what stood there when the deal began."""
    told = _told(world)
    if told is None:
        return all_entries([])
    first = ibis.window(group_by=["deal_id", "field"], order_by=["at", "tie"])
    numbered = told.mutate(_nth=ibis.row_number().over(first))
    begun = numbered.filter(numbered["_nth"] == 0).select(
        _deal="deal_id", _field="field", _before="before"
    )
    starts = [
        _start(world, field, begun.filter(begun["_field"] == field))
        for field in dict.fromkeys((STAGE, "amount", "rep_id", *histories(world.options)))
    ]
    at = Rows(told, "lead_events").moment("created_at")
    events = entries(told, deal_id=told.deal_id, field=told.field, at=at, tie=told.tie,
                     value=told.after, by=told.by)  # fmt: skip
    raw = ibis.union(events, *starts)
    labels = world.stages.select(_key="key", _label="stage")
    named = raw.left_join(labels, (raw.field == STAGE) & (raw.value == labels["_key"]))
    return named.mutate(value=_value(named)).drop("_key", "_label")


def _start(world: _World, field: str, begun: ir.Table) -> ir.Table:
    """The value of a field when each deal began: before its first event, else today's."""
    rows = world.deals
    deals = rows.table.select(
        deal_id=rows.text("id"), at=rows.moment("created_at"), by=rows.text("created_by"),
        today=world.text_today(field),
    )  # fmt: skip
    both = deals.left_join(begun, deals.deal_id == begun["_deal"])
    value = ibis.ifelse(both["_deal"].notnull(), both["_before"], both.today)
    done = entries(both, deal_id=both.deal_id, field=field, at=both["at"], value=value, by=both.by)
    return done.filter(done["at"].notnull())


def _told(world: _World) -> ir.Table | None:
    """Events of the deals that stand, with our name of the field that each changed."""
    rows = landed_rows(world.tables, "lead_events")
    if not rows.here:
        return None
    rows.require("id", "deal_id", "type", "at")
    live = world.deals.table.select(_live=world.deals.text("id"))
    kept = rows.only(rows.table.semi_join(live, rows.text("deal_id") == live["_live"]))
    known = landed_rows(world.tables, "custom_fields").live
    refs = known.table.select(_field_id=known.text("id"), _ref=known.text("ref"))
    kept = kept.only(kept.table.left_join(refs, kept.text("field_id") == refs["_field_id"]))
    custom = histories(world.options)
    of_price = "amount" not in custom
    standard = [
        (kept.text("type") == kind, name)
        for kind, name in _STANDARD.items()
        if name != "amount" or of_price
    ]
    named = [(kept.table["_ref"] == ref, name) for name, ref in custom.items()]
    field = ibis.cases(*standard, *named, else_=ibis.null("string"))
    told = kept.table.select(
        deal_id=kept.text("deal_id"), field=field, at=kept.moment("at"), tie=kept.text("id"),
        before=kept.text("before"), after=kept.text("after"), by=kept.text("created_by"),
        created_at=kept.text("at"),
    )  # fmt: skip
    return told.filter(told.field.notnull())


def _value(named: ir.Table) -> ir.StringValue:
    """A value as its field's text: stages by name, money to the cent, days as days."""
    money = ibis.ifelse(named.field == "amount", named.value, ibis.null("string"))
    day = ibis.ifelse(named.field == "expected_close_date", named.value, ibis.null("string"))
    return ibis.cases(
        (named.field == STAGE, ibis.coalesce(named["_label"], named.value)),
        (named.field == "amount", money.try_cast("decimal(18, 2)").cast("string")),
        (named.field == "expected_close_date", day.try_cast("date").cast("string")),
        (named.field == "forecast_category", _category(named.value)),
        else_=named.value,
    )


def _today(world: _World) -> ir.Table:
    """What a photograph of the open deals shows."""
    rows, fields = world.deals, world.fields
    kept = rows.only(rows.table.filter(~rows.table["_closed"].fill_null(False)))
    told = {
        "deal_id": kept.text("id"),
        "stage": ibis.coalesce(kept.table["_stage"], kept.text("stage")),
        "amount": kept.money(fields.get("amount", "price")),
        "rep_id": kept.text("responsible_user_id"),
    }
    close = fields.get("expected_close_date")
    category = fields.get("forecast_category")
    told["expected_close_date"] = kept.day(close) if close else ibis.null("date")
    told["forecast_category"] = _category(kept.text(category)) if category else ibis.null("string")
    return kept.table.select(**told)
