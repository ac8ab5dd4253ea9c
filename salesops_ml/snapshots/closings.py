"""When each deal was closed, told by what was recorded, not by what `deals` says today."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from salesops_ml.warehouse import Warehouse


def closings(warehouse: Warehouse) -> ir.Table:
    """One row per closing that was ever recorded: deal_id, closed_at, recorded_at, won, lost.

    Where the stage history holds closing stages it alone speaks, so that a status corrected today
    never changes what was known earlier. Deals without such history fall back on `deals`.
    """
    deals = warehouse.table("deals")
    from_deals = deals.filter(deals.closed_at.notnull(), deals.status != "open").select(
        "deal_id",
        "closed_at",
        recorded_at=deals.closed_at,
        won=deals.status == "won",
        lost=deals.status == "lost",
    )
    if not (warehouse.has("stage_events") and warehouse.has("stages")):
        return from_deals
    return _from_stages(warehouse)


def _from_stages(warehouse: Warehouse) -> ir.Table:
    """Each deal's first entry into a closing stage since it was last open."""
    events = staged_events(warehouse)
    before = ibis.window(group_by="deal_id", order_by=[events.entered_at, events.seq])
    events = events.mutate(was_closed=events.is_closed.lag().over(before).fill_null(False))
    ends = events.filter(events.is_closed, ~events.was_closed)
    return ends.select(
        "deal_id",
        closed_at=ends.entered_at,
        recorded_at=ends.recorded_at,
        won=ends.is_won,
        lost=~ends.is_won,
    )


def staged_events(warehouse: Warehouse) -> ir.Table:
    """Stage events with what `stages` knows of each stage; an unknown stage is open, unplaced."""
    events = warehouse.table("stage_events")
    deals = warehouse.table("deals").select("deal_id", "pipeline")
    stages = warehouse.table("stages")
    default = ibis.literal("")
    events = events.join(deals, "deal_id", how="left").drop("deal_id_right")
    events = events.mutate(line=ibis.coalesce(events.pipeline, default))
    places = stages.select(
        "position",
        "probability",
        "is_won",
        "is_closed",
        "expected_days",
        line=ibis.coalesce(stages.pipeline, default),
        stage_name=stages.stage,
    )
    joined = events.join(
        places,
        [events.line == places.line, events.stage == places.stage_name],
        how="left",
    )
    return joined.select(
        *[events[name] for name in ("deal_id", "entered_at", "seq", "stage", "rep_id")],
        recorded_at=events.recorded_at,
        position=places.position,
        probability=places.probability,
        expected_days=places.expected_days,
        is_won=ibis.coalesce(places.is_won, False),
        is_closed=ibis.coalesce(places.is_closed, False),
    )
