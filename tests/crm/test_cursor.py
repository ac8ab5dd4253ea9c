"""Incremental loads: many small ones end where one full load ends."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import ConfigError
from tests.crm.desk import Desk

HEAD = "id,state,owner,changed\n"
COLUMNS = {"deal_id": "id", "status": "state", "rep_id": "owner"}


def mapping(desk: Any, text: str, **more: Any) -> dict[str, Any]:
    desk.write("deals.csv", text)
    return {
        "deals": {"path": "deals.csv", "columns": COLUMNS, "cursor": "changed", **more}
    }  # fmt: skip


def owners(desk: Any) -> dict[str, str]:
    return {row["deal_id"]: row["rep_id"] for row in desk.stored("deals")}


def test_a_later_load_adds_what_is_new_and_keeps_what_the_file_no_longer_has(desk: Any) -> None:
    desk.ingest(mapping(desk, HEAD + "a,open,ann,2026-01-01\nb,open,bob,2026-01-02\n"))
    result = desk.ingest(mapping(desk, HEAD + "b,won,eve,2026-01-03\nc,open,cas,2026-01-04\n"))
    assert result.changed
    assert owners(desk) == {"a": "ann", "b": "eve", "c": "cas"}


def test_what_lies_below_the_last_load_is_old_and_counted(desk: Any) -> None:
    desk.ingest(mapping(desk, HEAD + "a,open,ann,2026-01-05\n"))
    result = desk.ingest(mapping(desk, HEAD + "a,open,old,2026-01-01\nb,open,bob,2026-01-06\n"))
    assert owners(desk) == {"a": "ann", "b": "bob"}
    assert result.counts["deals: not newer than the last load"] == 1


def test_the_same_file_twice_changes_nothing(desk: Any) -> None:
    tables = mapping(desk, HEAD + "a,open,ann,2026-01-01\nb,open,bob,2026-01-02\n")
    assert desk.ingest(tables).changed
    stamp = (desk.folder / "store" / "w.duckdb").stat().st_mtime_ns
    assert not desk.ingest(tables).changed
    assert (desk.folder / "store" / "w.duckdb").stat().st_mtime_ns == stamp


def test_of_two_versions_in_one_file_the_newer_stands_and_none_is_a_reject(desk: Any) -> None:
    result = desk.ingest(mapping(desk, HEAD + "a,won,new,2026-02-01\na,open,old,2026-01-01\n"))
    assert owners(desk) == {"a": "new"}
    assert result.rejects == 0


def test_numbers_grow_as_numbers_and_not_as_text(desk: Any) -> None:
    desk.ingest(mapping(desk, HEAD + "a,open,ann,9\n"))
    desk.ingest(mapping(desk, HEAD + "a,open,eve,10\n"))
    assert owners(desk) == {"a": "eve"}


def test_another_mapping_starts_from_nothing(desk: Any) -> None:
    desk.ingest(mapping(desk, HEAD + "a,open,ann,1\n"))
    desk.ingest(mapping(desk, HEAD + "b,open,bob,2\n", constants={"pipeline": "x"}))
    assert owners(desk) == {"b": "bob"}


def test_a_row_without_a_cursor_is_a_reject_and_a_column_of_none_an_error(desk: Any) -> None:
    result = desk.ingest(mapping(desk, HEAD + "a,open,ann,1\nb,open,bob,\nc,open,cas,2\n"))
    assert result.rejects == 1
    (reject,) = desk.stored_rejects()
    assert (reject["row"], reject["column"]) == (3, "changed")
    with pytest.raises(ConfigError, match="neither times nor numbers"):
        desk.ingest(mapping(desk, HEAD + "a,open,ann,early\n"))


def test_an_event_that_came_before_its_deal_is_used_once_the_deal_comes(desk: Any) -> None:
    head = "deal,step,when,changed\n"
    columns = {"deal_id": "deal", "stage": "step", "entered_at": "when"}

    def load(deals: str, events: str) -> Any:
        tables = mapping(desk, HEAD + deals)
        desk.write("events.csv", head + events)
        event = {"path": "events.csv", "columns": columns, "cursor": "changed"}
        return desk.ingest({**tables, "stage_events": event})

    rows = "a,Offer,2026-01-01,1\na,Won,2026-01-09,2\n"
    assert load("a,open,ann,1\nc,open,cas,1\n", rows + "b,Offer,2026-01-02,3\n").rejects == 1
    assert load("b,open,bob,2\n", "a,Signed,2026-01-10,4\n").rejects == 0
    steps = [(row["deal_id"], row["stage"]) for row in desk.stored("stage_events")]
    assert steps == [("a", "Offer"), ("a", "Won"), ("a", "Signed"), ("b", "Offer")]


version = st.tuples(st.sampled_from("abcde"), st.sampled_from(["ann", "bob"]))


@settings(max_examples=15, deadline=None)
@given(st.lists(version, min_size=1, max_size=12), st.lists(st.integers(1, 12), max_size=3))
def test_loading_piece_by_piece_ends_where_one_load_ends(tmp_path_factory, log, cuts) -> None:
    lines = [f"{deal},open,{owner},{number}\n" for number, (deal, owner) in enumerate(log)]
    piecewise = Desk(tmp_path_factory.mktemp("pieces"))
    for cut in [*sorted(cuts), len(lines)]:
        if lines[:cut]:
            piecewise.ingest(mapping(piecewise, HEAD + "".join(lines[:cut])))
    deltas = Desk(tmp_path_factory.mktemp("deltas"))
    edges = sorted({0, *(cut for cut in cuts if cut < len(lines)), len(lines)})
    for start, end in pairwise(edges):
        deltas.ingest(mapping(deltas, HEAD + "".join(lines[start:end])))
    whole = Desk(tmp_path_factory.mktemp("whole"))
    whole.ingest(mapping(whole, HEAD + "".join(lines)))
    assert piecewise.stored("deals") == deltas.stored("deals") == whole.stored("deals")
