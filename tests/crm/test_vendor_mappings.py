"""What the mappings of Salesforce and HubSpot make of single cases, and that no fault is repeated."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from salesops_ml.crm.hubspot_mapping import map_hubspot
from salesops_ml.crm.landed_text import text_rows
from salesops_ml.crm.landing_book import DELETED
from salesops_ml.crm.salesforce_mapping import map_salesforce
from salesops_ml.crm.vendors import Surroundings
from salesops_ml.crm_settings import HubSpotSource, SalesforceSource

AROUND = Surroundings("EUR", "Europe/Amsterdam", date(2026, 3, 31))


def tables(**rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Landed tables from rows."""
    import ibis

    done = {}
    for name, told in rows.items():
        landed = text_rows(told, name, ())
        gone = pa.array([bool(row.get("gone")) for row in told])
        done[name] = ibis.memtable(landed.append_column(DELETED, gone))
    return done


def salesforce(
    rows: dict[str, list[dict[str, Any]]], **more: Any
) -> dict[str, list[dict[str, Any]]]:
    options = SalesforceSource.model_validate(
        {"type": "salesforce", "url": "https://x.my.salesforce.com", "token": "env:T", **more}
    )
    mapped = map_salesforce(tables(**rows), options, AROUND)
    return {name: table.to_pyarrow().to_pylist() for name, table in mapped.items()}


def hubspot(rows: dict[str, list[dict[str, Any]]], **more: Any) -> dict[str, list[dict[str, Any]]]:
    options = HubSpotSource.model_validate({"type": "hubspot", "token": "env:T", **more})
    mapped = map_hubspot(tables(**rows), options, AROUND)
    return {name: table.to_pyarrow().to_pylist() for name, table in mapped.items()}


STAGES = [
    {"Id": "1", "MasterLabel": "Offer", "IsWon": False, "IsClosed": False, "SortOrder": 1,
     "DefaultProbability": 35.0},
    {"Id": "2", "MasterLabel": "Won", "IsWon": True, "IsClosed": True, "SortOrder": 2,
     "DefaultProbability": 100.0},
]  # fmt: skip
DEAL = {
    "Id": "006000000000001", "StageName": "Offer", "CreatedDate": "2026-01-05T10:00:00.000+0000",
    "CloseDate": "2026-06-30", "IsClosed": False, "IsWon": False, "OwnerId": "005000000000001",
    "Amount": 1000.0, "ForecastCategoryName": "Best Case",
}  # fmt: skip


def steps(done: dict[str, list[dict[str, Any]]]) -> list[tuple[str, int]]:
    """Moves between stages, in order of time."""
    moves = sorted(done["stage_events"], key=lambda row: row["entered_at"])
    return [(row["stage"], row["entered_at"].day) for row in moves]


def save(number: int, stage: str, day: int, amount: float = 1000.0, **more: Any) -> dict[str, Any]:
    return {
        "Id": f"00800000000000{number}", "OpportunityId": DEAL["Id"], "StageName": stage,
        "Amount": amount, "CloseDate": "2026-06-30", "ForecastCategory": "BestCase",
        "CreatedDate": f"2026-01-{day:02d}T10:00:00.000+0000", "CreatedById": "005000000000001",
        **more,
    }  # fmt: skip


def test_percentages_become_shares_and_every_category_counts() -> None:
    """The faults of a public package: no division by 100, and categories that fall out of pipeline."""
    names = {"Omitted": "omitted", "Pipeline": "pipeline", "Best Case": "best_case",
             "Most Likely": "best_case", "Commit": "commit", "Closed": "closed",
             "Our Own Category": "pipeline"}  # fmt: skip
    deals = [{**DEAL, "Id": f"00600000000000{n}", "ForecastCategoryName": name}
             for n, name in enumerate(names)]  # fmt: skip
    done = salesforce({"Opportunity": deals, "OpportunityStage": STAGES})
    assert [row["probability"] for row in done["stages"]] == [0.35, 1.0]
    found = sorted((row["deal_id"], row["forecast_category"]) for row in done["deals"])
    assert [category for _, category in found] == list(names.values())


def test_a_reopened_deal_is_open_and_its_moves_tell_the_story() -> None:
    saves = [save(1, "Offer", 5), save(2, "Won", 10), save(3, "Offer", 20)]
    done = salesforce({"Opportunity": [DEAL], "OpportunityStage": STAGES,
                       "OpportunityHistory": saves})  # fmt: skip
    assert steps(done) == [
        ("Offer", 5), ("Won", 10), ("Offer", 20),
    ]  # fmt: skip
    assert (done["deals"][0]["status"], done["deals"][0]["closed_at"]) == ("open", None)


