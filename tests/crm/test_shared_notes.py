"""A call with a contact counts for the lead that was open then: it moves when that lead reopens."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from salesops_ml.crm.amocrm_twin import AmoCrmTwin
from salesops_ml.crm.twin_server import TwinServer
from tests.crm.amocrm_desk import AmoDesk, world_rows
from tests.crm.amocrm_plug import PACE
from tests.crm.crm_desk import LOADED_AT
from tests.crm.test_crm_incremental import refuse_unequal

ANN = 300_005


def test_calls_follow_a_lead_that_reopens(tmp_path: Path) -> None:
    rows = world_rows(100, activities=50)
    won = [lead for lead in rows["leads"] if lead["status_id"] == 142]
    younger = max(won, key=lambda lead: lead["created_at"])
    older = next(
        lead for lead in rows["leads"]
        if lead["closed_at"] is None and lead["created_at"] < younger["created_at"]
    )  # fmt: skip
    older["_embedded"]["contacts"] = younger["_embedded"]["contacts"]
    (contact,) = younger["_embedded"]["contacts"]
    at = younger["closed_at"] + 100
    call = {**rows["contact_notes"][0], "entity_id": contact["id"], "created_at": at,
            "updated_at": at}  # fmt: skip
    rows["contact_notes"] = [call]
    twin = AmoCrmTwin(rows, calls_a_second=PACE).with_own_fields()
    with TwinServer(twin) as server:
        grown = AmoDesk(tmp_path / "grown", server)
        fresh = AmoDesk(tmp_path / "fresh", server)
        grown.ingest(LOADED_AT)
        assert _lead_of(grown, call) == str(older["id"])
        (pipeline,) = twin.tables["pipelines"].values()
        twin.people.move(younger["id"], pipeline["_embedded"]["statuses"][0]["id"], by=ANN)
        later = LOADED_AT + timedelta(hours=1)
        grown.ingest(later)
        assert _lead_of(grown, call) == str(younger["id"])
        fresh.ingest(later)
        refuse_unequal(grown.everything(), fresh.everything(), later)


def _lead_of(desk: AmoDesk, call: dict[str, int]) -> str:
    (row,) = [
        row for row in desk.stored("activities") if row["activity_id"] == f"note-{call['id']}"
    ]
    return str(row["deal_id"])
