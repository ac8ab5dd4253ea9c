"""Sales cycle length: how long a sale takes, over the deals won, and with the open ones counted in."""

from __future__ import annotations

from collections.abc import Iterator

import ibis
import pandas as pd

from salesops_ml.kpis.facts import Facts
from salesops_ml.kpis.rows import (
    SECONDS_A_DAY,
    Row,
    ratio,
    seconds_between,
    tell,
    to_frame,
    told,
)
from salesops_ml.kpis.survival import exit_curves

WON, LOST = 1, 2


def sales_cycle(facts: Facts) -> pd.DataFrame:
    """Mean and median days from creation to winning, over the deals won in the period.

    n: deals won whose creation is known.
    """
    won = facts.won.filter(facts.won.created_at.notnull())
    won = won.mutate(seconds=seconds_between(won.created_at, won.closed_at))
    lengths = won.group_by("period", "node").agg(
        n=won.count(), total=won.seconds.sum(), median=won.seconds.cast("float64").median()
    )
    return tell(
        lengths,
        cycle_mean=ratio(lengths.total, lengths.n) / SECONDS_A_DAY,
        cycle_median=lengths["median"] / SECONDS_A_DAY,
    )


def typical_time_to_win(facts: Facts) -> pd.DataFrame:
    """Days within which half of what will be won by the horizon is won: `cycle_typical`.

    Over the deals created in the period, followed to `as_of`: the smallest t at which the cumulative
    incidence of winning (Aalen-Johansen: lost deals compete, open ones are censored) reaches half of
    its value at `models.horizon_days`. Told once some deal has been followed that long, and any is
    won. n: deals created.
    """
    born = facts.within(facts.deals, "created_at")
    until = born.closed_at.fill_null(ibis.literal(facts.as_of).cast("timestamp(6)"))
    followed = born.mutate(
        duration=seconds_between(born.created_at, until) / SECONDS_A_DAY,
        door=ibis.cases((born.status == "won", WON), (born.status == "lost", LOST), else_=0),
    )
    frame = to_frame(
        facts.placed(followed).select("period", "node", "duration", "door"), categories=True
    )
    return told(_typical(frame, float(facts.settings.models.horizon_days)))


def _typical(frame: pd.DataFrame, horizon: float) -> Iterator[Row]:
    for (period, node), curve in exit_curves(frame, ["period", "node"]):
        won = curve.share(horizon, WON)
        if curve.known_until >= horizon and won > 0:
            yield "cycle_typical", period, node, curve.quantile(won / 2, WON), curve.n
