"""Why the open pipeline changed between two days: what came, what went, what grew and shrank.

The steps are those of `kpis/causes.py`, of the whole open pipeline or of what is due in one period. Both
days are told as they were known then, so that the start is what was said on the first day, and what the
record learned late is news of the time in between. Nodes are those of the later day's organisation: a
team that moves takes its pipeline along, and only deals that change hands count as moved.
"""

from __future__ import annotations

import ibis
import pandas as pd

from salesops_ml.errors import UsageError
from salesops_ml.forecasts.batch import Bools
from salesops_ml.forecasts.hierarchy import ancestors
from salesops_ml.forecasts.history import History, due_in
from salesops_ml.kpis.causes import MONEY, STEPS, causes
from salesops_ml.periods import Period

__all__ = ["STEPS", "pipeline_waterfall"]


def pipeline_waterfall(
    before: History,
    after: History,
    *,
    period: Period | None = None,
    time_zone: str = "UTC",
) -> pd.DataFrame:
    """Money by node and step between two days, company currency.

    A deal that was created and closed in between counts under both. Deals without an amount count 0. One
    that is no longer in the record is `removed`; see `photographs.without_removed` for one record that
    tells of removals.

    Args:
        before: the deals as known on the earlier day.
        after: the deals as known on the later day.
        period: only deals expected to close in it count, and deals won in it.
        time_zone: of the company, for the borders of the period.

    Returns:
        `node` and one column per step of `STEPS`, sorted by node; no row where nothing was in scope.

    Raises:
        UsageError: `after` is not later than `before`.
    """
    if after.as_of <= before.as_of:
        raise UsageError(
            f"the waterfall's end {after.as_of} is not after its start {before.as_of}; swap them"
        )
    deals = _at_nodes(_both_days(before, after, period, time_zone))
    if deals.empty:
        return pd.DataFrame({"node": pd.Series(dtype=object), **dict.fromkeys(STEPS, 0.0)})
    table = ibis.memtable(deals)
    money = {name: table[name].cast(MONEY) for name in ("old", "new", "old_own", "new_own")}
    steps = causes(table.mutate(**money), "node")
    sums = steps.group_by("node").agg(**{step: steps[step].sum() for step in STEPS})
    told = sums.mutate(**{step: sums[step].cast("float64") for step in STEPS})
    frame: pd.DataFrame = told.order_by("node").to_pyarrow().to_pandas()
    return frame


def _both_days(
    before: History, after: History, period: Period | None, time_zone: str
) -> pd.DataFrame:
    """One row per deal that was open, or became so, or passed through: then, now, and where."""
    old, new = before.deals, after.deals
    then = pd.DataFrame(
        {
            "deal_id": old["deal_id"],
            "node_old": after.organisation.place(old),
            "status_old": old["status"],
            "was_due": _due(old, period),
            "old": old["amount"].fillna(0.0),
            "old_own": old["own_amount"],
        }
    )
    now = pd.DataFrame(
        {
            "deal_id": new["deal_id"],
            "node_new": new["node"],
            "status": new["status"],
            "is_due": _due(new, period) | _won_in(new, period, time_zone),
            "new": new["amount"].fillna(0.0),
            "new_own": new["own_amount"],
        }
    )
    deals = then.merge(now, on="deal_id", how="outer")
    deals["was_open"] = deals["status_old"] == "open"
    deals["is_new"] = deals["status_old"].isna()
    became = deals["status"].notna() & (deals["status_old"] != deals["status"])
    deals = deals[deals["was_open"] | became]
    return _filled(deals.sort_values("deal_id", kind="stable", ignore_index=True))


def _filled(deals: pd.DataFrame) -> pd.DataFrame:
    """The deals with an answer in every column, also where one of the days does not know them."""
    for name in ("was_due", "is_due"):
        deals[name] = deals[name].eq(True)
    won_in_scope = deals["was_open"] & deals["was_due"] & (deals["status"] == "won")
    deals["is_due"] |= won_in_scope
    money = ["old", "new", "old_own", "new_own"]
    deals = deals.assign(**{name: deals[name].astype("float64") for name in money})
    deals[["old", "new"]] = deals[["old", "new"]].fillna(0.0)
    deals["node_old"] = deals["node_old"].where(deals["was_open"], deals["node_new"])
    deals["node_new"] = deals["node_new"].fillna(deals["node_old"])
    deals["status"] = deals["status"].astype("string")
    in_scope = (deals["was_open"] & deals["was_due"]) | deals["is_due"]
    return deals[in_scope]


def _due(deals: pd.DataFrame, period: Period | None) -> Bools:
    """Whether each deal is expected to close in the period; without one, every deal is."""
    if period is None:
        return deals["deal_id"].notna().to_numpy()
    return due_in(deals["expected_close_date"], period).to_numpy()


def _won_in(deals: pd.DataFrame, period: Period | None, time_zone: str) -> Bools:
    if period is None:
        return (deals["status"] == "won").to_numpy()
    start, end = (pd.Timestamp(moment) for moment in period.bounds(time_zone))
    inside = (deals["closed_at"] >= start) & (deals["closed_at"] < end)
    return (inside & (deals["status"] == "won")).to_numpy()


def _at_nodes(deals: pd.DataFrame) -> pd.DataFrame:
    """The deals once for every node that holds them on either day; `in_old`, `in_new` say when."""
    sides = []
    for column, mark in (("node_old", "in_old"), ("node_new", "in_new")):
        paths = [ancestors(path) for path in deals[column]]
        nodes = pd.Series(paths, index=deals.index, dtype=object)
        placed = deals[["deal_id"]].assign(node=nodes).explode("node")
        sides.append(placed.assign(**{mark: True}))
    both = sides[0].merge(sides[1], on=["deal_id", "node"], how="outer")
    for mark in ("in_old", "in_new"):
        both[mark] = both[mark].eq(True)
    return both.merge(deals.drop(columns=["node_old", "node_new", "status_old"]), on="deal_id")