def test_a_deal_closed_when_it_moved_else_on_its_close_date() -> None:
    won = {**DEAL, "IsClosed": True, "IsWon": True, "StageName": "Won"}
    told = {"Opportunity": [won], "OpportunityStage": STAGES}
    (row,) = salesforce(told)["deals"]
    assert row["closed_at"] == datetime(2026, 6, 30)
    (row,) = salesforce({**told, "OpportunityHistory": [save(1, "Won", 10)]})["deals"]
    assert row["closed_at"] == datetime(2026, 1, 10, 10)


def test_old_stage_names_are_renamed_by_the_settings() -> None:
    told = {"Opportunity": [DEAL], "OpportunityStage": STAGES,
            "OpportunityHistory": [save(1, "Proposal", 5), save(2, "Offer", 9)]}  # fmt: skip
    done = salesforce(told, renamed_stages={"Proposal": "Offer"})
    assert steps(done) == [("Offer", 5)]


def test_record_types_are_pipelines_and_settings_choose_among_them() -> None:
    types = [{"Id": "012A", "Name": "New business", "SobjectType": "Opportunity"},
             {"Id": "012B", "Name": "Renewals", "SobjectType": "Opportunity"},
             {"Id": "012C", "Name": "Partner", "SobjectType": "Account"}]  # fmt: skip
    deals = [{**DEAL, "RecordTypeId": "012A"},
             {**DEAL, "Id": "006000000000002", "RecordTypeId": "012B"}]  # fmt: skip
    told = {"Opportunity": deals, "OpportunityStage": STAGES, "RecordType": types}
    done = salesforce(told)
    assert {row["pipeline"] for row in done["deals"]} == {"New business", "Renewals"}
    assert {row["pipeline"] for row in done["stages"]} == {"New business", "Renewals", "sales"}
    (row,) = salesforce(told, pipelines=["Renewals"])["deals"]
    assert row["deal_id"] == "006000000000002"
    assert {row["pipeline"] for row in salesforce(told, record_types=False)["deals"]} == {"sales"}


@pytest.mark.parametrize("whole", [True, False])
def test_the_first_owner_is_known_from_where_the_field_history_begins(whole: bool) -> None:
    change = {"Id": "017000000000002", "OpportunityId": DEAL["Id"], "Field": "Owner",
              "OldValue": "005000000000009", "NewValue": "005000000000001",
              "CreatedDate": "2026-01-20T10:00:00.000+0000",
              "CreatedById": "005000000000001"}  # fmt: skip
    named = {**change, "Id": "017000000000003", "OldValue": "Ann", "NewValue": "Bob"}
    born = {**change, "Id": "017000000000001", "Field": "created", "OldValue": None,
            "NewValue": None, "CreatedDate": DEAL["CreatedDate"]}  # fmt: skip
    history = [change, named, *([born] if whole else [])]
    done = salesforce({"Opportunity": [DEAL], "OpportunityStage": STAGES,
                       "OpportunityFieldHistory": history})  # fmt: skip
    told = [(r["changed_at"].day, r["new_value"]) for r in done["deal_changes"]
            if r["field"] == "rep_id"]  # fmt: skip
    first = 5 if whole else 20
    assert sorted(told) == sorted([(first, "005000000000009"), (20, "005000000000001")])


def test_rates_go_through_the_corporate_currency_and_hold_until_the_next() -> None:
    rates = [
        {"Id": "1", "IsoCode": "USD", "StartDate": "2026-01-01", "NextStartDate": "2026-03-01",
         "ConversionRate": 1.25},
        {"Id": "2", "IsoCode": "USD", "StartDate": "2026-03-01", "NextStartDate": "9999-12-31",
         "ConversionRate": 1.0},
    ]  # fmt: skip
    told = {"Opportunity": [DEAL], "OpportunityStage": STAGES, "DatedConversionRate": rates}
    found = sorted((r["day"], r["rate"]) for r in salesforce(told)["exchange_rates"])
    assert found == [(date(2026, 1, 1), 0.8), (date(2026, 1, 29), 0.8), (date(2026, 2, 26), 0.8),
                     (date(2026, 3, 1), 1.0), (date(2026, 3, 29), 1.0)]  # fmt: skip
    pounds = [{"Id": "1", "IsoCode": "GBP", "IsCorporate": True, "ConversionRate": 1.0}]
    assert salesforce({**told, "CurrencyType": pounds})["exchange_rates"] == []


def test_open_tasks_and_activities_of_deleted_deals_are_none() -> None:
    task = {"Id": "00T1", "WhatId": DEAL["Id"], "OwnerId": "005000000000001", "TaskSubtype": "Call",
            "Status": "Completed", "IsClosed": True, "CreatedDate": "2026-01-07T10:00:00.000+0000",
            "CompletedDateTime": "2026-01-06T10:00:00.000+0000",
            "CallDurationInSeconds": 90}  # fmt: skip
    tasks = [task, {**task, "Id": "00T2", "Status": "Not Started", "IsClosed": False},
             {**task, "Id": "00T3", "WhatId": "006000000000099"},
             {**task, "Id": "00T4", "WhatId": "001000000000001"}]  # fmt: skip
    done = salesforce({"Opportunity": [DEAL], "OpportunityStage": STAGES, "Task": tasks})
    found = {r["activity_id"]: (r["deal_id"], r["kind"], r["duration_minutes"], r["recorded_at"].day)
             for r in done["activities"]}  # fmt: skip
    assert found == {"00T1": (DEAL["Id"], "call", 1.5, 7), "00T4": (None, "call", 1.5, 7)}


