"""The data quality report: what is there, what is wrong, and what was left out."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from salesops_ml.quality.checks import run_checks
from salesops_ml.quality.profile import profile
from salesops_ml.warehouse import Warehouse

VERDICTS = ("ok", "warn", "fail")


def quality_report(warehouse: Warehouse, *, as_of: datetime) -> dict[str, Any]:
    """Everything that `data_quality.json` holds, as plain values.

    `verdict` is the worst of the `checks`; `profile` is of every table; `rejects` counts what the last
    load left out, by table, column and reason; `source_counts` says what became of every source row.

    Args:
        warehouse: the tables.
        as_of: histories are looked at up to this moment, naive UTC.
    """
    checks = run_checks(warehouse, as_of=as_of)
    rejects = warehouse.rejects().to_pylist()
    reasons = Counter((row["table"], row["column"], row["reason"]) for row in rejects)
    return {
        "as_of": as_of.isoformat(),
        "verdict": max((check["verdict"] for check in checks), key=VERDICTS.index),
        "checks": checks,
        "rejects": [
            {"table": table, "column": column, "reason": reason, "count": count}
            for (table, column, reason), count in sorted(
                reasons.items(), key=lambda item: (-item[1], str(item[0]))
            )
        ],
        "source_counts": warehouse.counts(),
        "profile": profile(warehouse, as_of=as_of),
    }
