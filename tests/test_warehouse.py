"""One file, changed all at once or not at all; the same content twice changes nothing."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from salesops_ml.errors import ConfigError, DataError
from salesops_ml.schema import REJECTS, TABLES, Attribute, CanonicalTables, no_rejects
from salesops_ml.warehouse import (
    Landing,
    Warehouse,
    content_digest,
    database_path,
    publish,
    truth_folder,
)

AT = datetime(2026, 1, 1)


def tables(statuses: dict[str, str], **more: Any) -> CanonicalTables:
    deals = pa.table({"deal_id": list(statuses), "status": list(statuses.values())})
    return CanonicalTables({"deals": deals, **more.pop("tables", {})},
                           more.pop("rejects", no_rejects()), **more)  # fmt: skip


def stored(url: str) -> dict[str, str]:
    with Warehouse.open(url) as warehouse:
        rows = warehouse.table("deals").to_pyarrow().to_pylist()
    return {row["deal_id"]: row["status"] for row in rows}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"duckdb:///{tmp_path}/store/w.duckdb"


def test_what_is_published_is_what_is_read(url: str) -> None:
    reject = {"source": "f.csv", "row": 3, "table": "deals", "reason": "r", "cure": "c"}
    told = tables(
        {"a": "won", "b": "open"},
        attributes=(Attribute("size", "float", "at_creation"),),
        rejects=pa.Table.from_pylist([reject], schema=REJECTS.arrow()),
        counts={"deals: used": 2},
    )
    assert publish(url, told, ingested_at=AT)
    with Warehouse.open(url, threads=1) as warehouse:
        assert warehouse.names() == ["deals"]
        assert warehouse.rows("deals") == 2
        assert warehouse.has("deals")
        assert not warehouse.has("quotes")
        assert warehouse.table("quotes").columns == TABLES["quotes"].names
        assert warehouse.rows("quotes") == 0
        assert warehouse.attributes() == told.attributes
        assert warehouse.counts() == {"deals: used": 2}
        assert warehouse.rejects()["row"].to_pylist() == [3]
        assert "x_size" in warehouse.table("deals").columns
        assert warehouse.landing() is None


def test_the_same_content_twice_leaves_the_file_untouched(url: str) -> None:
    assert publish(url, tables({"a": "won", "b": "open"}), ingested_at=AT)
    before = database_path(url).read_bytes()
    again = tables({"b": "open", "a": "won"})
    assert not publish(url, again, ingested_at=AT + timedelta(days=1))
    assert database_path(url).read_bytes() == before


def test_replace_starts_from_nothing_and_merge_lets_new_rows_win(url: str) -> None:
    publish(url, tables({"a": "open", "b": "open"}), ingested_at=AT)
    publish(url, tables({"b": "won", "c": "open"}), ingested_at=AT + timedelta(1), mode="merge")
    assert stored(url) == {"a": "open", "b": "won", "c": "open"}
    publish(url, tables({"d": "open"}), ingested_at=AT + timedelta(2))
    assert stored(url) == {"d": "open"}


def test_counts_are_those_of_the_last_load(url: str) -> None:
    publish(url, tables({"a": "open"}, counts={"n": 1}), ingested_at=AT)
    more = tables({"b": "open"}, counts={"n": 2})
    publish(url, more, ingested_at=AT + timedelta(1), mode="merge")
    with Warehouse.open(url) as warehouse:
        assert warehouse.counts() == {"n": 2}


def test_truth_lies_beside_the_file_and_goes_with_it(url: str) -> None:
    truth = {"p": pa.table({"p": [0.5]})}
    publish(url, tables({"a": "open"}, truth=truth), ingested_at=AT)
    assert [path.name for path in truth_folder(url).iterdir()] == ["p.parquet"]
    publish(url, tables({"b": "open"}), ingested_at=AT)
    assert not truth_folder(url).exists()


def test_what_was_landed_is_kept_for_the_next_load(url: str) -> None:
    rows = pa.table({"deal_id": ["a"], "@cursor": [1.5]})
    landing = Landing("mapping 1", {"deals": rows})
    publish(url, tables({"a": "open"}), ingested_at=AT, landing=landing)
    with Warehouse.open(url) as warehouse:
        kept = warehouse.landing()
        assert warehouse.names() == ["deals"]
    assert kept is not None
    assert kept.source == "mapping 1"
    assert kept.tables["deals"].equals(rows)


def test_a_failed_load_leaves_the_last_good_one(url: str) -> None:
    publish(url, tables({"a": "open"}), ingested_at=AT)
    bad = tables({"b": "open"}, tables={"stages": pa.table({"colour": ["red"]})})
    with pytest.raises(Exception, match="colour"):
        publish(url, bad, ingested_at=AT)
    assert stored(url) == {"a": "open"}
    assert [path.name for path in database_path(url).parent.iterdir()] == ["w.duckdb"]


def test_a_warehouse_that_is_not_there_or_none_is_told(url: str, tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="no warehouse yet; run `salesops ingest`"),
        Warehouse.open(url),
    ):
        pass
    (tmp_path / "letter.duckdb").write_text("dear aunt")
    letter = f"duckdb:///{tmp_path}/letter.duckdb"
    with pytest.raises(DataError, match="cannot be opened"), Warehouse.open(letter):
        pass
    with pytest.raises(DataError, match="no warehouse of ours"):
        publish(letter, tables({"a": "open"}), ingested_at=AT)


def test_a_file_that_another_job_is_writing_is_told(url: str) -> None:
    publish(url, tables({"a": "open"}), ingested_at=AT)
    script = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); input()"
    )
    import subprocess
    import sys

    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(database_path(url))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DataError, match="is another job writing"), Warehouse.open(url):
            pass
    finally:
        holder.communicate("\n")


@pytest.mark.parametrize("bad", ["postgres://there/db", "duckdb://", "w.duckdb", ""])
def test_a_url_of_another_engine_is_a_config_error(bad: str) -> None:
    with pytest.raises(ConfigError, match="duckdb:///store"):
        database_path(bad)


def test_urls_are_relative_to_the_folder_or_absolute() -> None:
    assert database_path("duckdb:///store/w.duckdb") == Path("store/w.duckdb")
    assert database_path("duckdb:////var/w.duckdb") == Path("/var/w.duckdb")


statuses = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["open", "won"]), min_size=1)


@settings(max_examples=10, deadline=None)
@given(st.lists(statuses, min_size=1, max_size=4))
@example([{"a": "open"}, {"a": "won"}, {"a": "open"}])
def test_merging_is_laying_one_load_over_the_other(tmp_path_factory, loads) -> None:
    url = f"duckdb:///{tmp_path_factory.mktemp('w')}/w.duckdb"
    wanted: dict[str, str] = {}
    for number, load in enumerate(loads):
        publish(url, tables(load), ingested_at=AT + timedelta(number), mode="merge")
        wanted |= load
    assert stored(url) == wanted


@settings(max_examples=40, deadline=None)
@given(statuses, st.randoms(use_true_random=False), st.integers(1, 3))
def test_the_digest_knows_content_and_not_order_or_chunks(
    rows: dict[str, str], shuffle: random.Random, size: int
) -> None:
    order = list(rows)
    shuffle.shuffle(order)
    moved = tables({key: rows[key] for key in order})
    pieces = pa.concat_tables(
        [moved.tables["deals"].slice(n, size) for n in range(0, len(rows), size)]
    )
    other = CanonicalTables({"deals": pieces}, no_rejects())
    digest = content_digest(tables(rows))
    assert content_digest(moved) == content_digest(other) == digest
    changed = {**rows, order[0]: "lost"}
    assert content_digest(tables(changed)) != digest
    assert content_digest(tables({**rows, "new": "open"})) != digest


def test_the_digest_sees_nulls_attributes_and_rejects_but_not_lines() -> None:
    def told(row: int, reason: str) -> CanonicalTables:
        reject = {"source": "f", "row": row, "table": "deals", "reason": reason, "cure": "c"}
        rejects = pa.Table.from_pylist([reject], schema=REJECTS.arrow())
        return tables({"a": "open"}, rejects=rejects)

    plain = content_digest(tables({"a": "open"}))
    assert content_digest(told(3, "r")) == content_digest(told(4, "r")) != plain
    assert content_digest(told(3, "s")) != content_digest(told(3, "r"))
    known = tables({"a": "open"}, attributes=(Attribute("size", "float", "at_close"),))
    assert content_digest(known) != plain

    def product(values: list[str | None]) -> str:
        deals = pa.table({"deal_id": ["a", "b"], "status": ["open"] * 2,
                          "product": pa.array(values, pa.string())})  # fmt: skip
        return content_digest(CanonicalTables({"deals": deals}, no_rejects()))

    assert len({product(["x", None]), product([None, "x"]), product(["x", ""])}) == 3


def test_scratch_tables_live_as_long_as_their_block() -> None:
    with Warehouse.in_memory(tables({"a": "open", "b": "won"})) as warehouse:
        with warehouse.scratch() as keep:
            kept = keep(warehouse.table("deals").filter(warehouse.table("deals").status == "won"))
            assert kept.count().execute() == 1
            name = kept.get_name()
        assert name not in warehouse.connection.list_tables()


def test_the_file_is_plain_duckdb_that_anyone_can_open(url: str) -> None:
    publish(url, tables({"a": "open"}), ingested_at=AT)
    with duckdb.connect(str(database_path(url)), read_only=True) as raw:
        assert raw.execute("SELECT deal_id, status FROM deals").fetchall() == [("a", "open")]
