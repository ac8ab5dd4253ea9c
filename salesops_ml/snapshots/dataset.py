"""From history to the frame that models learn from: looks, features, and what became of each deal.

Outcomes are told twice: over the whole record (`outcome`, for judging), and as known at the split's
border (`known_outcome`, for learning; who closed later is still open there).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_ml.settings import Settings
from salesops_ml.snapshots.closings import closings
from salesops_ml.snapshots.feature_spec import FeatureSpec
from salesops_ml.snapshots.features import feature_table
from salesops_ml.snapshots.spine import history_spine, open_spine
from salesops_ml.snapshots.undated import is_dated, undated_spine, with_bare_outcome
from salesops_ml.snapshots.visible import KEY, days_between
from salesops_ml.warehouse import Warehouse

_BEFORE_ALL = datetime(1, 1, 1)


def build_dataset(
    warehouse: Warehouse, settings: Settings, spec: FeatureSpec, *, as_of: datetime
) -> pd.DataFrame:
    """Every look up to `as_of`, with features and outcome, sorted by deal and day.

    A table without dates gives one look a deal (`snapshots.undated`).

    Columns besides context and `f_*`: `outcome` (won, lost, open), `days_to_outcome` (null while
    open), `days_observed` (from the look to `as_of`).
    """
    dated = is_dated(warehouse)
    if dated:
        spine = history_spine(warehouse, settings.snapshots, as_of=as_of)
    else:
        spine = undated_spine(warehouse, as_of=as_of, only_open=False)
    with warehouse.scratch() as keep:
        table = keep(feature_table(warehouse, spine, spec, keep=keep))
        if dated:
            return _sorted(_with_outcome(warehouse, table, as_of=as_of))
        return _sorted(with_bare_outcome(warehouse, table))


def open_deals(warehouse: Warehouse, spec: FeatureSpec, *, as_of: datetime) -> pd.DataFrame:
    """The deals open at `as_of` with their features and context, sorted by deal."""
    if is_dated(warehouse):
        spine = open_spine(warehouse, as_of=as_of)
    else:
        spine = undated_spine(warehouse, as_of=as_of, only_open=True)
    with warehouse.scratch() as keep:
        return _sorted(feature_table(warehouse, spine, spec, keep=keep))


def open_deals_on(
    warehouse: Warehouse, spec: FeatureSpec, days: Sequence[datetime]
) -> pd.DataFrame:
    """`open_deals` of several days in one frame; of no days, a frame without rows."""
    if not days:
        return open_deals(warehouse, spec, as_of=_BEFORE_ALL)
    spines = [open_spine(warehouse, as_of=day) for day in days]
    with warehouse.scratch() as keep:
        spine = ibis.union(*spines) if len(spines) > 1 else spines[0]
        return _sorted(feature_table(warehouse, spine, spec, keep=keep))


def snapshot(warehouse: Warehouse, spec: FeatureSpec, looks: pd.DataFrame) -> pd.DataFrame:
    """Features of any looks (columns deal_id, as_of), whether the deals were open or not."""
    deals = warehouse.table("deals").select("deal_id", "created_at")
    spine = ibis.memtable(looks[list(KEY)]).join(deals, "deal_id")
    spine = spine.select(
        "deal_id", as_of=spine.as_of.cast("timestamp(6)"), created_at=spine.created_at
    )
    with warehouse.scratch() as keep:
        return _sorted(feature_table(warehouse, spine, spec, keep=keep))


def _with_outcome(warehouse: Warehouse, table: ir.Table, *, as_of: datetime) -> ir.Table:
    """The first closing after each look, if it was recorded by `as_of`."""
    ends = closings(warehouse)
    ends = ends.filter(ends.recorded_at <= as_of)
    looks = table.select(*KEY)
    later = looks.join(ends, [looks.deal_id == ends.deal_id, ends.recorded_at > looks.as_of])
    first = later.group_by(*KEY).agg(
        ended_at=later.closed_at.argmin(later.recorded_at), won=later.won.argmin(later.recorded_at)
    )
    joined = table.left_join(first, list(KEY))
    days = days_between(joined.as_of, joined.ended_at)
    outcome = ibis.cases((joined.ended_at.isnull(), "open"), (joined.won, "won"), else_="lost")
    return joined.select(
        *[table[name] for name in table.columns],
        outcome=outcome,
        days_to_outcome=ibis.ifelse(joined.ended_at.isnull(), None, ibis.greatest(days, 0.0)),
        days_observed=days_between(joined.as_of, ibis.literal(as_of)),
    )


def _sorted(table: ir.Table) -> pd.DataFrame:
    """In pandas, one row order whatever the engine's, moments in microseconds."""
    frame: pd.DataFrame = table.to_pyarrow().to_pandas()
    return frame.sort_values(list(KEY), kind="stable").reset_index(drop=True)
