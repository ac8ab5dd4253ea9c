"""Salesforce's tables as canonical tables, whoever landed them: its API, Fivetran, Airbyte or dlt.

Stages and amounts come from OpportunityHistory, which keeps the opportunity as each save left it;
owners and custom fields from OpportunityFieldHistory, which keeps a field's old and new value for
18 to 24 months. Its row `created` says that an opportunity's history is whole; without it the first
value counts from the earliest row that is left, and is not known before.

Sources: Salesforce Object Reference, pages Opportunity, OpportunityHistory, OpportunityFieldHistory,
OpportunityStage, DatedConversionRate, Task, Event, Quote. Probabilities are percentages there.
"""

from __future__ import annotations

from collections.abc import Mapping

import ibis
import ibis.expr.types as ir

from salesops_ml.crm.salesforce_people import accounts_of, activities_of, quotes_of, reps_of
from salesops_ml.crm.vendor_history import (
    STAGE,
    all_entries,
    changes_of,
    deal_changes_of,
    entries,
    stage_events_of,
)
from salesops_ml.crm.vendor_money import dated_rates, standing_rates
from salesops_ml.crm.vendor_rows import Rows, landed_rows, renamed
from salesops_ml.crm.vendor_tables import (
    custom_columns,
    deal_type_words,
    in_pipelines,
    over_time_fields,
    with_reason,
)
from salesops_ml.crm.vendors import Shape, Surroundings
from salesops_ml.crm_settings import SalesforceSource, SqlSource

Options = SalesforceSource | SqlSource

PIPELINE = "sales"
"""The pipeline of opportunities without a record type."""

CATEGORIES = {
    "Omitted": "omitted", "Pipeline": "pipeline", "Best Case": "best_case", "BestCase": "best_case",
    "Most Likely": "best_case", "MostLikely": "best_case", "Commit": "commit", "Forecast": "commit",
    "Closed": "closed",
}  # fmt: skip
"""Forecast categories by the name that people see and by the one that the API keeps."""

DEAL = (
    "Id", "AccountId", "OwnerId", "Amount", "StageName", "ForecastCategoryName", "CloseDate",
    "CreatedDate", "IsClosed", "IsWon", "LeadSource", "Type", "RecordTypeId", "CurrencyIsoCode",
)  # fmt: skip

SHAPE = Shape(
    deals={
        "Opportunity": "Id",
        "OpportunityHistory": "OpportunityId",
        "OpportunityFieldHistory": "OpportunityId",
        "Quote": "OpportunityId",
        "Task": "WhatId",
        "Event": "WhatId",
    },
    own={"activities": (("Task", "Event"), "Id"), "quotes": (("Quote",), "Id")},
    apart={"Account": "accounts", "User": "reps", "UserRole": "reps"},
)


def shape(_: Options) -> Shape:
    """Which tables belong to deals."""
    return SHAPE


def map_salesforce(
    tables: Mapping[str, ir.Table], options: Options, around: Surroundings
) -> dict[str, ir.Table]:
    """Canonical tables from Salesforce's.

    Args:
        tables: landed tables by Salesforce's names, in any way of writing them; Opportunity and
            OpportunityStage are needed, what else is missing costs what docs/crm_sql.md says.
        options: custom fields, pipelines, renamed stages, and who writes as software.
        around: base currency, time zone, and the day of the load.

    Raises:
        SourceError: a table or column that nothing can be read without has not landed.
        ConfigError: the base currency is none of the org's.
    """
    world = _World(tables, options)
    changes = around.keep(changes_of(_entries(world), software=options.integration_users))
    deals = _deals(world, changes)
    done = {
        "deals": deals,
        "stages": _stages(world),
        "stage_events": stage_events_of(changes),
        "deal_changes": deal_changes_of(changes),
        "deal_daily": _today(world),
        **_rates(world, around),
        **accounts_of(tables, options),
        **reps_of(tables, options),
        **activities_of(tables, world.deals, options),
        **quotes_of(tables, world.deals),
    }
    return {name: table for name, table in done.items() if table is not None}


