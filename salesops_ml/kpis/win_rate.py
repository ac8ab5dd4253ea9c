"""Win rate: of the deals closed in a period, how many, and how much of their amount, were won."""

from __future__ import annotations

import ibis
import pandas as pd

from salesops_ml.kpis.facts import Facts
from salesops_ml.kpis.rows import percent, tell


def win_rate(facts: Facts) -> pd.DataFrame:
    """won / (won + lost), %: `win_rate` by count, `win_rate_amount` by amount.

    Deals still open count neither way. Where some were lost and none of those has an amount, as when
    a CRM empties it, the rate by amount is left out. n: deals closed in the period.
    """
    closed = facts.closed
    won = closed.status == "won"
    valued = (closed.amount > 0).fill_null(False)
    totals = closed.group_by("period", "node").agg(
        n=closed.count(),
        won=won.sum(),
        won_amount=closed.amount.sum(where=won).fill_null(0),
        amount=closed.amount.sum(),
        lost_valued=(~won & valued).sum(),
    )
    known = (totals.won == totals.n) | (totals.lost_valued > 0)
    return tell(
        totals,
        win_rate=percent(totals.won, totals.n),
        win_rate_amount=ibis.ifelse(known, percent(totals.won_amount, totals.amount), None),
    )
