"""Any SQL warehouse: layouts of three loaders, PostgreSQL for real, and errors in one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa

from salesops_ml.crm import complete_history
from salesops_ml.crm.draft import Draft
from salesops_ml.crm.ingest import ingest
from salesops_ml.crm.landed_draft import draft_of
from salesops_ml.crm.landing import land, landed_tables
from salesops_ml.crm.salesforce_mapping import map_salesforce
from salesops_ml.crm.settle import settle
from salesops_ml.crm.vendors import Surroundings
from salesops_ml.crm_settings import SalesforceSource
from salesops_ml.errors import SourceError
from salesops_ml.schema import CanonicalTables, conform
from salesops_ml.settings import parse
from salesops_ml.warehouse import Warehouse
from tests.crm.crm_desk import CrmDesk, company, feeds_of, source, vendor_rows
from tests.crm.postgres import PASSWORD, address, private_cluster

SIZE = 100
WITHOUT = {"hubspot": ("quotes", "exchange_rates")}
"""What Fivetran's HubSpot tables do not hold."""


def expected(vendor: str, desk: CrmDesk) -> CanonicalTables:
    """The company as the rest of the pipeline would have it, without vendor and loader between."""
    world = company(vendor, SIZE)
    deals = world.tables["deals"]
    tables = dict(world.tables)
    if vendor == "salesforce":
        tables["deals"] = deals.drop_columns("amount_base")
        changes = tables["deal_changes"]
        tables["deal_changes"] = changes.filter(
            pa.compute.not_equal(changes["field"], "amount_base")
        )
    bare = CanonicalTables(tables, world.rejects.slice(0, 0), world.attributes)
    settled = settle(Draft.of(bare, "the world"), desk.settings)
    return complete_history(settled, base_currency="EUR", first_values=False)


@pytest.mark.parametrize("vendor", ["salesforce", "hubspot"])
def test_a_company_landed_by_fivetran_is_the_company_again_field_by_field(tmp_path, vendor) -> None:
    desk = CrmDesk(tmp_path, vendor)
    desk.sync(vendor_rows(vendor, SIZE))
    result = desk.ingest()
    assert result.rejects == 0
    told = expected(vendor, desk)
    for name in ("deals", "stages", "stage_events", "deal_changes", "activities", "quotes",
                 "exchange_rates"):  # fmt: skip
        if name not in WITHOUT.get(vendor, ()):
            assert desk.stored(name) == comparable(name, told, desk), name


def comparable(name: str, told: CanonicalTables, desk: CrmDesk) -> list[dict[str, Any]]:
    """The expected rows of a table, but for what a vendor cannot hold."""
    rows = conform(name, told.tables[name], told.attributes).to_pylist()
    if name == "stages":
        rows = [{**row, "expected_days": None} for row in rows]
        if desk.vendor == "hubspot":
            ends = {True: 1.0, False: 0.0}
            rows = [{**r, "probability": ends[r["is_won"]] if r["is_closed"] else r["probability"]}
                    for r in rows]  # fmt: skip
    if name == "exchange_rates":
        rows = [{**row, "rate": pytest.approx(row["rate"])} for row in rows]
    if name == "deal_changes" and desk.vendor == "salesforce":
        rows += [row for row in desk.stored(name) if row["field"] == "currency"]
    return sorted(rows, key=str)


def test_salesforce_by_its_api_and_landed_by_fivetran_give_equal_tables(tmp_path: Path) -> None:
    rows = vendor_rows("salesforce", SIZE)
    desk = CrmDesk(tmp_path, "salesforce")
    desk.sync(rows)
    with_loader = desk.settings
    assert desk.ingest().changed
    path = tmp_path / "api.landing.duckdb"
    land(feeds_of(rows, {}), path, origin="api", place="the API")
    told = {"type": "salesforce", "url": "https://x.my.salesforce.com", "token": "env:T",
            **source("salesforce")}  # fmt: skip
    options = SalesforceSource.model_validate(told)
    around = Surroundings("EUR", "UTC", date(2026, 11, 27))
    with landed_tables(path) as tables:
        draft = draft_of(map_salesforce(tables, options, around), options)
    done = complete_history(settle(draft, with_loader), base_currency="EUR", first_values=False)
    for name, table in done.tables.items():
        found = sorted(conform(name, table, done.attributes).to_pylist(), key=str)
        assert found == desk.stored(name), name


def canonical(folder: Path, **more: Any) -> Any:
    told = {"type": "sql", "url": f"duckdb:///{folder}/landed.duckdb", "layout": "canonical"} | more
    return parse({"source": told, "warehouse": f"duckdb:///{folder}/store/w.duckdb"})


DEALS = pd.DataFrame(
    {
        "deal_id": ["a", "b"], "status": ["won", "open"], "amount": ["10.50", "3"],
        "created_at": [datetime(2026, 1, 1), datetime(2026, 1, 2)],
        "closed_at": [datetime(2026, 2, 1), None],
    }
)  # fmt: skip