def tracked(tables: Mapping[str, ir.Table], options: Options) -> frozenset[str]:
    """The fields whose past Salesforce tells; `stage` for moves between stages."""
    found: set[str] = set()
    if landed_rows(tables, "OpportunityHistory").here:
        found |= {"stage", "amount", "expected_close_date", "forecast_category"}
    if landed_rows(tables, "OpportunityFieldHistory").here:
        found |= {"rep_id", *options.canonical_fields}
    elif options.canonical_fields:
        found -= set(options.canonical_fields)
    return frozenset(found)


class _World:
    """Salesforce's tables, with the opportunities that still stand."""

    def __init__(self, tables: Mapping[str, ir.Table], options: Options) -> None:
        self.options = options
        self.tables = tables
        self.stages = landed_rows(tables, "OpportunityStage").require("MasterLabel", "IsClosed")
        self.history = landed_rows(tables, "OpportunityHistory").live
        self.field_history = landed_rows(tables, "OpportunityFieldHistory").live
        landed = landed_rows(tables, "Opportunity").require("Id", "StageName", "CreatedDate")
        self.deals = self._live(landed)

    def _live(self, landed: Rows) -> Rows:
        """Opportunities that are not deleted, with their pipeline and today's name of their stage."""
        kept = landed.live
        table = kept.table
        types = landed_rows(self.tables, "RecordType")
        if self.options.record_types and types.here and kept.has("RecordTypeId"):
            names = types.table.select(
                _type=types.text("Id"), _pipeline=types.text("Name").fill_null(PIPELINE)
            )
            table = table.left_join(names, kept.text("RecordTypeId") == names["_type"])
            table = table.mutate(_pipeline=table["_pipeline"].fill_null(PIPELINE)).drop("_type")
        else:
            table = table.mutate(_pipeline=ibis.literal(PIPELINE))
        table = in_pipelines(table, self.options.pipelines)
        return kept.only(table)

    def stage(self, name: ir.StringValue) -> ir.StringValue:
        """A stage by today's name."""
        return renamed(name, self.options.renamed_stages)


def _deals(world: _World, changes: ir.Table) -> ir.Table:
    rows, options = world.deals, world.options
    ended = _ended(world, changes)
    closed = rows.flag("IsClosed")
    status = ibis.cases((closed & rows.flag("IsWon"), "won"), (closed, "lost"), else_="open")
    fields = {"lead_source": "LeadSource", "deal_type": "Type", "amount": "Amount",
              "expected_close_date": "CloseDate",
              "forecast_category": "ForecastCategoryName"}  # fmt: skip
    fields |= options.canonical_fields
    chosen = {
        "deal_id": rows.text("Id"),
        "account_id": rows.text("AccountId"),
        "rep_id": rows.text("OwnerId"),
        "pipeline": rows.table["_pipeline"],
        "lead_source": rows.text(fields["lead_source"]),
        "deal_type": deal_type_words(rows.text(fields["deal_type"])),
        "amount": rows.money(fields["amount"]),
        "expected_close_date": rows.day(fields["expected_close_date"]),
        "created_at": rows.moment("CreatedDate"),
        "status": status,
        "forecast_category": _category(rows.text(fields["forecast_category"])),
        "_closed_on": rows.day("CloseDate").cast("timestamp"),
        "_closed": closed,
    }
    if rows.has("CurrencyIsoCode"):
        chosen["currency"] = rows.text("CurrencyIsoCode")
    chosen |= _optional(rows, fields)
    chosen |= custom_columns(rows, options)
    table = rows.table.select(**with_reason(chosen, rows))
    table = table.left_join(ended, table.deal_id == ended["_deal"])
    at = ibis.coalesce(table["_ended_at"], table["_closed_on"])
    at = ibis.ifelse(table["_closed"], at, ibis.null("timestamp"))
    return table.mutate(closed_at=at).drop("_deal", "_ended_at", "_closed_on", "_closed")


def _optional(rows: Rows, fields: Mapping[str, str]) -> dict[str, ir.Value]:
    """Canonical columns that have no field of their own in Salesforce, where settings name one."""
    readers = {"product": rows.text, "lost_reason": rows.text, "service_start": rows.day,
               "term_months": rows.integer}  # fmt: skip
    return {name: read(fields[name]) for name, read in readers.items() if name in fields}


