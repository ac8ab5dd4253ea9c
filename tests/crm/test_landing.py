"""The landing: the last version of every row, marked when deleted, all or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.crm.landed_text import as_landed, text_rows
from salesops_ml.crm.landing import (
    Feed,
    Landed,
    changes_since,
    land,
    landed_number,
    landed_tables,
)
from salesops_ml.errors import SourceError

Row = dict[str, Any]


def deal(key: str, stage: str, mod: Any, gone: bool = False) -> Row:
    return {"Id": key, "StageName": stage, "Mod": mod, "IsDeleted": gone}


def deals(rows: list[Row], asked: list[Any] | None = None, page: int = 2) -> Feed:
    """A feed that honours its cursor, in pages."""

    def read(since: Any) -> Iterator[list[Row]]:
        if asked is not None:
            asked.append(since)
        told = [row for row in rows if since is None or row["Mod"] >= since]
        for start in range(0, len(told), page):
            yield told[start : start + page]

    return Feed("Opportunity", ("Id",), read, cursor="Mod", deleted="IsDeleted")


def users(*names: str) -> Feed:
    return Feed("User", ("Id",), lambda _: [[{"Id": name} for name in names]], whole=True)


def bring(path: Path, *feeds: Feed, origin: str = "o") -> Landed:
    return land(feeds, path, origin=origin, place="the test CRM")


def held(path: Path, name: str) -> dict[str, tuple[Any, ...]]:
    with landed_tables(path) as tables:
        rows = tables[name].to_pyarrow().to_pylist()
    return {row["id"]: (row.get("stage_name"), row["_deleted"], row["_load"]) for row in rows}


def test_later_loads_merge_by_key_from_the_cursor_on_and_mark_what_is_deleted(tmp_path) -> None:
    path, asked = tmp_path / "s" / "w.landing.duckdb", []
    first = [deal("a", "x", 1), deal("b", "x", 2), deal("c", "x", 3)]
    assert bring(path, deals(first, asked), users("u1", "u2")).changed == {
        "Opportunity": 3, "User": 2,
    }  # fmt: skip
    later = [deal("a", "y", 4), deal("b", "x", 5, gone=True), deal("c", "x", 3)]
    done = bring(path, deals(later, asked), users("u1"))
    assert asked == [None, 3]
    assert done.changed == {"Opportunity": 2, "User": 1}
    assert held(path, "opportunity") == {
        "a": ("y", False, 2), "b": ("x", True, 2), "c": ("x", False, 1),
    }  # fmt: skip
    assert held(path, "user") == {"u1": (None, False, 1), "u2": (None, True, 2)}
    assert changes_since(path, 1) == {"opportunity": 2, "user": 1}


def test_the_same_rows_again_change_nothing(tmp_path: Path) -> None:
    path, rows = tmp_path / "w.landing.duckdb", [deal("a", "x", 1), deal("b", "y", 2)]
    bring(path, deals(rows), users("u"))
    before = held(path, "opportunity")
    again = bring(path, deals(rows), users("u"))
    assert again.changed == {"Opportunity": 0, "User": 0}
    assert again.number == landed_number(path) == 1
    assert held(path, "opportunity") == before


def test_of_versions_in_one_load_and_of_a_page_that_repeats_the_last_stands(tmp_path) -> None:
    path = tmp_path / "w.landing.duckdb"
    rows = [deal("a", "x", 1), deal("b", "x", 1), deal("a", "y", 2), deal("b", "x", 1)]
    bring(path, deals(rows))
    assert held(path, "opportunity") == {"a": ("y", False, 1), "b": ("x", False, 1)}


@pytest.mark.parametrize("kind", ["refused", "bug", "no key"])
def test_a_load_that_fails_leaves_the_last_one_and_no_left_overs(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "w.landing.duckdb"
    bring(path, deals([deal("a", "x", 1)]))
    content = path.read_bytes()

    def read(_: Any) -> Iterator[list[Row]]:
        yield [deal("b", "z", 9)] if kind != "no key" else [{"StageName": "z"}]
        raise SourceError("token expired") if kind == "refused" else ZeroDivisionError("oops")

    wanted = {"refused": "^token expired$", "bug": "the test CRM.*oops", "no key": "no `Id`"}
    with pytest.raises(SourceError, match=wanted[kind]):
        bring(path, Feed("Opportunity", ("Id",), read, cursor="Mod"))
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_new_column_is_told_and_one_that_changes_its_kind_breaks_nothing(tmp_path) -> None:
    path = tmp_path / "w.landing.duckdb"
    bring(path, Feed("T", ("Id",), lambda _: [[{"Id": 1, "Size": 5}]]))
    done = bring(path, Feed("T", ("Id",), lambda _: [[{"Id": 2, "Size": "big", "Hue": "red"}]]))
    assert done.new_columns == ("t.hue",)
    with landed_tables(path) as tables:
        rows = {row["id"]: row for row in tables["t"].to_pyarrow().to_pylist()}
    assert (rows["1"]["size"], rows["2"]["size"], rows["1"]["hue"]) == ("5", "big", None)


def test_another_origin_starts_from_nothing(tmp_path: Path) -> None:
    path, asked = tmp_path / "w.landing.duckdb", []
    bring(path, deals([deal("a", "x", 1)], asked))
    bring(path, deals([deal("b", "x", 1)], asked), origin="other")
    assert asked == [None, None]
    assert held(path, "opportunity") == {"b": ("x", False, 2)}


def test_what_is_no_landing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.landing.duckdb"
    with pytest.raises(SourceError, match="salesops ingest"), landed_tables(path):
        pass
    path.write_text("not a database")
    with pytest.raises(SourceError, match="no landing of ours"):
        bring(path, deals([deal("a", "x", 1)]))


def test_moments_in_a_cursor_come_back_as_moments(tmp_path: Path) -> None:
    path, asked = tmp_path / "w.landing.duckdb", []
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    rows = [deal("a", "x", at), deal("b", "x", at + timedelta(hours=1))]
    bring(path, deals(rows, asked))
    bring(path, deals(rows, asked))
    assert asked == [None, at + timedelta(hours=1)]


def test_nothing_is_written_outside_and_nothing_is_reported(tmp_path: Path, monkeypatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    bring(tmp_path / "store" / "w.landing.duckdb", deals([deal("a", "x", 1)]))
    assert list(home.iterdir()) == []


values = st.one_of(
    st.none(), st.text(), st.booleans(), st.integers(), st.decimals(allow_nan=False),
    st.datetimes(), st.dates(), st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.integers(), max_size=3),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(values)
def test_a_value_reads_back_from_its_text(value: Any) -> None:
    import json

    text = as_landed(value)
    readers: dict[type, Any] = {
        bool: lambda t: t == "true", int: int, float: float, Decimal: Decimal, str: str,
        datetime: datetime.fromisoformat, date: date.fromisoformat, list: json.loads,
    }  # fmt: skip
    assert value is None or readers[type(value)](text) == value
    assert (text is None) == (value is None)


def test_arrow_and_dicts_land_alike() -> None:
    at = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
    rows = [{"Id": 1, "won": True, "at": at, "on": date(2026, 3, 1), "sum": Decimal("1.50")}]
    from_arrow = text_rows(pa.Table.from_pylist(rows), "t", ("Id",))
    assert from_arrow.to_pylist() == text_rows(rows, "t", ("Id",)).to_pylist()


operations = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["x", "y", "z"]), st.booleans()),
    min_size=1, max_size=10,
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=3, deadline=None)
@given(operations, st.lists(st.integers(1, 10), max_size=2))
def test_many_small_loads_end_where_one_load_ends(tmp_path_factory, log, cuts) -> None:
    rows = [deal(key, stage, n, gone) for n, (key, stage, gone) in enumerate(log)]
    small, whole = (tmp_path_factory.mktemp("l") / "w.landing.duckdb" for _ in range(2))
    for cut in [*sorted(cuts), len(rows)]:
        bring(small, deals(rows[:cut]))
    bring(whole, deals(rows))
    by_hand = {row["Id"]: (row["StageName"], row["IsDeleted"]) for row in rows}
    for path in (small, whole):
        found = {key: row[:2] for key, row in held(path, "opportunity").items()}
        assert found == by_hand


def counted(rows: list[Row], asked: list[str]) -> Feed:
    """A feed of Arrow pages that can count, and notes what it is asked for."""

    def told(kind: str, since: Any, found: list[Row]) -> Iterator[pa.Table]:
        asked.append(kind)
        if found:
            yield pa.Table.from_pylist(found)

    def read(since: Any) -> Iterator[pa.Table]:
        return told("read", since, [r for r in rows if since is None or r["Mod"] >= since])

    def beyond(since: Any) -> Iterator[pa.Table]:
        return told("beyond", since, [r for r in rows if r["Mod"] > since])

    def tally(since: Any) -> tuple[int, int]:
        return sum(r["Mod"] > since for r in rows), sum(r["Mod"] == since for r in rows)

    return Feed("Opportunity", ("Id",), read, cursor="Mod", deleted="IsDeleted", beyond=beyond,
                tally=tally)  # fmt: skip


@pytest.mark.parametrize("moment", [lambda n: n, lambda n: datetime(2026, 1, n + 1, 8, 0, 0, n)])
def test_rows_at_the_cursor_are_read_again_only_where_one_of_them_is_new(tmp_path, moment) -> None:
    path, asked = tmp_path / "w.landing.duckdb", []
    rows = [deal(key, "x", moment(1)) for key in "abc"]
    bring(path, counted(rows, asked))
    bring(path, counted(rows, asked))
    assert asked == ["read"]
    rows[0] = deal("a", "y", moment(2))
    bring(path, counted(rows, asked))
    assert asked == ["read", "beyond"], "b and c still stand where they stood"
    rows += [deal("d", "late", moment(2))]
    bring(path, counted(rows, asked))
    assert asked == ["read", "beyond", "read"]
    rows[1], rows[3] = deal("b", "z", moment(3)), deal("d", "late", moment(2))
    rows += [deal("e", "later", moment(2))]
    bring(path, counted(rows, asked))
    assert asked == ["read", "beyond", "read", "beyond", "read"], "one went on, another came"
    assert {key: told[0] for key, told in held(path, "opportunity").items()} == {
        "a": "y", "b": "z", "c": "x", "d": "late", "e": "later",
    }  # fmt: skip


def test_many_rows_and_few_land_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = [deal("a", "x", 1), deal("b", "x", 1)]
    later = [deal("b", "y", 2), deal("c", "z", 2), deal("b", "w", 2), deal("a", "x", 3, gone=True)]
    told = []
    for name, small in (("few", 20_000), ("many", 1)):
        monkeypatch.setattr("salesops_ml.crm.landing_run.SMALL", small)
        path = tmp_path / name / "w.landing.duckdb"
        bring(path, deals(first), users("u", "v"))
        done = bring(path, deals(later), users("u", "w"))
        told.append((done, held(path, "opportunity"), held(path, "user")))
    assert told[0] == told[1]


def test_a_closing_is_called_once_whatever_happens(tmp_path: Path) -> None:
    closed: list[int] = []

    def close() -> None:
        closed.append(1)

    def broken(_: Any) -> Iterator[list[Row]]:
        raise SourceError("gone")

    feeds = [Feed(name, ("Id",), lambda _: [[{"Id": "x"}]], close=close) for name in ("A", "B")]
    bring(tmp_path / "w.landing.duckdb", *feeds)
    assert len(closed) == 1
    with pytest.raises(SourceError, match="gone"):
        bring(tmp_path / "w.landing.duckdb", *feeds, Feed("C", ("Id",), broken, close=close))
    assert len(closed) == 2


class Shop:
    """Records that are made, changed and deleted; how many times all ids were asked for."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.clock = self.made = self.whole_reads = 0

    def do(self, act: str, which: int) -> None:
        self.clock += 1
        if act == "make":
            self.made += 1
            self.rows[f"r{self.made}"] = deal(f"r{self.made}", "new", self.clock)
        elif self.rows:
            key = sorted(self.rows)[which % len(self.rows)]
            gone = self.rows.pop(key)
            if act != "delete":
                self.rows[key] = {**gone, "StageName": act, "Mod": self.clock}

    def feeds(self, *, counted: bool) -> list[Feed]:
        def ids(_: Any) -> Iterator[list[Row]]:
            self.whole_reads += 1
            yield [{"Id": key} for key in self.rows]

        count = (lambda: len(self.rows)) if counted else None
        named = Feed("deal_ids", ("Id",), ids, whole=True, count=count, news="Opportunity")
        return [deals([*self.rows.values()]), named]


