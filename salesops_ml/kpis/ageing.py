"""Ageing: open deals older than nearly all won deals were when they left the same stage."""

from __future__ import annotations

import ibis
import pandas as pd

from salesops_ml.kpis.facts import Facts
from salesops_ml.kpis.rows import seconds_between, tell

SHARE = 0.9


def ageing(facts: Facts) -> pd.DataFrame:
    """Open deals older than the P90 of won deals in the same stage: `ageing_deals`, `ageing_amount`.

    Age counts from creation. A won deal's age in a stage is its age on leaving that stage for the
    last time; the deals won by the end of the period, in the same pipeline, count. A stage that no
    won deal went through ages nobody. n: deals open at the end of the period.
    """
    here = facts.spanned(facts.open_at_end)
    limits = _limits(facts)
    joined = here.left_join(
        limits,
        [
            here.period == limits["_period"],
            here.line.identical_to(limits["_line"]),
            here.stage == limits["_stage"],
        ],
    )
    age = seconds_between(joined.created_at, joined.until)
    aged = joined.mutate(aged=(age > joined["at_most"]).fill_null(False))
    totals = aged.group_by("period", "node").agg(
        n=aged.count(), aged=aged["aged"].sum(), amount=aged.amount.sum(where=aged["aged"])
    )
    amount = ibis.ifelse(totals["aged"] == 0, 0, totals.amount)
    return tell(totals, ageing_deals=totals["aged"], ageing_amount=amount)


def _limits(facts: Facts) -> ibis.Table:
    """By period, pipeline and stage, the P90 of won deals' ages on leaving it, seconds."""
    won = facts.deals.filter(facts.deals.status == "won", facts.deals.created_at.notnull())
    won = won.select(_deal="deal_id", created_at="created_at", closed_at="closed_at")
    stays = facts.stays.filter(facts.stays.outcome == "open", facts.stays.stage.notnull())
    joined = stays.inner_join(won, stays.deal_id == won["_deal"])
    joined = joined.filter(joined.valid_until <= joined.closed_at)
    left = joined.group_by("deal_id", "line", "stage", "closed_at").agg(
        age=seconds_between(joined.created_at, joined.valid_until).max()
    )
    spans = facts.spans.select("period", "until")
    known = left.inner_join(spans, left.closed_at <= spans.until)
    return known.group_by(_period="period", _line="line", _stage="stage").agg(
        at_most=known.age.cast("float64").quantile(SHARE)
    )
