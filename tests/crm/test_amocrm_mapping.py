"""What the mapping of amoCRM makes of single cases."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from salesops_ml.crm.amocrm_mapping import map_amocrm, tracked
from salesops_ml.crm.amocrm_rows import contact_of, event_row, lead_row, note_row
from salesops_ml.crm.twin_world_amocrm import ZONE
from salesops_ml.crm.vendors import Surroundings
from salesops_ml.crm_settings import AmoCrmSource
from salesops_ml.errors import SourceError
from tests.crm.test_vendor_mappings import tables

AROUND = Surroundings("EUR", "UTC", date(2026, 3, 31))
BEGUN = 1_772_366_400
"""Noon of 2026-03-01, UTC."""
STATUSES = [
    {"stage": "1:10", "id": 10, "pipeline_id": 1, "name": "Offer", "sort": 10},
    {"stage": "1:142", "id": 142, "pipeline_id": 1, "name": "Won", "sort": 20},
    {"stage": "1:143", "id": 143, "pipeline_id": 1, "name": "Lost", "sort": 30},
]
LEAD = {"id": 7, "price": 500, "responsible_user_id": 5, "status_id": 10, "pipeline_id": 1,
        "created_by": 5, "created_at": BEGUN, "updated_at": BEGUN}  # fmt: skip


def event(kind: str, day: int, before: Any, after: Any, *, by: int = 5) -> dict[str, Any]:
    told = {"id": f"e{day}", "type": kind, "entity_id": 7, "created_by": by,
            "created_at": BEGUN + 86_400 * day,
            "value_before": before, "value_after": after}  # fmt: skip
    return event_row(told, {}, ZONE)


def status(number: int) -> list[dict[str, Any]]:
    return [{"lead_status": {"id": number, "pipeline_id": 1}}]


def mapped(
    lead: dict[str, Any], events: list[dict[str, Any]], **more: Any
) -> dict[str, list[dict[str, Any]]]:
    told: dict[str, Any] = {"type": "amocrm", "url": "https://x.kommo.com", "token": "env:T"}
    options = AmoCrmSource.model_validate({**told, **more})
    rows: dict[str, Any] = {
        "leads": [lead_row(lead, [], ZONE)], "statuses": STATUSES,
        "account": [{"id": 1, "currency": "EUR"}],
        "pipelines": [{"id": 1, "name": "Sales", "sort": 1}],
        "loss_reasons": [{"id": 3, "name": "Too dear"}],
    }  # fmt: skip
    if events:
        rows["lead_events"] = events
    done = map_amocrm(tables(**rows), options, AROUND)
    return {name: table.to_pyarrow().to_pylist() for name, table in done.items()}


def test_what_stood_there_at_first_is_the_value_before_the_first_event() -> None:
    moves = [event("lead_status_changed", 2, status(10), status(142)),
             event("sale_field_changed", 1, [{"sale_field_value": {"sale": 100}}],
                   [{"sale_field_value": {"sale": 500}}])]  # fmt: skip
    done = mapped({**LEAD, "status_id": 142, "closed_at": BEGUN + 2 * 86_400}, moves)
    told = sorted((row["entered_at"].day, row["stage"]) for row in done["stage_events"])
    assert told == [(1, "Offer"), (3, "Won")]
    amounts = sorted((row["changed_at"].day, row["new_value"]) for row in done["deal_changes"]
                     if row["field"] == "amount")  # fmt: skip
    assert amounts == [(1, "100.00"), (2, "500.00")]
    (deal,) = done["deals"]
    assert (deal["status"], deal["closed_at"]) == ("won", datetime(2026, 3, 3, 12))


def test_without_events_nothing_is_made_up() -> None:
    done = mapped(LEAD, [])
    assert done["stage_events"] == []
    assert done["deal_changes"] == []
    source = AmoCrmSource.model_validate(
        {"type": "amocrm", "url": "https://x.kommo.com", "token": "env:T",
         "canonical_fields": {"expected_close_date": "CLOSE"}}
    )  # fmt: skip
    assert tracked({}, source) == frozenset()
    assert tracked(tables(lead_events=[{"id": "1"}]), source) == {
        "stage", "amount", "rep_id", "expected_close_date"
    }  # fmt: skip


def test_a_price_of_nought_is_none_and_a_loss_has_its_reason() -> None:
    lost = {**LEAD, "price": 0, "status_id": 143, "loss_reason_id": 3, "closed_at": BEGUN + 60}
    (deal,) = mapped(lost, [])["deals"]
    assert (deal["amount"], deal["status"], deal["lost_reason"]) == (None, "lost", "Too dear")


@pytest.mark.parametrize(("software", "moves"), [((), 2), (("0",), 1)])
def test_robots_move_deals_in_nobodys_name_and_can_be_left_out(software: Any, moves: int) -> None:
    robot = event("lead_status_changed", 2, status(10), status(142), by=0)
    done = mapped({**LEAD, "status_id": 142}, [robot], integration_users=software)
    assert len(done["stage_events"]) == moves
    assert {row["rep_id"] for row in done["stage_events"]} <= {"5", None}


def test_a_call_with_a_contact_is_of_the_lead_that_was_open_then() -> None:
    day = 86_400
    leads = [{**LEAD, "id": 1, "status_id": 143, "closed_at": BEGUN + 3 * day},
             {**LEAD, "id": 2, "created_at": BEGUN + 5 * day},
             {**LEAD, "id": 3, "created_at": BEGUN + 9 * day, "is_deleted": True}]  # fmt: skip
    contacts = {
        "_embedded": {"contacts": [{"id": 8, "is_main": False}, {"id": 9, "is_main": True}]}
    }
    calls = [
        note_row({"id": n, "entity_id": 9, "note_type": "call_in", "created_at": BEGUN + n * day,
                  "updated_at": BEGUN, "params": {"duration": 90, "call_status": 4},
                  "responsible_user_id": 5}, "contact_id")
        for n in (-1, 1, 4, 6, 10)
    ]  # fmt: skip
    options = AmoCrmSource.model_validate(
        {"type": "amocrm", "url": "https://x.kommo.com", "token": "env:T"}
    )
    rows = tables(
        leads=[{**lead_row(lead, [], ZONE), "gone": lead.get("is_deleted")} for lead in leads],
        lead_contacts=[contact_of({**lead, **contacts}) for lead in leads],
        contact_notes=calls, statuses=STATUSES,
    )  # fmt: skip
    told = map_amocrm(rows, options, AROUND)["activities"].to_pyarrow().to_pylist()
    assert {row["activity_id"]: row["deal_id"] for row in told} == {
        "note--1": None, "note-1": "1", "note-4": "1", "note-6": "2", "note-10": "2"
    }  # fmt: skip
    assert {(r["kind"], r["duration_minutes"], r["outcome"]) for r in told} == {
        ("call", 1.5, "talked")
    }


def test_money_that_is_not_the_companys_is_told() -> None:
    rows = tables(leads=[lead_row(LEAD, [], ZONE)], statuses=STATUSES,
                  account=[{"id": 1, "currency": "RUB"}])  # fmt: skip
    options = AmoCrmSource.model_validate(
        {"type": "amocrm", "url": "https://x.kommo.com", "token": "env:T"}
    )
    with pytest.raises(SourceError, match=r"base_currency` is EUR.*counts in RUB.*set it to RUB"):
        map_amocrm(rows, options, AROUND)


def test_other_statuses_can_end_deals() -> None:
    (deal,) = mapped(LEAD, [], won_status=10)["deals"]
    assert deal["status"] == "won"
