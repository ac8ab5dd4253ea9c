"""The feature frame: every block of features, joined on (deal, as of).

Which columns there are is fixed by a `FeatureSpec`; where a block's table is missing the block is, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import ibis
import ibis.expr.types as ir

from salesops_ml.snapshots.activity_features import activity_features
from salesops_ml.snapshots.change_features import attribute_states, change_features
from salesops_ml.snapshots.date_features import amount_features, date_features
from salesops_ml.snapshots.deal_states import deal_states
from salesops_ml.snapshots.feature_spec import VERSION, FeatureSpec, learn_spec
from salesops_ml.snapshots.people_features import account_features, rep_features
from salesops_ml.snapshots.quote_features import quote_features
from salesops_ml.snapshots.relations import with_relations
from salesops_ml.snapshots.stage_features import stage_features
from salesops_ml.snapshots.track_record import last_account_win, track_records
from salesops_ml.snapshots.usual_dwell import stage_record
from salesops_ml.snapshots.visible import KEY
from salesops_ml.snapshots.working_time import working_calendar
from salesops_ml.warehouse import Warehouse

__all__ = ["CONTEXT", "VERSION", "FeatureSpec", "deal_states", "feature_table", "learn_spec"]

COUNTED = (
    "f_activities", "f_activity_trend", "f_kind_", "f_minutes_", "f_quotes", "f_pushes",
    "f_days_pushed", "f_moves_back",
    "f_amount_changes", "f_amount_raises", "f_amount_cuts", "f_pulls", "f_owner_changes",
    "f_category_changes", "f_changes_", "f_skips", "f_loops", "f_days_at_", "f_outcome_",
    "f_last_7_days_", "f_last_90_days_",
)  # fmt: skip
"""Features that count: where nothing is recorded they are nought, not unknown."""
CONTEXT = (
    "created_at", "stage", "rep_id", "account_id", "pipeline", "product", "amount",
    "expected_close_date", "forecast_category",
)  # fmt: skip


def feature_table(
    warehouse: Warehouse,
    spine: ir.Table,
    spec: FeatureSpec,
    *,
    keep: Callable[[ir.Table], ir.Table],
) -> ir.Table:
    """One row per look: deal_id, as_of, the context columns, and every feature `f_*`.

    Args:
        spine: deal_id, as_of, created_at (see `snapshots.spine`).
        spec: which features to build.
        keep: computes an intermediate table once (`Warehouse.scratch`).
    """
    spine = keep(spine)
    states = keep(deal_states(warehouse, spine, spec))
    week = working_calendar(spec.working_week, spec.holidays, spec.time_zone)
    calendar = keep(ibis.memtable(week))
    done = states
    for block in _blocks(warehouse, spine, states, spec, calendar):
        block = keep(block)
        columns = [name for name in block.columns if name not in KEY]
        joined = done.left_join(block, list(KEY))
        done = joined.select(*[done[c] for c in done.columns], *[block[c] for c in columns])
    done = with_relations(done)
    features = [name for name in done.columns if name.startswith("f_")]
    zeros = {n: done[n].fill_null(0.0) for n in features if n.startswith(COUNTED)}
    return done.mutate(**zeros).select(*KEY, *CONTEXT, *features)


def _blocks(
    warehouse: Warehouse, spine: ir.Table, states: ir.Table, spec: FeatureSpec, calendar: ir.Table
) -> Iterator[ir.Table]:
    """The blocks that the specification names."""
    yield date_features(states, fiscal=spec.fiscal, calendar=calendar)
    yield amount_features(states)
    if "stages" in spec.blocks:
        yield stage_features(warehouse, spine, stages=spec.stages, calendar=calendar)
    if "changes" in spec.blocks:
        yield change_features(warehouse, spine)
    if "activities" in spec.blocks:
        yield activity_features(warehouse, spine, kinds=spec.kinds, outcomes=spec.outcomes)
    if "quotes" in spec.blocks:
        yield quote_features(warehouse, spine, statuses=spec.statuses)
    yield rep_features(warehouse, states)
    if "account_id" in spec.fixed:
        yield account_features(warehouse, states)
    if spec.dated:
        yield from _records(warehouse, states, spec)
    plain = [name for name in spec.fixed if name not in ("account_id", "rep_id", "product")]
    if plain:
        facts = warehouse.table("deals").select("deal_id", **{f"f_{n}": n for n in plain})
        yield spine.select(*KEY).left_join(facts, "deal_id").drop("deal_id_right")
    if spec.attributes:
        yield attribute_states(warehouse, spine, spec.attributes)


def _records(warehouse: Warehouse, states: ir.Table, spec: FeatureSpec) -> Iterator[ir.Table]:
    """What earlier deals tell."""
    yield track_records(warehouse, states, fixed=spec.fixed, rated=spec.rated)
    if "account_id" in spec.fixed:
        yield last_account_win(warehouse, states)
    if "stages" in spec.blocks:
        yield stage_record(warehouse, states)
