"""amoCRM's companies, users, tasks, calls and messages as canonical tables."""

from __future__ import annotations

from collections.abc import Mapping

import ibis
import ibis.expr.types as ir

from salesops_ml.crm.amocrm_rows import column_of
from salesops_ml.crm.vendor_rows import Rows, among, landed_rows
from salesops_ml.crm.vendor_tables import rep_field, steady_since, with_reason
from salesops_ml.crm_settings import AmoCrmSource

Tables = Mapping[str, ir.Table]


def accounts_of(tables: Tables, options: AmoCrmSource) -> dict[str, ir.Table]:
    """Companies as they stand today, with the fields that `account_fields` names."""
    rows = landed_rows(tables, "companies").live
    if not rows.here:
        return {}
    fields = {name: column_of(ref) for name, ref in options.account_fields.items()}
    readers = {"industry": rows.text, "region": rows.text, "employees": rows.integer,
               "annual_revenue": rows.number}  # fmt: skip
    chosen = {
        "account_id": rows.text("id"),
        "valid_from": steady_since(options, "accounts", rows.moment("created_at")),
        "name": rows.text("name"),
        **{name: read(fields[name]) for name, read in readers.items() if name in fields},
    }
    return {"accounts": rows.table.select(**chosen)}


def reps_of(tables: Tables, options: AmoCrmSource) -> dict[str, ir.Table]:
    """Users as reps, their group as the team; users who left stay known by name."""
    rows = landed_rows(tables, "users")
    if not rows.here:
        return {}
    table = rows.table.select(
        rep_id=rows.text("id"),
        valid_from=steady_since(options, "reps", rows.moment("since")),
        name=ibis.coalesce(rows.text("name"), rows.text("email")),
        team=rep_field(rows, options, "team", "group_name"),
        region=rep_field(rows, options, "region", "region"),
        active=rows.flag("is_active") & ~rows.table["_deleted"],
    )
    return {"reps": table}


def activities_of(tables: Tables, deals: Rows, options: AmoCrmSource) -> dict[str, ir.Table]:
    """Tasks that were done, calls, emails and messages; those of deleted deals are none."""
    found = [
        _activities(rows)
        for name in ("tasks", "lead_notes")
        if (rows := landed_rows(tables, name).live).here
    ]
    if not found:
        return {}
    table = ibis.union(*found) if len(found) > 1 else found[0]
    live = deals.table.select(_live=deals.text("id"))
    table = table.left_join(live, table.deal_id == live["_live"])
    table = table.filter(table.deal_id.isnull() | table["_live"].notnull()).drop("_live")
    return {"activities": table.filter(~among(table.rep_id, options.integration_users))}


def _activities(rows: Rows) -> ir.Table:
    done = rows.only(rows.table.filter(rows.flag("is_completed")))
    at = done.moment("at")
    chosen = {
        "activity_id": done.text("activity_id"),
        "deal_id": done.text("deal_id"),
        "rep_id": done.text("rep_id"),
        "kind": done.text("kind"),
        "at": at,
        "duration_minutes": done.number("minutes"),
        "outcome": done.text("outcome"),
        "recorded_at": ibis.greatest(at, done.moment("recorded_at").fill_null(at)),
    }
    return done.table.select(**with_reason(chosen, done)).filter(at.notnull())
