"""HubSpot read by its API gives what its twin holds: whole, change by change, on a bad network."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from salesops_ml.crm.hubspot_api import Account
from salesops_ml.crm.hubspot_pass import Pass
from salesops_ml.crm.hubspot_twin import TOKEN, HubSpotTwin
from salesops_ml.crm.hubspot_twin_scopes import READ
from salesops_ml.crm.landing import landed_tables, landing_path
from salesops_ml.crm.twin_faults import FaultPlan
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.crm_settings import HubSpotSource
from salesops_ml.errors import Refused, SourceError
from tests.crm.crm_by_hand import by_hand
from tests.crm.crm_desk import LOADED_AT, CrmDesk, vendor_rows
from tests.crm.crm_edits import BOT_APP, HubSpotEdits
from tests.crm.first_load import FirstLoad
from tests.crm.hubspot_desk import HubSpotDesk
from tests.crm.hubspot_plug import HURRY, QUICK, connection, state
from tests.crm.landed_state import refuse_unlike
from tests.crm.test_crm_incremental import refuse_unequal, small


def rows_of(rows: dict[str, list[dict[str, Any]]] | None = None) -> dict[str, list[dict[str, Any]]]:
    """A company, the small one by default; a few exchange rates will do."""
    rows = small("hubspot") if rows is None else rows
    latest = max(row["effective_at"] for row in rows["exchange_rates"])
    first = min(row["effective_at"] for row in rows["exchange_rates"])
    rates = [row for row in rows["exchange_rates"] if row["effective_at"] in (first, latest)]
    return {**rows, "exchange_rates": rates}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> FirstLoad:
    return FirstLoad(
        tmp_path_factory.mktemp("first"),
        lambda: HubSpotTwin(rows_of(), calls=QUICK).with_own_fields(),
        HubSpotDesk,
    )


@pytest.fixture
def twin(first: FirstLoad) -> Iterator[TwinServer]:
    with first.twin() as server:
        yield server


def account(twin: TwinServer) -> HubSpotTwin:
    assert isinstance(twin.vendor, HubSpotTwin)
    return twin.vendor


def some_open_deal(twin: TwinServer) -> dict[str, Any]:
    deals = account(twin).objects["deals"].values()
    return next(row for row in deals if row["hs_is_closed"] == "false")


def test_a_full_load_is_the_twins_state_field_by_field(tmp_path: Path) -> None:
    """More deals than are put together for one call, and activities of more than one page."""
    rows = rows_of(vendor_rows("hubspot", 1_050))
    rows["calls"] = rows["calls"][:250]
    kept = {row["id"] for kind in ("calls", "emails", "tasks") for row in rows[kind]}
    rows["activity_deals"] = [row for row in rows["activity_deals"] if row["activity_id"] in kept]
    with TwinServer(HubSpotTwin(rows, calls=QUICK)) as twin:
        desk = HubSpotDesk(tmp_path, twin)
        desk.ingest()
        assert twin.report()["above_limit"] == 0
        with landed_tables(landing_path(desk.warehouse)) as tables:
            counts = refuse_unlike(tables, state(account(twin)))
        assert counts.keys() >= {"deals", "deal_property_history", "activity_deals", "quote_deals"}


def test_by_api_or_by_a_loader_the_canonical_tables_are_equal(tmp_path: Path) -> None:
    """Loaders bring neither quotes nor rates, and HubSpot's owners have no region."""
    rows = {name: told for name, told in small("hubspot").items()
            if name not in ("quotes", "quote_deals", "exchange_rates")}  # fmt: skip
    rows["owners"] = [{**row, "region": None} for row in rows["owners"]]
    with TwinServer(HubSpotTwin(rows, calls=QUICK)) as twin:
        account(twin).scopes.remove(READ["currencies"])
        by_api, by_loader = HubSpotDesk(tmp_path / "api", twin), CrmDesk(tmp_path, "hubspot")
        by_loader.sync(rows)
        by_api.ingest()
        by_loader.ingest()
        assert by_api.everything() == by_loader.everything()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [4])
