"""HubSpot's objects as canonical tables, whoever landed them: its API, Fivetran, Airbyte or dlt.

All history comes from property history, which HubSpot keeps for every property of a deal; the properties
`hs_v2_date_entered_<stage>` are overwritten when a deal comes back to a stage, and are not used. Stages
are known by id there, so that a renamed stage has one name throughout: today's. Probabilities of
stages are shares from 0 to 1, as they come.

Sources: HubSpot developer documentation, pages Deals, Pipelines, Owners, Associations, Engagements,
Quotes, and "Retrieve records with property history".
"""

from __future__ import annotations

from collections.abc import Mapping

import ibis
import ibis.expr.types as ir

from salesops_ml.crm.hubspot_people import (
    accounts_of,
    activities_of,
    quotes_of,
    reps_of,
    standing_links,
)
from salesops_ml.crm.vendor_history import (
    STAGE,
    all_entries,
    changes_of,
    deal_changes_of,
    entries,
    stage_events_of,
)
from salesops_ml.crm.vendor_money import by_day
from salesops_ml.crm.vendor_rows import Rows, among, landed_rows, local_day
from salesops_ml.crm.vendor_tables import (
    custom_columns,
    deal_type_words,
    in_pipelines,
    stages_in_order,
    with_reason,
)
from salesops_ml.crm.vendors import Link, Shape, Surroundings
from salesops_ml.crm_settings import HubSpotSource, SqlSource

Options = HubSpotSource | SqlSource

CATEGORIES = {"OMIT": "omitted", "PIPELINE": "pipeline", "BEST_CASE": "best_case",
              "MOST_LIKELY": "best_case", "COMMIT": "commit", "CLOSED": "closed"}  # fmt: skip

FIELDS = {
    "amount": "amount", "expected_close_date": "closedate", "forecast_category":
    "hs_manual_forecast_category", "lead_source": "hs_analytics_source", "deal_type": "dealtype",
    "lost_reason": "closed_lost_reason",
}  # fmt: skip
"""Canonical columns of deals -> HubSpot's property."""

DEAL = (
    "dealname", "dealstage", "pipeline", "hubspot_owner_id", "createdate", "closedate", "amount",
    "deal_currency_code", "amount_in_home_currency", "hs_is_closed", "hs_is_closed_won",
    "hs_merged_object_ids", "hs_manual_forecast_category", "hs_analytics_source", "dealtype",
    "closed_lost_reason",
)  # fmt: skip
"""The properties of a deal that the mapping reads, beside custom ones."""

ACTIVITIES = ("meetings", "calls", "emails", "tasks")

HOME = "amount_in_home_currency"

SHAPE = Shape(
    deals={
        "deals": "id",
        "deal_property_history": "deal_id",
        "deal_companies": "deal_id",
        "activity_deals": "deal_id",
        "quote_deals": "deal_id",
        "merged_deals": "merged_deal_id",
    },
    links={
        **dict.fromkeys(ACTIVITIES, Link("id", "activity_deals", "activity_id")),
        "quotes": Link("id", "quote_deals", "quote_id"),
    },
    own={"activities": (ACTIVITIES, "id"), "quotes": (("quotes",), "id")},
    apart={"companies": "accounts"},
    merged=("deals", "hs_merged_object_ids"),
)


def shape(_: Options) -> Shape:
    """Which tables belong to deals."""
    return SHAPE


def history_properties(options: Options) -> dict[str, str]:
    """The properties whose history is read -> our field.

    The history of `amount_in_home_currency` stands for exchange rates where there are none.

    Example:
        >>> history_properties(HubSpotSource(type="hubspot", token="env:T"))["closedate"]
        'expected_close_date'
    """
    chosen = {**FIELDS, **options.canonical_fields}
    found = {"dealstage": STAGE, "hubspot_owner_id": "rep_id", "deal_currency_code": "currency",
             HOME: "amount_base"}  # fmt: skip
    for name in ("amount", "expected_close_date", "forecast_category", "product"):
        if name in chosen:
            found[chosen[name]] = name
    for name, field in options.custom_fields.items():
        if field.known == "over_time":
            found[field.column or name] = name
    return found


