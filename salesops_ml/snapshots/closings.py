"""When each deal was closed, told by what was recorded, not by what `deals` says today."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from salesops_ml.snapshots.visible import numbered
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
    """Each deal's first entry into a closing stage since it was last open.

    Whether it was open before is told by what was recorded by then: an entry that is written down
    late does not undo a closing that everybody had seen.
    """
    events = numbered(staged_events(warehouse), "entered_at", "seq")
    ends = events.filter(events.is_closed)
    before = events.select("deal_id", earlier="place", told="recorded_at", shut="is_closed")
    pairs = ends.left_join(
        before,
        [
            ends.deal_id == before.deal_id,
            before.earlier < ends.place,
            before.told <= ends.recorded_at,
        ],
    )
    states = pairs.group_by("deal_id", "place", "entered_at", "recorded_at", "is_won").agg(
        was_closed=pairs.shut.argmax(pairs.earlier)
    )
    first = states.filter(~ibis.coalesce(states.was_closed, False))
    return first.select(
        "deal_id",
        closed_at=first.entered_at,
        recorded_at=first.recorded_at,
        won=first.is_won,
        lost=~first.is_won,
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
