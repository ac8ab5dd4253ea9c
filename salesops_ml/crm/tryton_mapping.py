"""Tryton's sale opportunities as canonical tables.

All history comes from Tryton's own: a record as each save left it, and who saved it. States are stages:
lead, opportunity, converted, won, lost, cancelled, and those that a company's own modules add; their
keys are used, since labels differ by language. Each company is a pipeline. A cancelled opportunity
counts as lost, for the reason `cancelled`.

Sources: trytond 8, modules sale_opportunity, company, currency, party, and `ModelSQL` (history).
"""

from __future__ import annotations

from collections.abc import Mapping

import ibis
import ibis.expr.types as ir

from salesops_ml.crm.tryton_related import (
    KINDS,
    activities_of,
    products_over_time,
    products_today,
    quotes_of,
)
from salesops_ml.crm.vendor_history import (
    STAGE,
    all_entries,
    changes_of,
    deal_changes_of,
    entries,
    stage_events_of,
)
from salesops_ml.crm.vendor_money import dated_rates
from salesops_ml.crm.vendor_rows import Rows, among, landed_rows
from salesops_ml.crm.vendor_tables import (
    custom_columns,
    in_pipelines,
    over_time_fields,
    rep_field,
    steady_since,
    with_reason,
)
from salesops_ml.crm.vendors import Link, Shape, Surroundings
from salesops_ml.crm_settings import TrytonSource

TRACKED = ("amount", "expected_close_date", "forecast_category", "product")
WON = "won"
ENDS = ("won", "lost", "cancelled")
SOFTWARE = "@software"
"""Whoever saved as the connector's own user, or as one of `integration_users`."""

_GROWING = ("sales", *KINDS)
SHAPE = Shape(
    deals={"opportunities": "id", "opportunity_history": "id", "opportunity_ids": "id",
           **dict.fromkeys(("lines", *_GROWING), "opportunity")},
    links={"lines": Link("id", "lines", "id"),
           **{f"{name}_ids": Link("id", name, "id") for name in _GROWING}},
    apart={"parties": "accounts", "employees": "reps"},
)  # fmt: skip
_OPTIONAL = ("lead_source", "deal_type", "forecast_category", "product")


def shape(_: TrytonSource) -> Shape:
    """Which tables belong to deals."""
    return SHAPE


def tracked(tables: Mapping[str, ir.Table], options: TrytonSource) -> frozenset[str]:
    """The fields whose past Tryton tells; `stage` for moves between stages."""
    if not landed_rows(tables, "opportunity_history").here:
        return frozenset()
    named = {"forecast_category"} & options.canonical_fields.keys()
    return frozenset({"stage", "amount", "expected_close_date", "rep_id"} | named)


def map_tryton(
    tables: Mapping[str, ir.Table], options: TrytonSource, around: Surroundings
) -> dict[str, ir.Table]:
    """Canonical tables from Tryton's.

    Args:
        tables: landed tables: opportunities, opportunity_history, opportunity_ids, states, companies,
            currencies, currency_rates, parties, employees, users, products, lines, sales, notes,
            emails, documents.
        options: custom fields, companies as pipelines, and who saves as software (logins or ids).
        around: base currency, and the day of the load.

    Raises:
        SourceError: a table or field that nothing can be read without has not landed.
    """
    world = _World(tables, options)
    changes = around.keep(changes_of(_entries(world), software=[SOFTWARE]))
    return {
        "deals": _deals(world, changes),
        "stages": _stages(world),
        "stage_events": stage_events_of(changes),
        "deal_changes": deal_changes_of(changes),
        "deal_daily": _today(world),
        **_accounts(tables, options),
        **_reps(tables, options, around),
        **_rates(tables, around),
        **quotes_of(tables, world.deals),
        **activities_of(tables, world.deals, world.users),
    }


class _World:
    """Tryton's tables, with the opportunities that still stand, their company and currency by name."""

    def __init__(self, tables: Mapping[str, ir.Table], options: TrytonSource) -> None:
        self.tables, self.options = tables, options
        self.fields = {"amount": "amount", "expected_close_date": "end_date",
                       "lost_reason": "lost_reason", **options.canonical_fields}  # fmt: skip
        landed = landed_rows(tables, "opportunities").require(
            "id", "state", "company", "create_date"
        )
        self.companies = _names(tables, "companies", "party_rec_name", "_company")
        self.currencies = _names(tables, "currencies", "code", "_currency")
        self.deals = self._live(landed)
        self.users = _users(tables, options)
        self.products = self._products()

    def _products(self) -> ir.Table | None:
        """What each opportunity was about, by its lines; None where a field of its own tells."""
        lines = landed_rows(self.tables, "lines")
        if "product" in self.fields or not lines.here:
            return None
        live = self.deals.table.select(_live=self.deals.text("id"))
        lines = lines.only(lines.table.semi_join(live, lines.text("opportunity") == live["_live"]))
        return products_over_time(self.tables, _with_author(lines, self.users))

    def _live(self, landed: Rows) -> Rows:
        """The opportunities that were not deleted, of the chosen companies."""
        there = landed_rows(self.tables, "opportunity_ids").live
        ids = there.table.select(_there=there.text("id"))
        table = landed.table.semi_join(ids, landed.text("id") == ids["_there"])
        named = self.companies.rename(_pipeline="_company")
        table = table.mutate(_of=landed.only(table).text("company"))
        table = table.left_join(named, table["_of"] == named["_key"]).drop("_key")
        table = table.mutate(_pipeline=ibis.coalesce(table["_pipeline"], table["_of"]))
        return landed.only(in_pipelines(table.drop("_of"), self.options.pipelines))