def map_hubspot(
    tables: Mapping[str, ir.Table], options: Options, around: Surroundings
) -> dict[str, ir.Table]:
    """Canonical tables from HubSpot's.

    Args:
        tables: landed tables by the names in `SHAPE`, and pipelines, pipeline_stages, owners,
            companies, exchange_rates; deals and pipeline_stages are needed.
        options: custom fields, pipelines, and who writes as software (user or app ids).
        around: base currency, time zone (close dates are moments at HubSpot), the day of the load.

    Raises:
        SourceError: a table or property that nothing can be read without has not landed.
    """
    world = _World(tables, options, around)
    changes = around.keep(changes_of(_entries(world), software=[SOFTWARE]))
    done = {
        "deals": _deals(world, changes),
        "stages": world.stages.drop("stage_id"),
        "stage_events": stage_events_of(changes),
        "deal_changes": deal_changes_of(changes),
        "deal_daily": _today(world),
        **_rates(world),
        **accounts_of(tables, options),
        **reps_of(tables, options),
        **activities_of(tables, world.deals, options),
        **quotes_of(tables, world.deals),
    }
    return {name: table for name, table in done.items() if table is not None}


def tracked(tables: Mapping[str, ir.Table], _: Options) -> frozenset[str]:
    """The fields whose past HubSpot tells; `stage` for moves between stages."""
    if not landed_rows(tables, "deal_property_history").here:
        return frozenset()
    return frozenset({"stage", "amount", "expected_close_date", "forecast_category", "rep_id"})


SOFTWARE = "@software"
"""Whoever wrote as one of `integration_users`."""


class _World:
    """HubSpot's tables, with the deals that still stand and their stages by name."""

    def __init__(
        self, tables: Mapping[str, ir.Table], options: Options, around: Surroundings
    ) -> None:
        self.tables, self.options, self.around = tables, options, around
        self.fields = {**FIELDS, **options.canonical_fields}
        self.stages = _stages(tables)
        self.in_home_money = not landed_rows(tables, "exchange_rates").here
        self.history = landed_rows(tables, "deal_property_history").live
        landed = landed_rows(tables, "deals").require("id", "dealstage", "createdate")
        self.deals = self._live(landed)

    def _live(self, landed: Rows) -> Rows:
        """Deals that are neither deleted nor merged into others, with their stage and pipeline."""
        kept = landed.live
        table = _unmerged(kept, landed, landed_rows(self.tables, "merged_deals").live)
        kept = kept.only(table)
        names = _pipelines(self.tables)
        labels = self.stages.select(
            _stage_id="stage_id", _stage="stage", _won="is_won", _closed="is_closed"
        )
        table = table.mutate(_of=kept.text("pipeline"), _at=kept.text("dealstage"))
        table = table.left_join(names, table["_of"] == names["_pipeline_id"]).drop("_pipeline_id")
        table = table.left_join(labels, table["_at"] == labels["_stage_id"]).drop("_stage_id")
        table = table.mutate(_pipeline=ibis.coalesce(table["_pipeline"], table["_of"]))
        return kept.only(in_pipelines(table.drop("_of", "_at"), self.options.pipelines))


def _unmerged(deals: Rows, landed: Rows, told: Rows) -> ir.Table:
    """The deals that were not merged into another, even if that one was deleted since."""
    table = deals.table
    if deals.has("hs_merged_object_ids"):
        gone = landed.table.select(_gone=landed.text("hs_merged_object_ids").split(";").unnest())
        gone = gone.select(_gone=gone["_gone"].strip())
        table = table.anti_join(gone, deals.text("id") == gone["_gone"])
    if told.here and told.has("merged_deal_id"):
        gone = told.table.select(_gone=told.text("merged_deal_id"))
        table = table.anti_join(gone, deals.only(table).text("id") == gone["_gone"])
    return table


def _pipelines(tables: Mapping[str, ir.Table]) -> ir.Table:
    rows = landed_rows(tables, "pipelines")
    label = ibis.coalesce(rows.text("label"), rows.text("id"))
    return rows.table.select(_pipeline_id=rows.text("id"), _pipeline=label)


def _stages(tables: Mapping[str, ir.Table]) -> ir.Table:
    """`stages` with `stage_id`; deleted ones stay, since history speaks of them."""
    rows = landed_rows(tables, "pipeline_stages").require("id", "pipeline_id", "label")
    names = _pipelines(tables)
    probability = rows.number("probability")
    won = rows.truth("closed_won").fill_null(probability >= 1).fill_null(False)
    closed = rows.truth("is_closed").fill_null(won | (probability <= 0)).fill_null(False)
    table = rows.table.select(
        stage_id=rows.text("id"), _of=rows.text("pipeline_id"), label=rows.text("label"),
        order=rows.number("display_order").fill_null(0), probability=probability,
        is_won=closed & won, is_closed=closed,
    )  # fmt: skip
    return stages_in_order(table, names, key="stage_id", called="_pipeline")


