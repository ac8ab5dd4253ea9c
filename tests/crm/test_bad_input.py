"""Every kind of bad input gets an error or a reject with file, row, column, value and cure, and leaves
the last good warehouse as it was."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from salesops_ml.crm import ingest
from salesops_ml.errors import ConfigError, DataError, SalesOpsError, SourceError
from salesops_ml.settings import parse
from tests.crm.desk import DEALS, EVENTS, LOADED_AT


def only_reject(desk: Any) -> dict[str, Any]:
    (reject,) = desk.stored_rejects()
    return reject


SINGLE_ROWS: dict[str, tuple[str, str, int, str, str, str]] = {
    # what is wrong: in which file, the row added to it, its line, column, value and reason
    "unparseable date": ("deals", "d6,ann,New,2026-02-30,,5", 7, "opened", "2026-02-30", "a time"),
    "unparseable amount": ("deals", "d6,ann,New,2026-02-03,,5 EUR", 7, "value", "5 EUR", "money"),
    "negative amount": ("deals", "d6,ann,New,2026-02-03,,-5", 7, "amount", "-5.00", "negative"),
    "duplicate deal id": ("deals", "d5,cas,Won,2026-01-09,2026-03-01,90.00", 7, "deal_id", "d5",
                          "stands twice"),
    "no deal id": ("deals", ",ann,New,2026-02-03,,5", 7, "deal_id", None, "empty"),
    "unknown status": ("deals", "d6,ann,Parked,2026-02-03,,5", 7, "status", "Parked",
                       "none of open, won, lost"),
    "won without close date": ("deals", "d6,ann,Won,2026-02-03,,5", 7, "closed_at", None,
                               "no close date"),
    "lost without close date": ("deals", "d6,ann,Lost,2026-02-03,,5", 7, "closed_at", None,
                                "no close date"),
    "closed before creation": ("deals", "d6,ann,Won,2026-02-03,2026-02-02,5", 7, "closed_at",
                               "2026-02-02 00:00:00.000000", "before the deal's creation"),
    "too many cells": ("deals", "d6,ann,New,2026-02-03,,5,extra", 7, "",
                       "d6,ann,New,2026-02-03,,5,extra", "7 cells where the header has 6"),
    "stage event before creation": ("events", "d3,Offer,2026-01-06", 9, "entered_at",
                                    "2026-01-06 00:00:00.000000", "before the deal's creation"),
    "event for an unknown deal": ("events", "d9,Offer,2026-01-06", 9, "deal_id", "d9",
                                  "no such deal"),
    "event without a time": ("events", "d3,Offer,", 9, "entered_at", None, "empty"),
    "event twice": ("events", "d3,Offer,2026-01-12", 9, "deal_id", "d3", "word for word"),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE_ROWS)
def test_a_single_bad_row_is_left_out_and_told(desk: Any, name: str) -> None:
    file, row, line, column, value, reason = SINGLE_ROWS[name]
    good = {"deals": desk.deals(), "stage_events": desk.events()}
    desk.ingest(good)
    before = {table: desk.stored(table) for table in ("deals", "stage_events")}
    texts = {"deals": DEALS, "events": EVENTS}
    desk.write(f"{file}.csv", texts[file] + row + "\n")
    result = desk.ingest(good)
    reject = only_reject(desk)
    assert result.rejects == 1
    assert reject["source"] == str(desk.folder / f"{file}.csv")
    assert (reject["row"], reject["column"], reject["value"]) == (line, column, value)
    assert reason in reject["reason"]
    assert reject["cure"]
    assert {table: desk.stored(table) for table in before} == before


def test_an_unknown_stage_is_a_reject_where_stages_are_agreed(desk: Any) -> None:
    mapping = {"deals": desk.deals(), "stage_events": desk.events(EVENTS + "d3,Ofer,2026-01-13\n")}
    desk.ingest(mapping, process={"stages": ["Offer", "Won", "Lost"]})
    reject = only_reject(desk)
    assert (reject["row"], reject["column"], reject["value"]) == (9, "stage", "Ofer")
    assert "known stages" in reject["reason"]


def test_a_row_with_several_faults_is_told_once_for_each(desk: Any) -> None:
    desk.ingest({"deals": desk.deals(DEALS + "d6,ann,New,soon,later,much\n")})
    columns = [reject["column"] for reject in desk.stored_rejects()]
    assert sorted(columns) == ["closed", "opened", "value"]


def test_rows_that_hang_on_a_rejected_deal_are_told_too(desk: Any) -> None:
    bad = DEALS.replace("d5,cas,Won,2026-01-09,2026-03-01", "d5,cas,Won,2026-01-09,soon")
    desk.ingest({"deals": desk.deals(bad), "stage_events": desk.events()})
    told = {(reject["table"], reject["row"]) for reject in desk.stored_rejects()}
    assert told == {("deals", 6), ("stage_events", 7), ("stage_events", 8)}


def test_of_two_rows_with_one_id_the_same_stays_whatever_their_order(desk: Any) -> None:
    one, other = "d6,ann,New,2026-02-03,,5.00", "d6,bob,New,2026-02-03,,6.00"
    desk.ingest({"deals": desk.deals(f"{DEALS}{one}\n{other}\n")})
    first = desk.stored("deals")
    assert only_reject(desk)["row"] == 8
    result = desk.ingest({"deals": desk.deals(f"{DEALS}{other}\n{one}\n")})
    assert desk.stored("deals") == first
    assert not result.changed


def test_a_close_on_the_very_day_of_creation_is_no_fault(desk: Any) -> None:
    row = "d6,ann,Won,2026-02-03T15:00,2026-02-03,5"
    assert desk.ingest({"deals": desk.deals(DEALS + row + "\n")}).rejects == 0


def test_the_close_date_of_an_open_deal_is_ignored_and_counted(desk: Any) -> None:
    result = desk.ingest({"deals": desk.deals(DEALS + "d6,ann,New,2026-02-03,2026-09-01,5\n")})
    assert result.counts["deals: close date of an open deal ignored"] == 1
    assert [row["closed_at"] for row in desk.stored("deals") if row["deal_id"] == "d6"] == [None]


def test_a_table_without_dates_at_all_is_welcome(desk: Any) -> None:
    columns = {"deal_id": "id", "status": "state", "amount": "value"}
    result = desk.ingest({"deals": desk.deals(columns=columns)})
    assert result.rows["deals"] == 5
    assert {row["closed_at"] for row in desk.stored("deals")} == {None}


def no_file(desk: Any) -> dict[str, Any]:
    return {"deals": {**desk.deals(), "path": "none.csv"}}


def with_deals(content: bytes, **more: Any) -> Any:
    return lambda desk: {"deals": desk.deals(content, **more)}


WHOLE_FILES: dict[str, tuple[Any, type[SalesOpsError], int, str]] = {
    "missing file": (no_file, SourceError, 1, "none.csv: no such file"),
    "missing column": (
        with_deals(DEALS.replace("state", "stat").encode()), SourceError, 1,
        r"deals.csv: has no column `state`.*`source.tables.deals.columns.status`.*`stat`",
    ),
    "unknown column in the mapping": (
        with_deals(DEALS.encode(), columns={"deal_id": "id", "status": "state", "win": "value"}),
        ConfigError, 2, "no column `win`",
    ),
    "empty file": (with_deals(b""), SourceError, 1, "deals.csv: the file is empty"),
    "header only": (with_deals(b"id,owner,state,opened,closed,value\n"), SourceError, 1,
                    "deals.csv: a header, but no deals"),
    "wrong encoding": (with_deals(DEALS.replace("ann", "änn").encode("cp1252")), SourceError, 1,
                       "deals.csv: line 2 is not utf-8"),
    "more bad rows than good": (
        with_deals(DEALS.replace("2026-01", "2026-13").encode()), SourceError, 1,
        r"table `deals`: 5 of 5 rows cannot be used(.|\n)*deals.csv, line 2, column `opened`",
    ),
    "broken quotes": (with_deals(DEALS.replace("d3,ann", 'd3,"ann').encode()), SourceError, 1,
                      "line 6: is not CSV"),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE_FILES)
def test_a_file_that_cannot_be_used_stops_the_load_and_leaves_the_last_good_one(
    desk: Any, name: str
) -> None:
    make, kind, exit_code, message = WHOLE_FILES[name]
    desk.ingest({"deals": desk.deals()})
    before = desk.stored("deals")
    with pytest.raises(kind, match=message) as caught:
        desk.ingest(make(desk))
    assert caught.value.exit_code == exit_code
    assert desk.stored("deals") == before
    assert desk.left_overs() == []


LOG = (
    "<log><trace><string key='concept:name' value='d1'/><event>"
    "<string key='concept:name' value='New'/><date key='time:timestamp' value='2026-01-01'/>"
    "</event></trace></log>"
)
LOGS = {
    "truncated gzip": ("log.xes.gz", gzip.compress(LOG.encode() * 50)[:-12], "cut off or damaged"),
    "malformed XML": ("log.xes", LOG.replace("</event>", "").encode(), "not well-formed"),
    "entity bomb": (
        "log.xes",
        b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>' + LOG.encode(),
        "declares a document type",
    ),
    "no XML": ("log.xes", DEALS.encode(), "not well-formed"),
    "empty": ("log.xes", b"", "is empty"),
}


@pytest.mark.parametrize("name", LOGS)
def test_a_log_that_cannot_be_used_stops_the_load_and_leaves_the_last_good_one(
    desk: Any, name: str
) -> None:
    file, content, message = LOGS[name]
    url = f"duckdb:///{desk.folder}/store/w.duckdb"

    def load(path: Path) -> None:
        source = {"type": "event_log", "path": str(path)}
        ingest(parse({"source": source, "warehouse": url}), ingested_at=LOADED_AT)

    load(desk.write("good.xes", LOG))
    before = desk.stored("deals")
    with pytest.raises(SourceError, match=message) as caught:
        load(desk.write(file, content))
    assert file in str(caught.value)
    assert desk.stored("deals") == before
    assert desk.left_overs() == []


def test_a_folder_that_cannot_be_written_is_told_with_its_path(desk: Any) -> None:
    wall = desk.write("wall", "a file where a folder should be")
    settings = desk.settings({"deals": desk.deals()})
    there = settings.model_copy(update={"warehouse": f"duckdb:///{wall}/w.duckdb"})
    with pytest.raises(DataError, match=r"wall/w.duckdb: cannot be written.*check") as caught:
        ingest(there, ingested_at=LOADED_AT)
    assert caught.value.exit_code == 1
    assert wall.read_text() == "a file where a folder should be"


def test_a_file_that_is_no_warehouse_is_told_and_left_alone(desk: Any) -> None:
    path = desk.folder / "store" / "w.duckdb"
    path.parent.mkdir()
    path.write_text("a letter to my aunt")
    with pytest.raises(DataError, match="if it is no warehouse of ours, move"):
        desk.ingest({"deals": desk.deals()})
    assert path.read_text() == "a letter to my aunt"


def test_a_warehouse_of_another_engine_is_a_config_error(desk: Any) -> None:
    settings = desk.settings({"deals": desk.deals()}).model_copy(
        update={"warehouse": "oracle://there"}
    )
    with pytest.raises(ConfigError, match="oracle"):
        ingest(settings, ingested_at=LOADED_AT)