def test_change_by_change_ends_where_a_full_load_ends(tmp_path: Path, seed: int) -> None:
    rows = rows_of()
    edits = HubSpotEdits(rows, seed)
    rng, at = random.Random(seed), LOADED_AT
    software = (BOT_APP,)
    with TwinServer(HubSpotTwin(rows, calls=QUICK)) as twin:
        grown = HubSpotDesk(tmp_path / "grown", twin, integration_users=software)
        grown.ingest(at)
        kinds = [kind for kind in edits.kinds for _ in range(3)]
        rng.shuffle(kinds)
        for start in range(0, len(kinds), 10):
            for kind in kinds[start : start + 10]:
                edits.edit(kind)
            grown.sync(edits.take())
            at += timedelta(days=1)
            grown.ingest(at)
        fresh = HubSpotDesk(tmp_path / "fresh", twin, integration_users=software)
        fresh.ingest(at)
    ends = [with_priced_photographs(desk.everything()) for desk in (grown, fresh)]
    refuse_unequal(*ends, at)
    told = by_hand("hubspot", rows, software)
    assert told.stage_events == {
        (row["deal_id"], row["entered_at"], row["stage"]) for row in grown.stored("stage_events")
    }


def with_priced_photographs(told: dict[str, Any]) -> dict[str, Any]:
    """Without the photographs of deals that are rejects, since no rate prices them."""
    priced = {row["deal_id"] for row in told["deals"]}
    return {**told, "deal_daily": [r for r in told["deal_daily"] if r["deal_id"] in priced]}


@pytest.mark.slow
def test_a_deleted_deal_leaves_and_a_restored_one_returns(
    first: FirstLoad, tmp_path: Path, twin: Any
) -> None:
    desk = first.desk(tmp_path, twin)
    before = {row["deal_id"] for row in desk.stored("deals")}
    gone, purged, *_ = sorted(before)
    desk.sync({}, {"deals": [gone, purged]})
    desk.ingest(LOADED_AT + timedelta(hours=1))
    assert {row["deal_id"] for row in desk.stored("deals")} == before - {gone, purged}
    assert not {gone, purged} & {row["deal_id"] for row in desk.stored("stage_events")}
    account(twin).purge("deals", purged)
    assert not desk.ingest(LOADED_AT + timedelta(hours=2)).changed
    account(twin).restore("deals", gone)
    desk.ingest(LOADED_AT + timedelta(hours=3))
    assert {row["deal_id"] for row in desk.stored("deals")} == before - {purged}


@pytest.mark.slow
def test_merged_deals_become_one_with_both_histories(
    first: FirstLoad, tmp_path: Path, twin: Any
) -> None:
    desk = first.desk(tmp_path, twin)
    first, second, third = sorted(row["deal_id"] for row in desk.stored("deals"))[:3]
    merged = account(twin).merge(first, second)
    desk.ingest(LOADED_AT + timedelta(hours=1))
    told = {row["deal_id"] for row in desk.stored("deals")}
    assert (merged in told, first in told, second in told) == (True, False, False)
    moves = {row["stage"] for row in desk.stored("stage_events") if row["deal_id"] == merged}
    assert len(moves) >= 2
    again = account(twin).merge(third, merged)
    account(twin).delete("deals", again)
    desk.ingest(LOADED_AT + timedelta(hours=2))
    assert not {row["deal_id"] for row in desk.stored("deals")} & {
        first,
        second,
        third,
        merged,
        again,
    }


def test_a_tie_that_was_cut_is_cut_here(first: FirstLoad, tmp_path: Path, twin: Any) -> None:
    desk = first.desk(tmp_path, twin)
    told = [row for row in desk.stored("activities") if row["deal_id"]]
    call = next(row for row in told if row["activity_id"] in account(twin).objects["calls"])
    account(twin).unlink("calls", call["activity_id"], "deals", call["deal_id"])
    deal = next(row for row in desk.stored("deals") if row["account_id"])
    account(twin).unlink("deals", deal["deal_id"], "companies", deal["account_id"])
    desk.ingest(LOADED_AT + timedelta(hours=1))
    activities = {row["activity_id"]: row["deal_id"] for row in desk.stored("activities")}
    assert activities[call["activity_id"]] is None
    accounts = {row["deal_id"]: row["account_id"] for row in desk.stored("deals")}
    assert accounts[deal["deal_id"]] is None
    assert sum(account is None for account in accounts.values()) == 1


