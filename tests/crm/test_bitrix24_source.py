"""Bitrix24 read by its API gives what its twin holds: whole, change by change, on a bad network."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from salesops_ml.crm.bitrix24_api import Portal
from salesops_ml.crm.bitrix24_fields import OWN_FIELDS
from salesops_ml.crm.bitrix24_twin import CODE, Bitrix24Twin
from salesops_ml.crm.landing import landed_tables, landing_path
from salesops_ml.crm.targets import connection_of
from salesops_ml.crm.twin_faults import FaultPlan
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.crm_settings import Bitrix24Source
from salesops_ml.errors import ConfigError, Refused, SourceError
from salesops_ml.settings import parse
from tests.crm.bitrix24_desk import PortalDesk, small
from tests.crm.bitrix24_edits import PortalEdits
from tests.crm.bitrix24_plug import connection, state
from tests.crm.crm_desk import LOADED_AT, company, vendor_rows
from tests.crm.first_load import FirstLoad
from tests.crm.test_crm_incremental import refuse_unequal


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> FirstLoad:
    return FirstLoad(
        tmp_path_factory.mktemp("first"),
        lambda: Bitrix24Twin(small(), burst=10_000).with_own_fields(),
        PortalDesk,
    )


@pytest.fixture
def twin(first: FirstLoad) -> Iterator[TwinServer]:
    with first.twin() as server:
        yield server


def portal_of(twin: TwinServer) -> Bitrix24Twin:
    assert isinstance(twin.vendor, Bitrix24Twin)
    return twin.vendor


def test_a_full_load_is_the_twins_state_field_by_field(tmp_path: Path) -> None:
    with TwinServer(Bitrix24Twin(vendor_rows("bitrix24", 600), a_second=5, burst=250)) as twin:
        desk = PortalDesk(tmp_path, twin, calls_a_second=5, burst=250)
        desk.ingest()
        assert twin.report()["above_limit"] == 0
        with landed_tables(landing_path(desk.warehouse)) as tables:
            for name, key, rows in state(portal_of(twin)):
                refuse_unlike_state(tables[name], key, rows)


def refuse_unlike_state(landed: Any, key: Any, rows: list[dict[str, Any]]) -> None:
    """Every field that is read of every record, as text."""
    frame = landed.to_pyarrow()
    columns = {column.replace("_", "").lower(): column for column in frame.column_names}
    (told_apart,) = key
    found = {row[columns[told_apart.lower()]]: row for row in frame.to_pylist()}
    assert len(found) == len(rows)
    for record in rows:
        for field, value in record.items():
            landed_value = found[str(record[told_apart])][columns[field.replace("_", "").lower()]]
            assert landed_value == as_text(value), field


def as_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def test_the_company_comes_back_but_for_what_bitrix24_does_not_keep(tmp_path: Path) -> None:
    world = {name: table.to_pylist() for name, table in company("bitrix24", 300).tables.items()}
    with TwinServer(Bitrix24Twin(vendor_rows("bitrix24", 300), burst=10_000)) as twin:
        desk = PortalDesk(tmp_path, twin, steady=("accounts", "reps"))
        desk.ingest()
    told = desk.everything()
    assert "rejects" not in told
    not_kept = {
        "deals": ("amount_base", "x_competitor"), "stages": ("probability", "expected_days"),
        "stage_events": ("rep_id",), "activities": ("outcome", "at", "recorded_at"),
        "quotes": ("discount",),
    }  # fmt: skip
    for name, lost in not_kept.items():
        assert without(told[name], lost) == without(world[name], lost), name
    assert {row["account_id"] for row in told["accounts"]} == {
        row["account_id"] for row in world["accounts"]
    }
    moments = {row["activity_id"]: row for row in told["activities"]}
    for row in world["activities"]:
        known = max(row["at"], row["recorded_at"].replace(microsecond=0))
        done = row["at"] if row["kind"] != "task" else known
        told_at = moments[row["activity_id"]]
        assert (told_at["at"], told_at["recorded_at"]) == (done, known)
    teams = {row["rep_id"]: (row["team"], row["manager_id"], row["region"], row["name"])
             for row in world["reps"]}  # fmt: skip
    assert teams == {row["rep_id"]: (row["team"], row["manager_id"], row["region"], row["name"])
                     for row in told["reps"]}  # fmt: skip


def without(rows: list[dict[str, Any]], lost: Any) -> list[dict[str, Any]]:
    """The rows without some columns; a task has no duration, and one of nothing counts as none."""
    kept = [{k: v for k, v in row.items() if k not in lost} for row in rows]
    for row in kept:
        if "duration_minutes" in row and (row["kind"] == "task" or not row["duration_minutes"]):
            row["duration_minutes"] = None
    return sorted(
        ({k: v for k, v in sorted(row.items()) if v is not None} for row in kept), key=str
    )


def test_one_rate_a_currency_holds_for_all_time(
    first: FirstLoad, tmp_path: Path, twin: TwinServer
) -> None:
    desk = first.desk(tmp_path, twin)
    rates = {row["CURRENCY"]: float(row["AMOUNT"]) / float(row["AMOUNT_CNT"])
             for row in portal_of(twin).currencies}  # fmt: skip
    for row in desk.stored("deals"):
        if row["amount"] is not None:
            told = float(row["amount"]) * rates[row["currency"]]
            assert float(row["amount_base"]) == pytest.approx(told, abs=0.011)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [4])
def test_change_by_change_ends_where_a_full_load_ends(tmp_path: Path, seed: int) -> None:
    portal = Bitrix24Twin(small(), burst=10_000).with_own_fields()
    edits, at = PortalEdits(portal, seed), LOADED_AT
    rng = random.Random(seed)
    with TwinServer(portal) as twin:
        grown = PortalDesk(tmp_path / "grown", twin)
        grown.ingest(at)
        kinds = [kind for kind in edits.kinds for _ in range(3)]
        rng.shuffle(kinds)
        for start in range(0, len(kinds), 6):
            for kind in kinds[start : start + 6]:
                edits.edit(kind)
            at += timedelta(days=1)
            assert grown.ingest(at).changed
        fresh = PortalDesk(tmp_path / "fresh", twin)
        fresh.ingest(at)
        ends = [apart_from_photographs(desk.everything()) for desk in (grown, fresh)]
        refuse_unequal(*ends, at)
        assert told_by_hand(portal) == {
            (row["deal_id"], row["entered_at"], row["stage"]) for row in grown.stored("stage_events")
        }  # fmt: skip


def apart_from_photographs(told: dict[str, Any]) -> dict[str, Any]:
    """Without what only photographs tell, which a fresh load cannot have."""
    priced = {row["deal_id"] for row in told["deals"]}
    photos = [row for row in told["deal_daily"] if row["deal_id"] in priced]
    rest = {name: rows for name, rows in told.items() if name != "deal_changes"}
    return {**rest, "deal_daily": photos}


def told_by_hand(portal: Bitrix24Twin) -> set[tuple[str, datetime, str]]:
    """Moves between stages by a slow loop: what repeats the stage before is none."""
    names = {row["STATUS_ID"]: row["NAME"] for row in portal.tables["statuses"].rows.values()}
    found, last = set(), {}
    for row in portal.tables["stage_history"].rows.values():
        deal, at = str(row["OWNER_ID"]), datetime.fromisoformat(row["CREATED_TIME"])
        if last.get(deal) != row["STAGE_ID"] and int(deal) in portal.tables["deals"].rows:
            found.add((deal, at.replace(tzinfo=None) - timedelta(hours=3), names[row["STAGE_ID"]]))
        last[deal] = row["STAGE_ID"]
    return found


def test_amounts_owners_and_dates_have_the_past_of_our_photographs(
    first: FirstLoad, tmp_path: Path, twin: TwinServer
) -> None:
    deals = portal_of(twin).tables["deals"].rows.values()
    deal = next(row for row in deals if row["stageSemanticId"] == "P")
    desk = first.desk(tmp_path, twin)
    desk.sync(
        {"deals": [{**deal, "opportunity": 4242.0, "closedate": "2027-01-05T03:00:00+03:00"}]}
    )
    desk.ingest(LOADED_AT + timedelta(days=1))
    told = [(row["field"], row["changed_at"], row["new_value"]) for row in desk.stored("deal_changes")
            if row["deal_id"] == str(deal["id"]) and row["changed_at"] > LOADED_AT]  # fmt: skip
    at = LOADED_AT + timedelta(days=1)
    assert {("amount", at, "4242.00"), ("expected_close_date", at, "2027-01-05")} <= set(told)
    assert min(row["changed_at"] for row in desk.stored("deal_changes")) == LOADED_AT


def test_a_deleted_deal_leaves_with_all_that_is_its_own(
    first: FirstLoad, tmp_path: Path, twin: TwinServer
) -> None:
    desk = first.desk(tmp_path, twin)
    before = {row["deal_id"] for row in desk.stored("deals")}
    gone = min(before)
    desk.sync({}, {"deals": [int(gone)]})
    assert desk.ingest(LOADED_AT + timedelta(hours=1)).changed
    for name in ("deals", "stage_events", "activities", "quotes", "deal_daily"):
        assert gone not in {row["deal_id"] for row in desk.stored(name)}, name
    assert {row["deal_id"] for row in desk.stored("deals")} == before - {gone}


def test_deleted_activities_leave_where_they_are_looked_for(tmp_path: Path, twin: Any) -> None:
    blind, looking = (PortalDesk(tmp_path / str(look), twin, gone_activities=look)
                      for look in (False, True))  # fmt: skip
    for desk in (blind, looking):
        desk.ingest()
    before = {row["activity_id"] for row in looking.stored("activities")}
    gone = min(before)
    looking.sync({}, {"activities": [int(gone)]})
    for desk in (blind, looking):
        desk.ingest(LOADED_AT + timedelta(hours=1))
    assert {row["activity_id"] for row in blind.stored("activities")} == before
    assert {row["activity_id"] for row in looking.stored("activities")} == before - {gone}


def test_a_reopened_deal_is_open_and_a_renamed_stage_has_one_name(
    first: FirstLoad, tmp_path: Path, twin: Any
) -> None:
    portal = portal_of(twin)
    won = next(row for row in portal.tables["deals"].rows.values() if row["stageSemanticId"] == "S")
    stage = next(row for row in portal.tables["statuses"].rows.values() if row["NAME"] == "Lead")
    desk = first.desk(tmp_path, twin)
    history = {"ID": 10**6, "TYPE_ID": 2, "OWNER_ID": won["id"], "CREATED_TIME": portal.moment(),
               "CATEGORY_ID": 0, "STAGE_SEMANTIC_ID": "P", "STAGE_ID": stage["STATUS_ID"]}  # fmt: skip
    desk.sync({"deals": [{**won, "stageId": stage["STATUS_ID"], "stageSemanticId": "P"}],
               "stage_history": [history], "statuses": [{**stage, "NAME": "Prospect"}]})  # fmt: skip
    desk.ingest(LOADED_AT + timedelta(hours=1))
    told = next(row for row in desk.stored("deals") if row["deal_id"] == str(won["id"]))
    assert (told["status"], told["closed_at"]) == ("open", None)
    moves = [row["stage"] for row in sorted(desk.stored("stage_events"), key=lambda r: r["entered_at"])
             if row["deal_id"] == str(won["id"])]  # fmt: skip
    assert (moves[0], moves[-2:]) == ("Prospect", ["Won", "Prospect"])
    assert "Lead" not in {row["stage"] for row in desk.stored("stages")}


def test_pipelines_have_stages_of_their_own(tmp_path: Path, twin: Any) -> None:
    portal = portal_of(twin)
    second = {"id": 7, "name": "Partners", "sort": 200, "entityTypeId": 2, "isDefault": "N"}
    stages = [
        {"ID": str(9_000 + n), "ENTITY_ID": "DEAL_STAGE_7", "STATUS_ID": f"C7:{word}", "NAME": name,
         "SORT": str(10 * n), "SEMANTICS": semantics}
        for n, (word, name, semantics) in enumerate(
            [("NEW", "Lead", None), ("WON", "Signed", "S"), ("LOSE", "Lost", "F")])
    ]  # fmt: skip
    deal = {**next(iter(portal.tables["deals"].rows.values())), "id": 777, "categoryId": 7,
            "stageId": "C7:WON", "stageSemanticId": "S"}  # fmt: skip
    portal.put({"categories": [*portal.categories, second], "statuses": stages, "deals": [deal]})
    desk = PortalDesk(tmp_path, twin, pipelines=("Partners",))
    desk.ingest()
    (told,) = desk.stored("deals")
    assert (told["pipeline"], told["status"]) == ("Partners", "won")
    names = [row["stage"] for row in sorted(desk.stored("stages"), key=lambda r: r["position"])
             if row["pipeline"] == "Partners"]  # fmt: skip
    assert names == ["Lead", "Signed", "Lost"]


def test_own_scores_come_back_as_nothing(
    first: FirstLoad, tmp_path: Path, twin: TwinServer
) -> None:
    desk = first.desk(tmp_path, twin)
    before, edits = desk.everything(), PortalEdits(portal_of(twin), 3)
    for _ in range(20):
        edits.edit("own_write")
    assert not desk.ingest(LOADED_AT + timedelta(hours=1)).changed
    assert desk.everything() == before
    with landed_tables(landing_path(desk.warehouse)) as tables:
        assert not [c for table in tables.values() for c in table.columns if "salesops" in c]


@pytest.mark.parametrize("field", [*OWN_FIELDS, "ufCrmSalesopsReasons", "ufCrm_SALESOPS_CLOSE_P50"])
def test_a_field_that_we_write_is_no_feature(tmp_path: Path, twin: Any, field: str) -> None:
    desk = PortalDesk(tmp_path, twin, canonical_fields={"product": field})
    with pytest.raises(ConfigError, match="learning from ourselves"):
        desk.ingest()


@pytest.mark.slow
def test_a_bad_network_changes_nothing_of_what_lands(
    first: FirstLoad, tmp_path: Path, twin: TwinServer
) -> None:
    still = first.desk(tmp_path / "still", twin)
    twin.faults = FaultPlan(
        {"503": 0.1, "429": 0.05, "drop_after": 0.1, "truncate": 0.1, "expired_token": 0.1},
        seed=5,
        at_most=6,
    )
    shaken = PortalDesk(tmp_path / "shaken", twin)
    shaken.ingest()
    assert sum(twin.report()["faults"].values()) >= 5
    assert shaken.everything() == still.everything()


@pytest.mark.parametrize("hours", [-9, 9])
def test_no_clock_of_ours_matters(tmp_path: Path, twin: TwinServer, hours: int) -> None:
    portal_of(twin).skew = 3_600.0 * 9
    desk = PortalDesk(tmp_path, twin)
    desk.ingest()
    deal = next(iter(portal_of(twin).tables["deals"].rows.values()))
    desk.sync({"deals": [{**deal, "opportunity": 77.0}]})
    assert desk.ingest(LOADED_AT + timedelta(hours=hours)).changed
    told = {row["deal_id"]: row["amount"] for row in desk.stored("deals")}
    assert told[str(deal["id"])] == 77


def test_a_deal_that_is_saved_while_others_are_read_is_not_missed(
    tmp_path: Path, twin: Any
) -> None:
    """The long load: what was saved behind its back is older than its end by more than ten minutes."""
    portal = portal_of(twin)
    first = next(iter(portal.tables["deals"].rows.values()))
    desk = PortalDesk(tmp_path, twin)
    listing = Bitrix24Twin._listed_once = portal._run  # type: ignore[attr-defined]

    def run(method: str, asked: dict[str, Any]) -> Any:
        told = listing(method, asked)
        if method == "crm.item.list" and len(told[0]["items"]) == 50 and not portal.skew:
            portal.put({"deals": [{**first, "opportunity": 99.0}]})
            portal.skew = 3_600.0
            last = max(portal.tables["deals"].rows)
            portal.put({"deals": [{**portal.tables["deals"].rows[last], "opportunity": 5.0}]})
        return told

    portal._run = run  # type: ignore[method-assign]
    desk.ingest()
    desk.ingest(LOADED_AT + timedelta(hours=1))
    told = {row["deal_id"]: row["amount"] for row in desk.stored("deals")}
    assert told[str(first["id"])] == 99


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"user_id": 2}, ("does not know this webhook", "`user_id`")),
        ({"webhook": "env:BITRIX24_OLD"}, ("does not know this webhook", "make a new one")),
        ({"webhook": "env:BITRIX24_URL"}, ("more than the webhook's code", "CODE alone")),
        ({"webhook": "env:BITRIX24_NONE"}, ("nothing is kept there", "export BITRIX24_NONE")),
        ({"custom_fields": {"campaign": {"column": "UF_CRM_NONE"}}},
         ("custom_fields.campaign", "no field `UF_CRM_NONE`")),
        ({"canonical_fields": {"product": "UF_CRM_NONE"}},
         ("canonical_fields.product", "no field `UF_CRM_NONE`")),
    ],
)  # fmt: skip
def test_a_wrong_connection_is_said_in_a_sentence(
    tmp_path: Path, twin: Any, wrong: Any, words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BITRIX24_OLD", "an-old-code")
    monkeypatch.setenv("BITRIX24_URL", f"https://x.bitrix24.com/rest/1/{CODE}/")
    desk = PortalDesk(tmp_path, twin, **wrong)
    with pytest.raises(SourceError) as told:
        desk.ingest()
    assert all(word in str(told.value) for word in words), str(told.value)
    assert CODE not in str(told.value)
    assert "an-old-code" not in str(told.value)
    assert told.value.exit_code == 1


def test_a_webhook_in_the_address_is_refused_and_never_repeated(tmp_path: Path, twin: Any) -> None:
    url = f"https://x.bitrix24.com/rest/1/{CODE}/"
    with pytest.raises(ConfigError, match="holds a webhook") as told:
        parse({"source": {**connection(url)}})
    assert CODE not in str(told.value)
    written = {"target": "bitrix24", "connection": {**connection(url)}}
    with pytest.raises(ConfigError, match="holds a webhook") as told:
        connection_of(parse({"write_back": written}))
    assert CODE not in str(told.value)


def test_what_the_webhook_may_not_do_is_said_in_a_sentence(tmp_path: Path, twin: Any) -> None:
    desk, portal = PortalDesk(tmp_path, twin), portal_of(twin)
    portal.scopes = {"user_brief"}
    with pytest.raises(SourceError, match="lacks the scope `crm`"):
        desk.ingest()
    portal.scopes = {"crm"}
    portal.gone_methods = {"crm.stagehistory.list"}
    with pytest.raises(Refused, match="does not have that method"):
        desk.ingest()
    portal.gone_methods = set()
    desk.ingest()
    assert "reps" not in desk.everything()
    assert desk.stored("deals")


def test_a_page_that_repeats_ends_the_load_and_keeps_the_last_one(
    first: FirstLoad, tmp_path: Path, twin: TwinServer
) -> None:
    desk = first.desk(tmp_path, twin)
    before = desk.everything()
    portal_of(twin).repeats = True
    with pytest.raises(SourceError, match="came twice"):
        desk.ingest(LOADED_AT + timedelta(hours=1))
    assert desk.everything() == before


def test_a_stage_that_is_not_in_the_list_is_told(tmp_path: Path, twin: TwinServer) -> None:
    portal = portal_of(twin)
    deal = next(
        row for row in portal.tables["deals"].rows.values() if row["stageSemanticId"] == "P"
    )
    history = {"ID": 10**6, "TYPE_ID": 2, "OWNER_ID": deal["id"], "CREATED_TIME": portal.moment(),
               "CATEGORY_ID": 0, "STAGE_SEMANTIC_ID": "P", "STAGE_ID": "UC_LIMBO"}  # fmt: skip
    desk = PortalDesk(tmp_path, twin)
    desk.sync({"deals": [{**deal, "stageId": "UC_LIMBO"}], "stage_history": [history]})
    desk.ingest()
    (reject,) = desk.everything()["rejects"]
    assert (reject["value"], reject["source"]) == ("UC_LIMBO", f"bitrix24 deal {deal['id']}")
    assert "not among the known stages" in reject["reason"]
    assert str(deal["id"]) in {row["deal_id"] for row in desk.stored("deals")}


def test_reading_waits_before_a_method_is_closed_to_the_whole_company(twin: TwinServer) -> None:
    from salesops_ml.crm.limits import Clock

    portal = Bitrix24Twin(vendor_rows("bitrix24", 300), burst=10_000)
    portal.seconds = {"crm.activity.list": 4.0}
    clock = Clock(3_000.0)
    with TwinServer(portal, clock=clock) as server:
        told = Bitrix24Source.model_validate(
            connection(server.url, burst=10_000, calls_a_second=100)
        )
        reader = Portal(told, clock=clock, timeout=60 * clock.factor)
        rows = [row for page in reader.pages("crm.activity.list", {}, key="ID") for row in page]
    assert [int(row["ID"]) for row in rows] == sorted(portal.tables["activities"].rows)
    assert portal.closed_calls == 0
