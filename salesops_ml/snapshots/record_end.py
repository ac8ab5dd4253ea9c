"""Where the record ends: the last day of which a company's history really tells.

A run that is told no day speaks of this one. One row dated 2092 by mistake must not move it, for from
there every deal would look silent for decades. So dates are believed up to the first long silence that
only a handful of deals have crossed. Deals count and not rows: one mistyped deal brings many rows.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_ml.errors import DataError
from salesops_ml.warehouse import Warehouse

SILENCE_DAYS = 90
"""The shortest silence that can part mistyped dates from the record."""
USUAL_PAUSES = 10
"""A silence is also longer than so many of the pauses that nine in ten stay below."""
HANDFUL = 5
"""So many deals beyond a silence may be mistakes, if they are one in ten at most; one in a hundred may
be in any case."""

_MOMENTS = (
    ("stage_events", "recorded_at"),
    ("deal_changes", "recorded_at"),
    ("activities", "recorded_at"),
    ("quotes", "recorded_at"),
    ("deals", "closed_at"),
    ("deals", "created_at"),
)


def record_end(warehouse: Warehouse) -> datetime:
    """The last believable moment at which anything was recorded.

    Raises:
        DataError: nothing is dated.

    Example:
        >>> import pyarrow as pa
        >>> from salesops_ml.schema import CanonicalTables, no_rejects
        >>> began = [datetime(2026, 5, day) for day in range(1, 31)] + [datetime(2092, 5, 1)]
        >>> rows = [{"deal_id": f"d{n}", "status": "open", "created_at": at}
        ...         for n, at in enumerate(began)]
        >>> tables = CanonicalTables({"deals": pa.Table.from_pylist(rows)}, no_rejects())
        >>> with Warehouse.in_memory(tables) as warehouse:
        ...     print(record_end(warehouse))
        2026-05-30 00:00:00
    """
    end = believable_end(warehouse)
    if end is None:
        raise DataError("nothing in the warehouse is dated; say `as_of` in the configuration")
    return end


def believable_end(warehouse: Warehouse) -> datetime | None:
    """`record_end`, or None where nothing is dated."""
    moments = _moments(warehouse)
    if moments is None:
        return None
    days = moments.select(day=moments["at"].truncate("D")).distinct().order_by("day").execute()
    for silence in _silences(days["day"]):
        before = moments["at"] < silence
        told = moments.aggregate(
            deals=moments.deal_id.nunique(),
            beyond=moments.deal_id.nunique(where=~before),
            end=moments["at"].max(where=before),
        ).execute()
        deals, beyond = int(told["deals"][0]), int(told["beyond"][0])
        if beyond <= max(deals // 100, min(deals // 10, HANDFUL)):
            return _moment(told["end"][0])
    return _moment(moments["at"].max().execute())


def beyond(end: datetime | None, warehouse: Warehouse) -> ir.Table:
    """The deals with a date after `end`, the end of the record, one row each in `deal_id`.

    An activity of no deal is named by its own id.
    """
    moments = _moments(warehouse)
    if end is None or moments is None:
        return warehouse.table("deals").select("deal_id").limit(0)
    return moments.filter(moments["at"] > ibis.literal(end)).select("deal_id").distinct()


def later_than_the_end(warehouse: Warehouse, *, as_of: datetime) -> str | None:
    """A warning where `as_of` lies more than a day after the end of the record, else None."""
    end = believable_end(warehouse)
    if end is None or as_of - end <= timedelta(days=1):
        return None
    return (
        f"warning: `as_of` {as_of} lies {(as_of - end).days:,} days after the end of the record,"
        f" {end}: of the days between nothing is known, and open deals look silent; load newer data,"
        " or give an earlier day"
    )


def _moments(warehouse: Warehouse) -> ir.Table | None:
    """Every moment at which something was recorded, with the deal: deal_id, at. None without any."""
    parts = []
    for name, column in _MOMENTS:
        if not warehouse.has(name):
            continue
        rows = warehouse.table(name)
        deal = rows.deal_id
        if name == "activities":
            deal = ibis.coalesce(deal, rows.activity_id)
        parts.append(rows.select(deal_id=deal, at=rows[column]).filter(ibis._["at"].notnull()))
    if not parts:
        return None
    moments = ibis.union(*parts) if len(parts) > 1 else parts[0]
    return moments if int(moments.count().execute()) else None


def _silences(days: pd.Series[pd.Timestamp]) -> list[datetime]:
    """The days, in order, that end a long silence."""
    pauses = np.diff(days.to_numpy("datetime64[D]")).astype(np.int64)
    if not len(pauses):
        return []
    usual = float(np.quantile(pauses, 0.9, method="lower"))
    long = pauses > max(SILENCE_DAYS, USUAL_PAUSES * usual)
    return [pd.Timestamp(day).to_pydatetime() for day in days.to_numpy()[1:][long]]


def _moment(value: object) -> datetime:
    moment: datetime = pd.Timestamp(value).to_pydatetime()  # type: ignore[arg-type]
    return moment
