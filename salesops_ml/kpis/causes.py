"""Why a pipeline is not what it was: each deal's way from one moment to another, step by step.

start + created + re-opened + pulled in + owner in + amount up + amount down + currency + pushed out
+ owner out + won + lost + removed = end, at every node; what leaves is negative. A pipeline is a set of
deals in scope: all open ones, or those due in a period.

- A deal in scope at both moments, or won in between, shows its change of amount; one that is lost or
  removed leaves with the amount that it had.
- A deal that comes into scope while open is `pulled in`, one that leaves it while open `pushed out`.
- A deal that changes hands leaves its old node by `owner out` and enters its new one by `owner in` with
  the amount that it had; whatever else becomes of it is told at the new node. So all steps but these two
  and `start` are alike at a parent and in the sum of its children.
- The part of a change that the exchange rate made is `currency`: what is left of it when the change in
  the deal's own currency is valued at the old rate.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

MONEY = "decimal(18, 2)"
STEPS = (
    "start", "created", "re-opened", "pulled in", "owner in", "amount up", "amount down",
    "currency", "pushed out", "owner out", "won", "lost", "removed", "end",
)  # fmt: skip
_HALF_A_CENT = 0.005


def causes(deals: ir.Table, *keys: str) -> ir.Table:
    """One column a step, for every row; a row's steps add up to its `end`.

    Args:
        deals: one row per deal and node that holds it at either moment, with the keys and

            - `in_old`, `in_new`: whether the node holds the deal at the first, at the second moment;
            - `was_open`, `was_due`: whether it was open, and in scope if so, at the first;
            - `status` at the second: open, won, lost, or null where the record no longer has it;
            - `is_due`: whether it is in scope at the second, or was when it closed;
            - `is_new`: whether it began in between;
            - `old`, `new`: amounts, company currency, 0 where not known;
            - `old_own`, `new_own`: likewise in the deal's own, null where not known.
        keys: columns that are kept.

    Returns:
        The keys and the columns of `STEPS`, DECIMAL.
    """
    was = deals.was_open & deals.was_due
    inside = was & deals.in_new
    status = deals.status.fill_null("")
    in_end = deals.in_new & deals.is_due & (status != "")
    came = in_end & ~was
    pulled = came & deals.was_open
    fresh = came & ~deals.was_open
    stays = (inside | pulled) & in_end & status.isin(["open", "won"])
    change, currency = _changes(deals, stays)
    amount = change - currency
    lost = (status == "lost") & (inside | pulled)
    return deals.select(
        *keys,
        **{
            "start": _when(was & deals.in_old, deals.old),
            "created": _when(fresh & deals.is_new, deals.new),
            "re-opened": _when(fresh & ~deals.is_new, deals.new),
            "pulled in": _when(pulled, deals.old),
            "owner in": _when(inside & ~deals.in_old, deals.old),
            "amount up": _when(amount > 0, amount),
            "amount down": _when(amount < 0, amount),
            "currency": currency,
            "pushed out": _when(inside & (status == "open") & ~deals.is_due, -deals.old),
            "owner out": _when(was & ~deals.in_new, -deals.old),
            "won": _when(in_end & (status == "won"), -deals.new),
            "lost": _when(lost, -deals.old) - _when(fresh & (status == "lost"), deals.new),
            "removed": _when(inside & (status == ""), -deals.old),
            "end": _when(in_end & (status == "open"), deals.new),
        },
    )


def _changes(deals: ir.Table, stays: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The change of amount, and the part of it that the rate made; rounding makes none."""
    change = _when(stays, deals.new - deals.old)
    old, old_own, new_own = (deals[name].cast("float64") for name in ("old", "old_own", "new_own"))
    growth = new_own / old_own.nullif(0.0)
    at_old_rate = (old * (growth - 1.0)).round(2).cast(MONEY)
    rest = (deals.new - deals.old - at_old_rate).cast(MONEY)
    told = stays & (rest.cast("float64").abs() > _HALF_A_CENT * (growth.abs() + 2.0))
    return change, _when(told.fill_null(False), rest)


def _when(condition: ir.Value, value: ir.Value) -> ir.Value:
    return ibis.ifelse(condition, value, ibis.literal(0).cast(MONEY)).cast(MONEY)
