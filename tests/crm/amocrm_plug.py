"""How tests and benchmarks reach an amoCRM twin; needs nothing else of the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from salesops_ml.crm.amocrm_target import AmoCrmTarget
from salesops_ml.crm.amocrm_twin import TOKEN, AmoCrmTwin
from salesops_ml.crm.limits import Clock
from salesops_ml.crm.target import Outcome, Standing
from salesops_ml.crm.twin_world import Row, Rows
from salesops_ml.crm.twin_world_amocrm import ZONE
from salesops_ml.crm_settings import AmoCrmSource
from salesops_ml.scoring.plan import Change

FIRST = 1_000_000
PACE = 50
"""Calls a second, for tests that are not of limits."""
_CODES = ("PRODUCT_LINE", "LEAD_SOURCE", "DEAL_TYPE", "EXPECTED_CLOSE", "FORECAST_CATEGORY",
          "SERVICE_START", "TERM_MONTHS", "CAMPAIGN", "COMPETITOR", "SIGNED_BY")  # fmt: skip


def connection(url: str, **more: Any) -> dict[str, Any]:
    """How the twin is reached, as a configuration has it."""
    os.environ["AMOCRM_TOKEN"] = TOKEN
    return {"type": "amocrm", "url": url, "token": "env:AMOCRM_TOKEN", **more}


def open_target(
    url: str, *, clock: Clock | None = None, pace_book: Path | None = None, timeout: float = 60.0,
    **more: Any,
) -> AmoCrmTarget:  # fmt: skip
    """The target that writes into the twin."""
    told = AmoCrmSource.model_validate(connection(url, **more))
    return AmoCrmTarget(told, clock=clock, pace_book=pace_book, timeout=timeout)


class NumberedTarget(AmoCrmTarget):
    """The same for deals `d000000`, ..., as benchmarks name them: amoCRM's ids are numbers."""

    def read(self, deal_ids: Sequence[str]) -> dict[str, Standing]:
        found = super().read([numbered(deal_id) for deal_id in deal_ids])
        return {deal_id: found[numbered(deal_id)] for deal_id in deal_ids}

    def send(self, changes: Sequence[Change]) -> list[Outcome]:
        return super().send([replace(c, deal_id=numbered(c.deal_id)) for c in changes])


def numbered(deal_id: str) -> str:
    return str(FIRST + int(deal_id.removeprefix("d")))


def open_numbered_target(url: str, *, clock: Clock, pace_book: Path) -> NumberedTarget:
    """The target for plans whose deals are `d000000`, ..."""
    told = AmoCrmSource.model_validate(connection(url))
    return NumberedTarget(told, clock=clock, pace_book=pace_book)


def make_twin(rows: Rows) -> AmoCrmTwin:
    """The twin of a company, which allows more calls than amoCRM does."""
    return AmoCrmTwin(rows, calls_a_second=PACE)


def state(there: AmoCrmTwin) -> Iterator[tuple[str, tuple[str, ...], list[Row]]]:
    """The landed tables as they should be, told by plain reading of the twin's records."""
    told = there.tables
    leads = [row for row in told["leads"].values() if not row["is_deleted"]]
    yield "leads", ("id",), [_lead(row) for row in leads]
    mains = [row["_embedded"]["contacts"][0]["id"] for row in leads]
    yield (
        "lead_contacts",
        ("deal_id",),
        [
            {"deal_id": row["id"], "contact_id": main}
            for row, main in zip(leads, mains, strict=True)
        ],
    )
    yield "lead_events", ("id",), [_event(row) for row in there.events]
    yield "companies", ("id",), [_company(row) for row in told["companies"].values()]
    yield "tasks", ("activity_id",), [_task(row) for row in told["tasks"].values()]
    yield "lead_notes", ("activity_id",), [_note(row) for row in told["notes"].values()]
    yield (
        "contact_notes",
        ("activity_id",),
        [_note(row, "contact_id") for row in told["contact_notes"].values()],
    )


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
        "id": row["id"], "price": row["price"] or None,
        "responsible_user_id": row["responsible_user_id"],
        "stage": f"{row['pipeline_id']}:{row['status_id']}", "pipeline_id": row["pipeline_id"],
        "loss_reason_id": row["loss_reason_id"],
        "company_id": companies[0]["id"] if companies else None, "created_by": row["created_by"],
        "created_at": _moment(row["created_at"]), "closed_at": _moment(row["closed_at"]),
        "updated_at": row["updated_at"], "is_deleted": row["is_deleted"], **_custom(row, _CODES),
    }  # fmt: skip


def _event(row: Row) -> Row:
    custom = row["type"].startswith("custom_field_")
    return {
        "id": row["id"],
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
    return {"id": row["id"], "name": row["name"], "created_at": _moment(row["created_at"]),
            "updated_at": row["updated_at"], **_custom(row, codes)}  # fmt: skip


def _task(row: Row) -> Row:
    kinds = {1: "task", 2: "meeting", 3: "call", 4: "email", 5: "demo", 6: "internal"}
    return {
        "activity_id": f"task-{row['id']}", "deal_id": row["entity_id"],
        "rep_id": row["responsible_user_id"],
        "kind": kinds[row["task_type_id"]], "is_completed": row["is_completed"],
        "minutes": row["duration"] / 60 if row["duration"] else None,
        "outcome": row["result"]["text"] if row["result"] else None,
        "at": _moment(row["updated_at"]), "updated_at": row["updated_at"],
    }  # fmt: skip


def _note(row: Row, entity: str = "deal_id") -> Row:
    seconds = row["params"]["duration"]
    return {
        "activity_id": f"note-{row['id']}", entity: row["entity_id"],
        "rep_id": row["responsible_user_id"],
        "kind": "call" if row["note_type"].startswith("call") else "email",
        "minutes": seconds / 60 if seconds else None, "outcome": row["params"]["call_result"],
        "at": _moment(row["created_at"]), "updated_at": row["updated_at"],
    }  # fmt: skip
