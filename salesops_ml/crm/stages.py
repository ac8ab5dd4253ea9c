"""The stages of the process, where a source has stage events but no table of stages.

Their order is the agreed one (`process.stages`), else the order in which deals mostly reach them. A
stage closes deals where every deal that stands in it is closed, and wins where every one is won.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pyarrow as pa

from salesops_ml.crm.draft import FILE, LINE, Draft
from salesops_ml.schema import ARROW, STAGES
from salesops_ml.settings import Settings

PIPELINE = "sales"
"""The name of the one pipeline of a source that names none."""


def with_stages(draft: Draft, settings: Settings) -> Draft:
    """The draft with a table of stages, taken from the stage events where it has none."""
    events, deals = draft.tables.get("stage_events"), draft.tables["deals"]
    if events is None or "stages" in draft.tables or not events.num_rows:
        return draft
    columns = ["deal_id", "stage", "entered_at", *(["seq"] if "seq" in events.column_names else [])]
    frame = events.select(columns).to_pandas().dropna(subset=["deal_id", "stage", "entered_at"])
    outcomes = deals.select(["deal_id", "status"]).to_pandas().drop_duplicates("deal_id")
    rows = _described(frame, outcomes, settings)
    piped = "pipeline" in deals.column_names and deals["pipeline"].null_count < deals.num_rows
    names = sorted(set(deals["pipeline"].drop_null().to_pylist())) if piped else [PIPELINE]
    table = pd.concat([rows.assign(pipeline=name) for name in names])
    fields = [field for field in STAGES.arrow() if field.name in table.columns]
    done = pa.table(
        [pa.array(table[field.name], field.type, from_pandas=True) for field in fields],
        schema=pa.schema(fields),
    )
    done = done.append_column(FILE, pa.repeat("the stage events", done.num_rows))
    done = done.append_column(LINE, pa.array([0] * done.num_rows, ARROW["integer"]))
    return replace(draft, tables={**draft.tables, "stages": done})


def _described(events: pd.DataFrame, outcomes: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Order and meaning of each stage, from where deals stand today."""
    order = ["deal_id", "entered_at", *(["seq"] if "seq" in events else []), "stage"]
    events = events.sort_values(order)
    events["step"] = events.groupby("deal_id").cumcount()
    last = events.groupby("deal_id").tail(1).merge(outcomes, on="deal_id")
    here = last.groupby("stage")["status"]
    closed = here.agg(lambda status: bool((status != "open").all()))
    won = here.agg(lambda status: bool((status == "won").all()))
    found = events.groupby("stage")["step"].mean().reset_index().sort_values(["step", "stage"])
    names = list(settings.process.stages or found["stage"])
    return pd.DataFrame(
        {
            "stage": names,
            "position": range(len(names)),
            "is_won": [bool(won.get(name, False)) for name in names],
            "is_closed": [bool(closed.get(name, False)) for name in names],
            "expected_days": [settings.process.expected_days.get(name) for name in names],
        }
    )