def _deals(world: _World, changes: ir.Table) -> ir.Table:
    rows, fields = world.deals, world.fields
    closed = ibis.coalesce(rows.table["_closed"], rows.flag("hs_is_closed"))
    won = ibis.coalesce(rows.table["_won"], rows.flag("hs_is_closed_won"))
    ended = _ended(world, changes)
    companies = _companies(world)
    zone = world.around.time_zone
    chosen = {
        "deal_id": rows.text("id"),
        "rep_id": rows.text("hubspot_owner_id"),
        "pipeline": rows.table["_pipeline"],
        "lead_source": rows.text(fields["lead_source"]),
        "deal_type": deal_type_words(rows.text(fields["deal_type"])),
        "amount": rows.money(fields["amount"]),
        "expected_close_date": local_day(rows.moment(fields["expected_close_date"]), zone),
        "created_at": rows.moment("createdate"),
        "status": ibis.cases((closed & won, "won"), (closed, "lost"), else_="open"),
        "lost_reason": rows.text(fields["lost_reason"]),
        "forecast_category": _category(rows.text(fields["forecast_category"])),
        "_closed_on": rows.moment("closedate"),
        "_closed": closed,
    }
    if rows.has("deal_currency_code"):
        chosen["currency"] = rows.text("deal_currency_code")
    if world.in_home_money and rows.has(HOME):
        chosen["amount_base"] = rows.money(HOME)
    readers = {"product": rows.text, "service_start": rows.day, "term_months": rows.integer}
    chosen |= {name: read(fields[name]) for name, read in readers.items() if name in fields}
    chosen |= custom_columns(rows, world.options)
    table = rows.table.select(**with_reason(chosen, rows))
    table = table.left_join(ended, table.deal_id == ended["_deal"]).drop("_deal")
    table = table.left_join(companies, table.deal_id == companies["_deal"]).drop("_deal")
    at = ibis.coalesce(table["_ended_at"], table["_closed_on"])
    at = ibis.ifelse(table["_closed"], at, ibis.null("timestamp"))
    return table.mutate(closed_at=at).drop("_ended_at", "_closed_on", "_closed")


def _companies(world: _World) -> ir.Table:
    """Each deal's company: the primary one (association type 5), else the one with the lowest id."""
    rows = standing_links(landed_rows(world.tables, "deal_companies").live, "deal_id", "company_id")
    primary = (rows.integer("type_id") == 5).fill_null(False).cast("int8")
    order = ibis.window(group_by="_deal", order_by=[ibis.desc("_primary"), ibis.asc("account_id")])
    table = rows.table.select(
        _deal=rows.text("deal_id"), account_id=rows.text("company_id"), _primary=primary
    )
    table = table.mutate(_nth=ibis.row_number().over(order))
    return table.filter(table["_nth"] == 0).select("_deal", "account_id")


def _ended(world: _World, changes: ir.Table) -> ir.Table:
    """When each deal last moved into a closing stage."""
    closing = world.stages.filter(world.stages.is_closed).select(_closing="stage").distinct()
    moves = changes.filter(changes.field == STAGE)
    ends = moves.semi_join(closing, moves.value == closing["_closing"])
    return ends.group_by(_deal="deal_id").agg(_ended_at=ends["at"].max())


def _category(text: ir.StringValue) -> ir.StringValue:
    """A forecast category in our words; one that an account made itself counts as pipeline."""
    upper = text.upper()
    return ibis.cases(
        (text.isnull(), ibis.null("string")),
        (upper.isin(list(CATEGORIES)), upper.substitute(CATEGORIES)),
        else_="pipeline",
    )


