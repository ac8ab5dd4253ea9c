"""Why the open pipeline changed between two days: what came, what went, what grew and shrank.

Start + created + re-opened + owner in + amount up + amount down + owner out + won + lost = end, at
every node; what leaves is negative. A deal that changes hands leaves one node and enters another,
and does neither at the nodes above both. Nodes are those of the later day's organisation, so that a
team that moves takes its pipeline along and only deals that change hands count as moved.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from salesops_ml.errors import UsageError
from salesops_ml.forecasts.hierarchy import ancestors
from salesops_ml.forecasts.history import History

STEPS = (
    "start", "created", "re-opened", "owner in", "amount up", "amount down", "owner out", "won",
    "lost", "end",
)  # fmt: skip


def pipeline_waterfall(before: History, after: History) -> pd.DataFrame:
    """Money by node and step between two days, company currency.

    A deal that was created and closed in between counts under both. Deals without an amount count 0.

    Args:
        before: the deals as known on the earlier day.
        after: the deals as known on the later day.

    Returns:
        `node` and one column per step of `STEPS`, sorted by node.

    Raises:
        UsageError: `after` is not later than `before`.
    """
    if after.as_of <= before.as_of:
        raise UsageError(
            f"the waterfall's end {after.as_of} is not after its start {before.as_of}; swap them"
        )
    deals = _both_days(before, after)
    rows = pd.concat([_at_nodes(deals, side) for side in ("both", "old", "new")])
    sums = rows.groupby("node", sort=True)[[*STEPS]].sum()
    return sums.reset_index()


def _both_days(before: History, after: History) -> pd.DataFrame:
    """One row per deal of either pipeline, or that passed through: state, amount, leaf, then and now."""
    old = before.deals[["deal_id", "status", "amount"]].assign(
        node=after.organisation.place(before.deals)
    )
    new = after.deals[["deal_id", "status", "amount", "node"]]
    deals = old.merge(new, on="deal_id", how="outer", suffixes=("_old", "_new"))
    deals = deals.sort_values("deal_id", kind="stable", ignore_index=True)
    for side in ("old", "new"):
        deals[f"amount_{side}"] = deals[f"amount_{side}"].fillna(0.0)
    was_open = deals["status_old"] == "open"
    passed = deals["status_old"].isna() | ((deals["status_new"] == "open") & ~was_open)
    kept = deals[was_open | passed].copy()
    kept["was_open"] = was_open[kept.index]
    kept["node_old"] = kept["node_old"].where(kept["was_open"], kept["node_new"])
    kept["node_new"] = kept["node_new"].fillna(kept["node_old"])
    return kept


def _at_nodes(deals: pd.DataFrame, side: str) -> pd.DataFrame:
    """The deals' steps at the nodes that held them on both days, only before, or only after."""
    pairs = []
    for old, new in zip(deals["node_old"], deals["node_new"], strict=True):
        was, now = ancestors(old), ancestors(new)
        chosen = {
            "both": [node for node in was if node in now],
            "old": [node for node in was if node not in now],
            "new": [node for node in now if node not in was],
        }
        pairs.append(chosen[side])
    rows = (
        deals.assign(node=pd.Series(pairs, index=deals.index, dtype=object))
        .explode("node")
        .dropna(subset=["node"])
    )
    return pd.DataFrame({"node": rows["node"], **_steps(rows, side)})


def _steps(rows: pd.DataFrame, side: str) -> dict[str, pd.Series[float]]:
    """What each row adds to every step; they add up to its `end`."""
    nothing = pd.Series(0.0, index=rows.index)
    old, new, was_open = rows["amount_old"], rows["amount_new"], rows["was_open"]
    steps = dict.fromkeys(STEPS, nothing)
    if side == "old":
        return steps | {"start": old.where(was_open, 0.0), "owner out": -old.where(was_open, 0.0)}
    came = ~was_open
    fresh = came & rows["status_old"].isna()
    change = pd.Series(np.where(was_open, new - old, 0.0), index=rows.index)
    entered = old.where(was_open, 0.0)
    steps |= {
        "created": new.where(fresh, 0.0),
        "re-opened": new.where(came & ~fresh, 0.0),
        "amount up": change.clip(lower=0.0),
        "amount down": change.clip(upper=0.0),
        "won": -new.where(rows["status_new"] == "won", 0.0),
        "lost": -new.where(rows["status_new"] == "lost", 0.0),
        "end": new.where(rows["status_new"] == "open", 0.0),
    }
    return steps | {"start" if side == "both" else "owner in": entered}
