"""Bitrix24's companies, users, activities and quotes as canonical tables."""

from __future__ import annotations

from collections.abc import Mapping

import ibis
import ibis.expr.types as ir

from salesops_ml.crm.vendor_quotes import SAVED, as_known
from salesops_ml.crm.vendor_rows import Rows, among, landed_rows
from salesops_ml.crm.vendor_tables import rep_field, steady_since, with_reason
from salesops_ml.crm_settings import Bitrix24Source

Tables = Mapping[str, ir.Table]

KINDS = {"1": "meeting", "2": "call", "3": "task", "4": "email"}
"""`TYPE_ID` of activities; what else there is goes by its provider's name."""
TODO = "CRM_TODO"
QUOTE_WORDS = {"DRAFT": "sent", "SENT": "sent", "RECEIVED": "sent_back", "APPROVED": "accepted",
               "DECLAINED": "declined"}  # fmt: skip
"""Bitrix24's usual states of quotes in ours, in its own spelling; others go by their name."""


def words_of(tables: Tables, dictionary: str) -> ir.Table:
    """A dictionary of the CRM: `_word_id` and `_word`; deleted words stay, since deals may name them."""
    rows = landed_rows(tables, "statuses")
    kept = rows.only(rows.table.filter(rows.text("ENTITY_ID") == dictionary))
    return kept.table.select(_word_id=kept.text("STATUS_ID"), _word=kept.text("NAME"))


def still_there(rows: Rows, ids: Rows, key: str) -> Rows:
    """The rows that were not deleted: their ids are among those that were found last."""
    if not (rows.here and ids.here):
        return rows.live
    known = ids.live.table.select(_known=ids.live.text(key))
    kept = rows.live
    return kept.only(kept.table.semi_join(known, kept.text(key) == known["_known"]))


def accounts_of(tables: Tables, options: Bitrix24Source) -> dict[str, ir.Table]:
    """Companies as they stand today; their size is a band at Bitrix24, and is not read."""
    rows = still_there(landed_rows(tables, "companies"), landed_rows(tables, "company_ids"), "id")
    if not rows.here:
        return {}
    words = words_of(tables, "INDUSTRY")
    rows = rows.only(rows.table.left_join(words, rows.text("industry") == words["_word_id"]))
    table = rows.table.select(
        account_id=rows.text("id"),
        valid_from=steady_since(options, "accounts", rows.moment("createdTime")),
        name=rows.text("title"),
        industry=ibis.coalesce(rows.table["_word"], rows.text("industry")),
        region=rows.text("ufCrmRegion"),
        annual_revenue=rows.number("revenue"),
    )
    return {"accounts": table}


def reps_of(tables: Tables, options: Bitrix24Source) -> dict[str, ir.Table]:
    """Users as reps: their team is their first department, their manager who heads it."""
    rows = landed_rows(tables, "users").live
    if not rows.here:
        return {}
    teams = landed_rows(tables, "departments").live
    told = teams.table.select(
        _department=teams.text("ID"), _team=teams.text("NAME"),
        _head=teams.text("UF_HEAD").nullif("0"), _above=teams.text("PARENT"),
    )  # fmt: skip
    above = told.select(_up="_department", _upper_head="_head")
    table = rows.table.left_join(told, rows.text("department") == told["_department"])
    table = table.left_join(above, table["_above"] == above["_up"])
    rows = rows.only(table)
    named = "team" in options.rep_fields
    heads_it = (table["_head"] == rows.text("ID")).fill_null(False)
    names = [rows.text("NAME").fill_null(""), rows.text("LAST_NAME").fill_null("")]
    done = table.select(
        rep_id=rows.text("ID"),
        valid_from=steady_since(options, "reps", rows.moment("DATE_REGISTER")),
        name=(names[0] + " " + names[1]).strip().nullif(""),
        team=rep_field(rows, options, "team", "department") if named else table["_team"],
        manager_id=ibis.ifelse(heads_it, table["_upper_head"], table["_head"]),
        region=rep_field(rows, options, "region", "WORK_COUNTRY"),
        active=rows.truth("ACTIVE"),
    )
    return {"reps": done}


def activities_of(tables: Tables, deals: Rows, options: Bitrix24Source) -> dict[str, ir.Table]:
    """Completed activities, of deals that stand or of none.

    A task is known to be done when its record last changed: the portal does not tell when it was ticked
    off. Outcomes are not kept.
    """
    ids = landed_rows(tables, "activity_ids")
    rows = still_there(landed_rows(tables, "activities"), ids, "ID")
    if not rows.here:
        return {}
    kept = rows.only(rows.table.filter(rows.flag("COMPLETED")))
    live = deals.table.select(_live=deals.text("id"))
    table = _activity(kept)
    table = table.left_join(live, table["_deal"] == live["_live"])
    table = table.filter(table["_deal"].isnull() | table["_live"].notnull())
    table = table.mutate(deal_id=table["_live"]).drop("_deal", "_live")
    return {"activities": table.filter(~among(table.rep_id, options.integration_users))}


def _activity(rows: Rows) -> ir.Table:
    kind = rows.text("TYPE_ID")
    provider = ibis.coalesce(rows.text("PROVIDER_TYPE_ID"), rows.text("PROVIDER_ID"))
    todo = (rows.text("PROVIDER_ID") == TODO).fill_null(False)
    task = (kind == "3").fill_null(False) | todo
    start, end = rows.moment("START_TIME"), rows.moment("END_TIME")
    entered, changed = rows.moment("CREATED"), rows.moment("LAST_UPDATED")
    planned = ibis.coalesce(start, rows.moment("DEADLINE"), entered)
    at = ibis.ifelse(task, ibis.coalesce(changed, planned), planned)
    minutes = (end.epoch_seconds() - start.epoch_seconds()) / 60
    chosen = {
        "activity_id": rows.text("ID"),
        "rep_id": rows.text("RESPONSIBLE_ID").nullif("0"),
        "kind": ibis.cases(
            (todo, "task"), (kind.isin(list(KINDS)), kind.substitute(KINDS)), else_=provider.lower()
        ),
        "at": at,
        "duration_minutes": ibis.ifelse(~task & (minutes > 0), minutes, ibis.null("float64")),
        "recorded_at": ibis.greatest(at, entered.fill_null(at)),
        "_deal": rows.text("dealId"),
    }
    table = rows.table.select(**with_reason(chosen, rows))
    return table.filter(table["at"].notnull())


def quotes_of(tables: Tables, deals: Rows) -> dict[str, ir.Table]:
    """Quotes of the deals that stand; Bitrix24 tells no discount of a quote as a whole."""
    rows = still_there(landed_rows(tables, "quotes"), landed_rows(tables, "quote_ids"), "id")
    if not rows.here:
        return {}
    live = deals.table.select(_live=deals.text("id"))
    words = words_of(tables, "QUOTE_STATUS")
    kept = rows.only(rows.table.semi_join(live, rows.text("dealId") == live["_live"]))
    kept = kept.only(kept.table.left_join(words, kept.text("stageId") == words["_word_id"]))
    state = kept.text("stageId")
    other = ibis.coalesce(kept.table["_word"], state).lower()
    chosen = {
        "quote_id": kept.text("id"),
        "deal_id": kept.text("dealId"),
        "amount": kept.money("opportunity"),
        "sent_at": kept.moment("createdTime"),
        "status": ibis.ifelse(state.isin(list(QUOTE_WORDS)), state.substitute(QUOTE_WORDS), other),
        SAVED: kept.moment("updatedTime"),
    }
    return {"quotes": as_known(kept.table.select(**with_reason(chosen, kept)))}