def test_deals_of_several_pipelines_are_told_apart(tmp_path: Path) -> None:
    rows = rows_of()
    moved = {row["id"] for row in rows["deals"][:20]}
    line = rows["pipelines"][0]
    rows["pipelines"].append({**line, "id": "77", "label": "Renewals"})
    rows["pipeline_stages"] += [
        {**stage, "id": f"7{stage['id']}", "pipeline_id": "77"} for stage in rows["pipeline_stages"]
    ]
    for row in rows["deals"]:
        if row["id"] in moved:
            row |= {"pipeline": "77", "dealstage": f"7{row['dealstage']}"}
    for row in rows["deal_property_history"]:
        if row["deal_id"] in moved and row["name"] == "dealstage":
            row["value"] = f"7{row['value']}"
    with TwinServer(HubSpotTwin(rows, calls=QUICK)) as twin:
        both = HubSpotDesk(tmp_path / "both", twin)
        both.ingest()
        told = {row["deal_id"]: row["pipeline"] for row in both.stored("deals")}
        assert {deal for deal, line in told.items() if line == "Renewals"} == moved & told.keys()
        assert len({(row["pipeline"], row["stage"]) for row in both.stored("stages")}) == 16
        one = HubSpotDesk(tmp_path / "one", twin, pipelines=["Renewals"])
        one.ingest()
        assert {row["deal_id"] for row in one.stored("deals")} == moved & told.keys()
        events = [row for row in both.stored("stage_events") if row["deal_id"] in moved]
        assert one.stored("stage_events") == events


def test_own_scores_come_back_as_nothing(first: FirstLoad, tmp_path: Path, twin: Any) -> None:
    desk = first.desk(tmp_path, twin)
    before = desk.everything()
    for deal in list(account(twin).objects["deals"].values())[:20]:
        account(twin).saved(deal, {"salesops_win_probability": "0.42"},
                            source={"sourceType": "INTEGRATION", "sourceId": "4711"})  # fmt: skip
    assert not desk.ingest(LOADED_AT + timedelta(hours=1)).changed
    assert desk.everything() == before
    with landed_tables(landing_path(desk.warehouse)) as tables:
        assert not [c for table in tables.values() for c in table.columns if "salesops" in c]
        history = tables["deal_property_history"].name.to_pyarrow().to_pylist()
        assert not [name for name in history if "salesops" in name]


@pytest.mark.slow
def test_a_bad_network_changes_nothing_of_what_lands(
    first: FirstLoad, tmp_path: Path, twin: Any
) -> None:
    still = first.desk(tmp_path / "still", twin)
    twin.faults = FaultPlan(
        {"503": 0.1, "drop_after": 0.1, "truncate": 0.1, "expired_token": 0.1, "429": 0.02}, seed=5
    )
    shaken = HubSpotDesk(tmp_path / "shaken", twin)
    shaken.ingest()
    assert sum(twin.report()["faults"].values()) >= 5
    assert shaken.everything() == still.everything()


def test_no_clock_of_ours_matters(tmp_path: Path, twin: Any) -> None:
    account(twin).skew = 3_600.0 * 9
    desk = HubSpotDesk(tmp_path, twin)
    desk.ingest()
    deal = next(iter(account(twin).objects["deals"]))
    desk.sync({"deals": [{"id": deal, "lead_source": "Fair"}]})
    assert desk.ingest(LOADED_AT - timedelta(hours=9)).changed
    told = {row["deal_id"]: row["lead_source"] for row in desk.stored("deals")}
    assert told[deal] == "Fair"