def _names(tables: Mapping[str, ir.Table], name: str, column: str, called: str) -> ir.Table:
    rows = landed_rows(tables, name)
    rows.require("id", column)
    return rows.table.select(_key=rows.text("id"), **{called: rows.text(column)})


def _stages(world: _World) -> ir.Table:
    """Every state of every company; states of other modules stand where Tryton lists them."""
    rows = landed_rows(world.tables, "states").require("state", "position")
    state = rows.text("state")
    table = rows.table.select(
        stage=state, position=rows.integer("position"), is_won=state == WON,
        is_closed=state.isin(ENDS),
    )  # fmt: skip
    pipelines = world.deals.table.select(pipeline="_pipeline").distinct()
    return pipelines.cross_join(table)


def _deals(world: _World, changes: ir.Table) -> ir.Table:
    rows, fields, options = world.deals, world.fields, world.options
    state = rows.text("state")
    closed = state.isin(ENDS)
    reason = rows.text(fields["lost_reason"])
    reason = ibis.ifelse(state == "cancelled", reason.fill_null("cancelled"), reason)
    chosen = {
        "deal_id": rows.text("id"),
        "account_id": rows.text("party"),
        "rep_id": rows.text("employee"),
        "pipeline": rows.table["_pipeline"],
        "amount": rows.money(fields["amount"]),
        "expected_close_date": rows.day(fields["expected_close_date"]),
        "created_at": rows.moment("create_date"),
        "status": ibis.cases((state == WON, "won"), (closed, "lost"), else_="open"),
        "lost_reason": reason,
        "_closed_on": rows.moment("end_date"),
        "_closed": closed,
        "_paid_in": rows.text("currency"),
    }
    chosen |= {name: rows.text(fields[name]) for name in _OPTIONAL if name in fields}
    readers = {"service_start": rows.day, "term_months": rows.integer}
    chosen |= {name: read(fields[name]) for name, read in readers.items() if name in fields}
    chosen |= custom_columns(rows, options)
    table = rows.table.select(**with_reason(chosen, rows))
    money = world.currencies.rename(currency="_currency")
    table = table.left_join(money, table["_paid_in"] == money["_key"]).drop("_key", "_paid_in")
    if world.products is not None:
        today = products_today(world.products)
        table = table.left_join(today, table.deal_id == today["_deal"])
        table = table.mutate(product=table["_product"]).drop("_deal", "_product")
    ended = _ended(changes)
    table = table.left_join(ended, table.deal_id == ended["_deal"]).drop("_deal")
    at = ibis.coalesce(table["_ended_at"], ibis.greatest(table["_closed_on"], table.created_at))
    at = ibis.ifelse(table["_closed"], at, ibis.null("timestamp"))
    return table.mutate(closed_at=at).drop("_ended_at", "_closed_on", "_closed")


def _ended(changes: ir.Table) -> ir.Table:
    """When each deal last moved into a closing state."""
    ends = changes.filter((changes.field == STAGE) & changes.value.isin(ENDS))
    return ends.group_by(_deal="deal_id").agg(_ended_at=ends["at"].max())


def _entries(world: _World) -> ir.Table:
    """Every tracked field at every save, as entries."""
    rows = landed_rows(world.tables, "opportunity_history")
    if not rows.here:
        return all_entries([])
    rows.require("id", "modified", "state")
    live = world.deals.table.select(_live=world.deals.text("id"))
    rows = rows.only(rows.table.semi_join(live, rows.text("id") == live["_live"]))
    rows = _with_author(rows, world.users)
    money = world.currencies
    rows = rows.only(
        rows.table.left_join(money, rows.text("currency") == money["_key"]).drop("_key")
    )
    at, deal = rows.moment("modified"), rows.text("id")
    found = [
        entries(rows.table, deal_id=deal, field=field, at=at, value=value, by=rows.table["_author"])
        for field, value in _values(world, rows).items()
    ]
    if world.products is not None:
        told = world.products
        found.append(entries(told, deal_id=told.deal_id, field="product", at=told["at"],
                             value=told["product"], by=told.author))  # fmt: skip
    return all_entries(found)


