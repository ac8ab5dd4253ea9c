"""Entries into the closing stages, for CRMs that keep won and lost as a flag and not as a stage.

A deal that was won or lost, but whose stage events never say so, enters the closing stage of its
pipeline at the moment it closed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pyarrow as pa

from salesops_ml.crm.draft import joined
from salesops_ml.schema import STAGE_EVENTS, STAGES, CanonicalTables


def with_closings(tables: CanonicalTables) -> CanonicalTables:
    """The tables with an entry into a closing stage for every closed deal that lacks one.

    Without stage events or stages nothing is added; doing it twice changes nothing.
    """
    deals = tables.tables["deals"]
    here = {"stages", "stage_events"} <= tables.tables.keys()
    if not here or "closed_at" not in deals.column_names:
        return tables
    stages = tables.tables["stages"].to_pandas()
    events = tables.tables["stage_events"].select(["deal_id", "stage"]).to_pandas()
    closing = stages.loc[stages["is_closed"].fillna(False).astype(bool), "stage"]
    frame = deals.select(
        [name for name in ("deal_id", "pipeline", "status", "closed_at")
         if name in deals.column_names]
    ).to_pandas()  # fmt: skip
    frame["seq"] = frame["deal_id"].map(events["deal_id"].value_counts())
    ended = frame["deal_id"].isin(events.loc[events["stage"].isin(closing), "deal_id"])
    unsaid = frame[frame["seq"].notna() & frame["closed_at"].notna() & ~ended]
    return _entered(tables, unsaid, stages) if len(unsaid) else tables


def _entered(tables: CanonicalTables, deals: pd.DataFrame, stages: pd.DataFrame) -> CanonicalTables:
    if "pipeline" not in deals:
        deals = deals.assign(pipeline=None)
    names, fresh = {}, []
    for pipeline, status in deals[["pipeline", "status"]].drop_duplicates().itertuples(index=False):
        stage, added = _closing_stage(stages, pipeline, status)
        names[pipeline, status] = stage
        fresh += added
    events = {
        "deal_id": deals["deal_id"],
        "entered_at": deals["closed_at"],
        "seq": deals["seq"].astype("int64"),
        "stage": [names[key] for key in zip(deals["pipeline"], deals["status"], strict=True)],
    }
    schema = STAGE_EVENTS.arrow()
    rows = pa.table({name: pa.array(values, schema.field(name).type, from_pandas=True)
                     for name, values in events.items()})  # fmt: skip
    added_stages = pa.Table.from_pylist(fresh, schema=STAGES.arrow())
    merged = {
        **tables.tables,
        "stage_events": joined([tables.tables["stage_events"], rows]),
        "stages": joined([tables.tables["stages"], added_stages]),
    }
    return replace(tables, tables=merged)


def _closing_stage(
    stages: pd.DataFrame, pipeline: Any, status: str
) -> tuple[str, list[dict[str, Any]]]:
    """The stage that ends a deal as `status` in `pipeline`; a new one where it has none."""
    won = status == "won"
    own = stages if pd.isna(pipeline) else stages[stages["pipeline"] == pipeline]
    ends = own[own["is_closed"].astype(bool) & (own["is_won"].astype(bool) == won)]
    if len(ends):
        return str(ends.sort_values("position")["stage"].iloc[0]), []
    last = int(own["position"].max()) if len(own) else -1
    row = {"pipeline": own["pipeline"].iloc[0] if pd.isna(pipeline) and len(own) else pipeline,
           "stage": status, "position": last + (1 if won else 2),
           "is_won": won, "is_closed": True}  # fmt: skip
    return status, [row]