@pytest.mark.slow
def test_what_searches_do_not_find_yet_comes_with_a_later_load(
    first: FirstLoad, tmp_path: Path, twin: Any
) -> None:
    desk = first.desk(tmp_path, twin)
    late, early = list(account(twin).objects["deals"])[:2]
    account(twin).unindexed.add(("deals", late))
    desk.sync(
        {"deals": [{"id": late, "lead_source": "Late"}, {"id": early, "lead_source": "Early"}]}
    )
    desk.ingest(LOADED_AT + timedelta(hours=1))
    told = {row["deal_id"]: row["lead_source"] for row in desk.stored("deals")}
    assert told[early] == "Early"
    assert told[late] != "Late"
    account(twin).unindexed.clear()
    desk.ingest(LOADED_AT + timedelta(hours=2))
    assert {row["deal_id"]: row["lead_source"] for row in desk.stored("deals")}[late] == "Late"


@pytest.mark.slow
def test_a_search_goes_beyond_ten_thousand_records() -> None:
    rows = [
        {"id": str(10**9 + n), "hs_lastmodifieddate": "2026-03-01T00:00:00Z"} for n in range(10_450)
    ]
    with TwinServer(HubSpotTwin({"deals": rows}, calls=QUICK)) as server:
        there = Account(HubSpotSource.model_validate(connection(server.url, **HURRY)))
        since = there.last_saved("deals")
        assert since is not None
        ids = [one for page in there.found("deals", since) for one in page]
        assert ids == [row["id"] for row in rows]
        assert server.report()["statuses"] == {"200": 54}


def test_more_properties_than_an_address_bears_are_asked_for_by_id() -> None:
    names = [f"a_property_of_the_company_number_{n:03d}" for n in range(300)]
    rows = [{"id": str(n), **dict.fromkeys(names, "x")} for n in range(1, 121)]
    with TwinServer(HubSpotTwin({"deals": rows}, calls=QUICK)) as server:
        there = Account(HubSpotSource.model_validate(connection(server.url, **HURRY)))
        one = Pass(there, "deals", names, None)
        found = [row for step in one.steps(None) for row in step["deals"]]
        assert [row["id"] for row in found] == [row["id"] for row in rows]
        assert {row[name] for row in found for name in names} == {"x"}
        assert server.report()["calls"] == 2 + 2 + 1


