"""Where the deal stands in the process, how long it has stood there, and how it came."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from salesops_ml.snapshots.closings import staged_events
from salesops_ml.snapshots.visible import KEY, days_between, numbered, visible
from salesops_ml.warehouse import Warehouse


def stage_features(warehouse: Warehouse, spine: ir.Table) -> ir.Table:
    """Latest stage and the path to it, over the whole life of the deal.

    f_stage: a deal's chance is first of all its stage's. f_stage_position: order carries between
    pipelines. f_days_in_stage: deals that linger lose. f_days_in_stage_of_expected: linger beyond
    what was agreed. f_stages_seen, f_moves, f_moves_back, f_skips: smooth paths win, loops don't.
    f_visits_of_stage: back again where it was. f_furthest_position: how far it ever came.
    f_days_per_stage: its pace so far. f_moves_14d: momentum. f_crm_probability: the CRM's view.
    """
    seen = visible(spine, _moves(warehouse), at="entered_at")
    seen = seen.mutate(days_ago=days_between(seen.entered_at, seen.as_of))
    latest = seen.group_by(*KEY).agg(
        f_stage=seen.stage.argmax(seen.place),
        f_stage_position=seen.position.argmax(seen.place).cast("float64"),
        f_days_in_stage=seen.days_ago.argmax(seen.place),
        expected_days=seen.expected_days.argmax(seen.place),
        f_crm_probability=seen.probability.argmax(seen.place),
        f_stages_seen=seen.stage.nunique().cast("float64"),
        f_moves=seen.count().cast("float64"),
        f_moves_back=seen.back.sum().cast("float64"),
        f_skips=seen.skipped.sum().cast("float64"),
        f_visits_of_stage=seen.visit.argmax(seen.place).cast("float64"),
        f_furthest_position=seen.position.max().cast("float64"),
        f_moves_14d=(seen.days_ago < 14).sum().cast("float64"),
        first_days_ago=seen.days_ago.max(),
    )
    return latest.mutate(
        f_days_in_stage_of_expected=latest.f_days_in_stage / latest.expected_days.nullif(0),
        f_days_per_stage=latest.first_days_ago / latest.f_moves,
    ).drop("expected_days", "first_days_ago")


def _moves(warehouse: Warehouse) -> ir.Table:
    """Stage events with their rank, whether each went back or skipped, and which visit it is."""
    events = numbered(staged_events(warehouse), "entered_at", "seq")
    in_order = ibis.window(group_by="deal_id", order_by="place")
    of_stage = ibis.window(group_by=["deal_id", "stage"], order_by="place")
    before = events.position.lag().over(in_order)
    return events.mutate(
        back=(events.position < before).cast("int64"),
        skipped=(events.position > before + 1).cast("int64"),
        visit=ibis.row_number().over(of_stage) + 1,
    )
