"""A company as amoCRM would hold it: leads, their events, and what hangs on them, as its API gives them.

amoCRM has one currency, whole prices and whole seconds, and no quotes; `with_amocrm_ids` is the company
with only what amoCRM can hold, `amocrm_rows` that company's records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.twin_world import Row, Rows, latest, moves_of, with_ids
from salesops_ml.crm.vendor_history import STAGE
from salesops_ml.schema import CanonicalTables

ZONE = ZoneInfo("Europe/Moscow")
CURRENCY = "EUR"
AMOCRM_FIELDS = {
    "product": "PRODUCT_LINE", "lead_source": "LEAD_SOURCE", "deal_type": "DEAL_TYPE",
    "expected_close_date": "EXPECTED_CLOSE", "forecast_category": "FORECAST_CATEGORY",
    "service_start": "SERVICE_START", "term_months": "TERM_MONTHS",
}  # fmt: skip
"""Canonical columns that amoCRM has no field for -> the code of the custom field that holds them."""
COMPANY_FIELDS = {"industry": "INDUSTRY", "region": "REGION", "employees": "EMPLOYEES",
                  "annual_revenue": "REVENUE"}  # fmt: skip
_KINDS = {"expected_close_date": "date", "service_start": "date", "term_months": "numeric",
          "employees": "numeric", "annual_revenue": "numeric", "product": "select",
          "forecast_category": "select"}  # fmt: skip
_START = {"deal": 10_000_000, "account": 20_000_000, "rep": 300_000, "activity": 40_000_000,
          "quote": 50_000_000}  # fmt: skip
_CONTACT = 50_000_000
"""What a lead's id and its main contact's differ by."""
_PIPELINE, _STATUS, _FIELD, _REASON = 7_000_000, 30_000_000, 600_000, 800_000
_TASK_TYPES = {"task": (1, "FOLLOW_UP"), "meeting": (2, "MEETING"), "call": (3, "CALL"),
               "email": (4, "LETTER"), "demo": (5, None), "internal": (6, None)}  # fmt: skip
_HISTORY = ("amount", "expected_close_date", "forecast_category", "rep_id", "product", "competitor")


def with_amocrm_ids(world: CanonicalTables) -> CanonicalTables:
    """The same company with amoCRM's ids, and only what amoCRM can hold."""
    tables = dict(with_ids(world, lambda kind, n: str(_START[kind] + n)).tables)
    for name in ("quotes", "exchange_rates"):
        tables.pop(name, None)
    deals = tables["deals"]
    for column in ("amount", "amount_base"):
        whole = pc.round(deals["amount_base"]).cast(pa.decimal128(18, 2))
        deals = deals.set_column(deals.column_names.index(column), column, whole)
    money = pa.repeat(CURRENCY, deals.num_rows)
    tables["deals"] = deals.set_column(deals.column_names.index("currency"), "currency", money)
    tables["deal_changes"] = _in_one_money(tables["deal_changes"])
    tables["stages"] = _without(tables["stages"], "probability", "expected_days")
    tables["activities"] = _as_tasks_and_notes(tables["activities"])
    return CanonicalTables(tables, world.rejects, world.attributes, world.counts)


def _in_one_money(changes: pa.Table) -> pa.Table:
    """The history of amounts in company money alone, in whole units."""
    rows = []
    for row in changes.to_pylist():
        if row["field"] == "amount":
            continue
        if row["field"] == "amount_base":
            values = {name: _whole(row[name]) for name in ("old_value", "new_value")}
            if values["old_value"] == values["new_value"]:
                continue
            row = {**row, **values, "field": "amount"}
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=changes.schema)


def _whole(text: str | None) -> str | None:
    if text is None:
        return None
    whole = pc.round(pa.scalar(Decimal(text), pa.decimal128(18, 2)))
    return str(whole.cast(pa.decimal128(18, 2)).as_py())


