"""Photographs: one a day, kept over loads, and the history that only they tell."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.crm.deal_daily import book_folder, carried_on, keep, kept, photograph, with_daily
from salesops_ml.crm.deal_daily import with_photographs as told_by
from salesops_ml.crm.draft import Draft
from salesops_ml.schema import TABLES, CanonicalTables, conform, no_rejects
from tests.crm.crm_desk import LOADED_AT, CrmDesk, vendor_rows

Row = dict[str, Any]
schema = TABLES["deal_daily"].arrow()


def shot(rows: list[Row], at: datetime) -> pa.Table:
    told = [{"observed_on": at.date(), **row} for row in [{"deal_id": "z"}, *rows]]
    return photograph(
        conform("deal_daily", pa.Table.from_pylist(told, schema)), taken_at=at
    ).filter(pc.field("deal_id") != "z")


def draft(*ids: str) -> Draft:
    deals = [{"deal_id": key, "status": "open"} for key in ids]
    tables = {"deals": conform("deals", pa.Table.from_pylist(deals))}
    return Draft.of(CanonicalTables(tables, no_rejects()), "test")


def test_a_later_photograph_of_a_day_replaces_it_but_what_stood_keeps_its_moment(tmp_path) -> None:
    morning, evening = datetime(2026, 3, 1, 8), datetime(2026, 3, 1, 18)
    keep(shot([{"deal_id": "a", "stage": "x"}, {"deal_id": "b", "stage": "x"}], morning), tmp_path,
         day=morning.date())  # fmt: skip
    keep(shot([{"deal_id": "a", "stage": "x"}, {"deal_id": "b", "stage": "y"}], evening), tmp_path,
         day=evening.date())  # fmt: skip
    rows = {row["deal_id"]: (row["stage"], row["taken_at"]) for row in kept(tmp_path).to_pylist()}
    assert rows == {"a": ("x", morning), "b": ("y", evening)}
    assert kept(tmp_path, deals=["b"])["deal_id"].to_pylist() == ["b"]


def test_deals_that_did_not_change_are_carried_into_the_next_day(tmp_path: Path) -> None:
    first, next_day = datetime(2026, 3, 1, 8), datetime(2026, 3, 2, 9)
    keep(shot([{"deal_id": "a", "stage": "x"}, {"deal_id": "b", "stage": "x"}], first), tmp_path,
         day=first.date())  # fmt: skip
    (row,) = carried_on(tmp_path, but=["b"], taken_at=next_day).to_pylist()
    assert (row["deal_id"], row["observed_on"], row["taken_at"]) == (
        "a",
        date(2026, 3, 2),
        next_day,
    )


days = st.lists(
    st.dictionaries(
        st.sampled_from("abc"),
        st.fixed_dictionaries({
            "stage": st.sampled_from(["x", "y"]), "rep_id": st.sampled_from(["ann", None]),
            "forecast_category": st.sampled_from(["commit", "pipeline"]),
        }),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(days)
def test_changes_are_what_differs_between_photographs_told_by_a_slow_loop(days) -> None:
    start = datetime(2026, 3, 1, 8)
    photos = [
        shot(
            [{"deal_id": key, **row} for key, row in sorted(day.items())], start + timedelta(days=n)
        )
        for n, day in enumerate(days)
    ]
    done = told_by(
        draft("a", "b", "c"), pa.concat_tables(photos, promote_options="default"), tracked=()
    )
    stages, changes, stood = [], [], {}
    for n, day in enumerate(days):
        at = start + timedelta(days=n)
        for key, row in sorted(day.items()):
            for field, value in row.items():
                before = stood.get((key, field))
                stood[key, field] = value
                if before == value:
                    continue
                if field == "stage":
                    stages.append((key, at, value))
                else:
                    changes.append((key, field, at, before, value))
    found = done.tables.get("stage_events", pa.table({"deal_id": []})).to_pylist()
    assert sorted(stages) == sorted((r["deal_id"], r["entered_at"], r["stage"]) for r in found)
    assert all(row["recorded_at"] == row["entered_at"] for row in found)
    found = done.tables.get("deal_changes", pa.table({"deal_id": []})).to_pylist()
    assert sorted(changes, key=str) == sorted(
        (
            (r["deal_id"], r["field"], r["changed_at"], r["old_value"], r["new_value"])
            for r in found
        ),
        key=str,
    )
    assert all(row["recorded_at"] == row["changed_at"] for row in found)


def test_fields_that_the_crm_tracks_are_left_to_it_and_gone_deals_are_left_out() -> None:
    at = datetime(2026, 3, 1, 8)
    photos = shot([{"deal_id": "a", "stage": "x", "rep_id": "ann"}, {"deal_id": "gone"}], at)
    done = told_by(draft("a"), photos, tracked=("stage",))
    assert "stage_events" not in done.tables
    assert [row["field"] for row in done.tables["deal_changes"].to_pylist()] == ["rep_id"]
    daily = with_daily(CanonicalTables({"deals": draft("a").tables["deals"]}, no_rejects()), photos)
    assert daily.tables["deal_daily"]["deal_id"].to_pylist() == ["a"]
    assert daily.counts == {"deal_daily: used": 1}


@pytest.mark.slow
def test_a_deal_without_a_rate_has_no_photograph_until_it_has_one(tmp_path: Path) -> None:
    """In full and incremental loads alike; the book keeps what was seen meanwhile."""
    rows = vendor_rows("salesforce", 100)
    unpriced, other = [row for row in rows["Opportunity"] if not row["IsClosed"]][:2]
    unpriced["CurrencyIsoCode"], unpriced["Amount"] = "JPY", 5.0
    next_day = LOADED_AT + timedelta(days=1)
    for name in ("grown", "fresh"):
        (tmp_path / name).mkdir()
    grown, fresh = (CrmDesk(tmp_path / name, "salesforce") for name in ("grown", "fresh"))
    grown.sync(rows)
    grown.ingest(LOADED_AT)
    other["Amount"] = 77.0
    grown.sync({"Opportunity": [other]})
    grown.ingest(next_day)
    fresh.sync(rows)
    fresh.ingest(next_day)

    def shown(desk: CrmDesk) -> set[tuple[str, date]]:
        return {(row["deal_id"], row["observed_on"]) for row in desk.stored("deal_daily")}

    days = {LOADED_AT.date(), next_day.date()}
    assert {day for _, day in shown(grown)} == days
    assert {row for row in shown(grown) if row[1] == next_day.date()} == shown(fresh)
    assert unpriced["Id"] not in {deal for deal, _ in shown(grown)}
    assert grown.everything()["rejects"] == fresh.everything()["rejects"]
    unpriced["CurrencyIsoCode"] = "EUR"
    grown.sync({"Opportunity": [unpriced]})
    grown.ingest(next_day + timedelta(hours=1))
    assert {day for deal, day in shown(grown) if deal == unpriced["Id"]} == days


@pytest.mark.slow
def test_a_crm_without_history_gets_one_from_daily_loads_and_keeps_it(tmp_path: Path) -> None:
    rows = vendor_rows("salesforce", 100)
    wanted = ("Opportunity", "OpportunityStage", "User", "DatedConversionRate")
    rows = {name: rows[name] for name in wanted}
    desk, day = CrmDesk(tmp_path, "salesforce"), datetime(2026, 11, 1, 9)
    desk.more = {"custom_fields": {}}
    deal = next(row for row in rows["Opportunity"] if not row["IsClosed"])
    deal["CurrencyIsoCode"] = "EUR"
    desk.sync(rows)
    desk.ingest(day)
    deal["Amount"] = 4711.0
    deal["StageName"] = "Proposal" if deal["StageName"] == "Contract" else "Contract"
    desk.sync({"Opportunity": [deal]})
    desk.ingest(day + timedelta(days=1))
    told = [(row["changed_at"].day, row["new_value"]) for row in desk.stored("deal_changes")
            if row["deal_id"] == deal["Id"] and row["field"] == "amount"]  # fmt: skip
    assert told[-1] == (2, "4711.00")
    assert [day for day, _ in told] == [1, 2]
    steps = [(row["entered_at"].day, row["stage"]) for row in desk.stored("stage_events")
             if row["deal_id"] == deal["Id"]]  # fmt: skip
    assert steps[-1] == (2, deal["StageName"])
    closed = {row["Id"] for row in rows["Opportunity"] if row["IsClosed"]}
    assert not closed & {row["deal_id"] for row in desk.stored("deal_changes")}
    (tmp_path / "store" / "w.duckdb").unlink()
    desk.ingest(day + timedelta(days=2))
    assert len(list(book_folder(desk.warehouse).glob("*.parquet"))) == 3
    again = [(row["changed_at"].day, row["new_value"]) for row in desk.stored("deal_changes")
             if row["deal_id"] == deal["Id"] and row["field"] == "amount"]  # fmt: skip
    assert again == told