acts = st.lists(
    st.tuples(st.sampled_from(["make", "change", "delete", "load"]), st.integers(0, 9)), max_size=12
)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(acts=acts)
def test_a_whole_read_that_is_spared_would_have_brought_the_same(acts, tmp_path_factory) -> None:
    path, shop, seen = tmp_path_factory.mktemp("shop") / "w.landing.duckdb", Shop(), set()
    shop.do("make", 0)
    for act, which in [("load", 0), *acts, ("load", 0)]:
        if act != "load":
            shop.do(act, which)
            continue
        bring(path, *shop.feeds(counted=True))
        seen |= shop.rows.keys()
        told = held(path, "deal_ids")
        assert {key for key, row in told.items() if not row[1]} == shop.rows.keys()
        assert told.keys() == seen


def test_ids_are_asked_for_only_where_some_are_gone(tmp_path: Path) -> None:
    path, shop = tmp_path / "w.landing.duckdb", Shop()
    for act in ("make", "make", "make"):
        shop.do(act, 0)
    reads = []
    for act in ("change", "make", "delete", "change"):
        bring(path, *shop.feeds(counted=True))
        reads.append(shop.whole_reads)
        shop.do(act, 0)
    assert reads == [1, 1, 1, 2]


def test_one_that_came_back_as_another_went_is_seen_by_a_later_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restored as it was, it is no news, and the number of all is the same: the ids alone tell."""
    monkeypatch.setattr("salesops_ml.crm.landing_run.SURE", 4)
    path, shop = tmp_path / "w.landing.duckdb", Shop()
    for _ in range(3):
        shop.do("make", 0)
    bring(path, *shop.feeds(counted=True))
    first = shop.rows.pop("r1")
    bring(path, *shop.feeds(counted=True))
    del shop.rows["r2"]
    shop.rows["r1"] = first
    for _ in range(2):
        shop.do("make", 0)
        bring(path, *shop.feeds(counted=True))
    standing = {key for key, row in held(path, "deal_ids").items() if not row[1]}
    assert standing == shop.rows.keys()
    assert shop.whole_reads == 3


def test_ids_are_read_where_the_news_are_too_many_to_have_been_read(tmp_path: Path) -> None:
    from salesops_ml.crm.landing_merge import SMALL

    path, shop = tmp_path / "w.landing.duckdb", Shop()
    shop.do("make", 0)
    bring(path, *shop.feeds(counted=True))
    for _ in range(SMALL + 2):
        shop.do("make", 0)
    feeds = shop.feeds(counted=True)
    feeds[0] = deals([*shop.rows.values()], page=SMALL)
    bring(path, *feeds)
    assert shop.whole_reads == 2
    assert len(held(path, "deal_ids")) == SMALL + 3
