"""What a quote says today was not known when it was made."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import pytest

from salesops_ml.crm.bitrix24_people import quotes_of as bitrix24_quotes
from salesops_ml.crm.landing_book import DELETED
from salesops_ml.crm.vendor_rows import Rows
from salesops_ml.snapshots.quote_features import quote_features
from salesops_ml.warehouse import Warehouse
from tests.crm.crm_desk import LOADED_AT, CrmDesk, vendor_rows
from tests.crm.test_crm_incremental import refuse_unequal

MADE, ANSWERED = datetime(2026, 3, 2, 9), datetime(2026, 3, 20, 15)
DAY = timedelta(days=1)


def answered(vendor: str, rows: dict[str, list[dict[str, Any]]]) -> tuple[str, dict[str, Any]]:
    """A quote of an old deal that was made on one day, and answered on another."""
    made, saved = MADE.isoformat(), ANSWERED.isoformat()
    if vendor == "salesforce":
        deal = rows["Opportunity"][0]["Id"]
        return deal, {
            "Id": "0Q0new", "OpportunityId": deal, "GrandTotal": 900.0, "Discount": 10.0,
            "Status": "Accepted", "CreatedDate": f"{made}.000+0000",
            "SystemModstamp": f"{saved}.000+0000", "IsDeleted": False,
        }  # fmt: skip
    deal = rows["deals"][0]["id"]
    return deal, {
        "id": "777", "hs_quote_amount": "900.00", "hs_discount_percentage": "10",
        "hs_status": "accepted", "hs_createdate": f"{made}Z", "hs_lastmodifieddate": f"{saved}Z",
        "archived": False,
    }  # fmt: skip


def lay(desk: CrmDesk, quote: dict[str, Any], deal: str) -> None:
    """The quote saved in the CRM, and tied to its deal."""
    if desk.vendor == "salesforce":
        desk.sync({"Quote": [quote]})
    else:
        desk.sync({"quotes": [quote], "quote_deals": [{"quote_id": quote["id"], "deal_id": deal}]})


@pytest.mark.parametrize("vendor", ["salesforce", "hubspot"])
def test_looks_before_the_answer_know_nothing_of_it(tmp_path: Path, vendor: str) -> None:
    rows = vendor_rows(vendor, 100)
    deal, quote = answered(vendor, rows)
    desk = CrmDesk(tmp_path / "grown", vendor)
    desk.folder.mkdir()
    desk.sync(rows)
    desk.ingest()
    lay(desk, quote, deal)
    assert desk.ingest(LOADED_AT + DAY).changed
    looks = [MADE + DAY, ANSWERED + DAY]
    with Warehouse.open(desk.warehouse) as warehouse:
        spine = ibis.memtable({"deal_id": [deal] * 2, "as_of": looks})
        spine = spine.mutate(as_of=spine.as_of.cast("timestamp"))
        others = (
            warehouse.table("quotes").filter(lambda t: t.deal_id == deal).to_pyarrow().to_pylist()
        )
        seen = warehouse.connection.to_pyarrow(
            quote_features(warehouse, spine, statuses=("accepted",)).order_by("as_of")
        ).to_pylist()
    known = {row["quote_id"]: row for row in others}
    key = str(quote.get("Id", quote.get("id")))
    first, last = known[key], known[f"{key}-answer"]
    assert (first["status"], first["amount"], first["discount"]) == ("sent", None, None)
    assert first["sent_at"] == first["recorded_at"] == MADE
    assert (last["status"], float(last["amount"]), last["discount"]) == ("accepted", 900.0, 0.1)
    assert last["sent_at"] == last["recorded_at"] == ANSWERED
    before = sum(row["status"] == "accepted" for row in others if row["recorded_at"] <= MADE + DAY)
    assert [row["f_quotes_accepted"] for row in seen] == [before, before + 1]
    assert seen[1]["f_discount"] == 0.1

    fresh = CrmDesk(tmp_path / "fresh", vendor)
    fresh.folder.mkdir()
    fresh.sync(rows)
    lay(fresh, quote, deal)
    fresh.ingest(LOADED_AT + DAY)
    refuse_unequal(desk.everything(), fresh.everything(), LOADED_AT + DAY)


@pytest.mark.parametrize("saved", [None, "", ANSWERED.isoformat()])
def test_values_whose_last_save_is_not_told_are_never_known(saved: str | None) -> None:
    quotes = {"id": ["5"], "dealId": ["7"], "opportunity": ["900"], "stageId": ["APPROVED"],
              "createdTime": [MADE.isoformat()], "updatedTime": [saved], DELETED: [False]}  # fmt: skip
    kinds = {name: "boolean" if name == DELETED else "string" for name in quotes}
    tables = {
        "quotes": ibis.memtable(quotes, schema=kinds),
        "quote_ids": ibis.memtable({"id": ["5"], DELETED: [False]}),
        "statuses": ibis.memtable(
            {name: ["x"] for name in ("ENTITY_ID", "STATUS_ID", "NAME")} | {DELETED: [False]}
        ),
    }
    deals = Rows(ibis.memtable({"id": ["7"], DELETED: [False]}), "deals")
    found = bitrix24_quotes(tables, deals)["quotes"].order_by("sent_at").to_pyarrow().to_pylist()
    assert (found[0]["status"], found[0]["amount"]) == ("sent", None)
    assert [row["status"] for row in found[1:]] == (["accepted"] if saved else [])
    assert [row["sent_at"] for row in found[1:]] == ([ANSWERED] if saved else [])