PIPELINES = [{"id": "p", "label": "Sales", "display_order": 0}]
HUB_STAGES = [
    {"id": "1", "pipeline_id": "p", "label": "Offer", "display_order": 0, "probability": "0.4",
     "is_closed": "false"},
    {"id": "2", "pipeline_id": "p", "label": "Won", "display_order": 1, "probability": "1.0",
     "is_closed": "true"},
]  # fmt: skip
HUB_DEAL = {"id": "10", "dealstage": "1", "pipeline": "p", "createdate": "2026-01-05T10:00:00Z",
            "closedate": "2026-03-30T22:30:00Z", "amount": "10"}  # fmt: skip


def entry(value: str, day: int, name: str = "dealstage") -> dict[str, Any]:
    return {"deal_id": "10", "name": name, "value": value, "source_id": "userId:7",
            "timestamp": f"2026-01-{day:02d}T10:00:00Z"}  # fmt: skip


def hub(deals: list[dict[str, Any]], **more: Any) -> dict[str, list[dict[str, Any]]]:
    return {"deals": deals, "pipelines": PIPELINES, "pipeline_stages": HUB_STAGES, **more}


def test_hubspots_close_date_is_the_day_on_the_companys_clock() -> None:
    (row,) = hubspot(hub([HUB_DEAL]))["deals"]
    assert row["expected_close_date"] == date(2026, 3, 31)


def test_hubspots_stages_keep_one_name_and_come_back_as_often_as_deals_do() -> None:
    history = [entry("1", 5), entry("2", 6), entry("1", 7), entry("1", 8), entry("2", 9)]
    renamed = [{**HUB_STAGES[0], "label": "Proposal", "gone": True}, HUB_STAGES[1]]
    told = hub([{**HUB_DEAL, "dealstage": "2"}], deal_property_history=history)
    done = hubspot({**told, "pipeline_stages": renamed})
    assert steps(done) == [
        ("Proposal", 5), ("Won", 6), ("Proposal", 7), ("Won", 9),
    ]  # fmt: skip
    assert done["deals"][0]["closed_at"] == datetime(2026, 1, 9, 10)
    assert [row["probability"] for row in done["stages"]] == [0.4, 1.0]


def test_merged_deals_go_into_the_one_that_names_them() -> None:
    deals = [{**HUB_DEAL, "hs_merged_object_ids": "11;12"}, {**HUB_DEAL, "id": "11"},
             {**HUB_DEAL, "id": "12"}, {**HUB_DEAL, "id": "13"}]  # fmt: skip
    assert {row["deal_id"] for row in hubspot(hub(deals))["deals"]} == {"10", "13"}
    told = [{"deal_id": "10", "merged_deal_id": "13"}]
    done = hubspot(hub(deals, merged_deals=told))
    assert {row["deal_id"] for row in done["deals"]} == {"10"}


def test_the_primary_company_is_the_account_else_the_lowest() -> None:
    links = [{"deal_id": "10", "company_id": "1", "type_id": 341},
             {"deal_id": "10", "company_id": "9", "type_id": 5},
             {"deal_id": "11", "company_id": "4"}, {"deal_id": "11", "company_id": "3"}]  # fmt: skip
    deals = [HUB_DEAL, {**HUB_DEAL, "id": "11"}]
    done = hubspot(hub(deals, deal_companies=links))
    assert {r["deal_id"]: r["account_id"] for r in done["deals"]} == {"10": "9", "11": "3"}


def test_two_stages_of_one_name_in_a_pipeline_stay_two() -> None:
    stages = [HUB_STAGES[0], {**HUB_STAGES[0], "id": "3"}, HUB_STAGES[1]]
    done = hubspot({**hub([HUB_DEAL]), "pipeline_stages": stages})
    assert sorted(row["stage"] for row in done["stages"]) == ["Offer (1)", "Offer (3)", "Won"]


def test_no_table_of_a_mapping_reads_our_own_fields(tmp_path: Path) -> None:
    """The mapped expressions do not name a column of ours, though the rows hold them."""
    own = {"salesops_win_probability__c": 0.7, "salesops_reasons__c": "x"}
    rows = {"Opportunity": [{**DEAL, **own}], "OpportunityStage": STAGES}
    assert salesforce(rows) == salesforce({**rows, "Opportunity": [DEAL]})
