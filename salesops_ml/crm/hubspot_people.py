"""HubSpot's companies, owners, engagements and quotes as canonical tables."""

from __future__ import annotations

from collections.abc import Mapping

import ibis
import ibis.expr.types as ir

from salesops_ml.crm.vendor_quotes import ANSWER, SAVED, as_known
from salesops_ml.crm.vendor_rows import Rows, among, landed_rows
from salesops_ml.crm.vendor_tables import rep_field, steady_since, with_reason
from salesops_ml.crm_settings import CrmSource

Tables = Mapping[str, ir.Table]

QUOTE_WORDS = {
    "draft": "sent", "approval_not_needed": "sent", "pending_approval": "sent",
    "approved": "sent", "published": "sent", "rejected": "sent_back", "signed": "accepted",
}  # fmt: skip
"""HubSpot's quote states in ours; others stay as they are."""


def accounts_of(tables: Tables, options: CrmSource) -> dict[str, ir.Table]:
    """Companies as they stand today."""
    rows = landed_rows(tables, "companies").live
    if not rows.here:
        return {}
    table = rows.table.select(
        account_id=rows.text("id"),
        valid_from=steady_since(options, "accounts", rows.moment("createdate")),
        name=rows.text("name"),
        industry=rows.text("industry"),
        region=ibis.coalesce(rows.text("region"), rows.text("country")),
        employees=rows.integer("numberofemployees"),
        annual_revenue=rows.number("annualrevenue"),
        parent=rows.text("hs_parent_company_id"),
    )
    return {"accounts": table}


def reps_of(tables: Tables, options: CrmSource) -> dict[str, ir.Table]:
    """Owners as reps; owners who left stay known by name."""
    rows = landed_rows(tables, "owners")
    if not rows.here:
        return {}
    names = [rows.text("first_name").fill_null(""), rows.text("last_name").fill_null("")]
    name = (names[0] + " " + names[1]).strip().nullif("")
    left = rows.truth("archived").fill_null(False) | rows.table["_deleted"]
    table = rows.table.select(
        rep_id=rows.text("id"),
        valid_from=steady_since(options, "reps", rows.moment("created_at")),
        name=ibis.coalesce(name, rows.text("email")),
        team=rep_field(rows, options, "team", "team"),
        region=rep_field(rows, options, "region", "region"),
        active=~left,
    )
    return {"reps": table}


def activities_of(tables: Tables, deals: Rows, options: CrmSource) -> dict[str, ir.Table]:
    """Calls, meetings, emails and completed tasks; one that serves several deals counts for the first.

    A meeting is known once it was to take place: a planned one may never happen.
    """
    found = [
        read(rows)
        for name, read in (
            ("meetings", _meetings), ("calls", _calls), ("emails", _emails), ("tasks", _tasks)
        )
        if (rows := landed_rows(tables, name).live).here
    ]  # fmt: skip
    if not found:
        return {}
    table = ibis.union(*found) if len(found) > 1 else found[0]
    table = table.filter(table["at"].notnull())
    links = standing_links(landed_rows(tables, "activity_deals").live, "activity_id", "deal_id")
    served = _first_of(links, "activity_id", deals)
    tied = links.table.select(_tied=links.text("activity_id")).distinct()
    table = table.left_join(served, table.activity_id == served["_key"]).drop("_key")
    table = table.left_join(tied, table.activity_id == tied["_tied"])
    of_the_gone = table["_tied"].notnull() & table.deal_id.isnull()
    table = table.filter(~of_the_gone).drop("_tied")
    return {"activities": table.filter(~among(table.rep_id, options.integration_users))}


def standing_links(links: Rows, owner: str, other: str) -> Rows:
    """Associations as they were when their owner was last read, which is `as_of` where rows tell it.

    An owner that is tied to nothing any more has one row without the other's id.
    """
    if not links.has("as_of"):
        return links
    as_of = links.text("as_of").fill_null("")
    last = as_of.max().over(ibis.window(group_by=links.text(owner)))
    table = links.table.mutate(_holds=as_of == last)
    return links.only(table.filter(table["_holds"] & links.text(other).notnull()).drop("_holds"))


