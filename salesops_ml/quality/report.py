"""One page on the data: checks, profile, what was turned away, what is missing, and a verdict."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa

from salesops_ml.quality.checks import run_checks
from salesops_ml.quality.profile import profile
from salesops_ml.warehouse import Warehouse

EXAMPLES = 3
_SEVERITY = ("ok", "warn", "fail")


def quality_report(warehouse: Warehouse, *, as_of: datetime) -> dict[str, Any]:
    """All that the data understanding phase says of the tables, in plain values that JSON knows.

    Returns:
        `verdict` (the worst of the checks; at least `warn` where rows were rejected), `checks` (see
        `run_checks`), `profile` (tables by name, see `profile`), `rejects` (by table and reason,
        most frequent first, with the first examples), `missing_tables` (what each costs).
    """
    checks = run_checks(warehouse, as_of=as_of)
    rejects = rejects_by_reason(warehouse.rejects())
    found = profile(warehouse, as_of=as_of)
    verdicts = [str(check["verdict"]) for check in checks] + (["warn"] if rejects else [])
    return {
        "verdict": max(verdicts, key=_SEVERITY.index, default="ok"),
        "as_of": as_of.isoformat(),
        "checks": checks,
        "profile": found["tables"],
        "rejects": rejects,
        "missing_tables": found["missing_tables"],
    }


def rejects_by_reason(rejects: pa.Table) -> list[dict[str, Any]]:
    """How many values were turned away, by table and reason, with examples and the cure.

    Example:
        >>> from salesops_ml.schema import REJECTS
        >>> row = {"source": "d.csv", "row": 2, "table": "deals", "column": "amount", "value": "x",
        ...     "reason": "no number", "cure": "write one"}
        >>> told = rejects_by_reason(pa.Table.from_pylist([row], schema=REJECTS.arrow()))
        >>> told[0]["count"], told[0]["examples"]
        (1, [{'source': 'd.csv', 'row': 2, 'column': 'amount', 'value': 'x'}])
    """
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rejects.sort_by([("source", "ascending"), ("row", "ascending")]).to_pylist():
        key = (row["table"], row["reason"])
        blank = {"table": key[0], "reason": key[1], "cure": row["cure"], "count": 0, "examples": []}
        group = groups.setdefault(key, blank)
        group["count"] += 1
        if len(group["examples"]) < EXAMPLES:
            shown = ("source", "row", "column", "value")
            group["examples"].append({name: row[name] for name in shown})
    return sorted(groups.values(), key=lambda told: (-told["count"], told["table"], told["reason"]))
