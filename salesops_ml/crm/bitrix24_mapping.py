"""Bitrix24's tables as canonical tables.

Of a deal's past the portal keeps its stages alone (crm.stagehistory.list), and not who moved it;
amounts, close dates and owners have the past that our own daily photographs give them. Stages are known
by id, so that a renamed stage has one name throughout: today's. There are no chances of stages.

Sources: Bitrix24 REST documentation, "CRM Object Fields", crm.stagehistory.list, crm.status.list,
crm.category.list, crm.currency.list.
"""

from __future__ import annotations

from collections.abc import Mapping

import ibis
import ibis.expr.types as ir

from salesops_ml.crm.bitrix24_people import (
    accounts_of,
    activities_of,
    quotes_of,
    reps_of,
    still_there,
    words_of,
)
from salesops_ml.crm.landing_book import squashed
from salesops_ml.crm.vendor_history import (
    STAGE,
    all_entries,
    changes_of,
    deal_changes_of,
    entries,
    stage_events_of,
)
from salesops_ml.crm.vendor_money import standing_rates
from salesops_ml.crm.vendor_rows import Rows, landed_rows
from salesops_ml.crm.vendor_tables import (
    custom_columns,
    deal_type_words,
    in_pipelines,
    stages_in_order,
    with_reason,
)
from salesops_ml.crm.vendors import Shape, Surroundings
from salesops_ml.crm_settings import Bitrix24Source

FIELDS = {"amount": "opportunity", "expected_close_date": "closedate", "lead_source": "sourceId",
          "deal_type": "typeId"}  # fmt: skip
"""Canonical columns of deals -> Bitrix24's field, unless settings name another."""
CATEGORIES = ("pipeline", "best_case", "commit", "closed", "omitted")
_DICTIONARIES = {"sourceid": "SOURCE", "typeid": "DEAL_TYPE"}
"""Fields of deals, without case, whose words stand in a dictionary of the CRM."""
_DIGITS = 20

SHAPE = Shape(
    deals={
        "deals": "id",
        "deal_ids": "id",
        "stage_history": "OWNER_ID",
        "activities": "dealId",
        "quotes": "dealId",
    },
    own={
        "activities": (("activities", "activity_ids"), "ID"),
        "quotes": (("quotes", "quote_ids"), "id"),
    },
    apart={
        "companies": "accounts",
        "company_ids": "accounts",
        "users": "reps",
        "departments": "reps",
        "activity_ids": "activities",
        "quote_ids": "quotes",
    },
)


def shape(_: Bitrix24Source) -> Shape:
    """Which tables belong to deals."""
    return SHAPE


def map_bitrix24(
    tables: Mapping[str, ir.Table], options: Bitrix24Source, around: Surroundings
) -> dict[str, ir.Table]:
    """Canonical tables from Bitrix24's.

    Args:
        tables: landed tables by the names in `SHAPE`, and categories, statuses, currencies and
            field_words; deals and statuses are needed.
        options: custom fields, pipelines, and who writes as software.
        around: base currency, and the day of the load.

    Raises:
        SourceError: a table or field that nothing can be read without has not landed.
    """
    world = _World(tables, options, around)
    changes = around.keep(changes_of(_entries(world)))
    done = {
        "deals": _deals(world, changes),
        "stages": world.stages.drop("stage_id"),
        "stage_events": stage_events_of(changes),
        "deal_changes": deal_changes_of(changes),
        "deal_daily": _today(world),
        **_rates(tables, around),
        **accounts_of(tables, options),
        **reps_of(tables, options),
        **activities_of(tables, world.deals, options),
        **quotes_of(tables, world.deals),
    }
    return {name: table for name, table in done.items() if table is not None}


def tracked(tables: Mapping[str, ir.Table], _: Bitrix24Source) -> frozenset[str]:
    """The fields whose past Bitrix24 tells: only moves between stages."""
    here = landed_rows(tables, "stage_history").here
    return frozenset({"stage"}) if here else frozenset()


