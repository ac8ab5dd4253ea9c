"""Which deals are looked at, and on which days: the rows of every snapshot frame.

A spine has the columns deal_id, as_of and created_at, one row per look at a deal that was open then.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import ibis
import ibis.expr.types as ir

from salesops_ml.errors import DataError
from salesops_ml.settings import Snapshots
from salesops_ml.snapshots.closings import closings, staged_events
from salesops_ml.warehouse import Warehouse

_MONDAY = datetime(2000, 1, 3)


def open_spine(warehouse: Warehouse, *, as_of: datetime) -> ir.Table:
    """The deals known to be open at `as_of`, each looked at just then."""
    deals = _dated_deals(warehouse)
    spine = deals.filter(deals.created_at <= as_of).mutate(as_of=ibis.literal(as_of))
    return _open_rows(warehouse, spine.select("deal_id", "as_of", "created_at"))


def history_spine(warehouse: Warehouse, snapshots: Snapshots, *, as_of: datetime) -> ir.Table:
    """Every look at every deal up to `as_of`, at the distance and anchor of the settings.

    `deal_start` looks at created_at + k * every; `calendar` on the same Mondays (or every n-th day
    from one) for all deals; `every_event` whenever a stage changes.
    """
    if snapshots.anchor == "every_event":
        spine = _event_looks(warehouse)
    elif snapshots.anchor == "calendar":
        spine = _calendar_looks(warehouse, snapshots.every_days, as_of)
    else:
        spine = _start_looks(warehouse, snapshots.every_days, as_of)
    return _open_rows(warehouse, spine.filter(spine.as_of <= as_of))


def _dated_deals(warehouse: Warehouse) -> ir.Table:
    deals = warehouse.table("deals")
    dated = deals.filter(deals.created_at.notnull())
    if int(dated.count().execute()) == 0:
        raise DataError(
            "table `deals`: no deal has `created_at`, so there are no days to look at; map it, or"
            " use the win model on attributes"
        )
    return dated


def _start_looks(warehouse: Warehouse, every: int, as_of: datetime) -> ir.Table:
    deals = _dated_deals(warehouse)
    last = _last_moment(warehouse, deals, as_of)
    whole_days = last.end.delta(last.created_at, unit="day").cast("int64")
    looks = last.mutate(k=ibis.range(0, whole_days // every + 2).unnest())
    return looks.select(
        "deal_id",
        as_of=looks.created_at + (looks.k * every).as_interval("D"),
        created_at=looks.created_at,
    )


def _calendar_looks(warehouse: Warehouse, every: int, as_of: datetime) -> ir.Table:
    deals = _dated_deals(warehouse)
    first = deals.created_at.min().execute().to_pydatetime()
    step = timedelta(days=every)
    start = _MONDAY + ((first - _MONDAY) // step) * step
    days = [start + i * step for i in range((as_of - start) // step + 1)]
    calendar = ibis.memtable({"as_of": days}, schema={"as_of": "timestamp(6)"})
    last = _last_moment(warehouse, deals, as_of)
    every_pair = last.cross_join(calendar)
    seen = every_pair.filter(
        every_pair.as_of >= every_pair.created_at, every_pair.as_of <= every_pair.end
    )
    return seen.select("deal_id", "as_of", "created_at")


def _event_looks(warehouse: Warehouse) -> ir.Table:
    deals = _dated_deals(warehouse)
    events = warehouse.table("stage_events")
    looks = events.join(deals, "deal_id").select("deal_id", "created_at", as_of=events.recorded_at)
    return looks.distinct()


def _last_moment(warehouse: Warehouse, deals: ir.Table, as_of: datetime) -> ir.Table:
    """deal_id, created_at and end: the last closing of a deal closed by `as_of`, else `as_of`."""
    deals = deals.filter(deals.created_at <= as_of)
    now = deals.select("deal_id", "created_at", as_of=ibis.literal(as_of))
    still_open = _open_rows(warehouse, now).select("deal_id", still_open=True)
    ends = closings(warehouse)
    ends = ends.filter(ends.recorded_at <= as_of)
    ends = ends.group_by("deal_id").agg(last_closed=ends.recorded_at.max())
    joined = deals.join(still_open, "deal_id", how="left").join(ends, "deal_id", how="left")
    closed = ibis.ifelse(joined.still_open.fill_null(False), None, joined.last_closed)
    return joined.select(
        "deal_id", "created_at", end=ibis.coalesce(closed, ibis.literal(as_of)).cast("timestamp(6)")
    )


def _open_rows(warehouse: Warehouse, spine: ir.Table) -> ir.Table:
    """The looks at which the deal had not been closed, or had been opened again since."""
    if warehouse.has("stage_events") and warehouse.has("stages"):
        return _open_by_stage(warehouse, spine)
    ends = closings(warehouse).select("deal_id", "recorded_at")
    ends = ends.group_by("deal_id").agg(first_closed=ends.recorded_at.min())
    joined = spine.join(ends, "deal_id", how="left")
    kept = joined.filter(joined.first_closed.isnull() | (joined.first_closed > joined.as_of))
    return kept.select("deal_id", "as_of", "created_at")


def _open_by_stage(warehouse: Warehouse, spine: ir.Table) -> ir.Table:
    events = staged_events(warehouse)
    window = ibis.window(group_by="deal_id", order_by=[events.entered_at, events.seq])
    events = events.mutate(place=ibis.row_number().over(window))
    seen = spine.join(events, "deal_id", how="left")
    visible = (seen.recorded_at <= seen.as_of) & (seen.entered_at <= seen.as_of)
    state = seen.group_by("deal_id", "as_of", "created_at").agg(
        closed=seen.is_closed.argmax(seen.place, where=visible)
    )
    return state.filter(~ibis.coalesce(state.closed, False)).drop("closed")
