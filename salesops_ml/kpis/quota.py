"""Quotas: how many reps make theirs, and how much of it each part of the company has reached.

A quota counts in a period that holds all of its days: monthly quotas add up to a quarter, a yearly
one counts in no quarter.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_ml.kpis.facts import Facts
from salesops_ml.kpis.nodes import ROOT
from salesops_ml.kpis.rows import percent, tell


def quota_achievement(facts: Facts) -> pd.DataFrame:
    """Reps whose won amount reached their quota / reps with a quota, %. n: reps with a quota."""
    quotas = _rep_quotas(facts)
    won = facts.won_by_rep.rename(_period="period", _rep="rep_id")
    joined = quotas.left_join(won, [quotas.period == won["_period"], quotas.rep_id == won["_rep"]])
    reached = joined.won_amount.fill_null(0) >= joined.quota
    placed = facts.placed(joined.select("period", "rep_id", reached=reached))
    shares = placed.group_by("period", "node").agg(n=placed.count(), reached=placed.reached.sum())
    return tell(shares, quota_achievement_rate=percent(shares.reached, shares.n))


def quota_attainment(facts: Facts) -> pd.DataFrame:
    """Won amount / quota, %; all of a node's deals count, also those of reps without a quota.

    n: deals won.
    """
    quotas = with_won(node_quotas(facts), facts)
    return tell(quotas, quota_attainment=percent(quotas.won_amount, quotas.quota))


def node_quotas(facts: Facts) -> ir.Table:
    """period, node, quota: a node's own quota where it has one, else the sum of its reps' quotas.

    An owner that is no rep is a node, named by its path or by the last part of it.
    """
    reps = facts.placed(_rep_quotas(facts))
    summed = reps.group_by("period", "node").agg(quota=reps.quota.sum())
    nodes = _nodes(facts)
    owned = _quotas(facts)
    named = owned.inner_join(
        nodes, (owned.owner_id == nodes.node) | (owned.owner_id == nodes.label)
    )
    own = named.group_by("period", "node").agg(quota=named.quota.sum())
    return ibis.union(own, summed.anti_join(own, ["period", "node"]))


def with_won(table: ir.Table, facts: Facts) -> ir.Table:
    """`table` by period and node, with `won_amount` and `n`, what was won and in how many deals."""
    won = facts.won.group_by(_period="period", _node="node").agg(
        won_amount=facts.won.amount.sum(), n=facts.won.count()
    )
    joined = table.left_join(won, [table.period == won["_period"], table.node == won["_node"]])
    filled = {"won_amount": joined.won_amount.fill_null(0), "n": joined.n.fill_null(0)}
    return joined.select(*table.columns, **filled)


def _rep_quotas(facts: Facts) -> ir.Table:
    """period, rep_id and quota of the reps that have one."""
    quotas = _quotas(facts).rename(rep_id="owner_id")
    return quotas.semi_join(facts.reps, "rep_id")


def _quotas(facts: Facts) -> ir.Table:
    """period, owner_id and quota, of the quotas that lie within the period."""
    quotas = facts.warehouse.table("quotas")
    spans = facts.spans
    inside = [quotas.period_start >= spans.starts_on, quotas.period_end < spans.ends_on]
    joined = quotas.inner_join(spans, inside)
    return joined.group_by("period", "owner_id").agg(quota=joined.amount.sum())


def _nodes(facts: Facts) -> ir.Table:
    """Every node above a rep, and the last part of its path as `label`."""
    placed = facts.placed(facts.reps).select("node").distinct()
    nodes = ibis.union(placed, ibis.memtable({"node": [ROOT]}), distinct=True)
    nodes = nodes.mutate(label=nodes.node.re_extract(r"[^/]*$", 0))
    return nodes.anti_join(facts.reps.rename(label="rep_id"), "label")
