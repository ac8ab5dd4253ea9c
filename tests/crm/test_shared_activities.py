"""Activities that several deals share follow them when one of the deals changes alone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.crm.crm_desk import LOADED_AT
from tests.crm.crm_edits import HubSpotEdits
from tests.crm.test_crm_incremental import desk, refuse_unequal, small


def test_a_shared_call_goes_back_to_the_deal_that_returns(tmp_path: Path) -> None:
    """A call counts for the first of its deals; while that one is deleted, for the next."""
    rows = small("hubspot")
    edits = HubSpotEdits(rows, 3)
    first, second = sorted(rows["deals"], key=lambda deal: str(deal["id"]))[:2]
    call = {**rows["calls"][0], "id": "999000000001", "archived": False}
    rows["calls"].append(call)
    ties = [{"activity_id": call["id"], "deal_id": deal["id"]} for deal in (first, second)]
    rows["activity_deals"] += ties
    grown = desk(tmp_path / "grown", "hubspot")
    grown.folder.mkdir()
    grown.sync(rows)
    grown.ingest(LOADED_AT)
    at = LOADED_AT
    for gone, owner in ((True, second), (False, first)):
        first["archived"] = gone
        edits._put("deals", first)
        grown.sync(edits.take())
        at += timedelta(hours=1)
        grown.ingest(at)
        told = [row["deal_id"] for row in grown.stored("activities")
                if row["activity_id"] == call["id"]]  # fmt: skip
        assert told == [owner["id"]]
    fresh = desk(tmp_path / "fresh", "hubspot")
    fresh.folder.mkdir()
    fresh.sync(rows)
    fresh.ingest(at)
    refuse_unequal(grown.everything(), fresh.everything(), at)


@pytest.mark.slow
def test_without_ties_activities_are_of_no_deal_and_stand_once(tmp_path: Path) -> None:
    """A loader need not bring the table of ties; it may begin to, without saving the calls again."""
    rows = small("hubspot")
    ties, rows["activity_deals"] = rows["activity_deals"], []
    gone = next(deal for deal in rows["deals"] if deal["id"] == ties[0]["deal_id"])
    later = [ties[0], *(tie for tie in ties if tie["deal_id"] != gone["id"])][:3]
    edits, grown = HubSpotEdits(rows, 3), desk(tmp_path / "grown", "hubspot")
    grown.folder.mkdir()
    grown.sync(rows)
    grown.ingest(LOADED_AT)
    before = grown.stored("activities")
    edits._delete(gone)
    grown.sync(edits.take())
    grown.ingest(LOADED_AT + timedelta(hours=1))
    assert grown.stored("activities") == before
    for hour, tie in enumerate(reversed(later), 2):
        rows["activity_deals"].append(tie)
        grown.sync({"activity_deals": [tie]})
        grown.ingest(LOADED_AT + timedelta(hours=hour))
    fresh = desk(tmp_path / "fresh", "hubspot")
    fresh.folder.mkdir()
    fresh.sync(rows)
    at = LOADED_AT + timedelta(hours=4)
    fresh.ingest(at)
    refuse_unequal(grown.everything(), fresh.everything(), at)
