"""The shape of one quality check, and the few patterns that most of them follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import ibis
import ibis.expr.types as ir

from salesops_ml.quality.seen import Seen

Verdict = Literal["ok", "warn", "fail"]
Faults = Callable[[Seen], ir.Table]


@dataclass(frozen=True)
class Check:
    """One thing that should not be.

    Attributes:
        name: what is wrong, in words.
        table: the table whose rows are in fault.
        faults: the rows in fault.
        shows: columns of `faults` that an example shows, key first.
        cure: what to do about it.
        needs: other tables without which the check says nothing.
        bears: share of the rows that may be in fault before the verdict is `fail`; 0: none, 1: any.
        of: the rows that the share is of; the table's where not given.
    """

    name: str
    table: str
    faults: Faults
    shows: tuple[str, ...]
    cure: str
    needs: tuple[str, ...] = ()
    bears: float = 0.01
    of: Faults | None = None

    def among(self, seen: Seen) -> ir.Table:
        """The rows that were looked at."""
        return self.of(seen) if self.of else seen.table(self.table)

    def verdict(self, count: int, looked_at: int) -> Verdict:
        """`ok` for none in fault, `warn` up to the share that can be borne, else `fail`."""
        if count == 0:
            return "ok"
        return "warn" if count <= self.bears * looked_at else "fail"


def repeated(table: str, *key: str) -> Faults:
    """Keys that stand on more than one row, with `times`."""

    def faults(seen: Seen) -> ir.Table:
        rows = seen.table(table)
        counts = rows.group_by(*key).agg(times=rows.count())
        return counts.filter(counts.times > 1)

    return faults


def after_border(table: str, *columns: str) -> Faults:
    """Rows with a moment after both the day looked at and the last load."""

    def faults(seen: Seen) -> ir.Table:
        rows = seen.table(table)
        return rows.filter(ibis.or_(*[rows[name] > seen.border for name in columns]))

    return faults


def negative(table: str, *columns: str) -> Faults:
    """Rows with a number below 0 in one of the columns."""

    def faults(seen: Seen) -> ir.Table:
        rows = seen.table(table)
        return rows.filter(ibis.or_(*[rows[name] < 0 for name in columns]))

    return faults


def outside_unit(table: str, column: str) -> Faults:
    """Rows whose share does not lie in 0..1."""

    def faults(seen: Seen) -> ir.Table:
        rows = seen.table(table)
        return rows.filter((rows[column] < 0) | (rows[column] > 1))

    return faults


def orphans(table: str, column: str, parent: str, key: str | None = None) -> Faults:
    """Rows that point at a row of `parent` which is not there."""

    def faults(seen: Seen) -> ir.Table:
        rows = seen.table(table)
        known = seen.warehouse.table(parent).select(_parent=key or column).distinct()
        return rows.filter(rows[column].notnull()).anti_join(
            known, rows[column] == known["_parent"]
        )

    return faults


def with_deal(seen: Seen, table: str) -> ir.Table:
    """The rows of a history, each with its deal's `made_at` and `ended_at`."""
    rows = seen.table(table)
    deals = seen.warehouse.table("deals")
    dated = deals.select(_deal=deals.deal_id, made_at=deals.created_at, ended_at=deals.closed_at)
    return rows.join(dated, rows.deal_id == dated["_deal"])


def before_creation(table: str, at: str) -> Faults:
    """Rows of a history that happened before their deal was created."""

    def faults(seen: Seen) -> ir.Table:
        rows = with_deal(seen, table)
        return rows.filter(rows[at] < rows.made_at)

    return faults


def after_closing(table: str, at: str) -> Faults:
    """Rows of a history that happened after their deal had closed."""

    def faults(seen: Seen) -> ir.Table:
        rows = with_deal(seen, table)
        return rows.filter(rows[at] > rows.ended_at)

    return faults