def _without(table: pa.Table, *names: str) -> pa.Table:
    for name in names:
        nothing = pa.nulls(table.num_rows, table.schema.field(name).type)
        table = table.set_column(table.column_names.index(name), name, nothing)
    return table


def _as_tasks_and_notes(activities: pa.Table) -> pa.Table:
    """Ids that say which list an activity is in; it is known when it happens."""
    ids = [f"{_list_of(row)}-{row['activity_id']}" for row in activities.to_pylist()]
    place = activities.column_names.index("activity_id")
    activities = activities.set_column(place, "activity_id", pa.array(ids, pa.string()))
    known = activities.column_names.index("recorded_at")
    return activities.set_column(known, "recorded_at", activities["at"])


def _list_of(activity: Row) -> str:
    of_deal = activity["deal_id"] is not None
    return "note" if of_deal and activity["kind"] in ("call", "email") else "task"


def amocrm_rows(world: CanonicalTables) -> Rows:
    """A company with amoCRM's ids as amoCRM's records.

    Returns:
        Rows of account, leads, events, pipelines (their statuses within), loss_reasons, lead_fields,
        company_fields, users, companies, tasks, notes and contact_notes: every other call hangs on the
        lead's main contact, as telephony does it.
    """
    tables = {name: table.to_pylist() for name, table in world.tables.items()}
    extra = {attribute.name: attribute.column for attribute in world.attributes}
    codes = {**AMOCRM_FIELDS, **{name: name.upper() for name in extra}}
    fields = _fields(codes, {**_KINDS})
    of_company = _fields(COMPANY_FIELDS, _KINDS, first=len(fields))
    statuses = _statuses(tables["stages"])
    reasons = sorted({row["lost_reason"] for row in tables["deals"] if row["lost_reason"]})
    moves = moves_of(tables, _HISTORY)
    leads = _Leads(fields, statuses, {name: _REASON + n for n, name in enumerate(reasons)}, extra)
    return {
        "account": [_account(tables)],
        "leads": [leads.row(deal, moves[deal["deal_id"]]) for deal in tables["deals"]],
        "events": leads.events(moves),
        "pipelines": _pipelines(tables["stages"], statuses),
        "loss_reasons": [{"id": _REASON + n, "name": name} for n, name in enumerate(reasons)],
        "lead_fields": list(fields.values()),
        "company_fields": list(of_company.values()),
        "users": [_user(row) for row in latest(tables["reps"], "rep_id")],
        "companies": [_company(row, of_company) for row in latest(tables["accounts"], "account_id")],
        **_tasks_and_notes(tables.get("activities", [])),
    }  # fmt: skip


def seconds(moment: datetime | None) -> int | None:
    """A naive UTC moment as amoCRM writes it.

    Example:
        >>> seconds(datetime(2026, 3, 1, 12, 30))
        1772368200
    """
    return None if moment is None else int(moment.replace(tzinfo=UTC).timestamp())


def midnight(day: date) -> int:
    """A day as a date field holds it: midnight on the account's clock."""
    return int(datetime.combine(day, time(), ZONE).timestamp())


def field_value(field: Row, value: Any) -> Row:
    """A custom field's value, as a lead or company shows it."""
    if field["type"] == "date":
        value = midnight(value if isinstance(value, date) else date.fromisoformat(value))
    elif not isinstance(value, str):
        value = format(value, "f") if isinstance(value, Decimal) else str(value)
    return {"field_id": field["id"], "field_name": field["name"], "field_code": field["code"],
            "field_type": field["type"], "values": [{"value": value}]}  # fmt: skip


def _fields(
    codes: Mapping[str, str], kinds: Mapping[str, str], *, first: int = 0
) -> dict[str, Row]:
    """Custom fields by our name."""
    return {
        name: {"id": _FIELD + first + n, "name": code.replace("_", " ").capitalize(), "code": code,
               "type": kinds.get(name, "text"), "is_api_only": False, "is_computed": False}
        for n, (name, code) in enumerate(codes.items())
    }  # fmt: skip


