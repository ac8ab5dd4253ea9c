"""amoCRM's records as landed rows: one flat row each, with the custom fields that settings name.

Times come as unix seconds and land as ISO; days may stand for midnight in UTC or on the account's own
clock, and are told apart.

Sources: amoCRM developer documentation, pages "Leads", "Custom fields" (values by kind of field),
"Events and notes" (values before and after) and "Tasks".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from salesops_ml.crm.amocrm_api import Record

_DAY = 86_400
_DAYS, _MOMENTS, _NUMBERS = ("date", "birthday"), ("date_time",), ("numeric", "monetary", "price")
_CUSTOM_EVENT = re.compile(r"custom_field_(\d+)_value_changed")
TASK_KINDS = {"FOLLOW_UP": "task", "CALL": "call", "MEETING": "meeting", "LETTER": "email"}
NOTE_KINDS = {"call_in": "call", "call_out": "call", "amomail_message": "email", "sms_in": "sms",
              "sms_out": "sms"}  # fmt: skip
CALL_ENDS = {1: "voicemail", 2: "call back", 3: "not there", 4: "talked", 5: "wrong number",
             6: "no answer", 7: "busy"}  # fmt: skip
"""Statuses of calls, from the page "Calls"."""


@dataclass(frozen=True)
class Chosen:
    """A custom field that settings name.

    Attributes:
        ref: its id or code, as the settings have it.
        field_id: its id.
        kind: its kind, as the API names it.
    """

    ref: str
    field_id: int
    kind: str


def column_of(ref: str) -> str:
    """The landed column of a custom field.

    Example:
        >>> column_of("PRODUCT_LINE"), column_of("123456")
        ('cf_product_line', 'cf_123456')
    """
    return "cf_" + re.sub(r"[^a-z0-9]+", "_", ref.lower())


def iso(stamp: Any) -> str | None:
    """Unix seconds as an ISO moment in UTC.

    Example:
        >>> iso(1772368200), iso(None)
        ('2026-03-01T12:30:00', None)
    """
    if stamp is None:
        return None
    return datetime.fromtimestamp(int(stamp), UTC).replace(tzinfo=None).isoformat()


def day_of(stamp: int, zone: ZoneInfo) -> date:
    """The day that a date field's seconds mean: UTC midnight is that day, else the account's clock.

    Example:
        >>> east = ZoneInfo("Europe/Moscow")
        >>> day_of(1772323200, east).isoformat(), day_of(1772312400, east).isoformat()
        ('2026-03-01', '2026-03-01')
    """
    return datetime.fromtimestamp(stamp, UTC if stamp % _DAY == 0 else zone).date()


def text_of(kind: str, value: Any, zone: ZoneInfo) -> str | None:
    """One value of a custom field as text; what does not read as its kind stays as it came.

    Example:
        >>> utc = ZoneInfo("UTC")
        >>> text_of("numeric", "12.50", utc), text_of("date", "01.03.2026", utc)
        ('12.5', '2026-03-01')
        >>> text_of("date", 1772323200, utc), text_of("checkbox", True, utc)
        ('2026-03-01', 'true')
    """
    if value is None or value == "":
        return None
    text = str(value)
    if kind in _DAYS:
        return day_of(int(text), zone).isoformat() if _is_stamp(text) else _day_text(text)
    if kind in _MOMENTS:
        return iso(text) if _is_stamp(text) else text
    if kind in _NUMBERS:
        return _plain(text)
    if kind == "checkbox":
        return "true" if text.lower() in ("true", "1") else "false"
    return text


def _is_stamp(text: str) -> bool:
    return re.fullmatch(r"-?\d{5,}", text) is not None


def _day_text(text: str) -> str:
    dotted = re.fullmatch(r"(\d\d)\.(\d\d)\.(\d{4})", text)
    return f"{dotted[3]}-{dotted[2]}-{dotted[1]}" if dotted else text


def _plain(text: str) -> str:
    try:
        return format(Decimal(text.replace(" ", "")).normalize(), "f")
    except InvalidOperation:
        return text


def custom_texts(record: Record, chosen: Sequence[Chosen], zone: ZoneInfo) -> dict[str, str | None]:
    """The chosen custom fields of a lead or company, by landed column; several values by `; `."""
    told = {field["field_id"]: field for field in record.get("custom_fields_values") or []}
    done = {}
    for field in chosen:
        values = (told.get(field.field_id) or {}).get("values") or []
        texts = [text_of(field.kind, value.get("value"), zone) for value in values]
        done[column_of(field.ref)] = "; ".join(text for text in texts if text) or None
    return done


def lead_row(lead: Record, chosen: Sequence[Chosen], zone: ZoneInfo) -> Record:
    """A lead; a price of nought is none, which is what amoCRM shows where nobody entered any."""
    companies = (lead.get("_embedded") or {}).get("companies") or []
    return {
        "id": lead["id"],
        "price": lead.get("price") or None,
        "responsible_user_id": lead.get("responsible_user_id") or None,
        "stage": stage_key(lead.get("pipeline_id"), lead.get("status_id")),
        "pipeline_id": lead.get("pipeline_id"),
        "loss_reason_id": lead.get("loss_reason_id"),
        "company_id": companies[0]["id"] if companies else None,
        "created_by": lead.get("created_by"),
        "created_at": iso(lead.get("created_at")),
        "closed_at": iso(lead.get("closed_at")),
        "updated_at": lead["updated_at"],
        "is_deleted": bool(lead.get("is_deleted")),
        **custom_texts(lead, chosen, zone),
    }


def stage_key(pipeline_id: Any, status_id: Any) -> str:
    """A status in its pipeline: won and lost have the same id in all of them."""
    return f"{pipeline_id}:{status_id}"


def event_row(event: Record, chosen: Mapping[int, Chosen], zone: ZoneInfo) -> Record:
    """A change of a lead: what stood there before and after."""
    custom = _CUSTOM_EVENT.fullmatch(event["type"])
    kind = chosen[int(custom[1])].kind if custom and int(custom[1]) in chosen else ""
    return {
        "id": event["id"],
        "type": "custom_field_value_changed" if custom else event["type"],
        "deal_id": event["entity_id"],
        "field_id": custom[1] if custom else None,
        "created_by": event.get("created_by"),
        "created_at": event["created_at"],
        "at": iso(event["created_at"]),
        "before": _told(event.get("value_before"), kind, zone),
        "after": _told(event.get("value_after"), kind, zone),
    }


def _told(values: Any, kind: str, zone: ZoneInfo) -> str | None:
    """A value before or after, as text: a status, a price, a user or a custom field."""
    rows = values if isinstance(values, list) else [values]
    texts = [_one(row, kind, zone) for row in rows if isinstance(row, dict)]
    return "; ".join(text for text in texts if text) or None


def _one(row: Record, kind: str, zone: ZoneInfo) -> str | None:
    if "lead_status" in row:
        status = row["lead_status"]
        return stage_key(status.get("pipeline_id"), status.get("id"))
    if "sale_field_value" in row:
        sale = row["sale_field_value"].get("sale")
        return _plain(str(sale)) if sale else None
    if "responsible_user" in row:
        user = row["responsible_user"].get("id")
        return str(user) if user else None
    if "custom_field_value" in row:
        return text_of(kind, row["custom_field_value"].get("text"), zone)
    return None


def status_rows(pipelines: Sequence[Record]) -> list[Record]:
    """The statuses of all pipelines."""
    return [
        {"stage": stage_key(pipeline["id"], status["id"]), "id": status["id"],
         "pipeline_id": pipeline["id"], "name": status["name"], "sort": status.get("sort")}
        for pipeline in pipelines
        for status in (pipeline.get("_embedded") or {}).get("statuses") or []
    ]  # fmt: skip


def user_row(user: Record, since: Any) -> Record:
    """A user; `since` is when the account began, for no user tells when it did."""
    groups = (user.get("_embedded") or {}).get("groups") or []
    rights = user.get("rights") or {}
    return {
        "id": user["id"], "name": user.get("name"), "email": user.get("email"),
        "group_name": groups[0].get("name") if groups else None,
        "is_active": bool(rights.get("is_active", True)), "since": iso(since),
    }  # fmt: skip


def company_row(company: Record, chosen: Sequence[Chosen], zone: ZoneInfo) -> Record:
    """A company."""
    return {
        "id": company["id"], "name": company.get("name"),
        "created_at": iso(company.get("created_at")), "updated_at": company["updated_at"],
        "is_deleted": bool(company.get("is_deleted")), **custom_texts(company, chosen, zone),
    }  # fmt: skip


def task_row(task: Record, kinds: Mapping[int, str]) -> Record:
    """A task; it was done when it was last saved, which is all that amoCRM tells."""
    result = task.get("result") or {}
    seconds = task.get("duration")
    return {
        "activity_id": f"task-{task['id']}",
        "deal_id": task.get("entity_id") if task.get("entity_type") == "leads" else None,
        "rep_id": task.get("responsible_user_id") or None,
        "kind": kinds.get(task.get("task_type_id") or 0, "task"),
        "is_completed": bool(task.get("is_completed")),
        "minutes": seconds / 60 if seconds else None,
        "outcome": result.get("text") if isinstance(result, dict) else None,
        "at": iso(task["updated_at"]), "recorded_at": iso(task["updated_at"]),
        "updated_at": task["updated_at"],
    }  # fmt: skip


def task_kinds(about: Mapping[str, Any]) -> dict[int, str]:
    """Kinds of tasks by id: the usual ones in our words, those of the account by their name."""
    told = (about.get("_embedded") or {}).get("task_types") or []
    return {
        kind["id"]: TASK_KINDS.get(kind.get("code") or "", str(kind["name"]).lower())
        for kind in told
    }


def contact_of(lead: Record) -> Record:
    """A lead's main contact; a row without one where it has none."""
    contacts = (lead.get("_embedded") or {}).get("contacts") or []
    main = sorted(contacts, key=lambda contact: not contact.get("is_main"))
    return {"deal_id": lead["id"], "contact_id": main[0]["id"] if main else None,
            "updated_at": lead["updated_at"]}  # fmt: skip


def note_row(note: Record, entity: str = "deal_id") -> Record:
    """A note that tells of a call, an email or a message, of a lead or (`contact_id`) of a contact."""
    told = note.get("params") or {}
    told = told if isinstance(told, dict) else {}
    seconds = told.get("duration")
    return {
        "activity_id": f"note-{note['id']}", entity: note["entity_id"],
        "rep_id": note.get("responsible_user_id") or note.get("created_by") or None,
        "kind": NOTE_KINDS.get(note["note_type"], note["note_type"]), "is_completed": True,
        "minutes": seconds / 60 if seconds else None,
        "outcome": CALL_ENDS.get(told.get("call_status") or 0) or told.get("call_result") or None,
        "at": iso(note["created_at"]), "recorded_at": iso(note["created_at"]),
        "updated_at": note["updated_at"],
    }  # fmt: skip
