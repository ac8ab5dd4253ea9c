"""Which open deals are gone: those that the daily photograph of the pipeline no longer shows.

A CRM that deletes a deal writes no event of it. Where the warehouse keeps a photograph of every day's
open pipeline, a deal that was in one, is missing in the last one, and of which nothing was heard since,
has been removed; without photographs a removal shows only between two loads of the record.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_ml.forecasts.history import History
from salesops_ml.warehouse import Warehouse


def without_removed(history: History, warehouse: Warehouse) -> History:
    """The history without the open deals that had been removed by its day.

    Args:
        history: what was known on a day.
        warehouse: the record it was read from; photographs of whole days before it count.
    """
    gone = history.deals["deal_id"].isin(removed_deals(history, warehouse))
    kept = ~gone | (history.deals["status"] != "open")
    return replace(history, deals=history.deals[kept].reset_index(drop=True))


def removed_deals(history: History, warehouse: Warehouse) -> frozenset[str]:
    """Deals that were photographed before, but not last time, without a sign of life since then."""
    taken = warehouse.table("deal_daily")
    last_day = (history.as_of - timedelta(days=1)).date()
    taken = taken.filter(taken.observed_on <= ibis.literal(last_day))
    seen = _pandas(taken.group_by("deal_id").agg(last=taken.observed_on.max()))
    if seen.empty:
        return frozenset()
    days = pd.to_datetime(seen["last"])
    missing = set(seen.loc[days < days.max(), "deal_id"])
    alive = _heard_of(history, warehouse, days.max())
    return frozenset(missing - alive)


def _heard_of(history: History, warehouse: Warehouse, since: pd.Timestamp) -> set[str]:
    """Deals that moved or changed on the day of the last photograph or after it."""
    heard: set[str] = set()
    for name, at in (("stage_events", "entered_at"), ("deal_changes", "changed_at")):
        rows = warehouse.table(name)
        rows = rows.filter(
            rows[at] >= since.to_pydatetime(),
            rows[at] <= history.as_of,
            rows.recorded_at <= history.as_of,
        )
        heard |= set(_pandas(rows.select("deal_id").distinct())["deal_id"])
    return heard


def _pandas(table: ir.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pyarrow().to_pandas()
    return frame
