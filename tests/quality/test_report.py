"""The data quality report: what is missing and what was turned away, told with its cost and cure."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pyarrow as pa

from salesops_ml.quality.report import quality_report
from salesops_ml.schema import REJECTS, TABLES, CanonicalTables, no_rejects
from salesops_ml.warehouse import Warehouse

AS_OF = datetime(2026, 6, 1)


def report(deals: dict[str, list[Any]], rejects: pa.Table | None = None) -> dict[str, Any]:
    tables = CanonicalTables({"deals": pa.table(deals)}, rejects or no_rejects())
    with Warehouse.in_memory(tables) as warehouse:
        found = quality_report(warehouse, as_of=AS_OF)
    assert json.loads(json.dumps(found)) == found
    return found


def test_every_missing_table_and_dates_that_no_deal_has_are_told_with_their_cost() -> None:
    undated = report({"deal_id": ["a"], "status": ["won"]})["missing_tables"]
    assert set(undated) == set(TABLES) - {"deals"} | {"deals.created_at", "deals.closed_at"}
    assert all(undated.values())
    assert "a win model on attributes only" in undated["deals.closed_at"]
    dated = {"deal_id": ["a"], "status": ["open"], "created_at": [datetime(2026, 1, 1)]}
    assert "deals.created_at" not in report(dated)["missing_tables"]


def test_rejects_are_counted_by_reason_with_their_first_places_and_the_cure() -> None:
    late = {"source": "d.csv", "table": "deals", "column": "opened", "value": "soon",
            "reason": "is not a time", "cure": "write such as 2026-01-31"}  # fmt: skip
    ours = {"source": "synthetic:quotes", "row": 0, "table": "quotes", "column": None,
            "value": None, "reason": "no such deal", "cure": "load the deal"}  # fmt: skip
    rows = [*({**late, "row": line} for line in (4, 9, 11, 12)), ours]
    rejects = pa.Table.from_pylist(rows, schema=REJECTS.arrow())
    found = report({"deal_id": ["a"], "status": ["open"]}, rejects)
    assert found["rejects"] == [
        {
            "table": "deals", "column": "opened", "reason": "is not a time", "count": 4,
            "examples": ["d.csv, line 4: 'soon'", "d.csv, line 9: 'soon'", "d.csv, line 11: 'soon'"],
            "cure": "write such as 2026-01-31",
        },
        {
            "table": "quotes", "column": "", "reason": "no such deal", "count": 1,
            "examples": ["synthetic:quotes: None"], "cure": "load the deal",
        },
    ]  # fmt: skip
    assert found["verdict"] == "fail"  # more than the load can bear


def test_a_day_in_the_past_does_not_see_deals_of_later() -> None:
    deals = {"deal_id": ["a", "b"], "status": ["open", "open"],
             "created_at": [datetime(2026, 1, 1), datetime(2026, 7, 1)]}  # fmt: skip
    assert report(deals)["profile"]["tables"]["deals"]["rows"] == 1
