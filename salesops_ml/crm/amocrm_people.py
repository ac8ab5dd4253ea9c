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
        _activities(rows, rows.text("deal_id"))
        for name in ("tasks", "lead_notes")
        if (rows := landed_rows(tables, name).live).here
    ]
    of_contacts = landed_rows(tables, "contact_notes").live
    if of_contacts.here:
        found.append(_with_contacts(of_contacts, landed_rows(tables, "lead_contacts"), deals))
    if not found:
        return {}
    table = ibis.union(*found) if len(found) > 1 else found[0]
    live = deals.table.select(_live=deals.text("id"))
    table = table.left_join(live, table.deal_id == live["_live"])
    table = table.filter(table.deal_id.isnull() | table["_live"].notnull()).drop("_live")
    return {"activities": table.filter(~among(table.rep_id, options.integration_users))}


def _activities(rows: Rows, deal_id: ir.Value) -> ir.Table:
    done = rows.only(rows.table.mutate(_deal=deal_id))
    done = done.only(done.table.filter(done.flag("is_completed")))
    at = done.moment("at")
    chosen = {
        "activity_id": done.text("activity_id"),
        "deal_id": done.table["_deal"],
        "rep_id": done.text("rep_id"),
        "kind": done.text("kind"),
        "at": at,
        "duration_minutes": done.number("minutes"),
        "outcome": done.text("outcome"),
        "recorded_at": ibis.greatest(at, done.moment("recorded_at").fill_null(at)),
    }
    return done.table.select(**with_reason(chosen, done)).filter(at.notnull())


def _with_contacts(notes: Rows, contacts: Rows, deals: Rows) -> ir.Table:
    """Calls and messages with a contact: of the contact's lead that was open then, the youngest.

    Where none was, of the youngest that had begun; what came before all of them is of no lead.
    """
    lives = deals.table.select(
        _id=deals.text("id"), _begun=deals.moment("created_at"), _ended=deals.moment("closed_at")
    )
    ties = contacts.table.select(_of=contacts.text("deal_id"), _contact=contacts.text("contact_id"))
    ties = ties.inner_join(lives, ties["_of"] == lives["_id"]).drop("_of")
    told = notes.table.select(
        _note=notes.text("activity_id"), _with=notes.text("contact_id"), _at=notes.moment("at")
    )
    both = told.inner_join(ties, told["_with"] == ties["_contact"])
    both = both.filter(both["_begun"] <= both["_at"])
    still = (both["_ended"].isnull() | (both["_ended"] >= both["_at"])).cast("int8")
    both = both.mutate(_still=still)
    order = [ibis.desc("_still"), ibis.desc("_begun"), ibis.desc("_id")]
    both = both.mutate(_nth=ibis.row_number().over(ibis.window(group_by="_note", order_by=order)))
    best = both.filter(both["_nth"] == 0).select("_note", "_id").view()
    keyed = notes.table.mutate(_key=notes.text("activity_id"))
    named = keyed.left_join(best, keyed["_key"] == best["_note"])
    rows = notes.only(named.mutate(_mine=named["_id"]).drop("_note", "_id", "_key"))
    return _activities(rows, rows.table["_mine"])
