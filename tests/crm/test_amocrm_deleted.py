"""What was deleted in amoCRM is gone here, and hides nothing that was not, whenever it happens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from salesops_ml.crm.amocrm_api import Account
from salesops_ml.crm.amocrm_twin import AmoCrmTwin
from salesops_ml.crm.landing import landed_tables, landing_path
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.crm_settings import AmoCrmSource
from tests.crm.amocrm_desk import AmoDesk, small, world_rows
from tests.crm.amocrm_plug import PACE, connection
from tests.crm.crm_desk import LOADED_AT
from tests.crm.test_amocrm_source import ANN, lead_ids, org


@pytest.fixture
def twin() -> Iterator[TwinServer]:
    with TwinServer(small()) as server:
        yield server


def test_a_deal_deleted_while_pages_are_read_hides_no_other(tmp_path: Path) -> None:
    vendor = AmoCrmTwin(world_rows(300, activities=10), calls_a_second=PACE)
    answer, first = vendor._list, [True]

    def deleting(request: Any, rest: str) -> Any:
        done = answer(request, rest)
        if (
            rest == "leads"
            and request.one("page") == "1"
            and first
            and "order[id]" in request.query
        ):
            first.clear()
            vendor.people.delete(min(vendor.tables["leads"]), by=ANN)
        return done

    vendor._list = deleting  # type: ignore[method-assign]
    with TwinServer(vendor) as twin:
        desk = AmoDesk(tmp_path, twin)
        desk.ingest()
        desk.ingest(LOADED_AT + timedelta(hours=1))
        assert {row["deal_id"] for row in desk.stored("deals")} == set(map(str, lead_ids(twin)))


def test_deleted_companies_and_tasks_are_gone_as_in_a_full_load(
    tmp_path: Path, twin: TwinServer
) -> None:
    desk, there = AmoDesk(tmp_path / "grown", twin), org(twin)
    desk.ingest()
    task = next(row["id"] for row in there.tables["tasks"].values() if row["is_completed"])
    company = min(there.tables["companies"])
    merged = max(there.tables["companies"])
    there.people.drop("company", company, by=ANN)
    there.people.drop("task", task, by=ANN)
    there.people.note("entity_merged", company + 1, there.people.tick(), ANN,
                      [{"entity": {"id": merged}}], [], entity="company")  # fmt: skip
    del there.tables["companies"][merged]
    there.lists.forget()
    fresh = AmoDesk(tmp_path / "fresh", twin)
    for one in (desk, fresh):
        one.ingest(LOADED_AT + timedelta(hours=1))
    assert f"task-{task}" not in {row["activity_id"] for row in desk.stored("activities")}
    assert not {str(company), str(merged)} & {row["account_id"] for row in desk.stored("accounts")}
    for name in ("accounts", "activities", "deals"):
        assert desk.stored(name) == fresh.stored(name), name
    there.people.note(
        "company_restored", company, there.people.tick(), ANN, [], [], entity="company"
    )
    like = next(iter(there.tables["companies"].values()))
    there.put({"companies": [{**like, "id": company, "updated_at": like["updated_at"] - 9_000}]})
    desk.ingest(LOADED_AT + timedelta(hours=2))
    assert str(company) in {row["account_id"] for row in desk.stored("accounts")}


@pytest.mark.parametrize(
    ("entity", "table", "listed", "landed"),
    [
        ("company", "companies", "companies", "companies"),
        ("task", "tasks", "tasks", "tasks"),
        ("notes", "notes", "leads/notes", "lead_notes"),
    ],
)
def test_what_is_deleted_while_its_list_is_read_hides_no_other(
    tmp_path: Path, entity: str, table: str, listed: str, landed: str
) -> None:
    vendor = AmoCrmTwin(world_rows(100, activities=10), calls_a_second=PACE)
    like = next(iter(vendor.tables[table].values()))
    many = [{**like, "id": 10**9 + n, "updated_at": like["updated_at"] + n} for n in range(600)]
    vendor.put({table: many})
    vendor.people.now = int(time.time())
    answer, due = vendor._list, [True]

    def deleting(request: Any, rest: str) -> Any:
        done = answer(request, rest)
        if rest == listed and due:
            due.clear()
            vendor.people.drop(entity, min(vendor.tables[table]), by=ANN)
        return done

    vendor._list = deleting  # type: ignore[method-assign]
    with TwinServer(vendor) as twin:
        desk = AmoDesk(tmp_path, twin)
        desk.ingest()
    with landed_tables(landing_path(desk.warehouse)) as tables:
        ids = next(name for name in ("id", "activity_id") if name in tables[landed].columns)
        told = {int(one.rpartition("-")[2]) for one in tables[landed][ids].to_pyarrow().to_pylist()}
    assert not due
    assert vendor.tables[table].keys() <= told


def test_notes_of_one_moment_that_fill_pages_are_all_read(twin: TwinServer) -> None:
    like = next(iter(org(twin).tables["notes"].values()))
    at = like["updated_at"] + 10**6
    many = [{**like, "id": 10**9 + n, "updated_at": at + n // 600} for n in range(900)]
    org(twin).put({"notes": many})
    account = Account(AmoCrmSource.model_validate(connection(twin.url, calls_a_second=PACE)))
    for since in (None, at - 5, at):
        pages = account.by_change("leads/notes", "notes", {}, since)
        found = [row["id"] for page in pages for row in page]
        assert {row["id"] for row in many} <= set(found)
