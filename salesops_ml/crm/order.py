"""Which of two things came first when a source gives both one and the same moment.

A source that knows maps it to `seq`. Otherwise stages follow their order in the process and changes
the alphabet, so that the order of rows in a file decides nothing.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from salesops_ml.crm.draft import LINE, Draft, rejects_of
from salesops_ml.crm.rules import repeated


def with_order(draft: Draft) -> Draft:
    """The draft with `seq` in its stage events and deal changes."""
    draft = _ordered(draft, "stage_events", ("deal_id", "entered_at"))
    return _ordered(draft, "deal_changes", ("deal_id", "field", "changed_at"))


def _ordered(draft: Draft, name: str, moment: tuple[str, ...]) -> Draft:
    table = draft.tables.get(name)
    if table is None or "seq" in table.column_names:
        return draft
    draft = _once(draft, name)
    table = draft.tables[name]
    frame = table.drop_columns([LINE]).to_pandas()
    by = [*moment, *(column for column in frame.columns if not column.startswith("@"))]
    if name == "stage_events" and "stages" in draft.tables:
        frame["@position"] = frame["stage"].map(_positions(draft.tables["stages"]))
        by.insert(len(moment), "@position")
    ranked = frame.sort_values(list(dict.fromkeys(by)), kind="stable")
    seq = ranked.groupby(list(moment), dropna=False).cumcount().sort_index()
    table = table.append_column("seq", pa.array(seq, pa.int64()))
    return replace(draft, tables={**draft.tables, name: table})


def _positions(stages: pa.Table) -> dict[str, int]:
    frame = stages.select(["stage", "position"]).to_pandas()
    return dict(frame.groupby("stage")["position"].min())


def _once(draft: Draft, name: str) -> Draft:
    """Without rows that say again, word for word, what another row says."""
    table = draft.tables[name]
    content = tuple(column for column in table.column_names if not column.startswith("@"))
    again = repeated(table, content)
    rows = table.filter(again)
    noted = rejects_of(rows, table=name, column="deal_id", values=rows["deal_id"],
                       reason="the row stands twice, word for word",
                       cure="keep it once at the source")  # fmt: skip
    return draft.without(name, again, noted)
