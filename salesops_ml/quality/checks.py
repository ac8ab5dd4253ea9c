"""Named checks of a company's data: what contradicts itself, how often, and what to do about it.

A check is an expression that yields the rows in fault. Its verdict is `ok` where there are none,
`warn` up to the share that it can bear, `fail` above. Checks whose tables are missing are not run:
the profile says what those tables cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from salesops_ml.quality.check import Check, Faults
from salesops_ml.quality.deal_checks import DEAL_CHECKS
from salesops_ml.quality.history_checks import HISTORY_CHECKS
from salesops_ml.quality.profile import plain
from salesops_ml.quality.reference_checks import REFERENCE_CHECKS
from salesops_ml.quality.seen import Seen
from salesops_ml.warehouse import Warehouse

CHECKS: tuple[Check, ...] = (*DEAL_CHECKS, *HISTORY_CHECKS, *REFERENCE_CHECKS)
EXAMPLES = 5


def run_checks(
    warehouse: Warehouse, *, as_of: datetime, checks: Sequence[Check] = CHECKS
) -> list[dict[str, Any]]:
    """Every check that the tables allow, in order.

    Returns:
        Mappings of `check`, `table`, `count` (rows in fault), `share` (of the rows looked at, 0..1),
        `verdict` (ok, warn, fail), `examples` (the first rows in fault, by key) and `cure`.

    Example:
        >>> import pyarrow as pa
        >>> from salesops_ml.schema import CanonicalTables, no_rejects
        >>> deals = pa.table({"deal_id": ["a", "b"], "status": ["open", "open"],
        ...     "amount": [5, -5], "amount_base": [5, -5]})
        >>> with Warehouse.in_memory(CanonicalTables({"deals": deals}, no_rejects())) as warehouse:
        ...     found = run_checks(warehouse, as_of=datetime(2026, 1, 1))
        >>> [(row["check"], row["examples"]) for row in found if row["verdict"] == "fail"]
        [('negative amounts', [{'deal_id': 'b', 'amount': '-5.00'}])]
    """
    seen = Seen.at(warehouse, as_of=as_of)
    runnable = [check for check in checks if seen.has(check.table, *check.needs)]
    looked_at = _looked_at(runnable, seen)
    return [_run(check, seen, looked_at[check.table, check.of]) for check in runnable]


def _looked_at(checks: Sequence[Check], seen: Seen) -> dict[tuple[str, Faults | None], int]:
    """How many rows the shares are of, counted once for the checks that have them in common."""
    among = {(check.table, check.of): check for check in checks}
    return {key: int(check.among(seen).count().execute()) for key, check in among.items()}


def _run(check: Check, seen: Seen, looked_at: int) -> dict[str, Any]:
    faults = check.faults(seen)
    count = int(faults.count().execute())
    return {
        "check": check.name,
        "table": check.table,
        "count": count,
        "share": count / looked_at if looked_at else 0.0,
        "verdict": check.verdict(count, looked_at),
        "examples": _examples(check, faults) if count else [],
        "cure": check.cure,
    }


def _examples(check: Check, faults: Any) -> list[dict[str, Any]]:
    shown = faults.select(*check.shows).order_by(list(check.shows)).limit(EXAMPLES)
    return [
        {name: plain(value) for name, value in row.items()}
        for row in shown.to_pyarrow().to_pylist()
    ]
