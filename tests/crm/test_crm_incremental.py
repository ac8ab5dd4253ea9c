"""A CRM loaded change by change ends where one full load ends; what software wrote is no history."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from salesops_ml.crm.crm_narrow import Narrowed
from salesops_ml.crm.landing import landing_path
from tests.crm.crm_by_hand import by_hand
from tests.crm.crm_desk import LOADED_AT, CrmDesk, vendor_rows
from tests.crm.crm_edits import BOT, BOT_APP, HubSpotEdits, SalesforceEdits

EDITS: dict[str, Any] = {"salesforce": SalesforceEdits, "hubspot": HubSpotEdits}
LOADS = ("delete", "amount", "restore", "create", "move", "merge")
SOFTWARE = {"salesforce": (BOT,), "hubspot": (BOT_APP,)}


def small(vendor: str) -> dict[str, list[dict[str, Any]]]:
    """A hundred deals with few activities and rates, so that loads are quick."""
    rows = vendor_rows(vendor, 100)
    kept = {"Task": 150, "Event": 50, "calls": 150, "emails": 20, "tasks": 20, "meetings": 20}
    for name, most in kept.items():
        if name in rows:
            rows[name] = rows[name][:most]
    if "activity_deals" in rows:
        known = {
            row["id"] for name in ("calls", "emails", "tasks", "meetings") for row in rows[name]
        }
        rows["activity_deals"] = [r for r in rows["activity_deals"] if r["activity_id"] in known]
    return rows


def desk(folder: Path, vendor: str) -> CrmDesk:
    return CrmDesk(folder, vendor, integration_users=SOFTWARE[vendor])


@pytest.mark.slow
@pytest.mark.parametrize("vendor", ["salesforce", "hubspot"])
@settings(max_examples=1, deadline=None, derandomize=True, phases=[Phase.generate])
@given(seed=st.integers(0, 10_000))
def test_change_by_change_ends_where_a_full_load_ends(tmp_path_factory, vendor, seed) -> None:
    rows = small(vendor)
    edits = EDITS[vendor](rows, seed)
    grown = desk(tmp_path_factory.mktemp("grown"), vendor)
    grown.sync(rows)
    grown.ingest(LOADED_AT)
    rng, at = random.Random(seed), LOADED_AT
    kinds = [kind for kind in edits.kinds for _ in range(2)]
    rng.shuffle(kinds)
    for start in range(0, len(kinds), 10):
        for kind in kinds[start : start + 10]:
            edits.edit(kind)
        at += timedelta(days=1)
        grown.sync(edits.take())
        assert grown.ingest(at).changed
    fresh = desk(tmp_path_factory.mktemp("fresh"), vendor)
    fresh.sync(rows)
    fresh.ingest(at)
    refuse_unequal(grown.everything(), fresh.everything(), at)
    told = by_hand(vendor, rows, SOFTWARE[vendor])
    assert told.stage_events == {
        (row["deal_id"], row["entered_at"], row["stage"]) for row in grown.stored("stage_events")
        if (row["deal_id"], row["entered_at"]) != told.closings.get(row["deal_id"])
    }  # fmt: skip
    rejects = grown.everything().get("rejects", [])
    unvalued = {
        (row["reason"].split()[1].rstrip(":"), row["value"]) for row in rejects
        if row["table"] == "deal_changes" and "no rate" in row["reason"]
    }  # fmt: skip
    assert {one for one in told.amounts if (one[0], one[2]) not in unvalued} == {
        (row["deal_id"], row["changed_at"], row["new_value"])
        for row in grown.stored("deal_changes") if row["field"] == "amount"
    }  # fmt: skip
    unpriced = told.status.keys() - {row["deal_id"] for row in grown.stored("deals")}
    assert unpriced == {
        row["source"].split()[-1] for row in rejects
        if row["table"] == "deals" and "no rate" in row["reason"]
    }  # fmt: skip
    assert {k: v for k, v in told.status.items() if k not in unpriced} == {
        row["deal_id"]: row["status"] for row in grown.stored("deals")
    }


def refuse_unequal(grown: dict[str, Any], fresh: dict[str, Any], at: datetime) -> None:
    """All tables alike; of the photographs, which a fresh load cannot have, the last day's."""
    today = [
        [row for row in told.pop("deal_daily") if row["observed_on"] == at.date()]
        for told in (grown, fresh)
    ]
    assert today[0] == today[1]
    assert grown.keys() == fresh.keys()
    for name in grown:
        assert grown[name] == fresh[name], name