class _World:
    """Bitrix24's tables, with the deals that still stand and their stages by name."""

    def __init__(
        self, tables: Mapping[str, ir.Table], options: Bitrix24Source, around: Surroundings
    ) -> None:
        self.tables, self.options = tables, options
        self.fields = {**FIELDS, **options.canonical_fields}
        self.pipelines = _pipelines(tables)
        self.stages = _stages(tables, self.pipelines)
        self.history = landed_rows(tables, "stage_history").live
        self.lists = landed_rows(tables, "field_words").live
        landed = landed_rows(tables, "deals").require("id", "stageId", "createdTime")
        live = self._live(landed)
        self.deals = live.only(around.keep(live.table))

    def _live(self, landed: Rows) -> Rows:
        """Deals that were not deleted, with stage, pipeline, and words instead of numbers."""
        kept = still_there(landed, landed_rows(self.tables, "deal_ids"), "id")
        table = kept.table.mutate(_of=kept.text("categoryId"), _at=kept.text("stageId"))
        names, labels = self.pipelines, self.stages.select(_stage_id="stage_id", _stage="stage")
        table = table.left_join(names, table["_of"] == names["_pipeline_id"]).drop("_pipeline_id")
        table = table.left_join(labels, table["_at"] == labels["_stage_id"]).drop("_stage_id")
        table = table.mutate(_pipeline=ibis.coalesce(table["_pipeline"], table["_of"]))
        table = in_pipelines(table.drop("_of", "_at"), self.options.pipelines)
        named = [field.column or own for own, field in self.options.custom_fields.items()]
        chosen = {squashed(column): column for column in (*self.fields.values(), *named)}
        for short, column in chosen.items():
            if short in _DICTIONARIES and kept.has(column):
                words = words_of(self.tables, _DICTIONARIES[short])
                table = _worded(kept.only(table), column, words)
        for short in sorted(self._list_fields() & chosen.keys()):
            of_field = self.lists.table.filter(self.lists.text("field") == short)
            words = of_field.select(_word_id="id", _word="word")
            table = _worded(kept.only(table), chosen[short], words)
        return kept.only(table)

    def _list_fields(self) -> set[str]:
        """The list fields whose words landed."""
        if not self.lists.here:
            return set()
        fields = self.lists.table.select("field").distinct().to_pyarrow()
        return set(fields["field"].to_pylist())


def _worded(rows: Rows, column: str, words: ir.Table) -> ir.Table:
    """A column's words instead of their numbers; a number without a word stays."""
    found = rows.find(column)
    table = rows.table.left_join(words, rows.text(column) == words["_word_id"])
    worded = ibis.coalesce(table["_word"], table[found])
    return table.mutate(**{str(found): worded}).drop("_word", "_word_id")


def _pipelines(tables: Mapping[str, ir.Table]) -> ir.Table:
    rows = landed_rows(tables, "categories")
    label = ibis.coalesce(rows.text("name"), rows.text("id"))
    return rows.table.select(_pipeline_id=rows.text("id"), _pipeline=label)


def _stages(tables: Mapping[str, ir.Table], names: ir.Table) -> ir.Table:
    """`stages` with `stage_id`; deleted ones stay, since history speaks of them."""
    landed = landed_rows(tables, "statuses").require("ENTITY_ID", "STATUS_ID", "NAME")
    rows = landed.only(landed.table.filter(landed.text("ENTITY_ID").startswith("DEAL_STAGE")))
    entity, semantics = rows.text("ENTITY_ID"), rows.text("SEMANTICS").fill_null("P")
    table = rows.table.select(
        stage_id=rows.text("STATUS_ID"), label=rows.text("NAME"),
        _of=entity.re_extract(r"DEAL_STAGE_(\d+)", 1).nullif("").fill_null("0"),
        order=rows.number("SORT").fill_null(0), is_won=semantics == "S",
        is_closed=semantics.isin(["S", "F"]),
    )  # fmt: skip
    return stages_in_order(table, names, key="stage_id", called="_pipeline")


