"""Every layout of a loader: the same company comes out as from Fivetran's tables, field by field.

dlt's tables are made by dlt itself, from resources named and shaped as in its verified sources; those of
Airbyte follow the schemas of its connectors. What a loader does not land is left out of the comparison.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from salesops_ml.crm.ingest import ingest
from salesops_ml.crm.twin_world import Row, Rows
from salesops_ml.errors import SourceError
from salesops_ml.settings import parse
from salesops_ml.warehouse import Warehouse
from tests.crm.crm_desk import LOADED_AT, CrmDesk, source, vendor_rows

SIZE = 100
SYNCED = datetime(2026, 1, 1)
EVERYTHING = ("deals", "stages", "stage_events", "deal_changes", "accounts", "activities", "quotes")
LACKS = {
    "airbyte_hubspot": ("quotes", "exchange_rates"),
    "dlt_hubspot": ("quotes", "exchange_rates", "activities"),
}
"""What a loader's HubSpot tables do not hold; of the rest, rates are in no loader's."""
ACTIVITIES = ("meetings", "calls", "emails", "tasks")


def land_pandas(folder: Path, tables: Mapping[str, list[Row]]) -> None:
    with duckdb.connect(str(folder / "landed.duckdb")) as raw:
        for name, rows in tables.items():
            frame = pd.DataFrame(rows)
            raw.register("frame", frame)
            raw.execute(f'CREATE TABLE "{name}" AS SELECT * FROM frame')


def by_airbyte_salesforce(folder: Path, rows: Rows) -> None:
    """Objects under their own names, columns too."""
    stamped = {
        name: [{**row, "_airbyte_extracted_at": SYNCED} for row in kept]
        for name, kept in rows.items() if kept
    }  # fmt: skip
    land_pandas(folder, stamped)


def by_airbyte_hubspot(folder: Path, rows: Rows) -> None:
    """Properties beside ids, associations and stages as JSON; `name` is a leftover of old versions."""
    companies = {row["deal_id"]: row["company_id"] for row in rows["deal_companies"]}
    served: dict[str, list[str]] = {}
    for row in rows["activity_deals"]:
        served.setdefault(row["activity_id"], []).append(row["deal_id"])
    mark = {"_airbyte_extracted_at": SYNCED}

    def objects(name: str, more: Callable[[Row], Row]) -> list[Row]:
        return [
            {"id": row["id"], "archived": row["archived"], **more(row), **mark,
             **{f"properties_{key}": row[key] for key in row if key not in ("id", "archived")}}
            for row in rows[name]
        ]  # fmt: skip

    def of_deals(row: Row) -> Row:
        return {"deals": json.dumps(served.get(row["id"], []))}

    def of_companies(row: Row) -> Row:
        return {"companies": json.dumps([companies[row["id"]]] if row["id"] in companies else [])}

    def nothing(_: Row) -> Row:
        return {}

    stages = [
        {"stageId": row["id"], "label": row["label"], "displayOrder": row["display_order"],
         "metadata": {"isClosed": row["is_closed"], "probability": row["probability"]}}
        for row in rows["pipeline_stages"]
    ]  # fmt: skip
    history = [
        {"dealId": row["deal_id"], "property": row["name"], "name": None, "value": row["value"],
         "timestamp": row["timestamp"], "sourceType": row["source_type"],
         "sourceId": row["source_id"], **mark}
        for row in rows["deal_property_history"]
    ]  # fmt: skip
    owners = [
        {"id": row["id"], "userId": row["user_id"], "firstName": row["first_name"],
         "lastName": row["last_name"], "email": row["email"], "archived": row["archived"], **mark}
        for row in rows["owners"]
    ]  # fmt: skip
    tables = {
        "deals": objects("deals", of_companies),
        "companies": objects("companies", nothing),
        **{f"engagements_{name}": objects(name, of_deals) for name in ACTIVITIES if rows[name]},
        "deals_property_history": history,
        "deal_pipelines": [{"pipelineId": "sales", "label": "sales", "displayOrder": 0,
                            "stages": json.dumps(stages), **mark}],
        "owners": owners,
    }  # fmt: skip
    land_pandas(folder, tables)


def by_dlt(folder: Path, tables: Mapping[str, tuple[list[Row], dict[str, Any]]]) -> None:
    """Rows by table, with how the resource is written, brought by dlt itself."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt

    pipeline = dlt.pipeline(
        "crm", pipelines_dir=str(folder / "dlt"), dataset_name="crm_data",
        destination=dlt.destinations.duckdb(str(folder / "landed.duckdb")),
    )  # fmt: skip
    resources = [
        dlt.resource([dict(row) for row in rows], name=name, **how)
        for name, (rows, how) in tables.items() if rows
    ]  # fmt: skip
    pipeline.run(resources)
    pipeline.deactivate()