def test_versions_by_date_have_addresses_of_their_own(tmp_path: Path, twin: Any) -> None:
    desk = HubSpotDesk(tmp_path, twin, api_version="2026-03")
    desk.ingest()
    assert len(desk.stored("deals")) == 100
    assert set(twin.report()["statuses"]) <= {"200", "207"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"token": "env:HUBSPOT_OLD"}, ("does not know the credentials", "make a new one")),
        ({"api_version": "v1"}, ("no such address", "api_version")),
        ({"api_version": "2019-09"}, ("no such address", "api_version")),
        ({"custom_fields": {"campaign": {"column": "champagne", "known": "at_creation"}}},
         ("source.custom_fields.campaign", "no property `champagne`")),
        ({"canonical_fields": {"product": "produce"}},
         ("source.canonical_fields.product", "no property `produce`")),
    ],
)  # fmt: skip
def test_a_wrong_connection_is_said_in_a_sentence(
    tmp_path: Path, twin: Any, wrong: Any, words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUBSPOT_OLD", "an-old-t0ken")
    desk = HubSpotDesk(tmp_path, twin, **wrong)
    with pytest.raises(SourceError) as told:
        desk.ingest()
    assert all(word in str(told.value) for word in words), str(told.value)
    assert TOKEN not in str(told.value)
    assert "an-old-t0ken" not in str(told.value)
    assert told.value.exit_code == 1
    assert not landing_path(desk.warehouse).exists()


def test_what_the_token_may_not_see_is_said_or_left_out(
    tmp_path: Path, twin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    desk = HubSpotDesk(tmp_path, twin)
    account(twin).scopes = {READ["properties"]}
    with pytest.raises(Refused, match=r"lacks the scope `crm.objects.deals.read`; add it"):
        desk.ingest()
    account(twin).scopes = {READ["deals"], READ["properties"]}
    with caplog.at_level(logging.WARNING):
        desk.ingest()
    told = desk.everything()
    assert len(told["deals"]) == 100
    assert not told.keys() & {"accounts", "activities", "quotes", "reps", "exchange_rates"}
    assert "`crm.objects.companies.read`" in caplog.text
    assert "`settings.currencies.read`" in caplog.text


@pytest.mark.parametrize("kind", ["listed", "searched"])
def test_a_page_that_repeats_ends_the_load_and_keeps_the_last_one(
    first: FirstLoad, tmp_path: Path, twin: Any, kind: str
) -> None:
    desk = first.desk(tmp_path, twin)
    before = desk.everything()
    call = next(iter(account(twin).objects["calls"].values()))
    if kind == "searched":
        desk.sync({"calls": [{**call, "id": str(10**12 + n)} for n in range(450)]})
    else:
        for one in list(account(twin).objects["calls"])[:120]:
            account(twin).delete("calls", one)
    account(twin).repeats = True
    with pytest.raises(SourceError, match="came twice"):
        desk.ingest(LOADED_AT + timedelta(hours=1))
    assert desk.everything() == before


def test_a_past_that_hubspot_has_cut_off_is_kept_here(
    first: FirstLoad, tmp_path: Path, twin: Any
) -> None:
    desk = first.desk(tmp_path, twin)
    deal = max(
        account(twin).history, key=lambda one: len(account(twin).history[one].get("amount", ()))
    )
    before = {row["new_value"] for row in desk.stored("deal_changes")
              if (row["deal_id"], row["field"]) == (deal, "amount")}  # fmt: skip
    assert len(before) > 1
    account(twin).history_kept = 1
    account(twin).saved(account(twin).objects["deals"][deal], {"amount": "4242"},
                        source={"sourceType": "CRM_UI", "sourceId": "userId:305000001"})  # fmt: skip
    desk.ingest(LOADED_AT + timedelta(hours=1))
    assert {row["new_value"] for row in desk.stored("deal_changes")
            if (row["deal_id"], row["field"]) == (deal, "amount")} == before | {"4242.00"}  # fmt: skip


def test_a_stage_that_is_not_in_the_list_is_told(tmp_path: Path, twin: Any) -> None:
    deal = some_open_deal(twin)
    desk = HubSpotDesk(tmp_path, twin)
    account(twin).saved(
        deal, {"dealstage": "limbo"}, source={"sourceType": "CRM_UI", "sourceId": ""}
    )
    desk.ingest()
    rejects = [row for row in desk.everything()["rejects"] if "known stages" in row["reason"]]
    assert {(row["value"], row["source"]) for row in rejects} == {
        ("limbo", f"hubspot deal {deal['id']}")
    }
    assert deal["id"] in {row["deal_id"] for row in desk.stored("deals")}


def test_a_renamed_stage_has_one_name_throughout(
    first: FirstLoad, tmp_path: Path, twin: Any
) -> None:
    desk = first.desk(tmp_path, twin)
    stage = next(iter(account(twin).tables["pipeline_stages"].values()))
    desk.sync({"pipeline_stages": [{**stage, "label": "First talk"}]})
    desk.ingest(LOADED_AT + timedelta(hours=1))
    stages = {row["stage"] for row in desk.stored("stage_events")}
    assert "First talk" in stages
    assert stage["label"] not in stages


@pytest.mark.slow
def test_reading_stays_below_the_limits_and_keeps_them_for_others(tmp_path: Path) -> None:
    with TwinServer(HubSpotTwin(rows_of(), calls=100)) as twin:
        desk = HubSpotDesk(tmp_path, twin, calls_per_10_seconds=100, searches_a_second=5)
        desk.ingest()
        desk.ingest(LOADED_AT + timedelta(hours=1))
        report = twin.report()
        assert report["above_limit"] == 0
        assert set(report["statuses"]) <= {"200", "207"}
        assert {path.name[:6] for path in tmp_path.glob("calls-*")} == {"calls-"}
        account(twin).daily.window = type(account(twin).daily.window)(report["calls"] + 9, 86_400)
        with pytest.raises(SourceError, match="left to others"):
            desk.ingest(LOADED_AT + timedelta(hours=2))
