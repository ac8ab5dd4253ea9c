"""What the tables hold: rows, gaps, ranges and the commonest values; and what each missing one costs."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import ibis
import ibis.expr.types as ir

from salesops_ml.quality.known import Known
from salesops_ml.schema import TABLES
from salesops_ml.warehouse import Warehouse

TOP_VALUES = 5
_MOST_KINDS_OF_VALUE = 200


def profile(warehouse: Warehouse, *, as_of: datetime) -> dict[str, Any]:
    """A profile of every canonical table, as known at `as_of` (naive UTC).

    `tables` holds for each table that is there its `rows`, first and last moment (`from`, `to`) and
    `columns`: nulls, their share, distinct values, minimum and maximum, and for columns of few values
    the commonest (`top`). `missing` holds what each absent table costs.

    Example:
        >>> import pyarrow as pa
        >>> from salesops_ml.schema import CanonicalTables, no_rejects
        >>> deals = pa.table({"deal_id": ["a", "b"], "status": ["won", "open"]})
        >>> with Warehouse.in_memory(CanonicalTables({"deals": deals}, no_rejects())) as warehouse:
        ...     found = profile(warehouse, as_of=datetime(2026, 1, 1))
        >>> found["tables"]["deals"]["columns"]["status"]["top"]
        {'open': 1, 'won': 1}
        >>> found["missing"]["quotes"]
        'no quote and discount features'
    """
    known = Known(warehouse, as_of)
    return {
        "as_of": as_of.isoformat(),
        "tables": {name: _table(known, name) for name in TABLES if known.has(name)},
        "missing": {name: table.costs for name, table in TABLES.items() if not known.has(name)},
    }


def _table(known: Known, name: str) -> dict[str, Any]:
    rows = known.table(name)
    counted = _counted(rows)
    columns = {column: _column(column, counted) for column in rows.columns}
    few = [
        column
        for column, found in columns.items()
        if isinstance(rows[column], ir.StringColumn | ir.BooleanColumn)
        and 0 < found["distinct"] <= _MOST_KINDS_OF_VALUE
    ]
    for column, top in _top(rows, few).items():
        columns[column]["top"] = top
    time = TABLES[name].event_time or ("created_at" if name == "deals" else None)
    span = columns[time] if time else {}
    total = int(counted["rows"])
    return {"rows": total, "from": span.get("min"), "to": span.get("max"), "columns": columns}


def _counted(rows: ir.Table) -> dict[str, Any]:
    """Counts and ranges of all columns, in one pass."""
    asked: dict[str, ir.Scalar] = {"rows": rows.count()}
    for column in rows.columns:
        value = rows[column]
        asked[f"{column} nulls"] = value.isnull().sum()
        asked[f"{column} distinct"] = value.nunique()
        if not isinstance(value, ir.BooleanColumn):
            asked[f"{column} min"] = value.min()
            asked[f"{column} max"] = value.max()
    return dict(rows.aggregate(**asked).to_pyarrow().to_pylist()[0])


def _column(column: str, counted: dict[str, Any]) -> dict[str, Any]:
    nulls = int(counted[f"{column} nulls"] or 0)
    return {
        "nulls": nulls,
        "null_share": round(nulls / max(int(counted["rows"]), 1), 6),
        "distinct": int(counted[f"{column} distinct"]),
        "min": _plain(counted.get(f"{column} min")),
        "max": _plain(counted.get(f"{column} max")),
    }


def _top(rows: ir.Table, columns: list[str]) -> dict[str, dict[str, int]]:
    """The commonest values of columns that have few, and how often each stands there."""
    counts = []
    for column in columns:
        filled = rows.filter(rows[column].notnull()).select(value=rows[column].cast("string"))
        counted = filled.group_by("value").aggregate(times=filled.count())
        counts.append(counted.mutate(column=ibis.literal(column)))
    if not counts:
        return {}
    together = ibis.union(*counts) if len(counts) > 1 else counts[0]
    found = together.to_pyarrow().to_pylist()
    found.sort(key=lambda row: (-row["times"], row["value"]))
    tops: dict[str, dict[str, int]] = {column: {} for column in columns}
    for row in found:
        top = tops[row["column"]]
        if len(top) < TOP_VALUES:
            top[row["value"]] = int(row["times"])
    return tops


def _plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, date) else value
