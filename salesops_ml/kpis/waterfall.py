"""Forecast waterfall: how the pipeline due in a period changed from its start to its end, and why.

The steps are those of `kpis/causes.py`. It is told from today's record, in which a deal that the CRM
removed never was; `forecasts/waterfall.py` compares what was known on two days.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_ml.kpis.causes import STEPS, causes
from salesops_ml.kpis.facts import Facts
from salesops_ml.kpis.history import MONEY, value_at
from salesops_ml.kpis.rows import tell

_KEY = ("period", "deal_id")


def waterfall(facts: Facts) -> pd.DataFrame:
    """Money by step, `waterfall:STEP`, of the pipeline expected to close within the period.

    The end is that of the period, or `as_of` in the one in progress. A deal won in the period leaves
    by `won` with its amount at closing, even if it was not due before. n: deals that moved or stayed.
    """
    moves = causes(_at_nodes(facts, _both_ends(facts)), "period", "node")
    sums = {step: moves[step].sum() for step in STEPS}
    totals = moves.group_by("period", "node").agg(n=moves.count(), **sums)
    return tell(totals, **{f"waterfall:{step}": totals[step] for step in STEPS})


def _both_ends(facts: Facts) -> ir.Table:
    """One row per period and deal: what it was at the start, and what at the end.

    Columns: was_open, was_due, old, old_own, old_rep; status (open, won, lost, null where it did not
    exist), is_due, new, new_own, new_rep; is_new, whether it was created in the period.
    """
    start = _due_flag(facts, facts.at_start, "before")
    start = start.select(
        *_KEY, was_due="due", old="amount", old_own="own", old_rep="rep_id", was_open=True
    )
    end = ibis.union(_open_ends(facts), _closed_ends(facts))
    joined = start.outer_join(end, [start[key] == end[f"_{key}"] for key in _KEY])
    joined = joined.mutate(**{key: ibis.coalesce(joined[key], joined[f"_{key}"]) for key in _KEY})
    fresh = facts.created.select(_new_period="period", _new_deal="deal_id")
    joined = joined.left_join(
        fresh, [joined.period == fresh["_new_period"], joined.deal_id == fresh["_new_deal"]]
    )
    return joined.select(
        *_KEY, "status", "old_own", "new_own",
        was_open=joined.was_open.fill_null(False),
        was_due=joined.was_due.fill_null(False),
        is_due=joined.is_due.fill_null(False),
        is_new=joined["_new_deal"].notnull(),
        old=joined.old.fill_null(0).cast(MONEY),
        new=joined.new.fill_null(0).cast(MONEY),
        old_rep=ibis.ifelse(joined.was_open.fill_null(False), joined.old_rep, joined.new_rep),
        new_rep=ibis.ifelse(joined.status.notnull(), joined.new_rep, joined.old_rep),
    )  # fmt: skip


def _open_ends(facts: Facts) -> ir.Table:
    end = _due_flag(facts, facts.at_end, "until")
    return end.select(
        _period="period", _deal_id="deal_id", status=ibis.literal("open"), is_due="due",
        new="amount", new_own="own", new_rep="rep_id",
    )  # fmt: skip


def _closed_ends(facts: Facts) -> ir.Table:
    """Deals that were closed at the end of a period, and were not before it."""
    spans = facts.spans.filter(facts.spans.period.isin(facts.long_periods))
    stays = facts.stays.filter(facts.stays.outcome != "open")
    here = stays.inner_join(
        spans,
        [
            stays.valid_from >= spans.starts_at,
            stays.valid_from <= spans.until,
            stays.valid_until > spans.until,
        ],
    ).select("period", "deal_id", "outcome", moment="valid_from")
    for lasting, name in (
        (facts.amounts, "amount"), (facts.own_amounts, "own"), (facts.owners, "rep_id"),
    ):  # fmt: skip
        here = value_at(here, "moment", lasting, name)
    here = facts.spanned(value_at(here, "moment", facts.due_dates, "expected_close_date"))
    return here.select(
        _period="period", _deal_id="deal_id", status="outcome",
        is_due=(here.outcome == "won") | _due(here), new="amount", new_own="own", new_rep="rep_id",
    )  # fmt: skip


def _due_flag(facts: Facts, here: ir.Table, border: str) -> ir.Table:
    """Open deals with `due`, whether they are expected to close in the period, and `own` amount."""
    long = facts.spanned(here.filter(here.period.isin(facts.long_periods)))
    flagged = long.select(*_KEY, "amount", "rep_id", moment=long[border], due=_due(long))
    return value_at(flagged, "moment", facts.own_amounts, "own")


def _due(deals: ir.Table) -> ir.Value:
    """Whether a deal is expected to close in its period."""
    day = deals.expected_close_date
    return ((day >= deals.starts_on) & (day < deals.ends_on)).fill_null(False)


def _at_nodes(facts: Facts, ends: ir.Table) -> ir.Table:
    """`ends` once for every node that has the deal at either end; `in_old` and `in_new` say which."""
    sides = []
    for rep, mark in (("old_rep", "in_old"), ("new_rep", "in_new")):
        side = facts.placed(ends.select(*_KEY, rep_id=rep))
        flags = {name: ibis.literal(name == mark) for name in ("in_old", "in_new")}
        sides.append(side.select(*_KEY, "node", **flags))
    both = ibis.union(*sides)
    seen = both.group_by(_period="period", _deal_id="deal_id", node="node").agg(
        in_old=both.in_old.any(), in_new=both.in_new.any()
    )
    return ends.inner_join(seen, [ends[key] == seen[f"_{key}"] for key in _KEY])
