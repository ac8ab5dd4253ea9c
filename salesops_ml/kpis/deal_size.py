"""Deal size: what a won deal brings, and how big the open ones are."""

from __future__ import annotations

import ibis.expr.types as ir
import pandas as pd

from salesops_ml.kpis.facts import Facts
from salesops_ml.kpis.rows import ratio, tell


def deal_size(facts: Facts) -> pd.DataFrame:
    """Mean and median amount of the deals won in the period. n: those with an amount."""
    sizes = _sizes(facts.won)
    return tell(sizes, deal_size_mean=ratio(sizes.total, sizes.n), deal_size_median=sizes["median"])


def open_deal_size(facts: Facts) -> pd.DataFrame:
    """Mean and median amount of the deals open at the end of the period. n: those with an amount."""
    sizes = _sizes(facts.open_at_end)
    return tell(
        sizes,
        open_deal_size_mean=ratio(sizes.total, sizes.n),
        open_deal_size_median=sizes["median"],
    )


def _sizes(deals: ir.Table) -> ir.Table:
    sized = deals.filter(deals.amount.notnull())
    return sized.group_by("period", "node").agg(
        n=sized.count(), total=sized.amount.sum(), median=sized.amount.cast("float64").median()
    )