MERGED = {"write_disposition": "merge", "primary_key": "id"}
SF_NAMES = {"User": "sf_user", "UserRole": "user_role"}


def by_dlt_salesforce(folder: Path, rows: Rows) -> None:
    """Without a key, so that a row again stands twice; users are replaced."""
    names = {name: SF_NAMES.get(name, _snake(name)) for name in rows}
    how = {name: {"write_disposition": "replace" if name in SF_NAMES else "merge"} for name in rows}
    stale = {**rows["Opportunity"][0], "Amount": 1.0}
    by_dlt(folder, {"opportunity": ([stale], how["Opportunity"])})
    by_dlt(folder, {names[name]: (kept, how[name]) for name, kept in rows.items()})


def _snake(name: str) -> str:
    told = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return told.strip("_")


def by_dlt_hubspot(folder: Path, rows: Rows, first: str = "amount") -> None:
    """Deals of companies and stages of pipelines in lists, whose items dlt lays apart."""
    of_company: dict[str, list[str]] = {}
    for row in rows["deal_companies"]:
        of_company.setdefault(row["company_id"], []).append(row["deal_id"])
    companies = [
        {**row, "hs_object_id": row["id"],
         "deals": [{"value": row["id"], "deals_id": deal} for deal in of_company.get(row["id"], [])]}
        for row in rows["companies"]
    ]  # fmt: skip
    stages = [
        {"id": row["id"], "label": row["label"], "displayOrder": row["display_order"],
         "metadata": {"isClosed": row["is_closed"], "probability": row["probability"]}}
        for row in rows["pipeline_stages"]
    ]  # fmt: skip
    pipelines = [{"id": "sales", "label": "sales", "displayOrder": 0, "stages": stages}]
    kept = sorted(rows["deal_property_history"], key=lambda row: row["name"] != first)
    history = [
        {"object_id": row["deal_id"], "property_name": row["name"], "value": row["value"],
         "timestamp": row["timestamp"], "sourceType": row["source_type"],
         "sourceId": row["source_id"]}
        for row in kept
    ]  # fmt: skip
    numbers = ("amount", "amount_in_home_currency", "term_months")
    deals = [
        {name: float(value) if name in numbers and value is not None else value
         for name, value in row.items()}
        for row in rows["deals"]
    ]  # fmt: skip
    owners = [
        {"id": row["id"], "userId": row["user_id"], "firstName": row["first_name"],
         "lastName": row["last_name"], "archived": row["archived"]}
        for row in rows["owners"]
    ]  # fmt: skip
    again = {"deals_property_history": (history, {"write_disposition": "append"})}
    by_dlt(folder, again)
    by_dlt(folder, {
        "deals": (deals, MERGED), "companies": (companies, MERGED), **again,
        "pipelines_deals": (pipelines, {**MERGED, "merge_key": "id"}), "owners": (owners, MERGED),
    })  # fmt: skip


LAYOUTS = {
    "airbyte_salesforce": by_airbyte_salesforce,
    "airbyte_hubspot": by_airbyte_hubspot,
    "dlt_salesforce": by_dlt_salesforce,
    "dlt_hubspot": by_dlt_hubspot,
}


