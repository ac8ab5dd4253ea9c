"""Salesforce's accounts, users, tasks, events and quotes as canonical tables."""

from __future__ import annotations

from collections.abc import Mapping

import ibis
import ibis.expr.types as ir

from salesops_ml.crm.vendor_quotes import SAVED, as_known
from salesops_ml.crm.vendor_rows import Rows, among, landed_rows
from salesops_ml.crm.vendor_tables import rep_field, steady_since, with_reason
from salesops_ml.crm_settings import CrmSource

Tables = Mapping[str, ir.Table]

QUOTE_WORDS = {
    "Draft": "sent", "Needs Review": "sent", "In Review": "sent", "Approved": "sent",
    "Presented": "sent", "Rejected": "sent_back", "Accepted": "accepted", "Denied": "declined",
}  # fmt: skip
"""Salesforce's usual quote states in ours; others stay as they are."""


def accounts_of(tables: Tables, options: CrmSource) -> dict[str, ir.Table]:
    """Accounts as they stand today; those that were merged into others are gone."""
    rows = landed_rows(tables, "Account").live
    if not rows.here:
        return {}
    table = rows.table.select(
        account_id=rows.text("Id"),
        valid_from=steady_since(options, "accounts", rows.moment("CreatedDate")),
        name=rows.text("Name"),
        industry=rows.text("Industry"),
        region=ibis.coalesce(rows.text("Region__c"), rows.text("BillingCountry")),
        employees=rows.integer("NumberOfEmployees"),
        annual_revenue=rows.number("AnnualRevenue"),
        parent=rows.text("ParentId"),
    )
    return {"accounts": table}


def reps_of(tables: Tables, options: CrmSource) -> dict[str, ir.Table]:
    """Users as reps: their team is their role's name, else their department."""
    rows = landed_rows(tables, "User").live
    if not rows.here:
        return {}
    table, team = _with_role(rows, landed_rows(tables, "UserRole").live)
    rows = rows.only(table)
    named = "team" in options.rep_fields
    chosen = rep_field(rows, options, "team", "Department")
    done = rows.table.select(
        rep_id=rows.text("Id"),
        valid_from=steady_since(options, "reps", rows.moment("CreatedDate")),
        name=rows.text("Name"),
        team=chosen if named else ibis.coalesce(table[team], chosen),
        manager_id=rows.text("ManagerId"),
        region=rep_field(rows, options, "region", "Country"),
        active=rows.truth("IsActive"),
    )
    return {"reps": done}


def _with_role(users: Rows, roles: Rows) -> tuple[ir.Table, str]:
    if not (roles.here and users.has("UserRoleId")):
        return users.table.mutate(_role_name=ibis.null("string")), "_role_name"
    names = roles.table.select(_role=roles.text("Id"), _role_name=roles.text("Name"))
    table = users.table.left_join(names, users.text("UserRoleId") == names["_role"])
    return table.drop("_role"), "_role_name"


def activities_of(tables: Tables, deals: Rows, options: CrmSource) -> dict[str, ir.Table]:
    """Completed tasks and events that have taken place, of deals that stand or of none.

    A planned event is known once it was to take place: what it says before may never happen.
    """
    found = []
    tasks, events = (landed_rows(tables, name).live for name in ("Task", "Event"))
    live = deals.table.select(_live=deals.text("Id"))
    if tasks.here:
        found.append(_tasks(tasks))
    if events.here:
        found.append(_events(events))
    if not found:
        return {}
    rows = ibis.union(*found) if len(found) > 1 else found[0]
    rows = rows.left_join(live, rows["_what"] == live["_live"])
    rows = rows.filter(rows["_what"].isnull() | ~_is_deal(rows["_what"]) | rows["_live"].notnull())
    rows = rows.mutate(deal_id=rows["_live"]).drop("_what", "_live")
    return {"activities": rows.filter(~among(rows.rep_id, options.integration_users))}


def _is_deal(what: ir.StringValue) -> ir.BooleanValue:
    """Ids of opportunities begin 006; those of deleted ones bring no activities."""
    return what.startswith("006")


def _tasks(rows: Rows) -> ir.Table:
    done = rows.truth("IsClosed").fill_null(rows.text("Status") == "Completed").fill_null(False)
    kept = rows.only(rows.table.filter(done))
    at = ibis.coalesce(kept.moment("CompletedDateTime"), kept.day("ActivityDate").cast("timestamp"))
    kind = ibis.coalesce(kept.text("TaskSubtype"), kept.text("Type"), ibis.literal("task"))
    table = _activity(kept, kind.lower(), at, kept.number("CallDurationInSeconds") / 60)
    return table


def _events(rows: Rows) -> ir.Table:
    kind = ibis.coalesce(rows.text("Type"), ibis.literal("meeting")).lower()
    return _activity(rows, kind, rows.moment("StartDateTime"), rows.number("DurationInMinutes"))


def _activity(
    rows: Rows, kind: ir.StringValue, at: ir.TimestampValue, minutes: ir.FloatingValue
) -> ir.Table:
    outcome = ibis.coalesce(rows.text("CallDisposition"), rows.text("Outcome__c"))
    entered = rows.moment("CreatedDate")
    chosen = {
        "activity_id": rows.text("Id"),
        "rep_id": rows.text("OwnerId"),
        "kind": kind,
        "at": at,
        "duration_minutes": minutes,
        "outcome": outcome,
        "recorded_at": ibis.greatest(at, entered.fill_null(at)),
        "_what": rows.text("WhatId"),
    }
    table = rows.table.select(**with_reason(chosen, rows))
    return table.filter(table["at"].notnull())


def quotes_of(tables: Tables, deals: Rows) -> dict[str, ir.Table]:
    """Quotes of the deals that stand; discounts are percentages at Salesforce."""
    rows = landed_rows(tables, "Quote").live
    if not rows.here:
        return {}
    live = deals.table.select(_live=deals.text("Id"))
    kept = rows.only(rows.table.semi_join(live, rows.text("OpportunityId") == live["_live"]))
    status = kept.text("Status")
    chosen = {
        "quote_id": kept.text("Id"),
        "deal_id": kept.text("OpportunityId"),
        "amount": ibis.coalesce(kept.money("GrandTotal"), kept.money("TotalPrice")),
        "discount": kept.number("Discount") / 100,
        "sent_at": kept.moment("CreatedDate"),
        "status": status.substitute(QUOTE_WORDS).lower(),
        SAVED: ibis.coalesce(kept.moment("SystemModstamp"), kept.moment("LastModifiedDate")),
    }
    return {"quotes": as_known(kept.table.select(**with_reason(chosen, kept)))}