def _entries(world: _World) -> ir.Table:
    """Every property history that a canonical table has use for, as entries."""
    rows = world.history
    if not rows.here:
        return all_entries([])
    rows.require("deal_id", "name", "value", "timestamp")
    properties = history_properties(world.options)
    if not world.in_home_money:
        del properties[HOME]
    live = world.deals.table.select(_live=world.deals.text("id"))
    kept = rows.only(rows.table.filter(rows.text("name").isin(list(properties))))
    kept = kept.only(kept.table.semi_join(live, kept.text("deal_id") == live["_live"]))
    labels = world.stages.select(_stage_id="stage_id", _stage="stage")
    on = (kept.text("name") == "dealstage") & (kept.text("value") == labels["_stage_id"])
    kept = kept.only(kept.table.left_join(labels, on))
    kept = _with_author(kept, world)
    field = kept.text("name").substitute(properties)
    at = kept.moment("timestamp")
    value = _value(kept, field, world)
    return entries(kept.table, deal_id=kept.text("deal_id"), field=field, at=at, value=value,
                   by=kept.table["_author"])  # fmt: skip


def _value(rows: Rows, field: ir.StringValue, world: _World) -> ir.StringValue:
    """A property's value as its field's text: stages by name, money to the cent, days as days.

    Only what is of a field is read as its kind: to try a name as a moment is slow.
    """
    text = rows.text("value")
    is_day, is_money = field == "expected_close_date", field.isin(["amount", "amount_base"])
    moment = ibis.ifelse(is_day, text, ibis.null("string")).try_cast("timestamp('UTC')")
    day = local_day(moment.cast("timestamp"), world.around.time_zone).cast("string")
    money = ibis.ifelse(is_money, text, ibis.null("string")).try_cast("decimal(18, 2)")
    return ibis.cases(
        (field == STAGE, ibis.coalesce(rows.table["_stage"], text)),
        (is_money, money.cast("string")),
        (is_day, day),
        (field == "forecast_category", _category(text)),
        else_=text,
    )


def _with_author(rows: Rows, world: _World) -> Rows:
    """Who wrote: the owner that is the user, else the user; software by one name of our own."""
    told = rows.text("source_id").re_extract(r"userId:(\d+)", 1).nullif("")
    user = ibis.coalesce(rows.text("updated_by_user_id"), told)
    software = among(user, world.options.integration_users) | among(
        rows.text("source_id"), world.options.integration_users
    )
    table = rows.table.mutate(_user=user, _software=software)
    owners = landed_rows(world.tables, "owners")
    if owners.has("user_id"):
        known = owners.table.select(_owner_user=owners.text("user_id"), _owner=owners.text("id"))
        known = known.filter(known["_owner_user"].notnull()).distinct(
            on="_owner_user", keep="first"
        )
        table = table.left_join(known, table["_user"] == known["_owner_user"])
        table = table.mutate(_user=ibis.coalesce(table["_owner"], table["_user"]))
    author = ibis.ifelse(table["_software"], SOFTWARE, table["_user"])
    return rows.only(table.mutate(_author=author))


def _today(world: _World) -> ir.Table:
    """What a photograph of the open deals shows."""
    rows, fields = world.deals, world.fields
    is_open = ~ibis.coalesce(rows.table["_closed"], rows.flag("hs_is_closed"))
    kept = rows.only(rows.table.filter(is_open))
    closes = kept.moment(fields["expected_close_date"])
    return kept.table.select(
        deal_id=kept.text("id"),
        stage=ibis.coalesce(kept.table["_stage"], kept.text("dealstage")),
        amount=kept.money(fields["amount"]),
        expected_close_date=local_day(closes, world.around.time_zone),
        rep_id=kept.text("hubspot_owner_id"),
        forecast_category=_category(kept.text(fields["forecast_category"])),
    )


def _rates(world: _World) -> dict[str, ir.Table]:
    """Rates into the account's home currency; each holds until the next one of its currency."""
    rows = landed_rows(world.tables, "exchange_rates").live
    if not rows.here:
        return {}
    rows.require("from_currency", "to_currency", "rate", "effective_at")
    told = rows.table.select(
        currency=rows.text("from_currency"), to=rows.text("to_currency"),
        start=rows.moment("effective_at").cast("date"), rate=rows.number("rate"),
        at=rows.moment("effective_at"),
    )  # fmt: skip
    told = told.filter(told.to == world.around.base_currency)
    told = told.group_by("currency", "start").agg(rate=told.rate.argmax(told["at"]))
    later = told.start.lead().over(ibis.window(group_by="currency", order_by="start"))
    forever = ibis.literal("9999-12-31").cast("date")
    return {"exchange_rates": by_day(told.mutate(end=later.fill_null(forever)), world.around)}