def _statuses(stages: Iterable[Row]) -> dict[str, int]:
    """The status of each stage; won and lost are the two that every pipeline has."""
    found = {}
    for n, row in enumerate(sorted(stages, key=lambda row: row["position"])):
        closed = 142 if row["is_won"] else 143
        found[row["stage"]] = closed if row["is_closed"] else _STATUS + n
    return found


def _pipelines(stages: list[Row], statuses: Mapping[str, int]) -> list[Row]:
    names = sorted({row["pipeline"] for row in stages})
    return [
        {"id": _PIPELINE + n, "name": name, "sort": n, "is_main": n == 0, "is_archive": False,
         "_embedded": {"statuses": [
             {"id": statuses[row["stage"]], "name": row["stage"], "sort": 10 * (row["position"] + 1),
              "pipeline_id": _PIPELINE + n, "type": 0}
             for row in sorted(stages, key=lambda row: row["position"]) if row["pipeline"] == name
         ]}}
        for n, name in enumerate(names)
    ]  # fmt: skip


class _Leads:
    """Deals and their moves as leads and events."""

    def __init__(
        self,
        fields: Mapping[str, Row],
        statuses: Mapping[str, int],
        reasons: Mapping[str, int],
        extra: Mapping[str, str],
    ) -> None:
        self.fields, self.statuses = fields, statuses
        self.reasons, self.extra = reasons, extra

    def row(self, deal: Row, moves: list[Row]) -> Row:
        stage = [move["value"] for move in moves if move["field"] == STAGE][-1]
        last = max(move["at"] for move in moves)
        company, contact = deal["account_id"], int(deal["deal_id"]) + _CONTACT
        return {
            "id": int(deal["deal_id"]), "name": f"Deal {deal['deal_id']}",
            "price": int(deal["amount"] or 0), "responsible_user_id": _number(deal["rep_id"]),
            "group_id": 0, "status_id": self.statuses[stage], "pipeline_id": _PIPELINE,
            "loss_reason_id": self.reasons.get(deal["lost_reason"]),
            "created_by": _number(moves[0]["by"]), "updated_by": _number(moves[-1]["by"]),
            "created_at": seconds(deal["created_at"]),
            "updated_at": seconds(max(last, deal["closed_at"] or last)),
            "closed_at": seconds(deal["closed_at"]), "closest_task_at": None, "is_deleted": False,
            "custom_fields_values": self._custom(deal) or None, "score": None,
            "_embedded": {"tags": [], "companies": [] if company is None else [{"id": int(company)}],
                          "contacts": [{"id": contact, "is_main": True}]},
        }  # fmt: skip

    def _custom(self, deal: Row) -> list[Row]:
        told = {name: deal[self.extra.get(name, name)] for name in self.fields}
        return [
            field_value(self.fields[name], value)
            for name, value in told.items()
            if value is not None
        ]

    def events(self, moves: Mapping[str, list[Row]]) -> list[Row]:
        """Every change but the first value of a field, in the order of time."""
        found = []
        for deal, told in moves.items():
            stands: dict[str, Any] = {}
            for move in told:
                field, first = move["field"], move["field"] not in stands
                before, stands[field] = stands.get(field), move["value"]
                begun = move["at"] == told[0]["at"]
                if before != move["value"] and not (first and begun):
                    found.append(self._event(deal, move, before))
        found.sort(key=lambda row: row["created_at"])
        return [{"id": event_id(row["created_at"], n), **row} for n, row in enumerate(found)]

    def _event(self, deal: str, move: Row, before: Any) -> Row:
        values = [self._value(move["field"], value) for value in (before, move["value"])]
        kind = {STAGE: "lead_status_changed", "amount": "sale_field_changed",
                "rep_id": "entity_responsible_changed"}.get(move["field"])  # fmt: skip
        if kind is None:
            kind = f"custom_field_{self.fields[move['field']]['id']}_value_changed"
        return {"type": kind, "entity_id": int(deal), "entity_type": "lead",
                "created_by": _number(move["by"]), "created_at": seconds(move["at"]),
                "value_before": values[0], "value_after": values[1]}  # fmt: skip

    def _value(self, field: str, value: Any) -> list[Row]:
        if value is None:
            return []
        if field == STAGE:
            return [{"lead_status": {"id": self.statuses[value], "pipeline_id": _PIPELINE}}]
        if field == "amount":
            return [{"sale_field_value": {"sale": int(Decimal(value))}}]
        if field == "rep_id":
            return [{"responsible_user": {"id": int(value)}}]
        return [custom_change(self.fields[field], field_value(self.fields[field], value))]


