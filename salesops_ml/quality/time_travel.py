"""The law that nothing sees the future, as an experiment: change everything after a day, and look back.

A copy of the tables is made in which whatever was recorded after day t is deleted or replaced by
nonsense, and so is what `deals`, `accounts` and `reps` say today. Features at t must not move.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.schema import TABLES, CanonicalTables, no_rejects
from salesops_ml.snapshots.visible import KEY
from salesops_ml.warehouse import Warehouse

How = Literal["delete", "corrupt", "mix"]


def copy_tables(warehouse: Warehouse, deals: list[str] | None = None) -> CanonicalTables:
    """The canonical tables in Arrow; with `deals`, only the rows of those deals."""
    tables: dict[str, pa.Table] = {}
    for name in warehouse.names():
        table = warehouse.table(name)
        if deals is not None and "deal_id" in table.columns:
            table = table.filter(table.deal_id.isin(deals))
        tables[name] = table.to_pyarrow()
    return CanonicalTables(tables, no_rejects(), attributes=warehouse.attributes())


def without_future(
    tables: CanonicalTables,
    *,
    as_of: datetime,
    how: How,
    seed: int,
    fixed: tuple[str, ...] = ("account_id", "pipeline", "lead_source", "deal_type"),
) -> CanonicalTables:
    """`tables` with everything after `as_of`, and today's values, deleted or corrupted.

    Args:
        how: delete later rows, corrupt them, or (`mix`) delete a half and corrupt the rest.
        fixed: columns of `deals` declared as known at creation; they stay.
    """
    random = np.random.default_rng(seed)
    done = {}
    for name, table in tables.tables.items():
        if "recorded_at" in TABLES[name].names:
            table = _history(name, table, as_of, how, random)
        elif name == "deals":
            table = _deals(table, tables, as_of, random, fixed)
        done[name] = table
    return CanonicalTables(done, no_rejects(), attributes=tables.attributes)


def compare(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """Names of the features that differ between two builds of the same looks; all, if rows do."""
    names = [name for name in before.columns if name.startswith("f_")]
    if not before[list(KEY)].equals(after[list(KEY)]):
        return names
    return [name for name in names if not _equal(before[name], after[name])]


def _equal(left: pd.Series, right: pd.Series) -> bool:
    both = left.isna() & right.isna()
    return bool((both | (left == right)).all())


def _history(
    name: str, table: pa.Table, as_of: datetime, how: How, random: np.random.Generator
) -> pa.Table:
    """Later rows dropped, or their values shuffled among themselves and moved about after `as_of`."""
    later = pc.greater(table["recorded_at"], pa.scalar(as_of, pa.timestamp("us")))
    later = pc.fill_null(later, False)
    early = table.filter(pc.invert(later))
    if how == "delete" or not pc.any(later).as_py():
        return early
    rows = table.filter(later)
    if how == "mix":
        rows = rows.filter(pa.array(random.random(rows.num_rows) < 0.5))
    key = set(TABLES[name].key) | {"recorded_at"}
    for i, column in enumerate(rows.schema):
        if column.name not in key:
            rows = rows.set_column(i, column, rows[column.name].take(_shuffled(rows, random)))
    moved = [
        as_of + timedelta(seconds=float(s)) for s in random.uniform(1, 9e6, size=rows.num_rows)
    ]
    place = rows.schema.get_field_index("recorded_at")
    rows = rows.set_column(place, rows.schema.field(place), pa.array(moved, pa.timestamp("us")))
    return pa.concat_tables([early, rows])


def _shuffled(rows: pa.Table, random: np.random.Generator) -> pa.Array:
    return pa.array(random.permutation(rows.num_rows))


def _deals(
    table: pa.Table,
    tables: CanonicalTables,
    as_of: datetime,
    random: np.random.Generator,
    fixed: tuple[str, ...],
) -> pa.Table:
    """Today's values as nonsense. Closings before `as_of` stay where only `deals` tells of them."""
    keep = {"deal_id", "created_at", *fixed}
    keep |= {a.column for a in tables.attributes if a.known == "at_creation"}
    told_by_stages = "stage_events" in tables.tables and "stages" in tables.tables
    later = pc.fill_null(pc.greater(table["closed_at"], pa.scalar(as_of, pa.timestamp("us"))), True)
    open_then: Any = np.asarray(later) | told_by_stages
    done = table
    for i, column in enumerate(table.schema):
        if column.name in keep:
            continue
        values = table[column.name]
        scrambled = values.take(_shuffled(table, random))
        if column.name == "closed_at":
            wrong = [as_of + timedelta(days=float(d)) for d in random.uniform(0, 90, len(values))]
            scrambled = pa.array(wrong, column.type)
        mixed = pc.if_else(pa.array(open_then), scrambled, values)
        done = done.set_column(i, column, mixed)
    return done
