"""Sales velocity: how much money the pipeline turns into sales a day."""

from __future__ import annotations

import pandas as pd

from salesops_ml.kpis.facts import Facts
from salesops_ml.kpis.rows import SECONDS_A_DAY, ratio, seconds_between, tell


def sales_velocity(facts: Facts) -> pd.DataFrame:
    """Open deals x win rate x mean deal size / mean cycle length, money a day.

    Open deals are those at the end of the period; win rate, size and cycle those of the deals closed
    in it. n: open deals.
    """
    closed = facts.closed
    won = closed.status == "won"
    length = seconds_between(closed.created_at, closed.closed_at)
    ended = closed.group_by(_period="period", _node="node").agg(
        won=won.sum(),
        closed=closed.count(),
        size=ratio(closed.amount.sum(where=won), closed.amount.count(where=won)),
        days=ratio(length.sum(where=won), length.count(where=won)) / SECONDS_A_DAY,
    )
    here = facts.open_at_end
    counts = here.group_by("period", "node").agg(n=here.count())
    joined = counts.inner_join(
        ended, [counts.period == ended["_period"], counts.node == ended["_node"]]
    )
    rate = ratio(joined.won, joined.closed)
    return tell(joined, sales_velocity=joined.n * rate * joined["size"] / joined.days.nullif(0.0))
