"""Forecast waterfall: how the pipeline due in a period changed from its start to its end, and why.

start + created + re-opened + pulled in + owner in + amount up + amount down + currency + pushed out
+ owner out + won + lost = end, at every node; what leaves is negative. Deals that the CRM removed
cannot be told, since their rows are gone.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_ml.kpis.facts import Facts
from salesops_ml.kpis.history import MONEY, value_at
from salesops_ml.kpis.rows import tell

STEPS = (
    "start", "created", "re-opened", "pulled in", "owner in", "amount up", "amount down",
    "currency", "pushed out", "owner out", "won", "lost", "end",
)  # fmt: skip
_KEY = ("period", "deal_id")


def waterfall(facts: Facts) -> pd.DataFrame:
    """Money by step, `waterfall:STEP`, of the pipeline expected to close within the period.

    The end is that of the period, or `as_of` in the one in progress. A deal won in the period leaves
    by `won` with its amount at closing, even if it was not due before; one lost leaves by `lost` with
    its amount at the start. A deal that is in scope at both ends with another base amount and the same
    amount in its own currency moved by `currency`. n: deals that moved or stayed.
    """
    moves = _steps(_at_nodes(facts, _both_ends(facts)))
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
    return here.select(
        _period="period", _deal_id="deal_id", status="outcome", is_due=here.outcome == "won",
        new="amount", new_own="own", new_rep="rep_id",
    )  # fmt: skip


def _due_flag(facts: Facts, here: ir.Table, border: str) -> ir.Table:
    """Open deals with `due`, whether they are expected to close in the period, and `own` amount."""
    long = facts.spanned(here.filter(here.period.isin(facts.long_periods)))
    due = (long.expected_close_date >= long.starts_on) & (long.expected_close_date < long.ends_on)
    flagged = long.select(*_KEY, "amount", "rep_id", moment=long[border], due=due.fill_null(False))
    return value_at(flagged, "moment", facts.own_amounts, "own")


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


def _steps(deals: ir.Table) -> ir.Table:
    """One column a step; each deal's columns add up to its end at the node."""
    zero = ibis.literal(0).cast(MONEY)
    was_in = deals.in_old & deals.was_open & deals.was_due
    won = deals.in_new & (deals.status == "won").fill_null(False)
    ends_in = deals.in_new & deals.is_due & (deals.status == "open").fill_null(False)
    arrives = (won | ends_in) & ~was_in
    stays_in = was_in & (won | ends_in)
    moved_here = arrives & ~deals.in_old
    came = arrives & deals.in_old
    pulled = came & deals.was_open
    leaves = was_in & ~won & ~ends_in
    lost = leaves & deals.in_new & (deals.status == "lost").fill_null(False)
    pushed = leaves & deals.in_new & ~lost
    change = ibis.ifelse(stays_in | pulled, deals.new - deals.old, zero)
    by_rate = (deals.old_own == deals.new_own).fill_null(False)

    def when(condition: ir.Value, value: ir.Value) -> ir.Value:
        return ibis.ifelse(condition, value, zero).cast(MONEY)

    return deals.select(
        "period",
        "node",
        **{
            "start": when(was_in, deals.old),
            "created": when(came & ~deals.was_open & deals.is_new, deals.new),
            "re-opened": when(came & ~deals.was_open & ~deals.is_new, deals.new),
            "pulled in": when(pulled, deals.old),
            "owner in": when(moved_here, deals.new),
            "amount up": when((change > 0) & ~by_rate, change),
            "amount down": when((change < 0) & ~by_rate, change),
            "currency": when(by_rate, change),
            "pushed out": when(pushed, -deals.old),
            "owner out": when(leaves & ~deals.in_new, -deals.old),
            "won": when(won, -deals.new),
            "lost": when(lost, -deals.old),
            "end": when(ends_in, deals.new),
        },
    )
