"""From a draft to canonical tables: order within moments, company money, and every rule kept."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.currency import with_base_amounts
from salesops_ml.crm.draft import Draft, refuse_mostly_rejected
from salesops_ml.crm.order import with_order
from salesops_ml.crm.rules import all_rules, apply
from salesops_ml.crm.stages import with_stages
from salesops_ml.errors import DataError
from salesops_ml.schema import CanonicalTables
from salesops_ml.settings import Settings


def settle(draft: Draft, settings: Settings) -> CanonicalTables:
    """The draft's tables with every rule kept; what breaks one is among the rejects.

    Raises:
        DataError: there are no deals.
        SourceError: more than half of a table's rows cannot be used.
    """
    if "deals" not in draft.tables:
        raise DataError("no table `deals`: every source must bring deals; map them under `source`")
    draft = with_order(_blank_dates_of_open_deals(with_stages(draft, settings)))
    draft = apply(all_rules(), draft)
    draft = with_base_amounts(_with_pipeline(draft), settings)
    refuse_mostly_rejected(draft)
    return CanonicalTables(
        {name: _plain(table) for name, table in draft.tables.items()},
        draft.all_rejects(), draft.attributes, _counts(draft), draft.truth,
    )  # fmt: skip


def _plain(table: pa.Table) -> pa.Table:
    """Without the columns that only the load knows, such as each row's place."""
    return table.select([name for name in table.column_names if not name.startswith("@")])


def _with_pipeline(draft: Draft) -> Draft:
    """Deals of a source that names no pipelines run in the one that its stages are listed under."""
    deals, stages = draft.tables["deals"], draft.tables.get("stages")
    if "pipeline" in deals.column_names or stages is None or not stages.num_rows:
        return draft
    named = set(pc.unique(stages["pipeline"]).to_pylist())
    if len(named) != 1:
        return draft
    deals = deals.append_column("pipeline", pa.repeat(named.pop(), deals.num_rows))
    return replace(draft, tables={**draft.tables, "deals": deals})


def _counts(draft: Draft) -> dict[str, int]:
    counts = dict(draft.counts)
    for name, table in draft.tables.items():
        counts[f"{name}: used"] = table.num_rows
        if draft.left.get(name):
            counts[f"{name}: rejected"] = draft.left[name]
    return counts


def _blank_dates_of_open_deals(draft: Draft) -> Draft:
    """Many CRMs keep the expected and the real close date in one field: open deals have no real one."""
    deals = draft.tables["deals"]
    if not {"closed_at", "status"} <= set(deals.column_names):
        return draft
    foreign = pc.fill_null(
        pc.and_(pc.equal(deals["status"], "open"), pc.is_valid(deals["closed_at"])), False
    )
    found = pc.sum(foreign).as_py() or 0
    if not found:
        return draft
    nothing = pa.scalar(None, pa.timestamp("us"))
    place = deals.column_names.index("closed_at")
    blank = pc.if_else(foreign, nothing, deals["closed_at"])
    tables = {**draft.tables, "deals": deals.set_column(place, "closed_at", blank)}
    counts = {**draft.counts, "deals: close date of an open deal ignored": found}
    return replace(draft, tables=tables, counts=counts)