@pytest.fixture(scope="module")
def desks(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], CrmDesk]:
    """A vendor's company as Fivetran lands it, loaded."""
    made: dict[str, CrmDesk] = {}

    def desk(vendor: str) -> CrmDesk:
        if vendor not in made:
            made[vendor] = CrmDesk(tmp_path_factory.mktemp(vendor), vendor)
            made[vendor].sync(vendor_rows(vendor, SIZE))
            made[vendor].ingest()
        return made[vendor]

    return desk


def loaded(folder: Path, layout: str) -> dict[str, list[Row]]:
    vendor = layout.partition("_")[2]
    schema = {"database_schema": "crm_data"} if layout.startswith("dlt") else {}
    told = {"type": "sql", "url": f"duckdb:///{folder}/landed.duckdb", "layout": layout,
            **source(vendor), **schema}  # fmt: skip
    settings = parse({"source": told, "warehouse": f"duckdb:///{folder}/store/w.duckdb"})
    ingest(settings, ingested_at=LOADED_AT)
    with Warehouse.open(settings.warehouse) as warehouse:
        return {
            name: sorted(warehouse.table(name).to_pyarrow().to_pylist(), key=str)
            for name in warehouse.names()
        }


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_every_layout_tells_the_same_company(
    tmp_path: Path, desks: Callable[[str], CrmDesk], layout: str
) -> None:
    vendor = layout.partition("_")[2]
    LAYOUTS[layout](tmp_path, vendor_rows(vendor, SIZE))
    found = loaded(tmp_path, layout)
    for name in EVERYTHING:
        if name in LACKS.get(layout, ()):
            assert name not in found, name
        else:
            assert found[name] == desks(vendor).stored(name), name


def test_fivetrans_quotes_of_hubspot_are_read_and_leave_with_their_link(
    tmp_path: Path, desks: Callable[[str], CrmDesk]
) -> None:
    quotes = {row["id"]: row for row in vendor_rows("hubspot", SIZE)["quotes"]}
    found = {row["quote_id"]: row for row in desks("hubspot").stored("quotes")}
    assert found.keys() == quotes.keys()
    for quote, row in found.items():
        amount = None if row["amount"] is None else str(row["amount"])
        assert amount == quotes[quote]["hs_quote_amount"]
        assert row["status"] == quotes[quote]["hs_status"]
    desk = CrmDesk(tmp_path, "hubspot")
    rows = vendor_rows("hubspot", SIZE)
    desk.sync(rows)
    desk.ingest()
    gone = rows["quotes"][0]["id"]
    desk.sync({}, gone={"quotes": [gone]})
    desk.ingest(LOADED_AT + timedelta(hours=1))
    assert {row["quote_id"] for row in desk.stored("quotes")} == quotes.keys() - {gone}


def test_what_dlts_own_source_of_salesforce_lacks_is_said(tmp_path: Path) -> None:
    rows = vendor_rows("salesforce", SIZE)
    by_dlt_salesforce(tmp_path, {name: rows[name] for name in ("Opportunity", "User", "Account")})
    with pytest.raises(SourceError, match=r"no table `OpportunityStage`.*add resources") as caught:
        loaded(tmp_path, "dlt_salesforce")
    assert "\n" not in str(caught.value)


def test_a_history_that_dlt_has_spoiled_is_refused(tmp_path: Path) -> None:
    by_dlt_hubspot(tmp_path, vendor_rows("hubspot", SIZE), first="closedate")
    with pytest.raises(SourceError, match=r"`value` of `deals_property_history` is of kind timest"):
        loaded(tmp_path, "dlt_hubspot")


@pytest.mark.slow
def test_a_user_that_dlt_no_longer_lands_is_gone(tmp_path: Path) -> None:
    rows = vendor_rows("salesforce", SIZE)
    by_dlt_salesforce(tmp_path, rows)
    before = {row["rep_id"] for row in loaded(tmp_path, "dlt_salesforce")["reps"]}
    by_dlt(tmp_path, {"sf_user": (rows["User"][1:], {"write_disposition": "replace"})})
    after = {row["rep_id"] for row in loaded(tmp_path, "dlt_salesforce")["reps"]}
    assert before - after == {rows["User"][0]["Id"]}