def _values(world: _World, rows: Rows) -> dict[str, ir.Value]:
    """Our name of each field that has a history -> its value at a save, as text."""
    fields = world.fields
    told: dict[str, ir.Value] = {
        STAGE: rows.text("state"),
        "rep_id": rows.text("employee"),
        "currency": rows.table["_currency"],
        "amount": rows.money(fields["amount"]).cast("string"),
        "expected_close_date": rows.day(fields["expected_close_date"]).cast("string"),
    }
    for name in ("forecast_category", "product"):
        if name in fields:
            told[name] = rows.text(fields[name])
    for name, (column, _) in over_time_fields(world.deals, world.options).items():
        told[name] = rows.text(column)
    return told


def _users(tables: Mapping[str, ir.Table], options: TrytonSource) -> ir.Table:
    """Each user with the person that it is, its employee if it has one, and whether it is software."""
    users = landed_rows(tables, "users")
    user, login = users.text("id"), users.text("login")
    software = among(user, options.integration_users) | among(
        login, (options.user, *options.integration_users)
    )
    person = ibis.coalesce(users.text("employee"), "user " + user)
    return users.table.select(_user=user, _person=person, _software=software)


def _with_author(rows: Rows, users: ir.Table) -> Rows:
    """Who saved: a person, or software by one name of our own."""
    table = rows.table.mutate(_saver=ibis.coalesce(rows.text("write_uid"), rows.text("create_uid")))
    table = table.left_join(users, table["_saver"] == users["_user"])
    person = ibis.coalesce(table["_person"], "user " + table["_saver"])
    author = ibis.ifelse(table["_software"].fill_null(False), SOFTWARE, person)
    return rows.only(table.mutate(_author=author))


def _today(world: _World) -> ir.Table:
    """What a photograph of the open deals shows."""
    rows, fields = world.deals, world.fields
    kept = rows.only(rows.table.filter(~rows.text("state").isin(ENDS)))
    chosen = {
        "deal_id": kept.text("id"),
        "stage": kept.text("state"),
        "amount": kept.money(fields["amount"]),
        "expected_close_date": kept.day(fields["expected_close_date"]),
        "rep_id": kept.text("employee"),
    }
    if "forecast_category" in fields:
        chosen["forecast_category"] = kept.text(fields["forecast_category"])
    return kept.table.select(**chosen)


def _accounts(tables: Mapping[str, ir.Table], options: TrytonSource) -> dict[str, ir.Table]:
    """Parties as they stand today."""
    rows = landed_rows(tables, "parties").live
    if not rows.here:
        return {}
    table = rows.table.select(
        account_id=rows.text("id"),
        valid_from=steady_since(options, "accounts", rows.moment("create_date")),
        name=rows.text("name"),
    )
    return {"accounts": table}


def _reps(
    tables: Mapping[str, ir.Table], options: TrytonSource, around: Surroundings
) -> dict[str, ir.Table]:
    """Employees as reps; those who left stay known by name."""
    rows = landed_rows(tables, "employees")
    if not rows.here:
        return {}
    left = rows.day("end_date") < ibis.literal(around.read_on)
    table = rows.table.select(
        rep_id=rows.text("id"),
        valid_from=steady_since(options, "reps", rows.moment("create_date")),
        name=rows.text("party_rec_name"),
        team=rep_field(rows, options, "team", "team"),
        region=rep_field(rows, options, "region", "region"),
        manager_id=rows.text("supervisor"),
        hired_at=rows.day("start_date").cast("timestamp"),
        active=~(left.fill_null(False) | rows.table["_deleted"]),
    )
    return {"reps": table}


def _rates(tables: Mapping[str, ir.Table], around: Surroundings) -> dict[str, ir.Table]:
    """Tryton's rates: units of a currency for one of the currency whose rate is 1, from a day on."""
    rows = landed_rows(tables, "currency_rates").live
    if not rows.here:
        return {}
    codes = _names(tables, "currencies", "code", "IsoCode")
    told = rows.table.select(
        _of=rows.text("currency"), StartDate=rows.text("date"), ConversionRate=rows.text("rate"),
        _deleted=rows.table["_deleted"],
    )  # fmt: skip
    told = told.inner_join(codes, told["_of"] == codes["_key"]).drop("_of", "_key")
    later = ibis.window(group_by="IsoCode", order_by="StartDate")
    told = told.mutate(NextStartDate=told.StartDate.lead().over(later))
    rates = Rows(told, "currency_rates")
    return {"exchange_rates": dated_rates(rates, Rows(None, "currencies"), around)}
