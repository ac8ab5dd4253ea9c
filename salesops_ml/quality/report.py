"""The data quality report: what is there, what is wrong, and what was left out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from salesops_ml.quality.checks import run_checks
from salesops_ml.quality.profile import profile
from salesops_ml.warehouse import Warehouse

VERDICTS = ("ok", "warn", "fail")
EXAMPLES = 3
UNDATED = {
    "created_at": "no snapshots, no cycle length, no ageing: a win model on attributes only",
    "closed_at": "no close dates and no revenue by period: a win model on attributes only",
}


def quality_report(warehouse: Warehouse, *, as_of: datetime) -> dict[str, Any]:
    """Everything that `data_quality.json` holds, as plain values.

    `verdict` is the worst of the `checks`; `profile` is of every table; `missing_tables` says what each
    table that is not there costs; `rejects` counts what the last load left out, by table, column and
    reason, with the first examples and the cure; `source_counts` says what became of every source row.

    Args:
        warehouse: the tables.
        as_of: histories are looked at up to this moment, naive UTC.
    """
    checks = run_checks(warehouse, as_of=as_of)
    told = profile(warehouse, as_of=as_of)
    return {
        "as_of": as_of.isoformat(),
        "verdict": max((check["verdict"] for check in checks), key=VERDICTS.index),
        "checks": checks,
        "rejects": rejects_by_reason(warehouse.rejects().to_pylist()),
        "source_counts": warehouse.counts(),
        "missing_tables": told["missing"] | _undated(told["tables"].get("deals")),
        "profile": told,
    }


def rejects_by_reason(rejects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rejected values counted by table, column and reason, most frequent first.

    Example:
        >>> row = {"source": "d.csv", "row": 2, "table": "deals", "column": "opened", "value": "soon",
        ...     "reason": "is not a time", "cure": "write such as 2026-01-31"}
        >>> found = rejects_by_reason([row, row | {"row": 7}])
        >>> found[0]["count"], found[0]["examples"]
        (2, ["d.csv, line 2: 'soon'", "d.csv, line 7: 'soon'"])
    """
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rejects:
        groups.setdefault((row["table"], row["column"] or "", row["reason"]), []).append(row)
    told = [
        {
            "table": table, "column": column, "reason": reason, "count": len(rows),
            "examples": [_place(row) for row in rows[:EXAMPLES]], "cure": rows[0]["cure"],
        }
        for (table, column, reason), rows in groups.items()
    ]  # fmt: skip
    return sorted(told, key=lambda one: (-one["count"], one["table"], one["column"], one["reason"]))


def _place(row: dict[str, Any]) -> str:
    """Where a rejected value stood; a source without lines has none."""
    line = f", line {row['row']}" if row["row"] else ""
    return f"{row['source']}{line}: {row['value']!r}"


def _undated(deals: dict[str, Any] | None) -> dict[str, str]:
    """What it costs that no deal at all has a date."""
    columns = deals["columns"] if deals else {}
    return {
        f"deals.{name}": cost
        for name, cost in UNDATED.items()
        if columns and columns[name]["distinct"] == 0
    }
