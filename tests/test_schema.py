"""The canonical tables: what fits is shaped alike, what does not is told by table, row and column."""

from __future__ import annotations

import random
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import SchemaError
from salesops_ml.schema import (
    REJECTS,
    TABLES,
    TODAYS_VALUES,
    Attribute,
    conform,
    no_rejects,
)


@pytest.mark.parametrize("table", [*TABLES.values(), REJECTS], ids=lambda table: table.name)
def test_every_table_is_well_defined(table) -> None:
    assert set(table.key) <= set(table.names)
    assert len(set(table.names)) == len(table.names)
    assert table.event_time is None or table.column(table.event_time).kind == "timestamp"
    assert ("recorded_at" in table.names) == (table.event_time is not None)
    assert all(column.meaning for column in table.columns)


def test_only_deals_may_not_be_missing_and_all_others_say_what_they_cost() -> None:
    assert [name for name, table in TABLES.items() if not table.costs] == ["deals"]
    required = [column.name for column in TABLES["deals"].columns if column.required]
    assert required == ["deal_id", "status"]


def test_todays_values_are_columns_of_deals() -> None:
    assert set(TODAYS_VALUES) < set(TABLES["deals"].names)
    assert not {"deal_id", "created_at", "account_id", "pipeline"} & set(TODAYS_VALUES)


def test_an_unknown_column_is_told_with_those_that_there_are() -> None:
    with pytest.raises(SchemaError, match="`quotas` has no column `goal`; it has: owner_id"):
        TABLES["quotas"].column("goal")


EVENTS = {
    "deal_id": ["b", "a", "a"],
    "entered_at": [datetime(2026, 1, 2, 3, 4, 5, 678901)] * 3,
    "seq": [0, 1, 0],
    "stage": ["Lead"] * 3,
}


def test_conforming_orders_columns_and_rows_and_fills_when_it_was_recorded() -> None:
    late = datetime(2026, 1, 9)
    done = conform("stage_events", pa.table({**EVENTS, "recorded_at": [None, None, late]}))
    assert done.schema.names == list(TABLES["stage_events"].names)
    assert done["deal_id"].to_pylist() == ["a", "a", "b"]
    assert done["seq"].to_pylist() == [0, 1, 0]
    assert done["recorded_at"].to_pylist() == [late, *EVENTS["entered_at"][:2]]
    assert done["rep_id"].null_count == 3


@pytest.mark.parametrize(
    "kind", [pa.timestamp("ns"), pa.timestamp("ms"), pa.timestamp("us", "UTC")]
)
def test_times_of_any_unit_become_naive_utc_microseconds(kind) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5)
    rows = pa.table({"deal_id": ["a"], "status": ["open"],
                     "created_at": pa.array([moment], pa.timestamp("us")).cast(kind)})  # fmt: skip
    done = conform("deals", rows)
    assert done.schema.field("created_at").type == pa.timestamp("us")
    assert done["created_at"].to_pylist() == [moment]


@pytest.mark.parametrize("amount", [5, 5.0, "5.00", Decimal("5")])
def test_money_may_come_as_any_number(amount) -> None:
    done = conform("deals", pa.table({"deal_id": ["a"], "status": ["won"], "amount": [amount]}))
    assert done["amount"].to_pylist() == [Decimal("5.00")]


WRONG = {
    "unknown column": ({"deal_id": ["a"], "status": ["won"], "win": [1]},
                       "`deals` does not know column `win`; it has: deal_id"),
    "required column absent": ({"deal_id": ["a"]}, "`deals` lacks its required column `status`"),
    "required value absent": ({"deal_id": ["a", "b", None], "status": ["won"] * 3},
                              "`deals`, row 3: `deal_id` is empty, but is required"),
    "wrong kind": ({"deal_id": ["a"], "status": ["won"], "amount": ["much"]},
                   "`deals`, column `amount` does not read as decimal"),
    "fractions of a cent": ({"deal_id": ["a"], "status": ["won"], "amount": ["5.001"]},
                            "`deals`, column `amount` does not read as decimal"),
    "too much money": ({"deal_id": ["a"], "status": ["won"], "amount": [10**17]},
                       "`deals`, column `amount` does not read as decimal"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_told(name: str) -> None:
    columns, message = WRONG[name]
    with pytest.raises(SchemaError, match=message):
        conform("deals", pa.table(columns))


def test_a_declared_attribute_has_a_column_of_its_own_kind_and_hides_none() -> None:
    known = Attribute("status", "float", "at_creation")
    done = conform(
        "deals", pa.table({"deal_id": ["a"], "status": ["won"], "x_status": [2]}), (known,)
    )
    assert done.schema.names[-1] == known.column == "x_status"
    assert (done["x_status"].to_pylist(), done["status"].to_pylist()) == ([2.0], ["won"])


def test_an_empty_table_of_every_kind_conforms() -> None:
    for name, table in TABLES.items():
        assert conform(name, table.arrow().empty_table()).schema == table.arrow()
    assert conform("rejects", no_rejects()).schema == REJECTS.arrow()


quota = st.tuples(st.sampled_from("abc"), st.dates(date(2026, 1, 1), date(2026, 1, 9)))


@settings(deadline=None)
@given(st.lists(quota, unique=True), st.randoms(use_true_random=False))
def test_the_order_of_rows_is_forgotten(
    quotas: list[tuple[str, date]], shuffle: random.Random
) -> None:
    def table(rows: list[tuple[str, date]]) -> pa.Table:
        records = [
            {"owner_id": owner, "period_start": day, "period_end": day, "amount": Decimal(1)}
            for owner, day in rows
        ]
        return pa.Table.from_pylist(records, schema=TABLES["quotas"].arrow())

    mixed = shuffle.sample(quotas, len(quotas))
    done = conform("quotas", table(mixed))
    assert done.equals(conform("quotas", table(quotas)))
    assert conform("quotas", done).equals(done)