def landed(folder: Path, **tables: pd.DataFrame) -> None:
    with duckdb.connect(str(folder / "landed.duckdb")) as raw:
        for name, frame in tables.items():
            raw.register("frame", frame)
            raw.execute(f'CREATE OR REPLACE TABLE "{name}" AS SELECT * FROM frame')


def test_canonical_tables_are_read_as_they_are_and_what_is_gone_is_gone(tmp_path: Path) -> None:
    landed(tmp_path, deals=DEALS)
    assert ingest(canonical(tmp_path), ingested_at=datetime(2026, 3, 1)).changed
    landed(tmp_path, deals=DEALS[:1])
    assert ingest(canonical(tmp_path), ingested_at=datetime(2026, 3, 1, 1)).changed
    with Warehouse.open(f"duckdb:///{tmp_path}/store/w.duckdb") as warehouse:
        (row,) = warehouse.table("deals").to_pyarrow().to_pylist()
    assert (row["deal_id"], str(row["amount"]), row["closed_at"]) == (
        "a",
        "10.50",
        datetime(2026, 2, 1),
    )


def test_a_value_that_does_not_read_is_a_reject_that_names_the_record(tmp_path: Path) -> None:
    more = pd.DataFrame({"deal_id": list("cdef"), "status": "open", "amount": "1",
                         "created_at": datetime(2026, 1, 3)})  # fmt: skip
    landed(tmp_path, deals=pd.concat([DEALS.assign(amount=["10.50", "a lot"]), more]))
    assert ingest(canonical(tmp_path), ingested_at=datetime(2026, 3, 1)).rejects == 1
    with Warehouse.open(f"duckdb:///{tmp_path}/store/w.duckdb") as warehouse:
        (reject,) = warehouse.rejects().to_pylist()
    told = (reject["source"], reject["column"], reject["value"])
    assert told == ("sql deal b", "amount", "a lot")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"url": "duckdb:////nowhere/x.duckdb"}, "cannot be opened.*check `source.url`"),
        ({"layout": "fivetran_hubspot"}, "no table `deal`, which Fivetran lands.*holds: deals"),
        ({"tables": {"deals": "sales"}}, "no table `deals`.*source.tables.deals"),
        ({"database_schema": "elsewhere"}, "elsewhere"),
        ({"password": "env:NOT_SET_ANYWHERE"}, "NOT_SET_ANYWHERE"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, more: Any, words: str) -> None:
    landed(tmp_path, deals=DEALS)
    with pytest.raises(SourceError, match=words) as caught:
        ingest(canonical(tmp_path, **more), ingested_at=datetime(2026, 3, 1))
    assert "\n" not in str(caught.value)


def test_a_missing_column_and_a_missing_custom_field_are_named(tmp_path: Path) -> None:
    desk = CrmDesk(tmp_path, "salesforce")
    rows = vendor_rows("salesforce", SIZE)
    rows = {name: rows[name] for name in ("Opportunity", "OpportunityStage")}
    for row in rows["Opportunity"]:
        del row["Campaign__c"]
    desk.sync(rows)
    with pytest.raises(SourceError, match=r"custom_fields.campaign.*no field `Campaign__c`"):
        desk.ingest()
    for row in rows["OpportunityStage"]:
        del row["IsClosed"]
    desk = CrmDesk(tmp_path / "other", "salesforce")
    desk.folder.mkdir()
    desk.sync(rows)
    with pytest.raises(SourceError, match="`OpportunityStage` has no column `IsClosed`; it has"):
        desk.ingest()


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with private_cluster() as url:
        yield url


