"""The first look at a company's data: how much there is, how full, and what it is made of.

A table that is missing is told by what it costs: the features and pages that need it.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import ibis
import ibis.expr.types as ir

from salesops_ml.quality.seen import Seen
from salesops_ml.schema import TABLES
from salesops_ml.warehouse import Warehouse

TOP = 5
UNDATED = {
    "created_at": "no snapshots, no cycle length, no ageing: a win model on attributes only",
    "closed_at": "no close dates and no revenue by period: a win model on attributes only",
}
"""What it costs where `deals` holds no such date at all."""


def profile(warehouse: Warehouse, *, as_of: datetime) -> dict[str, Any]:
    """Every table's rows and columns, and what the missing ones cost.

    Returns:
        `tables`: by name, `rows` and `columns`; a column has `kind`, `nulls`, `distinct`, `min`,
        `max` (as text) and, for words, the `top` values with their counts, most frequent first.
        `missing_tables`: what each table without rows costs, by name; where `deals` has no creation
        or closing dates at all, `deals.created_at` or `deals.closed_at` is listed too.

    Example:
        >>> import pyarrow as pa
        >>> from salesops_ml.schema import CanonicalTables, no_rejects
        >>> deals = pa.table({"deal_id": ["a", "b"], "status": ["won", "open"]})
        >>> with Warehouse.in_memory(CanonicalTables({"deals": deals}, no_rejects())) as warehouse:
        ...     found = profile(warehouse, as_of=datetime(2026, 1, 1))
        >>> found["tables"]["deals"]["columns"]["status"]["top"]
        [{'value': 'open', 'count': 1}, {'value': 'won', 'count': 1}]
    """
    seen = Seen.at(warehouse, as_of=as_of)
    tables = {name: _table(seen.table(name)) for name in TABLES if seen.has(name)}
    missing = {name: TABLES[name].costs for name in TABLES if not seen.has(name)}
    columns = tables.get("deals", {}).get("columns", {})
    for name, cost in UNDATED.items():
        if columns and columns[name]["nulls"] == tables["deals"]["rows"]:
            missing[f"deals.{name}"] = cost
    return {"tables": tables, "missing_tables": missing}


def _table(table: ir.Table) -> dict[str, Any]:
    measures = {"rows": table.count()}
    for name in table.columns:
        column = table[name]
        measures[f"{name} nulls"] = column.isnull().sum()
        measures[f"{name} distinct"] = column.nunique()
        measures[f"{name} min"] = column.min()
        measures[f"{name} max"] = column.max()
    told = table.agg(**measures).to_pyarrow().to_pylist()[0]
    rows = int(told["rows"])
    return {
        "rows": rows,
        "columns": {name: _column(table, name, told, rows) for name in table.columns},
    }


def _column(table: ir.Table, name: str, told: dict[str, Any], rows: int) -> dict[str, Any]:
    distinct = int(told[f"{name} distinct"])
    done = {
        "kind": str(table[name].type()),
        "nulls": int(told[f"{name} nulls"] or 0),
        "distinct": distinct,
        "min": plain(told[f"{name} min"]),
        "max": plain(told[f"{name} max"]),
    }
    words = table[name].type().is_string() or table[name].type().is_boolean()
    if words and distinct > 0 and (distinct < rows or rows <= TOP):
        done["top"] = _top(table, name)
    return done


def _top(table: ir.Table, name: str) -> list[dict[str, Any]]:
    held = table.filter(table[name].notnull())
    counts = held.group_by(value=held[name]).agg(count=held.count())
    first = counts.order_by([ibis.desc("count"), "value"]).limit(TOP).to_pyarrow().to_pylist()
    return [{"value": plain(row["value"]), "count": int(row["count"])} for row in first]


def plain(value: Any) -> Any:
    """A value as JSON knows it: dates and money become text.

    Example:
        >>> plain(datetime(2026, 3, 31, 12)), plain(Decimal("10.50")), plain(True), plain(None)
        ('2026-03-31T12:00:00', '10.50', True, None)
    """
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
