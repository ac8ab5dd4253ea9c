"""Salesforce read by its API gives what its twin holds: whole, change by change, on a bad network."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from salesops_ml.crm.landing import landed_tables, landing_path
from salesops_ml.crm.salesforce_source import OBJECTS, _pages
from salesops_ml.crm.salesforce_twin import SalesforceTwin
from salesops_ml.crm.twin_faults import FaultPlan
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.errors import Refused, SourceError
from tests.crm.crm_desk import LOADED_AT, CrmDesk, vendor_rows
from tests.crm.crm_edits import BOT, SalesforceEdits
from tests.crm.first_load import FirstLoad
from tests.crm.salesforce_desk import ApiDesk
from tests.crm.salesforce_plug import connection
from tests.crm.test_crm_incremental import refuse_unequal, small


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> FirstLoad:
    return FirstLoad(
        tmp_path_factory.mktemp("first"),
        lambda: SalesforceTwin(small("salesforce")).with_own_fields(),
        ApiDesk,
    )


@pytest.fixture
def twin(first: FirstLoad) -> Iterator[TwinServer]:
    with first.twin() as server:
        yield server


def org(twin: TwinServer) -> SalesforceTwin:
    assert isinstance(twin.vendor, SalesforceTwin)
    return twin.vendor


def test_a_full_load_is_the_twins_state_field_by_field(tmp_path: Path) -> None:
    rows = vendor_rows("salesforce", 1_500)
    with TwinServer(SalesforceTwin(rows)) as twin:
        desk = ApiDesk(tmp_path, twin)
        desk.ingest()
        assert twin.report()["above_limit"] == 0
        with landed_tables(landing_path(desk.warehouse)) as tables:
            for name, told in org(twin).tables.items():
                if name in OBJECTS and told:
                    refuse_unlike_state(name, tables, list(told.values()))


def refuse_unlike_state(name: str, tables: Any, told: list[dict[str, Any]]) -> None:
    """Every field that is read of every record, as text."""
    landed = {key.replace("_", "").lower(): table for key, table in tables.items()}
    frame = landed[name.lower()].to_pyarrow()
    columns = {column.replace("_", "").lower(): column for column in frame.column_names}
    found = {row[columns["id"]]: row for row in frame.to_pylist()}
    assert len(found) == len(told), name
    for record in told:
        for field in OBJECTS[name]:
            if field in record:
                assert found[record["Id"]][columns[field.replace("_", "").lower()]] == as_text(
                    record[field]
                ), (name, field)


def as_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def test_by_api_or_by_a_loader_the_canonical_tables_are_equal(tmp_path: Path, twin: Any) -> None:
    by_api = ApiDesk(tmp_path / "api", twin)
    by_loader = CrmDesk(tmp_path, "salesforce")
    by_loader.sync(small("salesforce"))
    by_api.ingest()
    by_loader.ingest()
    assert by_api.everything() == by_loader.everything()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [4])
def test_change_by_change_ends_where_a_full_load_ends(tmp_path: Path, seed: int) -> None:
    rows = small("salesforce")
    edits = SalesforceEdits(rows, seed)
    rng, at = random.Random(seed), LOADED_AT
    with TwinServer(SalesforceTwin(rows)) as twin:
        grown = ApiDesk(tmp_path / "grown", twin, integration_users=(BOT,))
        grown.ingest(at)
        kinds = [kind for kind in edits.kinds for _ in range(2)]
        rng.shuffle(kinds)
        for start in range(0, len(kinds), 10):
            for kind in kinds[start : start + 10]:
                edits.edit(kind)
            gone = rng.choice([r["Id"] for r in org(twin).tables["Opportunity"].values()])
            grown.sync(edits.take(), {"Opportunity": [gone]} if start else {})
            at += timedelta(days=1)
            grown.ingest(at)
        fresh = ApiDesk(tmp_path / "fresh", twin, integration_users=(BOT,))
        fresh.ingest(at)
    refuse_unequal(grown.everything(), fresh.everything(), at)


def test_a_deleted_deal_leaves_and_a_restored_one_returns(
    first: FirstLoad, tmp_path: Path, twin: Any
) -> None:
    desk = first.desk(tmp_path, twin)
    before = {row["deal_id"] for row in desk.stored("deals")}
    gone = min(before)
    desk.sync({}, {"Opportunity": [gone]})
    desk.ingest(LOADED_AT + timedelta(hours=1))
    assert {row["deal_id"] for row in desk.stored("deals")} == before - {gone}
    assert gone not in {row["deal_id"] for row in desk.stored("stage_events")}
    restored = {"Id": gone, "IsDeleted": False, "SystemModstamp": None}
    history = [
        {**row, "IsDeleted": False}
        for name in ("OpportunityHistory",)
        for row in org(twin).tables[name].values()
        if row["OpportunityId"] == gone
    ]
    desk.sync({"Opportunity": [restored], "OpportunityHistory": history})
    desk.ingest(LOADED_AT + timedelta(hours=2))
    assert {row["deal_id"] for row in desk.stored("deals")} == before


def test_own_scores_come_back_as_nothing(first: FirstLoad, tmp_path: Path, twin: Any) -> None:
    desk = first.desk(tmp_path, twin)
    before = desk.everything()
    for deal in list(org(twin).tables["Opportunity"])[:20]:
        assert not org(twin).save(deal, {"Salesops_Win_Probability__c": 42.0})
    assert not desk.ingest(LOADED_AT + timedelta(hours=1)).changed
    assert desk.everything() == before
    with landed_tables(landing_path(desk.warehouse)) as tables:
        assert not [c for table in tables.values() for c in table.columns if "salesops" in c]


@pytest.mark.slow
def test_a_bad_network_changes_nothing_of_what_lands(
    first: FirstLoad, tmp_path: Path, twin: Any
) -> None:
    still = first.desk(tmp_path / "still", twin)
    twin.faults = FaultPlan(
        {"503": 0.1, "drop_after": 0.1, "truncate": 0.1, "expired_token": 0.1}, seed=5
    )
    shaken = ApiDesk(tmp_path / "shaken", twin)
    shaken.ingest()
    assert sum(twin.report()["faults"].values()) >= 5
    assert shaken.everything() == still.everything()


@pytest.mark.parametrize("hours", [-9, 9])
def test_no_clock_of_ours_matters(tmp_path: Path, twin: Any, hours: int) -> None:
    org(twin).skew = 3_600.0 * 9
    desk = ApiDesk(tmp_path, twin)
    desk.ingest()
    deal = next(iter(org(twin).tables["Opportunity"]))
    desk.sync({"Opportunity": [{"Id": deal, "LeadSource": "Fair", "SystemModstamp": ""}]})
    assert desk.ingest(LOADED_AT + timedelta(hours=hours)).changed
    told = {row["deal_id"]: row["lead_source"] for row in desk.stored("deals")}
    assert told[deal] == "Fair"


def test_a_query_whose_locator_was_dropped_goes_on_where_it_was(twin: TwinServer) -> None:
    from salesops_ml.crm.salesforce_api import Org
    from salesops_ml.crm_settings import SalesforceSource

    rows = [{"Id": f"006{n:012d}", "StageName": "Open", "IsDeleted": False,
             "SystemModstamp": "2026-03-01T00:00:00.000+0000"} for n in range(7_000)]  # fmt: skip
    vendor = SalesforceTwin({"Opportunity": rows})
    with TwinServer(vendor) as server:
        there = Org(SalesforceSource.model_validate(connection(server.url)))
        ids = []
        for page in _pages(there, "Opportunity", ["Id", "SystemModstamp"], "SystemModstamp", None):
            ids += [row["Id"] for row in page]
            vendor._locators.clear()
        calls = server.report()["calls"]
    assert ids == [row["Id"] for row in rows]
    assert calls < 20


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"client_id": "somebody"}, ("invalid client credentials", "check `client_id`")),
        ({"api_version": "20.0"}, ("gone", "newer `api_version`")),
        ({"api_version": "99.0"}, ("no such address", "api_version")),
        ({"client_id": None, "client_secret": None, "token": "env:SALESFORCE_OLD"},
         ("does not know the credentials", "make a new one")),
    ],
)  # fmt: skip
def test_a_wrong_connection_is_said_in_a_sentence(
    tmp_path: Path, twin: Any, wrong: Any, words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALESFORCE_OLD", "an-old-token")
    desk = ApiDesk(tmp_path, twin, **wrong)
    with pytest.raises(SourceError) as told:
        desk.ingest()
    assert all(word in str(told.value) for word in words), str(told.value)
    assert "twin-client-s3cret" not in str(told.value)
    assert "an-old-token" not in str(told.value)
    assert told.value.exit_code == 1
    assert not landing_path(desk.warehouse).exists()


def test_what_the_user_may_not_do_is_said_in_a_sentence(tmp_path: Path, twin: Any) -> None:
    desk = ApiDesk(tmp_path, twin)
    org(twin).scopes = set()
    with pytest.raises(Refused, match="give it the scopes"):
        desk.ingest()
    org(twin).scopes = {"api"}
    stages = org(twin).tables.pop("OpportunityStage")
    with pytest.raises(SourceError, match="may not see `OpportunityStage`"):
        desk.ingest()
    org(twin).tables["OpportunityStage"] = stages
    org(twin).hidden = {"Campaign__c"}
    with pytest.raises(SourceError, match=r"custom_fields.campaign.*no field `Campaign__c`"):
        desk.ingest()
    org(twin).hidden = {"Product_Line__c"}
    with pytest.raises(SourceError, match=r"canonical_fields.product.*no field `Product_Line__c`"):
        ApiDesk(tmp_path / "anew", twin).ingest()


def test_reading_counts_as_calls_of_the_day_and_stops_before_they_are_used_up(
    tmp_path: Path, twin: Any
) -> None:
    desk = ApiDesk(tmp_path, twin)
    desk.ingest()
    calls = twin.report()["calls"]
    assert len([*tmp_path.glob("calls-*")]) == 1
    with pytest.raises(SourceError, match=f"{calls + 5} calls in 24 hours are used up"):
        ApiDesk(tmp_path, twin, daily_calls=calls + 5).ingest()
    tokens = 2
    assert twin.report()["calls"] == calls + 5 + tokens


@pytest.mark.slow
def test_a_field_that_was_hidden_since_is_told_with_each_load(
    tmp_path: Path, twin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    desk = ApiDesk(tmp_path, twin)
    with caplog.at_level(logging.WARNING):
        desk.ingest()
    assert "may not see" not in caplog.text
    before = {row["deal_id"]: row["lead_source"] for row in desk.stored("deals")}
    saved = next(deal for deal, source in before.items() if source)
    org(twin).hidden = {"LeadSource", "Campaign__c"}
    desk.sync({"Opportunity": [{"Id": saved, "LeadSource": "Fair", "SystemModstamp": ""}]})
    for hours in (1, 2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            desk.ingest(LOADED_AT + timedelta(hours=hours))
        (told,) = [text for text in caplog.messages if "may not see" in text]
        assert "`LeadSource`, `Campaign__c`" in told
        assert "permission set Read" in told
        after = {row["deal_id"]: row["lead_source"] for row in desk.stored("deals")}
        lost = {deal for deal in before if after[deal] != before[deal]}
        assert saved in lost
        assert {after[deal] for deal in lost} == {None}
        assert len(lost) < 5, "only what was saved again, or shortly before the load, is read"
    org(twin).hidden = set()
    caplog.clear()
    fresh = ApiDesk(tmp_path / "fresh", twin)
    fresh.ingest(LOADED_AT + timedelta(hours=3))
    after = {row["deal_id"]: row["lead_source"] for row in fresh.stored("deals")}
    assert after == {**before, saved: "Fair"}
    assert "may not see" not in caplog.text


def test_a_page_that_repeats_ends_the_load_and_keeps_the_last_one(tmp_path: Path) -> None:
    rows = small("salesforce")
    with TwinServer(SalesforceTwin(rows)) as twin:
        desk = ApiDesk(tmp_path, twin)
        desk.ingest()
        before = desk.everything()
        many = [
            {**next(iter(rows["Task"])), "Id": f"00T9{n:011d}", "SystemModstamp": ""}
            for n in range(6_500)
        ]
        desk.sync({"Task": many})
        org(twin).repeats = True
        with pytest.raises(SourceError, match="came twice"):
            desk.ingest(LOADED_AT + timedelta(hours=1))
        assert desk.everything() == before


def test_a_stage_that_is_not_in_the_list_is_told(tmp_path: Path, twin: Any) -> None:
    deal = next(row for row in org(twin).tables["Opportunity"].values() if not row["IsClosed"])
    moves = [r for r in org(twin).tables["OpportunityHistory"].values()
             if r["OpportunityId"] == deal["Id"]]  # fmt: skip
    desk = ApiDesk(tmp_path, twin)
    desk.sync({"Opportunity": [{**deal, "StageName": "Limbo"}],
               "OpportunityHistory": [{**moves[-1], "StageName": "Limbo"}]})  # fmt: skip
    desk.ingest()
    (reject,) = desk.everything()["rejects"]
    assert (reject["value"], reject["source"]) == ("Limbo", f"salesforce deal {deal['Id']}")
    assert "not among the known stages" in reject["reason"]
    assert deal["Id"] in {row["deal_id"] for row in desk.stored("deals")}
