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
    total = int(counted["rows"])
    columns = {column: _column(rows, column, counted, total) for column in rows.columns}
    time = TABLES[name].event_time or ("created_at" if name == "deals" else None)
    span = columns[time] if time else {}
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


def _column(rows: ir.Table, column: str, counted: dict[str, Any], total: int) -> dict[str, Any]:
    nulls, distinct = int(counted[f"{column} nulls"] or 0), int(counted[f"{column} distinct"])
    found: dict[str, Any] = {
        "nulls": nulls,
        "null_share": round(nulls / total, 6) if total else 0.0,
        "distinct": distinct,
        "min": _plain(counted.get(f"{column} min")),
        "max": _plain(counted.get(f"{column} max")),
    }
    named = isinstance(rows[column], ir.StringColumn | ir.BooleanColumn)
    if named and 0 < distinct <= _MOST_KINDS_OF_VALUE:
        found["top"] = _top(rows, column)
    return found


def _top(rows: ir.Table, column: str) -> dict[str, int]:
    """The commonest values and how often each stands there."""
    filled = rows.filter(rows[column].notnull())
    counts = filled.group_by(column).aggregate(times=filled.count())
    order = [ibis.desc("times"), ibis.asc(column)]
    first = counts.order_by(order).limit(TOP_VALUES).to_pyarrow().to_pylist()
    return {str(row[column]): int(row["times"]) for row in first}


def _plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, date) else value