def _meetings(rows: Rows) -> ir.Table:
    start = ibis.coalesce(
        rows.moment("hs_meeting_start_time"), rows.moment("start_time"), rows.moment("hs_timestamp")
    )
    end = ibis.coalesce(rows.moment("hs_meeting_end_time"), rows.moment("end_time"))
    minutes = (end.epoch_seconds() - start.epoch_seconds()) / 60
    outcome = ibis.coalesce(rows.text("hs_meeting_outcome"), rows.text("meeting_outcome"))
    return _activity(rows, "meeting", start, minutes, outcome)


def _calls(rows: Rows) -> ir.Table:
    minutes = ibis.coalesce(rows.number("hs_call_duration"), rows.number("duration_milliseconds"))
    outcome = ibis.coalesce(rows.text("hs_call_disposition"), rows.text("disposition"))
    at = ibis.coalesce(rows.moment("hs_timestamp"), rows.moment("timestamp"))
    return _activity(rows, "call", at, minutes / 60_000, outcome)


def _emails(rows: Rows) -> ir.Table:
    at = ibis.coalesce(rows.moment("hs_timestamp"), rows.moment("timestamp"))
    return _activity(rows, "email", at, ibis.null("float64"), rows.text("hs_email_status"))


def _tasks(rows: Rows) -> ir.Table:
    """Only what was done: a task that is due says nothing of what happened."""
    status = ibis.coalesce(rows.text("hs_task_status"), rows.text("status"))
    done = rows.only(rows.table.filter((status == "COMPLETED").fill_null(False)))
    at = ibis.coalesce(
        done.moment("hs_task_completion_date"), done.moment("completion_date"),
        done.moment("hs_timestamp"),
    )  # fmt: skip
    return _activity(done, "task", at, ibis.null("float64"), ibis.null("string"))


def _activity(
    rows: Rows, usual: str, at: ir.TimestampValue, minutes: ir.Value, outcome: ir.Value
) -> ir.Table:
    owner = ibis.coalesce(rows.text("hubspot_owner_id"), rows.text("owner_id"))
    entered = ibis.coalesce(rows.moment("hs_createdate"), rows.moment("created_at"))
    chosen = {
        "activity_id": rows.text("id"),
        "rep_id": owner,
        "kind": ibis.coalesce(rows.text("hs_activity_type"), ibis.literal(usual)).lower(),
        "at": at,
        "duration_minutes": minutes.cast("float64"),
        "outcome": outcome,
        "recorded_at": ibis.greatest(at, entered.fill_null(at)),
    }
    return rows.table.select(**with_reason(chosen, rows))


def _first_of(links: Rows, key: str, deals: Rows) -> ir.Table:
    """The one deal that stands for each linked row."""
    live = deals.table.select(_live=deals.text("id"))
    table = links.table.select(_key=links.text(key), deal_id=links.text("deal_id"))
    table = table.semi_join(live, table.deal_id == live["_live"])
    return table.group_by("_key").agg(deal_id=table.deal_id.min())


def quotes_of(tables: Tables, deals: Rows) -> dict[str, ir.Table]:
    """Quotes of the deals that stand."""
    rows = landed_rows(tables, "quotes").live
    if not rows.here:
        return {}
    chosen = {
        "quote_id": rows.text("id"),
        "amount": rows.money("hs_quote_amount"),
        "discount": rows.number("hs_discount_percentage") / 100,
        "sent_at": rows.moment("hs_createdate"),
        "status": rows.text("hs_status").lower().substitute(QUOTE_WORDS),
        SAVED: ibis.coalesce(rows.moment("modified"), rows.moment("hs_lastmodifieddate")),
    }
    table = as_known(rows.table.select(**with_reason(chosen, rows)))
    links = standing_links(landed_rows(tables, "quote_deals").live, "quote_id", "deal_id")
    of_deals = _first_of(links, "quote_id", deals)
    quote = table.quote_id.re_replace(f"{ANSWER}$", "")
    return {"quotes": table.inner_join(of_deals, quote == of_deals["_key"]).drop("_key")}