def _ended(world: _World, changes: ir.Table) -> ir.Table:
    """When each deal last moved into a closing stage."""
    rows = world.stages
    closing = rows.table.filter(rows.flag("IsClosed")).select(
        _closing=world.stage(rows.text("MasterLabel"))
    )
    moves = changes.filter(changes.field == STAGE)
    ends = moves.semi_join(closing, moves.value == closing["_closing"])
    return ends.group_by(_deal="deal_id").agg(_ended_at=ends["at"].max())


def _category(text: ir.StringValue) -> ir.StringValue:
    """A forecast category in our words; one that an org made itself counts as pipeline."""
    known = renamed(text, CATEGORIES)
    return ibis.cases(
        (text.isnull(), ibis.null("string")),
        (text.isin(list(CATEGORIES)), known),
        else_="pipeline",
    )


def _stages(world: _World) -> ir.Table:
    """Every stage in every pipeline that deals run in; Salesforce does not tell which use which."""
    rows = world.stages
    table = rows.table.select(
        stage=world.stage(rows.text("MasterLabel")),
        order=rows.number("SortOrder").fill_null(0),
        probability=rows.number("DefaultProbability") / 100,
        is_won=rows.flag("IsWon"),
        is_closed=rows.flag("IsClosed"),
    )
    table = table.filter(table.stage.notnull()).distinct(on="stage", keep="first")
    position = ibis.row_number().over(order_by=[table.order, table.stage])
    table = table.mutate(position=position).drop("order")
    return table.cross_join(_pipelines(world))


def _pipelines(world: _World) -> ir.Table:
    """The pipelines that there are, whether or not a deal runs in them today."""
    types = landed_rows(world.tables, "RecordType")
    if not (world.options.record_types and types.here and world.deals.has("RecordTypeId")):
        return ibis.memtable({"pipeline": [PIPELINE]})
    named = types.table.select(pipeline=types.text("Name").fill_null(PIPELINE))
    if types.has("SobjectType"):
        of_deals = types.text("SobjectType").fill_null("Opportunity") == "Opportunity"
        named = types.table.filter(of_deals).select(pipeline=types.text("Name").fill_null(PIPELINE))
    return named.union(ibis.memtable({"pipeline": [PIPELINE]})).distinct()


def _entries(world: _World) -> ir.Table:
    """All that Salesforce's two histories tell, as entries."""
    return all_entries([*_snapshots(world), *_field_changes(world)])


def _snapshots(world: _World) -> list[ir.Table]:
    """Stage, amount, close date and category as each save of an opportunity left them."""
    rows = world.history
    if not rows.here:
        return []
    rows.require("OpportunityId", "StageName", "CreatedDate")
    live = world.deals.table.select(_live=world.deals.text("Id"))
    kept = rows.only(rows.table.semi_join(live, rows.text("OpportunityId") == live["_live"]))
    values = {
        STAGE: world.stage(kept.text("StageName")),
        "amount": kept.money("Amount").cast("string"),
        "expected_close_date": kept.day("CloseDate").cast("string"),
        "forecast_category": _category(kept.text("ForecastCategory")),
    }
    named = {STAGE: "StageName", "amount": "Amount", "expected_close_date": "CloseDate",
             "forecast_category": "ForecastCategory"}  # fmt: skip
    return [
        entries(
            kept.table, deal_id=kept.text("OpportunityId"), field=field, tie=kept.text("Id"),
            at=kept.moment("CreatedDate"), value=value, by=kept.text("CreatedById"),
        )
        for field, value in values.items()
        if kept.has(named[field]) and field not in world.options.canonical_fields
    ]  # fmt: skip


def _tracked(world: _World) -> dict[str, tuple[str, ir.StringValue]]:
    """Our name of each field of the field history -> its name there, and today's value."""
    rows, options = world.deals, world.options
    fields = {"rep_id": ("Owner", rows.text("OwnerId"))}
    if rows.has("CurrencyIsoCode"):
        fields["currency"] = ("CurrencyIsoCode", rows.text("CurrencyIsoCode"))
    for name in ("product", "amount", "expected_close_date", "forecast_category"):
        column = options.canonical_fields.get(name)
        if column is not None:
            read = {"amount": rows.money, "expected_close_date": rows.day}.get(name, rows.text)
            fields[name] = (column, read(column).cast("string"))
    for name, (column, value) in over_time_fields(rows, options).items():
        fields[name] = (column, value)
    return fields


