"""What can be said of deals that have no dates at all: win rate and deal size, over everything."""

from __future__ import annotations

import ibis
import pandas as pd

from salesops_ml.kpis.history import MONEY
from salesops_ml.kpis.nodes import ROOT
from salesops_ml.kpis.rows import percent, ratio, tell
from salesops_ml.warehouse import Warehouse

ALL = "all"


def undated_kpis(warehouse: Warehouse) -> pd.DataFrame:
    """Win rate and deal size of the company over all deals, period `all`.

    The table says only how things stand, so nothing can be told as of an earlier day.
    """
    deals = warehouse.table("deals").filter(ibis._.status != "open")
    amount = ibis.coalesce(deals.amount_base, deals.amount).cast(MONEY)
    closed = deals.select(
        period=ibis.literal(ALL), node=ibis.literal(ROOT), won=deals.status == "won", amount=amount
    )
    rates = closed.group_by("period", "node").agg(
        n=closed.count(),
        won=closed.won.sum(),
        won_amount=closed.amount.sum(where=closed.won),
        amount=closed.amount.sum(),
        lost_amount=closed.amount.sum(where=~closed.won),
    )
    known = (rates.won == rates.n) | (rates.lost_amount > 0)
    sizes = closed.group_by("period", "node").agg(
        n=closed.amount.count(where=closed.won),
        total=closed.amount.sum(where=closed.won),
        median=closed.amount.cast("float64").median(where=closed.won),
    )
    told = [
        tell(
            rates,
            win_rate=percent(rates.won, rates.n),
            win_rate_amount=ibis.ifelse(known, percent(rates.won_amount, rates.amount), None),
        ),
        tell(sizes, deal_size_mean=ratio(sizes.total, sizes.n), deal_size_median=sizes["median"]),
    ]
    return pd.concat(told, ignore_index=True)
