"""Slippage: deals that were to close in the period, and were moved past it."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_ml.kpis.facts import Facts
from salesops_ml.kpis.rows import percent, ratio, tell


def slippage(facts: Facts) -> pd.DataFrame:
    """Share of the deals due in the period whose expected close moved past it, %.

    Of the deals open at the start of the period and due in it: those that at its end (or at `as_of`)
    are open with an expected close after it. `slippage_deals` by count, `slippage_amount` by the
    amount at the start. n: deals due at the start.
    """
    start = facts.spanned(facts.at_start)
    due = start.filter(
        start.expected_close_date >= start.starts_on, start.expected_close_date < start.ends_on
    )
    end = facts.at_end.select(_period="period", _deal="deal_id", now_due="expected_close_date")
    joined = due.left_join(end, [due.period == end["_period"], due.deal_id == end["_deal"]])
    slipped = (joined.now_due >= joined.ends_on).fill_null(False)
    placed = facts.placed(joined.select("period", "deal_id", "rep_id", "amount", slipped=slipped))
    totals = placed.group_by("period", "node").agg(
        n=placed.count(),
        slipped=placed.slipped.sum(),
        slipped_amount=placed.amount.sum(where=placed.slipped).fill_null(0),
        amount=placed.amount.sum(),
    )
    return tell(
        totals,
        slippage_deals=percent(totals.slipped, totals.n),
        slippage_amount=percent(totals.slipped_amount, totals.amount),
    )


def pushes(facts: Facts) -> pd.DataFrame:
    """Times that an expected close moved later in the period, per deal open in it: `pushes_per_deal`.

    n: deals open at the start of the period or created in it.
    """
    columns = ("period", "deal_id", "rep_id")
    worked = ibis.union(facts.at_start.select(*columns), facts.created.select(*columns))
    moved = facts.within(_moves_later(facts), "valid_from")
    counts = moved.group_by(_period="period", _deal="deal_id").agg(times=moved.count())
    joined = worked.left_join(
        counts, [worked.period == counts["_period"], worked.deal_id == counts["_deal"]]
    )
    placed = facts.placed(joined.select(*columns, times=joined.times.fill_null(0)))
    totals = placed.group_by("period", "node").agg(n=placed.count(), times=placed.times.sum())
    return tell(totals, pushes_per_deal=ratio(totals.times, totals.n))


def _moves_later(facts: Facts) -> ir.Table:
    """deal_id and moment of each change of the expected close to a later day."""
    dates = facts.due_dates
    order = ibis.window(group_by="deal_id", order_by=dates.valid_from)
    told = dates.mutate(before=dates["value"].lag().over(order))
    return told.filter(told["value"] > told.before).select("deal_id", "valid_from")
