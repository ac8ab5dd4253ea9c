"""Files mapped to canonical tables: renames, formats, value maps, lookups, attributes, selections."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from salesops_ml.crm import read_source
from salesops_ml.errors import ConfigError, SourceError
from salesops_ml.schema import Attribute


def test_a_mapping_renames_parses_and_translates(desk: Any) -> None:
    deals = desk.read({"deals": desk.deals()}).tables["deals"].to_pylist()
    assert deals[0] == {
        "deal_id": "d1", "rep_id": "ann", "status": "won", "amount": Decimal("100.00"),
        "amount_base": Decimal("100.00"), "currency": "EUR",
        "created_at": datetime(2026, 1, 5), "closed_at": datetime(2026, 2, 1),
    }  # fmt: skip
    assert [row["status"] for row in deals] == ["won", "lost", "open", "open", "won"]


def test_csv_parquet_and_excel_of_the_same_rows_give_the_same_tables(desk: Any) -> None:
    mapping = desk.deals()
    by_csv = desk.read({"deals": mapping}).tables["deals"]
    raw = pa.csv.read_csv(desk.folder / "deals.csv")
    pq.write_table(raw, desk.folder / "deals.parquet")
    book = openpyxl.Workbook()
    book.active.append(raw.column_names)
    for row in raw.to_pylist():
        book.active.append(list(row.values()))
    book.save(desk.folder / "deals.xlsx")
    for name in ("deals.parquet", "deals.xlsx"):
        assert desk.read({"deals": {**mapping, "path": name}}).tables["deals"].equals(by_csv)


def test_without_columns_the_canonical_names_in_the_header_are_taken(desk: Any) -> None:
    desk.write("deals.csv", "deal_id,status,colour\na,won,red\nb,open,blue\n")
    deals = desk.read({"deals": {"path": "deals.csv"}}).tables["deals"]
    assert set(deals.column_names) == {"deal_id", "status", "currency"}


def test_dates_numbers_and_delimiters_of_another_country(desk: Any) -> None:
    text = "id;state;opened;value\nd1;New;31-12-2025;1.234,50\nd2;New;01-02-2026;7\n"
    columns = {"deal_id": "id", "status": "state", "created_at": "opened", "amount": "value"}
    deals = desk.read(
        {"deals": desk.deals(text.encode("cp1252"), columns=columns, delimiter=";", decimal=",",
                             encoding="cp1252", dates={"*": "%d-%m-%Y"})},
        time_zone="Europe/Amsterdam",
    ).tables["deals"]  # fmt: skip
    assert deals["created_at"].to_pylist()[0] == datetime(2025, 12, 30, 23)
    assert deals["amount"].to_pylist() == [Decimal("1234.50"), Decimal("7.00")]


def test_a_star_maps_the_rest_and_an_empty_text_is_nothing(desk: Any) -> None:
    values = {"status": {"Won": "won", "Lost": "lost", "*": "open"}, "rep_id": {"cas": "", "": "?"}}
    deals = desk.read({"deals": desk.deals(values=values)}).tables["deals"]
    assert deals["rep_id"].to_pylist() == ["ann", "bob", "ann", "bob", None]
    assert set(deals["status"].to_pylist()) == {"won", "lost", "open"}


def test_a_scale_turns_millions_and_percent_into_plain_numbers(desk: Any) -> None:
    desk.write("accounts.csv", "name,turnover\nAcme,1.5\nBolt,\n")
    columns = {"account_id": "name", "annual_revenue": "turnover"}
    accounts = {"path": "accounts.csv", "columns": columns, "scale": {"annual_revenue": 1e6}}
    tables = desk.read({"deals": desk.deals(scale={"amount": 0.01}), "accounts": accounts}).tables
    assert tables["accounts"]["annual_revenue"].to_pylist() == [1_500_000.0, None]
    assert tables["deals"]["amount"].to_pylist()[2] == Decimal("0.76")
    with pytest.raises(ConfigError, match="`rep_id` is no amount"):
        desk.read({"deals": desk.deals(scale={"rep_id": 2})})


def test_constants_fill_a_column_and_selections_keep_rows(desk: Any) -> None:
    part = desk.deals(constants={"pipeline": "field"}, select={"owner": ["ann", "cas"]})
    read = desk.read({"deals": part})
    assert read.tables["deals"]["deal_id"].to_pylist() == ["d1", "d3", "d5"]
    assert set(read.tables["deals"]["pipeline"].to_pylist()) == {"field"}
    assert read.counts["deals: not selected from deals.csv"] == 2


def test_one_file_can_serve_several_tables_and_one_table_several_files(desk: Any) -> None:
    more = "deal,step,when\nd4,Offer,2026-01-15\n"
    desk.write("more.csv", more)
    deals = desk.deals()
    opened = {
        "path": "deals.csv", "columns": {"deal_id": "id", "entered_at": "opened"},
        "constants": {"stage": "Inbox"},
    }  # fmt: skip
    events = [opened, desk.events(), {**desk.events(), "path": "more.csv"}]
    tables = desk.read({"deals": deals, "stage_events": events}).tables
    steps = tables["stage_events"].to_pylist()
    assert len(steps) == 5 + 7 + 1
    assert {row["stage"] for row in steps} == {"Inbox", "Offer", "Won", "Lost"}


def test_a_lookup_brings_a_value_of_another_file(desk: Any) -> None:
    desk.write("people.csv", "who,grade\nann,senior\nbob,junior\n")
    lookup = {"grade": {"path": "people.csv", "by": "rep_id", "match": "who", "value": "grade"}}
    part = desk.deals(lookup=lookup, attributes={"grade": {"known": "at_creation"}})
    read = desk.read({"deals": part})
    assert read.attributes == (Attribute("grade", "string", "at_creation"),)
    grades = dict(
        zip(read.tables["deals"]["deal_id"].to_pylist(),
            read.tables["deals"]["x_grade"].to_pylist(), strict=True)
    )  # fmt: skip
    assert grades == {"d1": "senior", "d2": "junior", "d3": "senior", "d4": "junior", "d5": None}


def test_a_lookup_that_could_answer_twice_is_refused(desk: Any) -> None:
    desk.write("people.csv", "who,grade\nann,senior\nann,junior\n")
    lookup = {"grade": {"path": "people.csv", "by": "rep_id", "match": "who", "value": "grade"}}
    part = desk.deals(lookup=lookup, attributes={"grade": {}})
    with pytest.raises(SourceError, match="'ann' twice"):
        desk.read({"deals": part})


def test_attributes_say_when_they_are_known_and_the_split_is_never_a_feature(desk: Any) -> None:
    text = "id,state,size,Fold No\nd1,Won,3.5,train\nd2,New,,test\n"
    part = desk.deals(
        text, columns={"deal_id": "id", "status": "state"},
        attributes={"size": {"kind": "float", "known": "at_creation"}},
    )  # fmt: skip
    read = desk.read({"deals": part}, split={"column": "Fold No"})
    assert read.attributes == (
        Attribute("size", "float", "at_creation"),
        Attribute("fold_no", "string", "at_close"),
    )
    assert read.tables["deals"]["x_size"].to_pylist() == [3.5, None]
    assert read.tables["deals"]["x_fold_no"].to_pylist() == ["train", "test"]


def test_a_split_column_declared_as_a_feature_is_refused(desk: Any) -> None:
    part = desk.deals(attributes={"fold": {"column": "owner", "known": "at_creation"}})
    with pytest.raises(ConfigError, match="tells the split"):
        desk.read({"deals": part}, split={"column": "owner"})


FEED = """deal,key,at,was,now
d1,price,2026-01-20,80,"1,100.00"
d1,due,2026-01-21,,31-03-2026
d1,colour,2026-01-22,red,blue
d1,size,2026-01-23,1,2.50
d3,price,2026-01-24,x,90
"""


def test_a_change_feed_keeps_known_fields_with_values_as_plain_text(desk: Any) -> None:
    desk.write("feed.csv", FEED)
    feed = {
        "path": "feed.csv",
        "columns": {"deal_id": "deal", "field": "key", "changed_at": "at", "old_value": "was",
                    "new_value": "now"},
        "values": {"field": {"price": "amount", "due": "expected_close_date"}},
        "dates": {"new_value": "%d-%m-%Y"},
    }  # fmt: skip
    deals = desk.deals(attributes={"size": {"column": "value", "kind": "float"}})
    read = desk.read({"deal_changes": feed, "deals": deals})
    assert [
        (row["field"], row["old_value"], row["new_value"])
        for row in read.tables["deal_changes"].to_pylist()
    ] == [
        ("amount", "80.00", "1100.00"),
        ("expected_close_date", None, "2026-03-31"),
        ("size", "1", "2.5"),
    ]
    assert read.counts["deal_changes: of fields that we do not keep"] == 1
    (reject,) = read.rejects.to_pylist()
    assert (reject["row"], reject["column"], reject["value"]) == (6, "old_value", "x")
    assert "`amount`" in reject["reason"]


def test_canonical_tables_need_only_a_path(desk: Any) -> None:
    desk.write(
        "quotas.csv", "owner_id,period_start,period_end,amount\nann,2026-01-01,2026-03-31,9\n"
    )
    quotas = desk.read({"deals": desk.deals(), "quotas": {"path": "quotas.csv"}}).tables["quotas"]
    assert quotas.to_pylist() == [
        {"owner_id": "ann", "period_start": date(2026, 1, 1), "period_end": date(2026, 3, 31),
         "amount": Decimal("9.00")}
    ]  # fmt: skip


WRONG_MAPPINGS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "canonical column misspelt": (
        {"columns": {"deal_id": "id", "status": "state", "close_at": "closed"}},
        ConfigError, "`source.tables.deals.columns`.*`close_at`; did you mean `closed_at`",
    ),
    "source column misspelt": (
        {"columns": {"deal_id": "id", "status": "stat"}},
        SourceError, "no column `stat`, which `source.tables.deals.columns.status` names; did you",
    ),
    "required column unmapped": (
        {"columns": {"deal_id": "id"}}, ConfigError, "`status` .* is required",
    ),
    "date format of no column": (
        {"dates": {"opened": "%Y"}}, ConfigError, "`source.tables.deals.dates`.*`opened`",
    ),
    "value map of no column": (
        {"values": {"state": {"a": "b"}}}, ConfigError, "`source.tables.deals.values`.*`state`",
    ),
    "constant of no column": (
        {"constants": {"colour": "red"}}, ConfigError, "`source.tables.deals.constants`",
    ),
    "constant of the wrong kind": (
        {"constants": {"term_months": "a year"}}, ConfigError, "'a year' is not a whole number",
    ),
    "selection by no column": (
        {"select": {"colour": ["red"]}}, SourceError, "`source.tables.deals.select.colour`",
    ),
    "attribute of no column": (
        {"attributes": {"colour": {}}}, SourceError, "no column `colour`.*attributes.colour",
    ),
    "split column not there": ({}, SourceError, "no column `fold`.*split.column"),
    "lookup by an unmapped column": (
        {"lookup": {"x": {"path": "deals.csv", "by": "product", "match": "id", "value": "id"}},
         "attributes": {"x": {}}},
        ConfigError, "`product` is not mapped",
    ),
    "lookup of no column": (
        {"lookup": {"x": {"path": "deals.csv", "by": "rep_id", "match": "id", "value": "no"}},
         "attributes": {"x": {}}},
        SourceError, "no column `no`.*lookup.x",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_MAPPINGS)
def test_a_wrong_mapping_is_named_with_its_place_and_cure(desk: Any, name: str) -> None:
    change, kind, message = WRONG_MAPPINGS[name]
    more = {"split": {"column": "fold"}} if name == "split column not there" else {}
    with pytest.raises(kind, match=message):
        desk.read({"deals": desk.deals(**change)}, **more)


def test_a_source_without_deals_and_attributes_elsewhere_are_refused(desk: Any) -> None:
    with pytest.raises(ConfigError, match="must bring `deals`"):
        desk.read({"stage_events": desk.events()})
    with pytest.raises(ConfigError, match="only `deals` can carry"):
        desk.read({"deals": desk.deals(), "stage_events": desk.events(attributes={"step": {}})})


def test_progress_hears_of_rows(desk: Any) -> None:
    heard: list[int] = []
    read_source(desk.settings({"deals": desk.deals()}), progress=heard.append)
    assert heard == [6]
