"""Speed to lead: how long a new deal waits until somebody does something about it."""

from __future__ import annotations

from collections.abc import Iterator

import ibis
import pandas as pd

from salesops_ml.kpis.facts import Facts
from salesops_ml.kpis.rows import SECONDS_AN_HOUR, Row, seconds_between, to_frame, told
from salesops_ml.kpis.survival import exit_curves


def speed_to_lead(facts: Facts) -> pd.DataFrame:
    """Hours from creation to the first activity: `speed_to_lead_p50` and `speed_to_lead_p90`.

    Over the deals created in the period (Kaplan-Meier): one without activity yet has waited at least
    until it was closed, or until `as_of`. An activity before creation means no wait. A quantile that
    so many deals have not reached is left out. n: deals created.
    """
    done = facts.activities
    first = done.group_by(_deal="deal_id").agg(first=done["at"].min())
    born = facts.within(facts.deals, "created_at")
    born = born.left_join(first, born.deal_id == first["_deal"])
    last_seen = born.closed_at.fill_null(ibis.literal(facts.as_of).cast("timestamp(6)"))
    until = born["first"].fill_null(last_seen)
    waited = born.mutate(
        duration=ibis.greatest(seconds_between(born.created_at, until), 0) / SECONDS_AN_HOUR,
        door=born["first"].notnull().cast("int64"),
    )
    frame = to_frame(
        facts.placed(waited).select("period", "node", "duration", "door"), categories=True
    )
    return told(_waits(frame))


def _waits(frame: pd.DataFrame) -> Iterator[Row]:
    for (period, node), curve in exit_curves(frame, ["period", "node"]):
        for share in (50, 90):
            hours = curve.quantile(share / 100)
            yield f"speed_to_lead_p{share}", period, node, hours, curve.n