def custom_change(field: Row, shown: Row) -> Row:
    """A custom field's value, as an event shows it."""
    text = "; ".join(str(value["value"]) for value in shown["values"])
    return {"custom_field_value": {"field_id": field["id"], "field_type": 1, "enum_id": None,
                                   "text": text}}  # fmt: skip


def event_id(at: int, number: int) -> str:
    """An event's id: like amoCRM's, it sorts by time."""
    return f"01{at:010d}{number:014d}"


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _account(tables: Mapping[str, list[Row]]) -> Row:
    return {
        "id": 1_234_567, "name": "Example", "subdomain": "example", "currency": CURRENCY,
        "current_user_id": 999_999, "is_api_filter_enabled": True, "is_loss_reason_enabled": True,
        "created_at": min(seconds(row["created_at"]) or 0 for row in tables["deals"]),
        "_embedded": {
            "datetime_settings": {"timezone": str(ZONE), "timezone_offset": "+03:00"},
            "task_types": [{"id": number, "name": name.capitalize(), "code": code}
                           for name, (number, code) in _TASK_TYPES.items()],
        },
    }  # fmt: skip


def _user(row: Row) -> Row:
    return {
        "id": int(row["rep_id"]), "name": row["name"], "email": f"{row['rep_id']}@example.com",
        "lang": "en", "rights": {"is_admin": False, "is_active": bool(row["active"])},
        "_embedded": {"groups": [{"id": 0, "name": row["team"]}] if row["team"] else []},
    }  # fmt: skip


def _company(row: Row, fields: Mapping[str, Row]) -> Row:
    begun = seconds(row["valid_from"]) or 0
    told = [
        field_value(field, row[name]) for name, field in fields.items() if row[name] is not None
    ]
    return {
        "id": int(row["account_id"]), "name": row["name"], "responsible_user_id": None,
        "created_at": begun, "updated_at": begun, "is_deleted": False,
        "custom_fields_values": told or None,
    }  # fmt: skip


def _tasks_and_notes(activities: Iterable[Row]) -> Rows:
    found: Rows = {"tasks": [], "notes": [], "contact_notes": []}
    for row in activities:
        name, _, number = row["activity_id"].partition("-")
        at, minutes = seconds(row["at"]), row["duration_minutes"]
        length = None if minutes is None else round(60 * minutes)
        shared = {"id": int(number), "responsible_user_id": _number(row["rep_id"]),
                  "created_by": _number(row["rep_id"]), "created_at": at, "updated_at": at}  # fmt: skip
        if name == "task":
            deal = _number(row["deal_id"])
            found["tasks"].append(
                {**shared, "entity_id": deal, "entity_type": None if deal is None else "leads",
                 "is_completed": True, "task_type_id": _TASK_TYPES[row["kind"]][0],
                 "duration": length or 0, "text": "", "complete_till": at,
                 "result": {"text": row["outcome"]} if row["outcome"] else []}
            )  # fmt: skip
        else:
            params = {"duration": length, "call_result": row["outcome"]}
            kind = "call_out" if row["kind"] == "call" else "amomail_message"
            of_contact = kind == "call_out" and int(number) % 2 == 0
            entity = int(row["deal_id"]) + (_CONTACT if of_contact else 0)
            found["contact_notes" if of_contact else "notes"].append(
                {**shared, "entity_id": entity, "note_type": kind, "params": params}
            )
    return found