@pytest.mark.parametrize("vendor", ["salesforce", "hubspot"])
def test_own_writes_and_the_same_tables_again_change_nothing(tmp_path: Path, vendor: str) -> None:
    rows = small(vendor)
    edits = EDITS[vendor](rows, 7)
    here = desk(tmp_path, vendor)
    here.sync(rows)
    here.ingest()
    before = here.everything()
    assert not here.ingest(LOADED_AT + timedelta(hours=1)).changed
    for _ in range(5):
        edits.edit("own_write")
    here.sync(edits.take())
    assert not here.ingest(LOADED_AT + timedelta(hours=2)).changed
    assert here.everything() == before
    edits.edit("bot")
    here.sync(edits.take())
    here.ingest(LOADED_AT + timedelta(hours=3))
    told = here.everything()
    assert told["deal_changes"] == before["deal_changes"]
    assert told["stage_events"] == before["stage_events"]


@pytest.mark.slow
@pytest.mark.parametrize("vendor", ["salesforce", "hubspot"])
def test_activities_come_and_go_with_their_deals(
    tmp_path: Path, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loads that bring no activity: those of deals that went, returned or lost their rate follow."""
    hung: list[set[str]] = []
    with_activities = Narrowed.with_activities

    def watched(part: Narrowed, ids: set[str]) -> Narrowed:
        hung.append(ids)
        return with_activities(part, ids)

    monkeypatch.setattr(Narrowed, "with_activities", watched)
    rows = small(vendor)
    folders = {kind: tmp_path / kind for kind in ("grown", *LOADS)}
    for folder in folders.values():
        folder.mkdir()
    edits, grown = EDITS[vendor](rows, 7), desk(folders["grown"], vendor)
    grown.sync(rows)
    grown.ingest(LOADED_AT)
    deals = "Opportunity" if vendor == "salesforce" else "deals"
    gone, key = ("IsDeleted", "Id") if vendor == "salesforce" else ("archived", "id")
    busy = [row["deal_id"] for row in grown.stored("activities") if row["deal_id"]]
    chosen = next(row for row in rows[deals] if row[key] == max(busy, key=busy.count))
    at = LOADED_AT
    for kind in LOADS:
        if kind in ("delete", "restore"):
            chosen[gone] = kind == "delete"
            edits.clock += timedelta(minutes=5)
            edits._put(deals, chosen)
        elif kind in edits.kinds:
            edits.edit(kind)
        at += timedelta(hours=1)
        grown.sync(edits.take())
        grown.ingest(at)
        fresh = desk(folders[kind], vendor)
        fresh.sync(rows)
        fresh.ingest(at)
        refuse_unequal(grown.everything(), fresh.everything(), at)
    assert hung[:3] == [{chosen[key]}, set(), {chosen[key]}]


def test_a_landing_that_was_taken_away_is_read_anew_and_mapped_anew(tmp_path: Path) -> None:
    """The cure that messages name: a new landing's numbers begin again, and say nothing of the old."""
    rows = small("salesforce")
    edits, there = SalesforceEdits(rows, 1), desk(tmp_path, "salesforce")
    there.sync(rows)
    there.ingest(LOADED_AT)
    for hour in (1, 2):
        edits.change_amount(rows["Opportunity"][hour])
        there.sync(edits.take())
        assert there.ingest(LOADED_AT + timedelta(hours=hour)).changed
    landing_path(there.warehouse).unlink()
    changed = rows["Opportunity"][5]
    edits.change_amount(changed)
    there.sync(edits.take())
    assert there.ingest(LOADED_AT + timedelta(hours=3)).changed
    (deal,) = [row for row in there.stored("deals") if row["deal_id"] == changed["Id"]]
    assert float(deal["amount"]) == float(changed["Amount"])
    assert not there.ingest(LOADED_AT + timedelta(hours=4)).changed


def test_a_landing_from_before_they_had_an_identity_goes_on(tmp_path: Path) -> None:
    """What landed stays, since the CRM may have cut it off meanwhile."""
    rows = small("salesforce")
    edits, there = SalesforceEdits(rows, 1), desk(tmp_path, "salesforce")
    there.sync(rows)
    there.ingest(LOADED_AT)
    before = there.everything()
    with duckdb.connect(str(landing_path(there.warehouse))) as raw:
        raw.execute("ALTER TABLE _landing_book DROP COLUMN identity")
    assert not there.ingest(LOADED_AT + timedelta(hours=1)).changed
    assert there.everything() == before
    edits.change_amount(rows["Opportunity"][3])
    there.sync(edits.take())
    assert there.ingest(LOADED_AT + timedelta(hours=2)).changed
    assert not there.ingest(LOADED_AT + timedelta(hours=3)).changed
