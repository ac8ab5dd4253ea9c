"""A row of history whose time does not read is no change, and no secret: it stands among the rejects."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pytest

from salesops_ml.crm.amocrm_mapping import map_amocrm
from salesops_ml.crm.amocrm_rows import lead_row
from salesops_ml.crm.bitrix24_mapping import map_bitrix24
from salesops_ml.crm.landed_draft import draft_of
from salesops_ml.crm.landing_book import squashed
from salesops_ml.crm.tryton_mapping import map_tryton
from salesops_ml.crm.twin_world_amocrm import ZONE
from salesops_ml.crm.vendor_history import (
    STAGE,
    changes_of,
    deal_changes_of,
    entries,
    stage_events_of,
)
from salesops_ml.crm.vendor_rows import Rows
from salesops_ml.crm.vendors import Surroundings
from salesops_ml.crm_settings import AmoCrmSource, Bitrix24Source, HubSpotSource
from salesops_ml.settings import parse
from tests.crm.crm_desk import LOADED_AT, CrmDesk, vendor_rows
from tests.crm.test_amocrm_mapping import LEAD, STATUSES, event, status
from tests.crm.test_tryton_parts import source as tryton_source
from tests.crm.test_tryton_parts import tables as tryton_saves
from tests.crm.test_vendor_mappings import tables

SPOILED = {
    "salesforce": [("OpportunityHistory", "OpportunityId", "CreatedDate", {}),
                   ("OpportunityFieldHistory", "OpportunityId", "CreatedDate", {"Field": "Owner"}),
                   ("OpportunityFieldHistory", "OpportunityId", "CreatedDate", {"Field": "created"})],
    "hubspot": [("deal_property_history", "deal_id", "timestamp", {"name": "dealstage"}),
                ("deal_property_history", "deal_id", "timestamp", {"name": "amount"})],
}  # fmt: skip
SOON = "soon, says Ann"


def spoiled(vendor: str, rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """One more row in each history, with a time that nobody can read; these rows, by table."""
    live = {row["deal_id"] for row in loaded_deals(vendor, rows)}
    found: dict[str, list[dict[str, Any]]] = {}
    for table, deal, time, also in SPOILED[vendor]:
        row = next(
            row for row in rows[table]
            if row[deal] in live and also.items() <= row.items()
            and (row.get("Field") != "Owner" or row["NewValue"][:3] == "005")
        )  # fmt: skip
        spoiled_id = f"SPOILED-{table}-{row.get('Field')}"
        again = {**row, time: SOON} | ({"Id": spoiled_id} if "Id" in row else {})
        rows[table].append(again)
        found.setdefault(table, []).append(again)
    return found


def loaded_deals(vendor: str, rows: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    name, key, gone = {
        "salesforce": ("Opportunity", "Id", "IsDeleted"), "hubspot": ("deals", "id", "archived"),
    }[vendor]  # fmt: skip
    return [{"deal_id": row[key]} for row in rows[name] if not row[gone]]


@pytest.mark.slow
@pytest.mark.parametrize("vendor", ["salesforce", "hubspot"])
def test_full_and_incremental_loads_tell_the_same_rejects(tmp_path: Path, vendor: str) -> None:
    rows = vendor_rows(vendor, 100)
    at = LOADED_AT + timedelta(hours=1)
    for name in ("grown", "fresh"):
        (tmp_path / name).mkdir()
    grown, fresh = (CrmDesk(tmp_path / name, vendor) for name in ("grown", "fresh"))
    grown.sync(rows)
    grown.ingest()
    before = grown.everything()
    grown.sync(spoiled(vendor, rows))
    assert grown.ingest(at).changed
    fresh.sync(rows)
    fresh.ingest(at)
    told = [row for row in grown.everything()["rejects"] if row["value"] == SOON]
    assert len(told) == {"salesforce": 6, "hubspot": 2}[vendor]
    time = squashed(SPOILED[vendor][0][2])
    assert {(row["table"], squashed(row["column"])) for row in told} == {
        ("stage_events", time), ("deal_changes", time),
    }  # fmt: skip
    assert all(row["source"].startswith("sql deal ") for row in told)
    assert all("does not read" in row["reason"] for row in told)
    assert told == [row for row in fresh.everything()["rejects"] if row["value"] == SOON]
    for name in ("stage_events", "deal_changes"):
        assert grown.stored(name) == fresh.stored(name) == before[name]


def test_nothing_is_lost_between_entries_and_rejects() -> None:
    """Whatever the column is called, and whatever stands there: each entry is a change or a reject."""
    frame = pd.DataFrame(
        {
            "deal": "a", "when": ["2026-01-01", "", None, "now", "2026-01-02", "31.12.2025"],
            "stage": ["New", "Offer", "Offer", "Offer", "Won", None],
        }
    )  # fmt: skip
    rows = Rows(ibis.memtable(frame, schema=dict.fromkeys(frame, "string")), "history")
    told = [
        entries(rows.table, deal_id=rows.text("deal"), field=field, at=rows.moment("when"),
                value=rows.text("stage"))
        for field in (STAGE, "product")
    ]  # fmt: skip
    changes = changes_of(told[0].union(told[1]), software=["bot"])
    mapped = {"stage_events": stage_events_of(changes), "deal_changes": deal_changes_of(changes)}
    draft = draft_of(mapped, HubSpotSource(type="hubspot", token="env:T"))
    for name in mapped:
        assert draft.tables[name].num_rows == 2
        rejects = [row for row in draft.all_rejects().to_pylist() if row["table"] == name]
        found = sorted((row["value"] or "", row["reason"][:8]) for row in rejects)
        assert found == [
            ("", "is empty"), ("", "is empty"), ("31.12.2025", "does not"), ("now", "does not"),
        ]  # fmt: skip
        assert {(row["source"], row["column"]) for row in rejects} == {("hubspot deal a", "when")}


def amocrm_tables() -> tuple[Any, AmoCrmSource]:
    moves = [event("lead_status_changed", day, status(10), status(142)) for day in (1, 2)]
    moves[1]["at"] = SOON
    rows = {"leads": [lead_row(LEAD, [], ZONE)], "statuses": STATUSES, "lead_events": moves,
            "account": [{"id": 1, "currency": "EUR"}],
            "pipelines": [{"id": 1, "name": "Sales", "sort": 1}],
            "loss_reasons": [{"id": 3, "name": "Too dear"}]}  # fmt: skip
    url = "https://x.kommo.com"
    return tables(**rows), AmoCrmSource(type="amocrm", url=url, token="env:T")


def bitrix24_tables() -> tuple[Any, Bitrix24Source]:
    deal = {"id": 7, "stageId": "NEW", "stageSemanticId": "P", "categoryId": 0,
            "createdTime": "2026-03-01T12:00:00+00:00"}  # fmt: skip
    moves = [{"ID": n, "OWNER_ID": 7, "STAGE_ID": "NEW", "CREATED_TIME": time}
             for n, time in enumerate(["2026-03-01T12:00:00+00:00", SOON])]  # fmt: skip
    statuses = [{"STATUS_ID": "NEW", "NAME": "New", "SORT": 10, "CATEGORY_ID": 0, "SEMANTICS": None,
                 "ENTITY_ID": "DEAL_STAGE"}]  # fmt: skip
    rows = {"deals": [deal], "stage_history": moves, "statuses": statuses,
            "categories": [{"id": 0, "name": "Sales"}]}  # fmt: skip
    told = {"type": "bitrix24", "url": "https://x.bitrix24.com", "user_id": 1, "webhook": "env:T"}
    return tables(**rows), Bitrix24Source.model_validate(told)


def tryton_tables() -> tuple[Any, Any]:
    saves = [("2026-01-01T08:00:00", "lead", "10.00", "8"), (SOON, "won", "10.00", "8")]
    return tryton_saves(saves), parse(tryton_source()).source


@pytest.mark.parametrize(
    ("mapping", "told", "column", "kept"),
    [
        (map_amocrm, amocrm_tables, "created_at", 2),
        (map_bitrix24, bitrix24_tables, "CREATED_TIME", 1),
        (map_tryton, tryton_tables, "modified", 1),
    ],
    ids=["amocrm", "bitrix24", "tryton"],
)
def test_every_mapping_tells_them(mapping: Any, told: Any, column: str, kept: int) -> None:
    landed, options = told()
    done = mapping(landed, options, Surroundings("EUR", "UTC", date(2026, 7, 1)))
    draft = draft_of({"stage_events": done["stage_events"]}, options)
    (reject,) = draft.all_rejects().to_pylist()
    assert (reject["table"], squashed(reject["column"])) == ("stage_events", squashed(column))
    assert (reject["value"], reject["source"]) == (SOON, f"{options.type} deal 7")
    assert draft.tables["stage_events"].num_rows == kept