@pytest.mark.slow
def test_postgres_for_real_full_and_incremental_and_a_wrong_password(
    tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = vendor_rows("hubspot", SIZE)
    rows = {name: rows[name] for name in ("deals", "deal_property_history", "pipelines",
                                          "pipeline_stages", "owners")}  # fmt: skip
    desk = CrmDesk(tmp_path, "hubspot")
    desk.sync(rows)
    desk.ingest()
    monkeypatch.setenv("OUR_WAREHOUSE", PASSWORD)
    url = address(cluster).replace("+psycopg", "")
    copied(tmp_path, cluster)
    told = {"type": "sql", "url": url, "password": "env:OUR_WAREHOUSE",
            "layout": "fivetran_hubspot", **source("hubspot")}  # fmt: skip
    warehouse = f"duckdb:///{tmp_path}/pg/w.duckdb"
    settings = parse({"source": told, "warehouse": warehouse})
    assert ingest(settings, ingested_at=datetime(2026, 11, 27, 9)).changed
    with Warehouse.open(warehouse) as opened:
        for name in ("deals", "stage_events", "deal_changes"):
            found = sorted(opened.table(name).to_pyarrow().to_pylist(), key=str)
            assert found == desk.stored(name)
    deal = {**rows["deals"][0], "amount": "5", "amount_in_home_currency": "5"}
    desk.sync({"deals": [deal]})
    copied(tmp_path, cluster)
    assert ingest(settings, ingested_at=datetime(2026, 11, 27, 10)).changed
    with Warehouse.open(warehouse) as opened:
        amounts = {
            row["deal_id"]: str(row["amount"])
            for row in opened.table("deals").to_pyarrow().to_pylist()
        }
    assert amounts[deal["id"]] == "5.00"
    monkeypatch.setenv("OUR_WAREHOUSE", "hunter2-wrong")
    for named in (url, address(cluster)):
        asked = parse({"source": {**told, "url": named}, "warehouse": warehouse})
        with pytest.raises(SourceError, match=r"cannot be opened.*authentication failed") as caught:
            ingest(asked, ingested_at=datetime(2026, 11, 27, 11))
        assert "hunter2-wrong" not in str(caught.value)


def copied(folder: Path, url: str) -> None:
    """The loader's DuckDB tables, laid into PostgreSQL."""
    engine = sa.create_engine(url)
    with duckdb.connect(str(folder / "landed.duckdb"), read_only=True) as raw:
        for (name,) in raw.execute("SHOW TABLES").fetchall():
            frame = raw.execute(f'SELECT * FROM "{name}"').df()
            frame.to_sql(name, engine, if_exists="replace", index=False)
    engine.dispose()


def test_airbytes_nested_lists_become_rows(tmp_path: Path) -> None:
    rows = vendor_rows("hubspot", SIZE)
    stages = [
        {"stageId": row["id"], "label": row["label"], "displayOrder": row["display_order"],
         "metadata": {"isClosed": row["is_closed"], "probability": row["probability"]}}
        for row in rows["pipeline_stages"]
    ]  # fmt: skip
    at = datetime(2026, 1, 1)
    companies = {row["deal_id"]: row["company_id"] for row in rows["deal_companies"]}
    deals = [
        {"id": row["id"], "archived": False, "_airbyte_extracted_at": at,
         "companies": json.dumps([companies[row["id"]]]),
         **{f"properties_{key}": value for key, value in row.items() if key not in ("id", "archived")}}
        for row in rows["deals"]
    ]  # fmt: skip
    history = [
        {"dealId": row["deal_id"], "property": row["name"], "value": row["value"],
         "timestamp": row["timestamp"], "sourceType": row["source_type"],
         "sourceId": row["source_id"], "_airbyte_extracted_at": at}
        for row in rows["deal_property_history"]
    ]  # fmt: skip
    pipelines = [{"pipelineId": "sales", "label": "sales", "displayOrder": 0,
                  "stages": json.dumps(stages), "_airbyte_extracted_at": at}]  # fmt: skip
    landed(tmp_path, deals=pd.DataFrame(deals), deals_property_history=pd.DataFrame(history),
           deal_pipelines=pd.DataFrame(pipelines))  # fmt: skip
    settings = canonical(tmp_path, layout="airbyte_hubspot", **source("hubspot"))
    ingest(settings, ingested_at=datetime(2026, 11, 27, 9))
    desk = CrmDesk(tmp_path / "fivetran", "hubspot")
    desk.folder.mkdir()
    desk.sync({name: rows[name] for name in ("deals", "deal_property_history", "pipelines",
                                             "pipeline_stages", "deal_companies")})  # fmt: skip
    desk.ingest()
    with Warehouse.open(settings.warehouse) as opened:
        for name in ("deals", "stages", "stage_events"):
            found = sorted(opened.table(name).to_pyarrow().to_pylist(), key=str)
            if name == "stage_events":
                found = [{**row, "rep_id": None} for row in found]
            told = desk.stored(name)
            told = [{**row, "rep_id": None} for row in told] if name == "stage_events" else told
            assert found == told, name


def test_the_command_says_it_in_one_line_with_exit_code_1(tmp_path: Path) -> None:
    landed(tmp_path, deals=DEALS)
    told = {"source": {"type": "sql", "url": "duckdb:///landed.duckdb", "layout": "dlt_salesforce"},
            "warehouse": "duckdb:///store/w.duckdb"}  # fmt: skip
    (tmp_path / "crm.yaml").write_text(json.dumps(told))
    command = [sys.executable, "-m", "salesops_ml.cli", "ingest", "--config", "crm.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no table `Opportunity`, which dlt lands" in done.stderr
    assert not (tmp_path / "store" / "w.duckdb").exists()


def test_agreed_days_stand_in_the_stages(tmp_path: Path) -> None:
    desk = CrmDesk(tmp_path, "salesforce")
    rows = vendor_rows("salesforce", SIZE)
    deals = [row for row in rows["Opportunity"] if row["CurrencyIsoCode"] == "EUR"]
    desk.sync({"Opportunity": deals, "OpportunityStage": rows["OpportunityStage"]})
    told = desk.settings.model_dump(mode="json") | {"process": {"expected_days": {"Lead": 9}}}
    ingest(parse(told), ingested_at=datetime(2026, 11, 27))
    found = {row["stage"]: row["expected_days"] for row in desk.stored("stages")}
    assert (found["Lead"], found["Contract"]) == (9.0, None)