def _field_changes(world: _World) -> list[ir.Table]:
    """Fields of which Salesforce keeps old and new value, with the first value where it is known."""
    rows = world.field_history
    if not rows.here:
        return []
    rows.require("OpportunityId", "Field", "CreatedDate", "OldValue", "NewValue")
    told = rows.table.select(
        _deal=rows.text("OpportunityId"), _field=rows.text("Field"), _at=rows.moment("CreatedDate"),
        _id=rows.text("Id"), _old=rows.text("OldValue"), _new=rows.text("NewValue"),
        _by=rows.text("CreatedById"), CreatedDate=rows.text("CreatedDate"),
    )  # fmt: skip
    timed = told.filter(told["_at"].notnull())
    begun = timed.group_by("_deal").agg(
        _begun=timed["_at"].min(), _starter=timed["_by"].argmin(timed["_id"])
    )
    found = []
    for name, (column, today) in _tracked(world).items():
        of_field = is_later = told["_field"] == column
        if name == "rep_id":
            of_field &= _is_user(told["_old"]) & _is_user(told["_new"])
            is_later = of_field | ((told["_field"] == "created") & told["_at"].isnull())
        first = _first_values(world, begun, told.filter(of_field), name, today)
        found += [first, _later(world, told.filter(is_later), name)]
    return found


def _is_user(value: ir.StringValue) -> ir.BooleanValue:
    """A change of owner stands twice in the field history: by name, and by id, which begins 005."""
    return (value.startswith("005") & value.length().isin([15, 18])).fill_null(True)


def _first_values(
    world: _World, begun: ir.Table, of_field: ir.Table, name: str, today: ir.StringValue
) -> ir.Table:
    """What stood in a field when its history begins: the old value of its first change, or today's."""
    rows = world.deals
    order = ibis.window(group_by="_deal", order_by=["_at", "_id"])
    first = of_field.mutate(_nth=ibis.row_number().over(order))
    first = first.filter(first["_nth"] == 0).select(_changed="_deal", _was="_old")
    deals = rows.table.select(_live=rows.text("Id"), _today=today)
    deals = deals.inner_join(begun, deals["_live"] == begun["_deal"]).drop("_deal")
    deals = deals.left_join(first, deals["_live"] == first["_changed"])
    value = ibis.ifelse(deals["_changed"].isnull(), deals["_today"], deals["_was"])
    return entries(deals, deal_id=deals["_live"], field=name, at=deals["_begun"], value=value,
                   by=deals["_starter"])  # fmt: skip


def _later(world: _World, of_field: ir.Table, name: str) -> ir.Table:
    rows = world.deals
    live = rows.table.select(_live=rows.text("Id"))
    kept = of_field.semi_join(live, of_field["_deal"] == live["_live"])
    at = world.field_history.only(kept).moment("CreatedDate")
    return entries(kept, deal_id=kept["_deal"], field=name, at=at, tie=kept["_id"],
                   value=kept["_new"], by=kept["_by"])  # fmt: skip


def _today(world: _World) -> ir.Table:
    """What a photograph of the open deals shows."""
    rows = world.deals
    open_rows = rows.only(rows.table.filter(~rows.flag("IsClosed")))
    return open_rows.table.select(
        deal_id=open_rows.text("Id"),
        stage=world.stage(open_rows.text("StageName")),
        amount=open_rows.money("Amount"),
        expected_close_date=open_rows.day("CloseDate"),
        rep_id=open_rows.text("OwnerId"),
        forecast_category=_category(open_rows.text("ForecastCategoryName")),
    )


def _rates(world: _World, around: Surroundings) -> dict[str, ir.Table]:
    """Salesforce gives units of a currency for one of the corporate one, by period or for all time."""
    dated = landed_rows(world.tables, "DatedConversionRate").live
    standing = landed_rows(world.tables, "CurrencyType").live
    if dated.here:
        return {"exchange_rates": dated_rates(dated, standing, around)}
    return {"exchange_rates": standing_rates(standing, around)} if standing.here else {}
