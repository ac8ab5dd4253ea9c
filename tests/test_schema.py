"""The canonical tables: what conforms, and how what does not is told."""

from __future__ import annotations

import random
from datetime import datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_ml.errors import SchemaError
from salesops_ml.schema import (
    ARROW,
    REJECTS,
    TABLES,
    TODAYS_VALUES,
    Attribute,
    conform,
    no_rejects,
)


@pytest.mark.parametrize("name", TABLES)
def test_keys_event_times_and_costs_are_columns_and_words(name: str) -> None:
    table = TABLES[name]
    assert set(table.key) <= set(table.names)
    assert table.event_time is None or table.column(table.event_time).kind == "timestamp"
    assert (table.event_time is not None) == ("recorded_at" in table.names)
    assert name == "deals" or table.costs
    assert all(column.meaning and column.kind in ARROW for column in table.columns)
    assert len(set(table.names)) == len(table.names)


def test_todays_values_are_columns_of_deals() -> None:
    assert set(TODAYS_VALUES) <= set(TABLES["deals"].names)


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_table_conforms(name: str) -> None:
    done = conform(name, pa.table({}))
    assert done.schema.equals(TABLES[name].arrow())
    assert done.num_rows == 0


def test_text_becomes_its_kind_and_gaps_become_nulls() -> None:
    done = conform(
        "deals", pa.table({"deal_id": [1], "status": ["won"], "created_at": ["2026-01-01T10:00"],
                           "amount": ["10.5"], "term_months": ["12"]}),
    ).to_pylist()[0]  # fmt: skip
    assert (done["deal_id"], done["amount"]) == ("1", Decimal("10.50"))
    assert (done["created_at"], done["term_months"]) == (datetime(2026, 1, 1, 10), 12)
    assert done["account_id"] is None


def test_what_was_recorded_is_by_default_what_happened_then() -> None:
    at, later = datetime(2026, 1, 1), datetime(2026, 1, 5)
    rows = [
        {"activity_id": "a", "kind": "call", "at": at, "recorded_at": None},
        {"activity_id": "b", "kind": "call", "at": at, "recorded_at": later},
    ]
    done = conform("activities", pa.Table.from_pylist(rows, schema=TABLES["activities"].arrow()))
    assert done["recorded_at"].to_pylist() == [at, later]


@given(st.permutations(range(8)))
def test_rows_come_out_by_key_whatever_their_order(order: list[int]) -> None:
    rows = [
        {"deal_id": f"d{n % 3}", "entered_at": datetime(2026, 1, 1 + n % 2), "seq": n, "stage": "s"}
        for n in order
    ]
    done = conform("stage_events", pa.Table.from_pylist(rows)).to_pylist()
    keys = [(row["deal_id"], row["entered_at"], row["seq"]) for row in done]
    assert keys == sorted(keys)
    assert len(set(keys)) == 8


def test_attributes_follow_the_columns_of_deals() -> None:
    attributes = (Attribute("size", "float", "at_creation"),)
    table = pa.table({"x_size": [1.5], "deal_id": ["a"], "status": ["won"]})
    assert conform("deals", table, attributes).column_names == [*TABLES["deals"].names, "x_size"]
    with pytest.raises(SchemaError, match="does not know column `x_size`"):
        conform("deals", table)


WRONG = {
    "unknown column": ({"deal_id": ["a"], "status": ["won"], "colour": ["red"]}, "`colour`"),
    "required column absent": ({"deal_id": ["a"]}, "lacks its required column `status`"),
    "required value absent": (
        {"deal_id": ["a", None], "status": ["won", "won"]},
        "row 2: `deal_id`",
    ),
    "no date": ({"deal_id": ["a"], "status": ["won"], "created_at": ["soon"]}, "`created_at`"),
    "no money": ({"deal_id": ["a"], "status": ["won"], "amount": ["lots"]}, "`amount`"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_conform_is_named(name: str) -> None:
    columns, message = WRONG[name]
    with pytest.raises(SchemaError, match=message):
        conform("deals", pa.table(columns))


def test_rejects_are_a_table_like_any_other() -> None:
    assert conform("rejects", no_rejects()).schema.equals(REJECTS.arrow())
    rows = [
        {"source": "f", "row": n, "table": "deals", "column": "c", "reason": "r", "cure": "c"}
        for n in (3, 1, 2)
    ]
    random.shuffle(rows)
    done = conform("rejects", pa.Table.from_pylist(rows))
    assert done["row"].to_pylist() == [1, 2, 3]


def test_a_column_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(SchemaError, match="no column `colour`; it has: pipeline, stage"):
        TABLES["stages"].column("colour")
