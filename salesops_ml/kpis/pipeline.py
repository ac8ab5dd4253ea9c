"""The open pipeline: how much there is, what it is worth, what it becomes, and whether it suffices."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_ml.kpis.facts import Facts
from salesops_ml.kpis.history import MONEY
from salesops_ml.kpis.quota import node_quotas, with_won
from salesops_ml.kpis.rows import if_mostly_known, percent, ratio, tell


def open_pipeline(facts: Facts) -> pd.DataFrame:
    """Amount and number of the deals open at the end of the period. n: open deals.

    The amount is left out where fewer than half of the deals have one that is known.
    """
    here = facts.open_at_end
    totals = here.group_by("period", "node").agg(
        n=here.count(), amount=if_mostly_known(here.amount, here.amount.sum())
    )
    return tell(totals, open_pipeline=totals.amount, open_deals=totals.n)


def weighted_pipeline(facts: Facts) -> pd.DataFrame:
    """Sum of amount x the CRM's stage probability over the deals open at the end of the period.

    n: open deals whose stage has a probability.
    """
    return _weighted(facts.open_at_end, "weighted_pipeline_crm")


def model_weighted_pipeline(facts: Facts, probabilities: pd.DataFrame) -> pd.DataFrame:
    """Sum of amount x the model's probability of winning, over the deals open at `as_of`.

    Args:
        facts: the facts at the day that the probabilities speak of.
        probabilities: deal_id and p_win.
    """
    chances = ibis.memtable(
        pd.DataFrame(
            {
                "_deal": probabilities["deal_id"].astype(str),
                "_chance": probabilities["p_win"].astype("float64"),
            }
        )
    )
    now = facts.spanned(facts.open_at_end)
    now = now.filter(now.ends_at >= facts.as_of)
    now = now.drop("probability").inner_join(chances, now.deal_id == chances["_deal"])
    return _weighted(now.rename(probability="_chance"), "weighted_pipeline_model")


def pipeline_efficiency(facts: Facts) -> pd.DataFrame:
    """Won amount / (pipeline open at the start of the period + pipeline created in it), %.

    Left out where fewer than half of that pipeline's deals have an amount that is known. n: deals in
    it.
    """
    columns = ("period", "node", "amount")
    there = facts.open_at_start.select(*columns)
    fresh = facts.placed(facts.created).select(*columns)
    worked = ibis.union(there, fresh)
    totals = worked.group_by("period", "node").agg(
        n=worked.count(), amount=if_mostly_known(worked.amount, worked.amount.sum())
    )
    totals = with_won(totals.rename(worked="n"), facts)
    totals = totals.drop("n").rename(n="worked")
    return tell(totals, pipeline_efficiency=percent(totals.won_amount, totals.amount))


def pipeline_coverage(facts: Facts) -> pd.DataFrame:
    """Pipeline due in the period / what is still missing to its quota.

    `pipeline_coverage_start`: at the first moment of the period, when nothing is closed.
    `pipeline_coverage`: at `as_of`, of the period in progress; left out once the quota is reached.
    n: deals due.
    """
    quotas = node_quotas(facts)
    start = _against(_due(facts.spanned(facts.open_at_start)), quotas)
    running = facts.spans.filter(facts.spans.ends_at > facts.as_of)
    due = _due(facts.spanned(facts.open_at_end))
    now = _against(due, quotas.semi_join(running, "period"))
    now = with_won(now.rename(due="n"), facts).drop("n").rename(n="due")
    gap = now.quota - now.won_amount
    now = now.mutate(missing=ibis.ifelse(gap > 0, gap, None))
    told = [
        tell(start, pipeline_coverage_start=ratio(start.amount, start.quota)),
        tell(now, pipeline_coverage=ratio(now.amount, now.missing)),
    ]
    return pd.concat(told, ignore_index=True)


def _weighted(here: ir.Table, metric: str) -> pd.DataFrame:
    """Each deal's share is rounded to cents, so that the sum is the same on any thread count."""
    here = here.filter(here.probability.notnull(), here.amount.notnull())
    share = (here.amount.cast("float64") * here.probability).round(2).cast(MONEY)
    here = here.mutate(share=share)
    totals = here.group_by("period", "node").agg(n=here.count(), value=here.share.sum())
    return tell(totals, **{metric: totals["value"]})


def _due(here: ir.Table) -> ir.Table:
    """period, node, amount and n of the deals expected to close within their period."""
    due = here.filter(
        here.expected_close_date >= here.starts_on, here.expected_close_date < here.ends_on
    )
    return due.group_by("period", "node").agg(n=due.count(), amount=due.amount.sum())


def _against(due: ir.Table, quotas: ir.Table) -> ir.Table:
    """Each quota with the pipeline due against it, none where there is none."""
    due = due.rename(_period="period", _node="node")
    joined = quotas.left_join(due, [quotas.period == due["_period"], quotas.node == due["_node"]])
    return joined.select(
        "period",
        "node",
        "quota",
        n=joined.n.fill_null(0),
        amount=joined.amount.fill_null(0),
    )
