"""What the mapping of Bitrix24 makes of single cases."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from salesops_ml.crm.bitrix24_fields import day_of
from salesops_ml.crm.bitrix24_mapping import map_bitrix24
from salesops_ml.crm_settings import Bitrix24Source
from tests.crm.test_vendor_mappings import AROUND, tables

STAGES = [
    {"ID": "1", "ENTITY_ID": "DEAL_STAGE", "STATUS_ID": "NEW", "NAME": "Offer", "SORT": "10",
     "SEMANTICS": None},
    {"ID": "2", "ENTITY_ID": "DEAL_STAGE", "STATUS_ID": "WON", "NAME": "Won", "SORT": "20",
     "SEMANTICS": "S"},
    {"ID": "3", "ENTITY_ID": "SOURCE", "STATUS_ID": "CALL", "NAME": "Call", "SORT": "10",
     "SEMANTICS": None},
]  # fmt: skip
DEAL = {"id": 5, "stageId": "NEW", "stageSemanticId": "P", "categoryId": 0, "assignedById": 7,
        "companyId": 0, "opportunity": 10.5, "currencyId": "EUR", "sourceId": "CALL",
        "createdTime": "2026-01-05T13:00:00+03:00",
        "closedate": "2026-03-31T03:00:00+03:00"}  # fmt: skip


def mapped(deals: list[dict[str, Any]], options: Any = None, **rows: Any) -> dict[str, Any]:
    told = {"type": "bitrix24", "url": "https://x.bitrix24.com", "user_id": 1, "webhook": "env:W"}
    source = Bitrix24Source.model_validate({**told, **(options or {})})
    landed = tables(**{"statuses": STAGES, "deals": deals, **rows})
    return {name: table.to_pyarrow().to_pylist()
            for name, table in map_bitrix24(landed, source, AROUND).items()}  # fmt: skip


def test_a_deal_without_company_and_its_words() -> None:
    (row,) = mapped([DEAL])["deals"]
    assert (row["account_id"], row["rep_id"], row["lead_source"]) == (None, "7", "Call")
    assert (row["created_at"], row["pipeline"]) == (datetime(2026, 1, 5, 10), "0")


@pytest.mark.parametrize("shown", [
    "2026-03-31T03:00:00+03:00", "2026-03-30T19:00:00-05:00", "2026-03-31T00:00:00+03:00",
    "2026-03-31T10:00:00+10:00", "2026-03-31T00:00:00-08:00",
])  # fmt: skip
def test_a_day_is_the_midnight_nearest_to_what_is_shown(shown: str) -> None:
    done = mapped([{**DEAL, "closedate": shown}])
    assert done["deals"][0]["expected_close_date"] == date(2026, 3, 31)
    assert done["deal_daily"][0]["expected_close_date"] == date(2026, 3, 31)
    assert day_of(shown) == date(2026, 3, 31)


def test_a_list_field_is_read_as_its_words() -> None:
    words = [{"field": "ufcrmline", "id": "501", "word": "Core"},
             {"field": "ufcrmother", "id": "502", "word": "No"}]  # fmt: skip
    deals = [{**DEAL, "ufCrmLine": 501}, {**DEAL, "id": 6, "ufCrmLine": 502}]
    named = {"canonical_fields": {"product": "UF_CRM_LINE"}}
    done = mapped(deals, named, field_words=words)
    assert {row["deal_id"]: row["product"] for row in done["deals"]} == {"5": "Core", "6": "502"}


def test_two_stages_of_one_name_stay_two_and_deleted_ones_keep_theirs() -> None:
    stages = [*STAGES, {**STAGES[0], "ID": "4", "STATUS_ID": "UC_1"},
              {**STAGES[0], "ID": "5", "STATUS_ID": "UC_2", "NAME": "Old", "gone": True}]  # fmt: skip
    moves = [{"ID": n, "OWNER_ID": 5, "STAGE_ID": stage, "CREATED_TIME": "2026-01-05T13:00:00+03:00"}
             for n, stage in ((9, "UC_2"), (10, "UC_1"))]  # fmt: skip
    done = mapped([DEAL], statuses=stages, stage_history=moves)
    names = sorted(row["stage"] for row in done["stages"])
    assert names == ["Offer (NEW)", "Offer (UC_1)", "Old", "Won"]
    told = sorted((row["seq"], row["stage"]) for row in done["stage_events"])
    assert told == [(0, "Old"), (1, "Offer (UC_1)")]


def test_a_deal_closed_when_its_history_says_else_when_it_was_moved() -> None:
    won = {
        **DEAL,
        "stageId": "WON",
        "stageSemanticId": "S",
        "movedTime": "2026-02-01T03:00:00+03:00",
    }
    (row,) = mapped([won])["deals"]
    assert (row["status"], row["closed_at"]) == ("won", datetime(2026, 2, 1))
    moves = [
        {"ID": 1, "OWNER_ID": 5, "STAGE_ID": "WON", "CREATED_TIME": "2026-01-09T03:00:00+03:00"}
    ]
    (row,) = mapped([won], stage_history=moves)["deals"]
    assert row["closed_at"] == datetime(2026, 1, 9)


def test_only_what_was_done_is_an_activity() -> None:
    call = {"ID": "1", "dealId": "5", "TYPE_ID": "2", "PROVIDER_ID": "VOXIMPLANT_CALL",
            "RESPONSIBLE_ID": "7", "COMPLETED": "Y", "START_TIME": "2026-01-06T13:00:00+03:00",
            "END_TIME": "2026-01-06T13:30:00+03:00", "CREATED": "2026-01-01T13:00:00+03:00",
            "LAST_UPDATED": "2026-01-08T13:00:00+03:00"}  # fmt: skip
    rows = [call, {**call, "ID": "2", "COMPLETED": "N"}, {**call, "ID": "3", "dealId": "99"},
            {**call, "ID": "4", "dealId": None, "TYPE_ID": "6", "PROVIDER_ID": "CRM_SMS"},
            {**call, "ID": "5", "TYPE_ID": "6", "PROVIDER_ID": "CRM_TODO"},
            {**call, "ID": "6", "RESPONSIBLE_ID": "1"}]  # fmt: skip
    done = mapped([DEAL], {"integration_users": ["1"]}, activities=rows)["activities"]
    told = {r["activity_id"]: (r["deal_id"], r["kind"], r["at"].day, r["duration_minutes"])
            for r in done}  # fmt: skip
    assert told == {"1": ("5", "call", 6, 30.0), "4": (None, "crm_sms", 6, 30.0),
                    "5": ("5", "task", 8, None)}  # fmt: skip


def test_who_heads_a_department_is_led_by_the_head_above() -> None:
    teams = [{"ID": "1", "NAME": "Company", "PARENT": None, "UF_HEAD": "1"},
             {"ID": "2", "NAME": "Sales", "PARENT": "1", "UF_HEAD": "3"}]  # fmt: skip
    users = [{"ID": str(n), "NAME": "U", "LAST_NAME": str(n), "ACTIVE": True, "department": 2}
             for n in (3, 4)]  # fmt: skip
    done = mapped([DEAL], users=users, departments=teams)["reps"]
    told = {row["rep_id"]: (row["team"], row["manager_id"]) for row in done}
    assert told == {"3": ("Sales", "1"), "4": ("Sales", "3")}


def test_a_rate_may_be_told_for_a_hundred_units_and_through_other_money() -> None:
    money = [{"CURRENCY": "RUB", "AMOUNT": "1.0", "AMOUNT_CNT": "1", "BASE": "Y"},
             {"CURRENCY": "EUR", "AMOUNT": "80.0", "AMOUNT_CNT": "1", "BASE": "N"},
             {"CURRENCY": "KZT", "AMOUNT": "16.0", "AMOUNT_CNT": "100", "BASE": "N"}]  # fmt: skip
    rates = {
        row["currency"]: row["rate"] for row in mapped([DEAL], currencies=money)["exchange_rates"]
    }
    assert rates["KZT"] == pytest.approx(0.16 / 80)
    assert rates["RUB"] == pytest.approx(1 / 80)


def test_deals_that_no_id_list_has_are_gone() -> None:
    deals = [DEAL, {**DEAL, "id": 6}]
    ids = [{"id": 5}, {"id": 6, "gone": True}]
    assert [row["deal_id"] for row in mapped(deals, deal_ids=ids)["deals"]] == ["5"]


def test_our_own_fields_are_read_by_nothing() -> None:
    own = {"ufCrmSalesopsWinProbability": 0.7, "ufCrmSalesopsReasons": "x"}
    assert mapped([{**DEAL, **own}]) == mapped([DEAL])
