"""What landed of an amoCRM account against the twin's own records, field by field; by plain reading."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from salesops_ml.crm.amocrm_twin import AmoCrmTwin
from salesops_ml.crm.twin_world import Row
from salesops_ml.crm.twin_world_amocrm import ZONE

_CODES = ("PRODUCT_LINE", "LEAD_SOURCE", "DEAL_TYPE", "EXPECTED_CLOSE", "FORECAST_CATEGORY",
          "SERVICE_START", "TERM_MONTHS", "CAMPAIGN", "COMPETITOR", "SIGNED_BY")  # fmt: skip


def unlike_state(twin: AmoCrmTwin, tables: Mapping[str, Any]) -> dict[str, int]:
    """Records by kind, each field compared with the twin's; an error where one is unlike."""
    told = twin.tables
    expected = {
        "leads": {str(row["id"]): _lead(row) for row in told["leads"].values()},
        "lead_contacts": {
            str(row["id"]): {"contact_id": row["_embedded"]["contacts"][0]["id"]}
            for row in told["leads"].values()
        },
        "lead_events": {row["id"]: _event(row) for row in twin.events},
        "companies": {str(row["id"]): _company(row) for row in told["companies"].values()},
        "tasks": {f"task-{row['id']}": _task(row) for row in told["tasks"].values()},
        "lead_notes": {f"note-{row['id']}": _note(row) for row in told["notes"].values()},
        "contact_notes": {
            f"note-{row['id']}": _note(row, "contact_id") for row in told["contact_notes"].values()
        },
    }
    counts = {}
    for name, rows in expected.items():
        landed = tables[name].to_pyarrow()
        columns = {column: landed[column].to_pylist() for column in landed.column_names}
        key = next(key for key in ("activity_id", "id", "deal_id") if key in columns)
        place = {value: at for at, value in enumerate(columns[key])}
        assert len(place) == landed.num_rows == len(rows), name
        for record_id, row in rows.items():
            for field, value in row.items():
                found = columns[field][place[record_id]] if field in columns else None
                assert found == _text(value), (name, record_id, field)
        counts[name] = len(rows)
    return counts


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def _moment(stamp: int | None) -> str | None:
    if stamp is None:
        return None
    return datetime.fromtimestamp(stamp, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _custom(row: Row, codes: tuple[str, ...]) -> Row:
    told = {field["field_code"]: field for field in row["custom_fields_values"] or []}
    done: Row = {}
    for code in codes:
        value = told[code]["values"][0]["value"] if code in told else None
        if value is not None and told[code]["field_type"] == "date":
            value = datetime.fromtimestamp(value, ZONE).strftime("%Y-%m-%d")
        if value is not None and told[code]["field_type"] == "numeric":
            value = value.removesuffix(".0")
        done[f"cf_{code.lower()}"] = value
    return done


def _lead(row: Row) -> Row:
    companies = row["_embedded"]["companies"]
    return {
        "price": row["price"] or None, "responsible_user_id": row["responsible_user_id"],
        "stage": f"{row['pipeline_id']}:{row['status_id']}", "pipeline_id": row["pipeline_id"],
        "loss_reason_id": row["loss_reason_id"],
        "company_id": companies[0]["id"] if companies else None, "created_by": row["created_by"],
        "created_at": _moment(row["created_at"]), "closed_at": _moment(row["closed_at"]),
        "updated_at": row["updated_at"], "is_deleted": row["is_deleted"], **_custom(row, _CODES),
    }  # fmt: skip


def _event(row: Row) -> Row:
    custom = row["type"].startswith("custom_field_")
    return {
        "type": "custom_field_value_changed" if custom else row["type"],
        "deal_id": row["entity_id"], "field_id": row["type"].split("_")[2] if custom else None,
        "created_by": row["created_by"], "created_at": row["created_at"],
        "at": _moment(row["created_at"]), "before": _value(row["value_before"]),
        "after": _value(row["value_after"]),
    }  # fmt: skip


def _value(told: list[Row]) -> Any:
    if not told:
        return None
    ((kind, value),) = told[0].items()
    if kind == "lead_status":
        return f"{value['pipeline_id']}:{value['id']}"
    if kind == "sale_field_value":
        return value["sale"] or None
    if kind == "responsible_user":
        return value["id"]
    text = value["text"]
    if text.isdigit() and len(text) == 10:
        return datetime.fromtimestamp(int(text), ZONE).strftime("%Y-%m-%d")
    return text


def _company(row: Row) -> Row:
    codes = ("INDUSTRY", "REGION", "EMPLOYEES", "REVENUE")
    return {"name": row["name"], "created_at": _moment(row["created_at"]),
            "updated_at": row["updated_at"], **_custom(row, codes)}  # fmt: skip


def _task(row: Row) -> Row:
    kinds = {1: "task", 2: "meeting", 3: "call", 4: "email", 5: "demo", 6: "internal"}
    return {
        "deal_id": row["entity_id"], "rep_id": row["responsible_user_id"],
        "kind": kinds[row["task_type_id"]], "is_completed": row["is_completed"],
        "minutes": row["duration"] / 60 if row["duration"] else None,
        "outcome": row["result"]["text"] if row["result"] else None,
        "at": _moment(row["updated_at"]), "updated_at": row["updated_at"],
    }  # fmt: skip


def _note(row: Row, entity: str = "deal_id") -> Row:
    seconds = row["params"]["duration"]
    return {
        entity: row["entity_id"], "rep_id": row["responsible_user_id"],
        "kind": "call" if row["note_type"].startswith("call") else "email",
        "minutes": seconds / 60 if seconds else None, "outcome": row["params"]["call_result"],
        "at": _moment(row["created_at"]), "updated_at": row["updated_at"],
    }  # fmt: skip
