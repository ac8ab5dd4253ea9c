"""amoCRM read by its API gives what its twin holds: whole, change by change, on a bad network."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from salesops_ml.crm import complete_history
from salesops_ml.crm.amocrm_api import Account
from salesops_ml.crm.amocrm_events import walk
from salesops_ml.crm.amocrm_twin import TOKEN, AmoCrmTwin
from salesops_ml.crm.draft import Draft
from salesops_ml.crm.landing import landed_tables, landing_path
from salesops_ml.crm.settle import settle
from salesops_ml.crm.twin_faults import FaultPlan
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.crm_settings import AmoCrmSource
from salesops_ml.errors import RemoteError, SourceError, Throttled
from salesops_ml.schema import CanonicalTables, conform
from tests.crm.amocrm_by_hand import by_hand
from tests.crm.amocrm_desk import BOT, AmoDesk, AmoEdits, small, world_rows
from tests.crm.amocrm_plug import PACE, connection, state
from tests.crm.crm_desk import LOADED_AT, company
from tests.crm.first_load import FirstLoad
from tests.crm.landed_state import refuse_unlike
from tests.crm.test_crm_incremental import refuse_unequal

ANN = 300_005
"""Somebody who is no software."""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> FirstLoad:
    return FirstLoad(tmp_path_factory.mktemp("first"), small, AmoDesk)


@pytest.fixture
def twin(first: FirstLoad) -> Iterator[TwinServer]:
    with first.twin() as server:
        yield server


def org(twin: TwinServer) -> AmoCrmTwin:
    assert isinstance(twin.vendor, AmoCrmTwin)
    return twin.vendor


def lead_ids(twin: TwinServer) -> list[int]:
    return [row["id"] for row in org(twin).tables["leads"].values() if not row["is_deleted"]]


def test_a_full_load_is_the_twins_state_field_by_field(tmp_path: Path) -> None:
    vendor = AmoCrmTwin(world_rows(500, activities=1_000), calls_a_second=PACE)
    with TwinServer(vendor) as twin:
        desk = AmoDesk(tmp_path, twin)
        desk.ingest()
        assert twin.report()["above_limit"] == 0
        with landed_tables(landing_path(desk.warehouse)) as tables:
            counts = refuse_unlike(tables, state(vendor))
    assert counts["leads"] == 500
    assert counts["lead_events"] == len(vendor.events) > 3_000


def test_a_company_is_the_company_again_field_by_field(tmp_path: Path) -> None:
    with TwinServer(AmoCrmTwin(world_rows(100), calls_a_second=PACE)) as twin:
        desk = AmoDesk(tmp_path, twin)
        assert desk.ingest().rejects == 0
        world = company("amocrm", 100)
        deals = world.tables["deals"].drop_columns("amount_base")
        bare = CanonicalTables(
            {**world.tables, "deals": deals}, world.rejects.slice(0, 0), world.attributes
        )
        told = complete_history(
            settle(Draft.of(bare, "the world"), desk.settings), base_currency="EUR",
            first_values=False,
        )  # fmt: skip
        for name in ("deals", "stages", "stage_events", "deal_changes", "activities"):
            rows = conform(name, told.tables[name], told.attributes).to_pylist()
            assert desk.stored(name) == sorted(rows, key=str), name
        accounts = {row["account_id"]: row for row in world.tables["accounts"].to_pylist()}
        for row in desk.stored("accounts"):
            told_of = accounts[row["account_id"]]
            for name in ("name", "industry", "region", "employees", "annual_revenue"):
                assert row[name] == told_of[name]


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "filters"), [(4, True), (5, False)])
def test_change_by_change_ends_where_a_full_load_ends(
    tmp_path: Path, seed: int, filters: bool
) -> None:
    vendor = small()
    vendor.filters_on = filters
    edits, rng, at = AmoEdits(vendor, seed), random.Random(seed), LOADED_AT
    with TwinServer(vendor) as twin:
        grown = AmoDesk(tmp_path / "grown", twin, integration_users=(str(BOT),))
        grown.ingest(at)
        kinds = [kind for kind in edits.kinds for _ in range(2)]
        rng.shuffle(kinds)
        for start in range(0, len(kinds), 10):
            for kind in kinds[start : start + 10]:
                edits.edit(kind)
            at += timedelta(days=1)
            grown.ingest(at)
        fresh = AmoDesk(tmp_path / "fresh", twin, integration_users=(str(BOT),))
        fresh.ingest(at)
        refuse_unequal(grown.everything(), fresh.everything(), at)
        told = by_hand(vendor, software=BOT)
        assert told.stage_events == {
            (row["deal_id"], row["entered_at"], row["stage"])
            for row in grown.stored("stage_events")
        }
        assert told.amounts == {
            (row["deal_id"], row["changed_at"], row["new_value"])
            for row in grown.stored("deal_changes")
            if row["field"] == "amount"
        }
        assert told.status == {row["deal_id"]: row["status"] for row in grown.stored("deals")}


def test_deleted_restored_and_merged_deals_come_and_go(
    first: FirstLoad, tmp_path: Path, twin: TwinServer
) -> None:
    desk, people = first.desk(tmp_path, twin), org(twin).people
    before = {row["deal_id"] for row in desk.stored("deals")}
    binned, purged, winner, loser, *_ = lead_ids(twin)
    people.delete(binned, by=ANN)
    people.delete(purged, by=ANN, for_good=True)
    people.merge(winner, loser, by=ANN)
    desk.ingest(LOADED_AT + timedelta(hours=1))
    gone = {str(lead) for lead in (binned, purged, loser)}
    assert {row["deal_id"] for row in desk.stored("deals")} == before - gone
    assert not gone & {row["deal_id"] for row in desk.stored("stage_events")}
    people.tick(100_000)
    people.restore(binned, by=ANN)
    desk.ingest(LOADED_AT + timedelta(hours=2))
    after = {row["deal_id"] for row in desk.stored("deals")}
    assert after == before - gone | {str(binned)}


def test_a_reopened_deal_is_open_and_a_renamed_stage_has_one_name(
    first: FirstLoad, tmp_path: Path, twin: TwinServer
) -> None:
    desk, people = first.desk(tmp_path, twin), org(twin).people
    lead = next(row for row in org(twin).tables["leads"].values() if row["status_id"] == 142)
    (pipeline,) = org(twin).tables["pipelines"].values()
    first = pipeline["_embedded"]["statuses"][0]["id"]
    people.move(lead["id"], first, by=ANN)
    people.rename(first, "Fresh")
    desk.ingest(LOADED_AT + timedelta(hours=1))
    (deal,) = [row for row in desk.stored("deals") if row["deal_id"] == str(lead["id"])]
    assert (deal["status"], deal["closed_at"]) == ("open", None)
    moves = sorted(
        (row["entered_at"], row["stage"])
        for row in desk.stored("stage_events")
        if row["deal_id"] == str(lead["id"])
    )
    assert [moves[0][1], moves[-2][1], moves[-1][1]] == ["Fresh", "Won", "Fresh"]
    assert "Fresh" in {row["stage"] for row in desk.stored("stages")}
    assert "Lead" not in {row["stage"] for row in desk.stored("stage_events")}


def test_several_pipelines_share_won_and_lost(tmp_path: Path, twin: TwinServer) -> None:
    statuses = [{"id": 77, "name": "Due", "sort": 10}, {"id": 142, "name": "Renewed", "sort": 20},
                {"id": 143, "name": "Left", "sort": 30}]  # fmt: skip
    org(twin).put({"pipelines": [{"id": 8, "name": "Renewals", "sort": 2,
                                  "_embedded": {"statuses": statuses}}]})  # fmt: skip
    lead = lead_ids(twin)[0]
    org(twin).people.move(lead, 77, pipeline_id=8, by=ANN)
    org(twin).people.move(lead, 142, by=ANN)
    desk = AmoDesk(tmp_path, twin)
    desk.ingest()
    (deal,) = [row for row in desk.stored("deals") if row["deal_id"] == str(lead)]
    assert (deal["pipeline"], deal["status"]) == ("Renewals", "won")
    told = [(r["entered_at"], r["stage"]) for r in desk.stored("stage_events")
            if r["deal_id"] == str(lead)]  # fmt: skip
    assert [stage for _, stage in sorted(told)][-2:] == ["Due", "Renewed"]
    assert {(r["stage"], r["is_won"]) for r in desk.stored("stages") if r["is_closed"]} == {
        ("Won", True), ("Lost", False), ("Renewed", True), ("Left", False)
    }  # fmt: skip
    only = AmoDesk(tmp_path / "only", twin, pipelines=("Renewals",))
    only.ingest()
    assert {row["deal_id"] for row in only.stored("deals")} == {str(lead)}


def test_a_field_named_by_id_and_by_code_has_its_history_twice(
    tmp_path: Path, twin: TwinServer
) -> None:
    field = str(org(twin).fields()["COMPETITOR"]["id"])
    told = {"known": "over_time"}
    fields = {"by_id": {"column": field, **told}, "by_code": {"column": "competitor", **told}}
    desk = AmoDesk(tmp_path, twin, custom_fields=fields)
    desk.ingest()
    changes = desk.stored("deal_changes")
    found = [
        sorted(
            (r["deal_id"], r["changed_at"], r["new_value"]) for r in changes if r["field"] == name
        )
        for name in ("by_id", "by_code")
    ]
    assert found[0] == found[1]
    assert len(found[0]) > 100


def test_own_scores_and_software_come_back_as_nothing(tmp_path: Path, twin: TwinServer) -> None:
    desk = AmoDesk(tmp_path, twin, integration_users=(str(BOT),))
    desk.ingest()
    before = desk.everything()
    account = Account(AmoCrmSource.model_validate(connection(twin.url)))
    field = org(twin).fields()["SALESOPS_WIN_PROBABILITY"]["id"]
    body = [
        {"id": lead, "custom_fields_values": [{"field_id": field, "values": [{"value": "42"}]}]}
        for lead in lead_ids(twin)[:20]
    ]
    account.write("PATCH", "leads", body)
    assert sum(e["type"] == f"custom_field_{field}_value_changed" for e in org(twin).events) == 20
    assert not desk.ingest(LOADED_AT + timedelta(hours=1)).changed
    assert desk.everything() == before
    with landed_tables(landing_path(desk.warehouse)) as tables:
        columns = [column for table in tables.values() for column in table.columns]
        assert not [column for column in columns if "salesops" in column]
        events = tables["lead_events"].to_pyarrow().to_pylist()
    assert str(field) not in {row["field_id"] for row in events}
    org(twin).people.price(lead_ids(twin)[0], 123_456, by=BOT)
    desk.ingest(LOADED_AT + timedelta(hours=2))
    told = desk.everything()
    assert told["deal_changes"] == before["deal_changes"]
    assert told["stage_events"] == before["stage_events"]


def test_what_has_no_field_of_its_own_is_known_from_photographs(
    tmp_path: Path, twin: TwinServer
) -> None:
    """Without a field for the expected close amoCRM tells nothing of it; stages still have a past."""
    desk = AmoDesk(tmp_path, twin, canonical_fields={}, custom_fields={})
    desk.ingest()
    assert {row["field"] for row in desk.stored("deal_changes")} <= {
        "amount", "amount_base", "rep_id"
    }  # fmt: skip
    assert {row["expected_close_date"] for row in desk.stored("deals")} == {None}
    assert desk.stored("deal_daily")


@pytest.mark.slow
def test_a_bad_network_changes_nothing_of_what_lands(
    first: FirstLoad, tmp_path: Path, twin: TwinServer
) -> None:
    still = first.desk(tmp_path / "still", twin)
    faults: Any = {"503": 0.05, "drop_after": 0.05, "truncate": 0.05, "expired_token": 0.04,
                   "429": 0.04}  # fmt: skip
    twin.faults = FaultPlan(faults, seed=5)
    shaken = AmoDesk(tmp_path / "shaken", twin)
    shaken.ingest()
    assert sum(twin.report()["faults"].values()) >= 5
    assert shaken.everything() == still.everything()


@pytest.mark.parametrize("hours", [-9, 9])
def test_no_clock_of_ours_matters(tmp_path: Path, twin: TwinServer, hours: int) -> None:
    org(twin).skew = 3_600.0 * 9
    desk = AmoDesk(tmp_path, twin)
    desk.ingest()
    lead = lead_ids(twin)[0]
    org(twin).people.custom(lead, "LEAD_SOURCE", "Fair", by=ANN)
    assert desk.ingest(LOADED_AT + timedelta(hours=hours)).changed
    told = {row["deal_id"]: row["lead_source"] for row in desk.stored("deals")}
    assert told[str(lead)] == "Fair"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"token": "env:AMOCRM_OLD"}, ("does not know the credentials", "make a new one")),
        ({"api_version": "v9"}, ("no such address", "api_version")),
        ({"canonical_fields": {"product": "NOWHERE"}},
         ("canonical_fields.product", "no field with the id or code `NOWHERE`", "PRODUCT_LINE")),
        ({"custom_fields": {"x": {"column": "SALESOPS_REASONS"}}}, ("learning from ourselves",)),
        ({"account_fields": {"industry": "0"}}, ("account_fields.industry", "INDUSTRY")),
    ],
)  # fmt: skip
def test_a_wrong_connection_is_said_in_a_sentence(
    tmp_path: Path, twin: TwinServer, wrong: Any, words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMOCRM_OLD", "an-old-token")
    desk = AmoDesk(tmp_path, twin, **wrong)
    with pytest.raises(Exception, match=r".") as told:
        desk.ingest()
    assert all(word in str(told.value) for word in words), str(told.value)
    assert TOKEN not in str(told.value)
    assert "an-old-token" not in str(told.value)
    assert not landing_path(desk.warehouse).exists()


def test_a_field_of_scores_is_not_read_by_its_id(tmp_path: Path, twin: TwinServer) -> None:
    field = str(org(twin).fields()["SALESOPS_REASONS"]["id"])
    desk = AmoDesk(tmp_path, twin, custom_fields={"x": {"column": field}})
    with pytest.raises(SourceError, match="learning from ourselves") as told:
        desk.ingest()
    assert told.value.exit_code == 1


def test_what_the_account_forbids_is_said_in_a_sentence(
    first: FirstLoad, tmp_path: Path, twin: TwinServer
) -> None:
    desk = first.desk(tmp_path, twin)
    before = desk.everything()
    for name, value, words in (
        ("has_data", False, "the token may not do this.*administrator"),
        ("paid", False, "not paid for"),
        ("administrator", False, "administrator"),
    ):
        setattr(org(twin), name, value)
        with pytest.raises(RemoteError, match=words) as told:
            desk.ingest(LOADED_AT + timedelta(hours=1))
        assert told.value.exit_code == 1
        setattr(org(twin), name, not value)
    pipelines = org(twin).tables.pop("pipelines")
    org(twin).tables["pipelines"] = {}
    org(twin).lists.forget()
    desk.ingest(LOADED_AT + timedelta(hours=2))
    org(twin).tables["pipelines"] = pipelines
    org(twin).lists.forget()
    desk.ingest(LOADED_AT + timedelta(hours=3))
    assert desk.everything() == before


def test_who_calls_above_the_limit_is_locked_out_and_told(twin: TwinServer) -> None:
    """Another program uses the token up: ours waits after a 429, and stops at the 403 after it."""
    account = Account(AmoCrmSource.model_validate(connection(twin.url)))
    twin.faults = FaultPlan({"429": 1.0}, seed=1, at_most=1)
    account.get("account")
    org(twin).has_data = False
    with pytest.raises(Throttled, match="locks this machine out") as told:
        account.get("account")
    assert told.value.seconds >= 3_600


@pytest.mark.parametrize("of", ["leads", "events"])
def test_a_page_that_repeats_ends_the_load_and_keeps_the_last_one(
    first: FirstLoad, tmp_path: Path, twin: TwinServer, of: str
) -> None:
    desk = first.desk(tmp_path, twin)
    before = desk.everything()
    if of == "leads":
        lead = org(twin).tables["leads"][lead_ids(twin)[0]]
        at = org(twin).people.tick()
        org(twin).put({"leads": [{**lead, "id": 10**9 + n, "updated_at": at} for n in range(900)]})
    else:
        event = {**org(twin).events[-1], "created_at": org(twin).people.tick()}
        org(twin).put({"events": [{**event, "id": f"x{n:04}"} for n in range(400)]})
    org(twin).repeats = True
    with pytest.raises(SourceError, match="came twice"):
        desk.ingest(LOADED_AT + timedelta(hours=1))
    org(twin).repeats = False
    assert desk.everything() == before


def test_a_moment_that_fills_pages_is_read_to_its_end(twin: TwinServer) -> None:
    event = org(twin).events[-1]
    many = [{**event, "id": f"y{n:04}", "created_at": event["created_at"] + n // 300}
            for n in range(700)]  # fmt: skip
    org(twin).put({"events": many})
    account = Account(AmoCrmSource.model_validate(connection(twin.url, calls_a_second=PACE)))
    found = [row["id"] for page in walk(account, (event["type"],), None) for row in page]
    kept = {row["id"] for row in org(twin).events if row["type"] == event["type"]}
    assert set(found) == kept


def test_a_save_that_a_long_reading_went_past_is_not_lost(tmp_path: Path) -> None:
    """The first lead is saved after its page was read, the last one much later, before it was."""
    vendor = AmoCrmTwin(world_rows(300, activities=10), calls_a_second=PACE)
    vendor.people.now = int(time.time())
    answer, due = vendor._list, [True]
    first, last = (pick(vendor.tables["leads"]) for pick in (min, max))

    def saving(request: Any, rest: str) -> Any:
        done = answer(request, rest)
        if rest == "leads" and due and request.one("page") == "1" and "order[id]" in request.query:
            due.clear()
            vendor.people.custom(first, "LEAD_SOURCE", "Fair", by=ANN)
            vendor.skew += 2_000
            vendor.people.custom(last, "LEAD_SOURCE", "Trip", by=ANN)
        return done

    vendor._list = saving  # type: ignore[method-assign]
    with TwinServer(vendor) as twin:
        desk = AmoDesk(tmp_path, twin)
        desk.ingest()
        desk.ingest(LOADED_AT + timedelta(hours=1))
        told = {row["deal_id"]: row["lead_source"] for row in desk.stored("deals")}
    assert (told[str(first)], told[str(last)]) == ("Fair", "Trip")


def test_a_status_that_is_in_no_pipeline_is_told(tmp_path: Path, twin: TwinServer) -> None:
    lead = next(r for r in org(twin).tables["leads"].values() if r["status_id"] not in (142, 143))
    org(twin).people.move(lead["id"], 5, by=ANN)
    desk = AmoDesk(tmp_path, twin)
    desk.ingest()
    (reject,) = desk.everything()["rejects"]
    assert reject["source"] == f"amocrm deal {lead['id']}"
    assert "not among the known stages" in reject["reason"]
    assert str(lead["id"]) in {row["deal_id"] for row in desk.stored("deals")}


def test_the_day_of_a_date_field_is_told_whether_midnight_is_utc_or_the_accounts(
    tmp_path: Path, twin: TwinServer
) -> None:
    lead = lead_ids(twin)[0]
    field = org(twin).fields()["SERVICE_START"]
    at = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())
    told = {"field_id": field["id"], "field_code": field["code"], "values": [{"value": at}]}
    org(twin).put({"leads": [{"id": lead, "custom_fields_values": [told]}]})
    desk = AmoDesk(tmp_path, twin)
    desk.ingest()
    days = {row["deal_id"]: str(row["service_start"]) for row in desk.stored("deals")}
    assert days[str(lead)] == "2026-03-01"
