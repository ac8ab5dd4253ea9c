"""One check of the data: a question with a number for an answer, a verdict and a cure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir

from salesops_ml.quality.known import Known

EXAMPLES = 5


@dataclass(frozen=True)
class Check:
    """What can be wrong with the rows of a table.

    Attributes:
        name: the fault, in plain words.
        table: where it is looked for.
        needs: other tables without which there is no answer.
        meaning: what goes wrong downstream.
        cure: what to do.
        bad: the faulty rows, with the column `example` that names each.
        warn_above: share of rows above which it is worth a warning.
        fail_above: share of rows above which the data should not be used.
    """

    name: str
    table: str
    meaning: str
    cure: str
    bad: Callable[[Known], ir.Table]
    needs: tuple[str, ...] = ()
    warn_above: float = 0.0
    fail_above: float = 0.5


def answer(check: Check, known: Known) -> dict[str, Any] | None:
    """The check's finding; None where a table that it needs is not there.

    The verdict goes by the share of the table's rows: `ok`, `warn` or `fail`.
    """
    if not known.has(check.table, *check.needs):
        return None
    bad = check.bad(known)
    count = int(bad.count().execute())
    share = count / known.rows(check.table)
    return {
        "check": check.name,
        "table": check.table,
        "count": count,
        "share": round(share, 6),
        "verdict": _verdict(check, count, share),
        "examples": _examples(bad) if count else [],
        "meaning": check.meaning,
        "cure": check.cure,
    }


def _verdict(check: Check, count: int, share: float) -> str:
    if not count or share <= check.warn_above:
        return "ok"
    return "fail" if share > check.fail_above else "warn"


def _examples(bad: ir.Table) -> list[str]:
    first = bad.select(example=bad.example.cast("string")).distinct().order_by("example")
    return [str(value) for value in first.limit(EXAMPLES).execute()["example"]]


def rows_where(rows: ir.Table, fault: ir.BooleanValue, example: str = "deal_id") -> ir.Table:
    """The rows of which `fault` is true, named by their column `example`."""
    return rows.filter(fault.fill_null(False)).select(example=ibis._[example])
