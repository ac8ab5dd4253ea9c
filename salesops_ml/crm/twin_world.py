"""A company as a CRM would hold it: canonical tables turned into a vendor's own rows.

What the mapping makes of these rows is the company again, field by field; so tests have an oracle,
and the loopback twins something to serve. Rows carry the names, kinds and habits of the vendor's
API: ids with their prefixes, percentages, one history row for a save that changed several fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.vendor_history import STAGE
from salesops_ml.schema import CanonicalTables

Row = dict[str, Any]
Rows = dict[str, list[Row]]

SALESFORCE_FIELDS = {
    "product": "Product_Line__c", "lost_reason": "Loss_Reason__c",
    "service_start": "Service_Start__c", "term_months": "Term_Months__c",
}  # fmt: skip
"""Canonical columns that Salesforce has no field for -> the custom field that holds them here."""

_ID_COLUMNS = {
    "deal_id": "deal", "account_id": "account", "parent": "account", "rep_id": "rep",
    "manager_id": "rep", "changed_by": "rep", "activity_id": "activity", "quote_id": "quote",
}  # fmt: skip
_SALESFORCE_PREFIX = {
    "deal": "006",
    "account": "001",
    "rep": "005",
    "activity": "00T",
    "quote": "0Q0",
}
_HUBSPOT_START = {"deal": 10**10, "account": 2 * 10**10, "rep": 3 * 10**8, "activity": 4 * 10**10,
                  "quote": 5 * 10**10}  # fmt: skip
_TYPES = {"new": "New Business", "expansion": "Existing Business", "renewal": "Renewal"}
_CATEGORY_NAMES = {"omitted": "Omitted", "pipeline": "Pipeline", "best_case": "Best Case",
                   "commit": "Commit", "closed": "Closed"}  # fmt: skip
_CATEGORY_KEPT = {**_CATEGORY_NAMES, "best_case": "BestCase", "commit": "Forecast"}


def with_salesforce_ids(world: CanonicalTables) -> CanonicalTables:
    """The same company with ids as Salesforce gives them."""
    return with_ids(world, lambda kind, n: f"{_SALESFORCE_PREFIX[kind]}{n:012d}")


def with_hubspot_ids(world: CanonicalTables) -> CanonicalTables:
    """The same company with ids as HubSpot gives them."""
    return with_ids(world, lambda kind, n: str(_HUBSPOT_START[kind] + n))


def with_ids(world: CanonicalTables, make: Callable[[str, int], str]) -> CanonicalTables:
    """The same company with the ids that `make` gives the n-th record of a kind."""
    known: dict[str, dict[str, str]] = {kind: {} for kind in _SALESFORCE_PREFIX}
    for table in world.tables.values():
        for column, kind in _ID_COLUMNS.items():
            if column in table.column_names:
                for value in pc.unique(table[column]).drop_null().to_pylist():
                    known[kind].setdefault(value, "")
    ids = {kind: {value: make(kind, n) for n, value in enumerate(sorted(values), 1)}
           for kind, values in known.items()}  # fmt: skip
    tables = {name: _renumbered(name, table, ids) for name, table in world.tables.items()}
    return CanonicalTables(tables, world.rejects, world.attributes, world.counts)


def _renumbered(name: str, table: pa.Table, ids: Mapping[str, dict[str, str]]) -> pa.Table:
    for column, kind in _ID_COLUMNS.items():
        if column in table.column_names:
            values = pa.array([ids[kind].get(v) for v in table[column].to_pylist()], pa.string())
            table = table.set_column(table.column_names.index(column), column, values)
    if name != "deal_changes":
        return table
    owners = [
        (ids["rep"].get(old, old), ids["rep"].get(new, new)) if field == "rep_id" else (old, new)
        for field, old, new in zip(
            *(table[c].to_pylist() for c in ("field", "old_value", "new_value")), strict=True
        )
    ]
    for n, column in enumerate(("old_value", "new_value")):
        values = pa.array([pair[n] for pair in owners], pa.string())
        table = table.set_column(table.column_names.index(column), column, values)
    return table


def salesforce_rows(world: CanonicalTables) -> Rows:
    """A company with Salesforce's ids as Salesforce's objects.

    Returns:
        Rows of Opportunity, OpportunityHistory, OpportunityFieldHistory, OpportunityStage, Account,
        User, Task, Event, Quote and DatedConversionRate, times as the REST API writes them.
    """
    tables = {name: table.to_pylist() for name, table in world.tables.items()}
    stages = {row["stage"]: row for row in tables["stages"]}
    saves = _saves(tables)
    owner_moves = by_deal(row for row in tables["deal_changes"] if row["field"] in _TRACKED)
    attributes = {attribute.name: attribute.column for attribute in world.attributes}
    tasks, events = _tasks_and_events(tables["activities"])
    history = [row for deal in tables["deals"] for row in saves.get(deal["deal_id"], ())]
    return {
        "Opportunity": [_opportunity(deal, saves, stages, attributes) for deal in tables["deals"]],
        "OpportunityHistory": [_numbered("008", n, row) for n, row in enumerate(history, 1)],
        "OpportunityFieldHistory": _field_history(tables["deals"], owner_moves, saves),
        "OpportunityStage": [_salesforce_stage(n, row) for n, row in enumerate(tables["stages"])],
        "Account": [_account(row) for row in latest(tables["accounts"], "account_id")],
        "User": [_user(row) for row in latest(tables["reps"], "rep_id")],
        "Task": tasks,
        "Event": events,
        "Quote": [_quote(row) for row in tables.get("quotes", [])],
        "DatedConversionRate": _dated_rates(tables.get("exchange_rates", [])),
    }


_TRACKED = ("rep_id", "product", "competitor")
_FIELD_NAMES = {"rep_id": "Owner", "product": "Product_Line__c", "competitor": "Competitor__c"}
_SAVED = (STAGE, "amount", "expected_close_date", "forecast_category")


def iso(moment: datetime | None) -> str | None:
    """A naive UTC moment as Salesforce writes it.

    Example:
        >>> iso(datetime(2026, 3, 1, 12, 30))
        '2026-03-01T12:30:00.000+0000'
    """
    if moment is None or pd.isna(moment):
        return None
    return moment.isoformat(timespec="milliseconds") + "+0000"


def _numbered(prefix: str, number: int, row: Row) -> Row:
    return {"Id": f"{prefix}{number:012d}", **row}


def by_deal(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by the deal that they speak of."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["deal_id"], []).append(row)
    return found


def moves_of(tables: Mapping[str, list[Row]], fields: tuple[str, ...]) -> dict[str, list[Row]]:
    """By deal: each change of a field, moves between stages among them, in order."""
    told = [
        {"deal_id": row["deal_id"], "field": STAGE, "at": row["entered_at"], "seq": row["seq"],
         "value": row["stage"], "by": row["rep_id"]}
        for row in tables["stage_events"]
    ]  # fmt: skip
    told += [
        {"deal_id": row["deal_id"], "field": row["field"], "at": row["changed_at"],
         "seq": row["seq"], "value": row["new_value"], "by": row["changed_by"]}
        for row in tables["deal_changes"] if row["field"] in fields
    ]  # fmt: skip
    told.sort(key=lambda row: (row["deal_id"], row["at"], row["seq"], row["field"] != STAGE))
    return by_deal(told)


def _saves(tables: Mapping[str, list[Row]]) -> dict[str, list[Row]]:
    """OpportunityHistory: the four fields as each save left them."""
    found = {}
    for deal, moves in moves_of(tables, _SAVED[1:]).items():
        stands: dict[str, Any] = dict.fromkeys(_SAVED)
        rows: list[tuple[tuple[datetime, int, Any], Row]] = []
        for move in moves:
            stands[move["field"]] = move["value"]
            save = (move["at"], move["seq"], move["by"])
            row = {
                "OpportunityId": deal, "StageName": stands[STAGE], "Amount": stands["amount"],
                "CloseDate": stands["expected_close_date"],
                "ForecastCategory": _CATEGORY_KEPT.get(stands["forecast_category"] or ""),
                "CreatedDate": iso(move["at"]), "CreatedById": move["by"],
            }  # fmt: skip
            if rows and rows[-1][0] == save:
                rows[-1] = (save, row)
            else:
                rows.append((save, row))
        found[deal] = [row for _, row in rows]
    return found


def _opportunity(
    deal: Row, saves: Mapping[str, list[Row]], stages: Mapping[str, Row], extra: Mapping[str, str]
) -> Row:
    last = saves[deal["deal_id"]][-1]
    stage = stages.get(last["StageName"], {})
    row = {
        "Id": deal["deal_id"], "Name": f"Deal {deal['deal_id']}", "AccountId": deal["account_id"],
        "OwnerId": deal["rep_id"], "Amount": _number(deal["amount"]),
        "CurrencyIsoCode": deal["currency"], "StageName": last["StageName"],
        "Probability": round(100 * (stage.get("probability") or 0)),
        "ForecastCategoryName": _CATEGORY_NAMES.get(deal["forecast_category"] or ""),
        "CloseDate": _day(deal["expected_close_date"]), "CreatedDate": iso(deal["created_at"]),
        "IsClosed": deal["status"] != "open", "IsWon": deal["status"] == "won",
        "LeadSource": deal["lead_source"],
        "Type": _TYPES.get(deal["deal_type"] or "", deal["deal_type"]), "RecordTypeId": None,
        "IsDeleted": False, "SystemModstamp": _modified(deal, last),
    }  # fmt: skip
    for name, field in SALESFORCE_FIELDS.items():
        row[field] = _day(deal[name]) if isinstance(deal[name], date) else deal[name]
    for name, column in extra.items():
        row[f"{name.title()}__c"] = deal[column]
    return row


def _modified(deal: Row, last: Row) -> str | None:
    return max(str(last["CreatedDate"]), str(iso(deal["created_at"])))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _day(value: date | None) -> str | None:
    return None if value is None else value.isoformat()


def _field_history(
    deals: list[Row], moves: Mapping[str, list[Row]], saves: Mapping[str, list[Row]]
) -> list[Row]:
    rows: list[Row] = []
    for deal in deals:
        rows.append(
            {"OpportunityId": deal["deal_id"], "Field": "created", "OldValue": None,
             "NewValue": None, "CreatedDate": iso(deal["created_at"]),
             "CreatedById": saves[deal["deal_id"]][0]["CreatedById"]}
        )  # fmt: skip
        for move in moves.get(deal["deal_id"], ()):
            if move["old_value"] is None:
                continue
            row = {"OpportunityId": deal["deal_id"], "Field": _FIELD_NAMES[move["field"]],
                   "OldValue": move["old_value"], "NewValue": move["new_value"],
                   "CreatedDate": iso(move["changed_at"]),
                   "CreatedById": move["changed_by"]}  # fmt: skip
            if move["field"] == "rep_id":
                named = {
                    "OldValue": f"Rep {move['old_value']}",
                    "NewValue": f"Rep {move['new_value']}",
                }
                rows.append({**row, **named})
            rows.append(row)
    return [_numbered("017", n, row) for n, row in enumerate(rows, 1)]


def _salesforce_stage(number: int, stage: Row) -> Row:
    return _numbered("01J", number + 1, {
        "MasterLabel": stage["stage"], "ApiName": stage["stage"], "IsActive": True,
        "IsWon": stage["is_won"], "IsClosed": stage["is_closed"], "SortOrder": stage["position"] + 1,
        "DefaultProbability": None if stage["probability"] is None else 100 * stage["probability"],
    })  # fmt: skip


def latest(rows: list[Row], key: str) -> list[Row]:
    """The last version of each."""
    found: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: (row[key], row["valid_from"] or datetime.min)):
        found[row[key]] = row
    return list(found.values())


def _account(row: Row) -> Row:
    return {
        "Id": row["account_id"], "Name": row["name"], "Industry": row["industry"],
        "BillingCountry": row["region"], "NumberOfEmployees": row["employees"],
        "AnnualRevenue": row["annual_revenue"], "ParentId": row["parent"],
        "CreatedDate": iso(row["valid_from"]), "IsDeleted": False,
        "SystemModstamp": iso(row["valid_from"]),
    }  # fmt: skip


def _user(row: Row) -> Row:
    return {
        "Id": row["rep_id"], "Name": row["name"], "Department": row["team"],
        "ManagerId": row["manager_id"], "Country": row["region"], "IsActive": row["active"],
        "CreatedDate": iso(row["hired_at"]), "SystemModstamp": iso(row["valid_from"]),
    }  # fmt: skip


def _tasks_and_events(activities: list[Row]) -> tuple[list[Row], list[Row]]:
    tasks, events = [], []
    for row in activities:
        shared = {"Id": row["activity_id"], "WhatId": row["deal_id"], "OwnerId": row["rep_id"],
                  "Type": row["kind"], "CreatedDate": iso(row["recorded_at"]), "IsDeleted": False,
                  "SystemModstamp": iso(row["at"]), "Outcome__c": row["outcome"]}  # fmt: skip
        if row["kind"] in ("meeting", "demo"):
            events.append({**shared, "StartDateTime": iso(row["at"]),
                           "DurationInMinutes": row["duration_minutes"]})  # fmt: skip
        else:
            minutes = row["duration_minutes"]
            tasks.append({**shared, "Status": "Completed", "IsClosed": True,
                          "CompletedDateTime": iso(row["at"]),
                          "CallDurationInSeconds": minutes and minutes * 60})  # fmt: skip
    return tasks, events


def _quote(row: Row) -> Row:
    return {
        "Id": row["quote_id"], "OpportunityId": row["deal_id"],
        "GrandTotal": _number(row["amount"]), "Status": row["status"],
        "Discount": None if row["discount"] is None else 100 * row["discount"],
        "CreatedDate": iso(row["sent_at"]), "IsDeleted": False, "SystemModstamp": iso(row["sent_at"]),
    }  # fmt: skip


def _dated_rates(rates: list[Row]) -> list[Row]:
    return [
        _numbered("04w", n, {
            "IsoCode": row["currency"], "StartDate": _day(row["day"]),
            "NextStartDate": _day(row["day"] + timedelta(days=1)), "ConversionRate": 1 / row["rate"],
        })
        for n, row in enumerate(rates, 1)
    ]  # fmt: skip