def _deals(world: _World, changes: ir.Table) -> ir.Table:
    rows, fields = world.deals, world.fields
    ended = _ended(world, changes)
    semantics = rows.text("stageSemanticId").fill_null("P")
    status = ibis.cases((semantics == "S", "won"), (semantics == "F", "lost"), else_="open")
    chosen = {
        "deal_id": rows.text("id"),
        "account_id": rows.text("companyId").nullif("0"),
        "rep_id": rows.text("assignedById").nullif("0"),
        "pipeline": rows.table["_pipeline"],
        "lead_source": rows.text(fields["lead_source"]),
        "deal_type": deal_type_words(rows.text(fields["deal_type"])),
        "currency": rows.text("currencyId"),
        "amount": rows.money(fields["amount"]),
        "expected_close_date": kept_day(rows, fields["expected_close_date"]),
        "created_at": rows.moment("createdTime"),
        "status": status,
        "_closed": semantics.isin(["S", "F"]),
        "_moved_at": rows.moment("movedTime"),
    }
    for name in ("product", "lost_reason"):
        if name in fields:
            chosen[name] = rows.text(fields[name])
    if "forecast_category" in fields:
        chosen["forecast_category"] = _category(rows.text(fields["forecast_category"]))
    if "service_start" in fields:
        chosen["service_start"] = kept_day(rows, fields["service_start"])
    if "term_months" in fields:
        chosen["term_months"] = rows.integer(fields["term_months"])
    chosen |= custom_columns(rows, world.options)
    table = rows.table.select(**with_reason(chosen, rows))
    table = table.left_join(ended, table.deal_id == ended["_deal"])
    at = ibis.coalesce(table["_ended_at"], table["_moved_at"])
    at = ibis.ifelse(table["_closed"], at, ibis.null("timestamp"))
    return table.mutate(closed_at=at).drop("_deal", "_ended_at", "_moved_at", "_closed")


def kept_day(rows: Rows, column: str) -> ir.DateValue:
    """A day, which is shown as a moment: the midnight nearest to it; see `bitrix24_fields.day_of`."""
    return (rows.moment(column) + ibis.interval(hours=12)).cast("date")


def _category(text: ir.StringValue) -> ir.StringValue:
    """A forecast category in our words, from a field of the company's own; others count as pipeline."""
    words = text.lower().replace(" ", "_")
    return ibis.cases(
        (text.isnull(), ibis.null("string")),
        (words.isin(list(CATEGORIES)), words),
        else_="pipeline",
    )


def _ended(world: _World, changes: ir.Table) -> ir.Table:
    """When each deal last moved into a closing stage."""
    closing = world.stages.filter(world.stages.is_closed).select(_closing="stage").distinct()
    moves = changes.filter(changes.field == STAGE)
    ends = moves.semi_join(closing, moves.value == closing["_closing"])
    return ends.group_by(_deal="deal_id").agg(_ended_at=ends["at"].max())


def _entries(world: _World) -> ir.Table:
    """Moves between stages; a row's number orders what one moment brought."""
    rows = world.history
    if not rows.here:
        return all_entries([])
    rows.require("ID", "OWNER_ID", "STAGE_ID", "CREATED_TIME")
    live = world.deals.table.select(_live=world.deals.text("id"))
    kept = rows.only(rows.table.semi_join(live, rows.text("OWNER_ID") == live["_live"]))
    labels = world.stages.select(_label_of="stage_id", _stage="stage")
    kept = kept.only(kept.table.left_join(labels, kept.text("STAGE_ID") == labels["_label_of"]))
    return entries(
        kept.table, deal_id=kept.text("OWNER_ID"), field=STAGE, at=kept.moment("CREATED_TIME"),
        value=ibis.coalesce(kept.table["_stage"], kept.text("STAGE_ID")),
        tie=kept.text("ID").lpad(_DIGITS, "0"),
    )  # fmt: skip


def _today(world: _World) -> ir.Table:
    """What a photograph of the open deals shows."""
    rows, fields = world.deals, world.fields
    closed = rows.text("stageSemanticId").isin(["S", "F"]).fill_null(False)
    kept = rows.only(rows.table.filter(~closed))
    shown = kept.text(fields["forecast_category"]) if "forecast_category" in fields else None
    return kept.table.select(
        deal_id=kept.text("id"),
        stage=ibis.coalesce(kept.table["_stage"], kept.text("stageId")),
        amount=kept.money(fields["amount"]),
        expected_close_date=kept_day(kept, fields["expected_close_date"]),
        rep_id=kept.text("assignedById").nullif("0"),
        forecast_category=ibis.null("string") if shown is None else _category(shown),
    )


def _rates(tables: Mapping[str, ir.Table], around: Surroundings) -> dict[str, ir.Table]:
    """One rate a currency: base money for `AMOUNT_CNT` units of it, today's for all time."""
    rows = landed_rows(tables, "currencies").live
    if not rows.here:
        return {}
    rows.require("CURRENCY", "AMOUNT", "AMOUNT_CNT")
    units = rows.number("AMOUNT_CNT") / rows.number("AMOUNT").nullif(0.0)
    told = rows.table.select(
        IsoCode=rows.text("CURRENCY"), ConversionRate=units.cast("string"),
        IsCorporate=rows.flag("BASE").cast("string"),
    )  # fmt: skip
    return {"exchange_rates": standing_rates(rows.only(told), around)}
