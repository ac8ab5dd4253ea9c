"""Every check of the data, answered: what is wrong, how much of it, and what to do."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from salesops_ml.quality.check import EXAMPLES, answer
from salesops_ml.quality.deal_checks import DEAL_CHECKS
from salesops_ml.quality.history_checks import HISTORY_CHECKS
from salesops_ml.quality.known import Known
from salesops_ml.quality.reference_checks import reference_checks, tracked_fields
from salesops_ml.warehouse import Warehouse

_MANY_REJECTS = 0.02


def run_checks(warehouse: Warehouse, *, as_of: datetime) -> list[dict[str, Any]]:
    """Findings, one for each check that the tables can answer.

    Each has `check` (the fault in words), `table`, `count`, `share` of the table's rows, `verdict`
    (ok, warn or fail), up to five `examples`, `meaning` and `cure`.

    Args:
        warehouse: the tables.
        as_of: histories are looked at up to this moment, naive UTC.
    """
    known = Known(warehouse, as_of)
    checks = [*DEAL_CHECKS, *HISTORY_CHECKS, *reference_checks(known)]
    found = [answer(check, known) for check in checks]
    return [
        *(finding for finding in found if finding is not None),
        _rejected_rows(warehouse),
        *_without_history(known),
    ]


def _rejected_rows(warehouse: Warehouse) -> dict[str, Any]:
    """Rows that the last load could not use."""
    rejects = warehouse.rejects().to_pylist()
    rows = {(row["source"], row["row"], row["table"]) for row in rejects}
    loaded = sum(warehouse.rows(name) for name in warehouse.names())
    share = len(rows) / max(loaded + len(rows), 1)
    shown = [f"{row['source']}, line {row['row']}: {row['reason']}" for row in rejects[:EXAMPLES]]
    verdict = "ok" if not rows else "warn" if share <= _MANY_REJECTS else "fail"
    return {
        "check": "rows rejected at the last load",
        "table": "rejects",
        "count": len(rows),
        "share": round(share, 6),
        "verdict": verdict,
        "examples": shown,
        "meaning": "they are in no figure",
        "cure": "see `rejects` for file, line, value and cure of each",
    }


def _without_history(known: Known) -> list[dict[str, Any]]:
    """Attributes that change over time, but whose changes nobody recorded."""
    fields = set(tracked_fields(known))
    if known.has("deal_changes"):
        changes = known.warehouse.table("deal_changes")
        fields |= set(changes.select("field").distinct().execute()["field"])
    declared = [known.name for known in known.warehouse.attributes() if known.known == "over_time"]
    missing = [name for name in declared if name not in fields]
    if not declared:
        return []
    return [
        {
            "check": "attributes that change, without a history",
            "table": "deal_changes",
            "count": len(missing),
            "share": round(len(missing) / len(declared), 6),
            "verdict": "warn" if missing else "ok",
            "examples": missing[:EXAMPLES],
            "meaning": "their past is not known, so they are no features",
            "cure": "load their changes, or declare them `known: at_creation` if they never change",
        }
    ]
