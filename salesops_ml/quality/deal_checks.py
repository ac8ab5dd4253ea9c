"""Checks of the deals themselves: ids, dates, money and outcome."""

from __future__ import annotations

from collections.abc import Callable

import ibis
import ibis.expr.types as ir

from salesops_ml.quality.check import Check, rows_where
from salesops_ml.quality.known import Known
from salesops_ml.schema import STATUSES
from salesops_ml.snapshots.record_end import beyond


def _deals(fault: Callable[[ir.Table, Known], ir.BooleanValue]) -> Callable[[Known], ir.Table]:
    """The deals that show a fault."""

    def bad(known: Known) -> ir.Table:
        deals = known.table("deals")
        return rows_where(deals, fault(deals, known))

    return bad


def _repeated(known: Known) -> ir.Table:
    deals = known.table("deals")
    counted = deals.group_by("deal_id").aggregate(times=deals.count())
    return rows_where(counted, counted.times > 1)


def _far_beyond(known: Known) -> ir.Table:
    """Whatever the day that is spoken of: dates that far are no part of any."""
    return beyond(known.end, known.warehouse).select(example=ibis._.deal_id)


def _closed(deals: ir.Table) -> ir.BooleanValue:
    return deals.status.isin(["won", "lost"])


DEAL_CHECKS = (
    Check("duplicate deal ids", "deals",
          "one deal would count twice in every sum", "keep one row a deal at the source",
          _repeated, fail_above=0.0),
    Check("unknown status", "deals",
          "the outcome of these deals is not known", "map it to open, won or lost",
          _deals(lambda deals, _: ~deals.status.isin(STATUSES)), fail_above=0.0),
    Check("won or lost without close date", "deals",
          "when they ended is not known, so they cannot teach how long deals take",
          "fill in the day each closed",
          _deals(lambda deals, known: _closed(deals) & deals.closed_at.isnull()
                 & _dated(known, "closed_at"))),
    Check("closed before creation", "deals",
          "their duration would be negative", "correct the one date or the other",
          _deals(lambda deals, _: deals.closed_at < deals.created_at), fail_above=0.05),
    Check("open with a close date", "deals",
          "either the status or the date is wrong",
          "clear the date, or map it to `expected_close_date`",
          _deals(lambda deals, _: (deals.status == "open") & deals.closed_at.notnull()),
          fail_above=0.2),
    Check("without creation date", "deals",
          "they have no age, so they get no snapshots and no scores",
          "map `created_at` to when the deal began",
          _deals(lambda deals, known: deals.created_at.isnull() & _dated(known, "created_at"))),
    Check("dates in the future", "deals",
          "a deal cannot close after the day it is looked at",
          "correct the dates, or map them to `expected_close_date`",
          _deals(lambda deals, known: (deals.closed_at > known.moment)
                 & (deals.closed_at > _last_recorded(known))),
          fail_above=0.05),
    Check("dates far beyond all others", "deals",
          "the end of the record is looked for before them, and nothing dated so is seen",
          "correct the dates, or check day, month and century in the date format; if they are right,"
          " give `as_of`",
          _far_beyond, fail_above=0.0),
    Check("negative amounts", "deals",
          "sums of revenue would shrink", "correct them, or keep credits apart",
          _deals(lambda deals, _: deals.amount < 0), fail_above=0.05),
    Check("won without an amount above zero", "deals",
          "revenue learned from them is too low", "fill in the amount that was sold",
          _deals(lambda deals, _: (deals.status == "won")
                 & (deals.amount.fill_null(0) <= 0)), fail_above=0.2),
    Check("open without an amount", "deals",
          "they add nothing to the pipeline's value; the forecast puts a typical amount on them",
          "ask for an amount from the stage in which it is known",
          _deals(lambda deals, _: (deals.status == "open") & deals.amount.isnull()),
          warn_above=0.02, fail_above=1.0),
    Check("no rate into company currency", "deals",
          "the amount cannot be added to the others", "add the rate to `exchange_rates`",
          _deals(lambda deals, _: deals.amount.notnull() & deals.amount_base.isnull()),
          fail_above=0.2),
    Check("open past the expected close date", "deals",
          "their expected close dates say nothing about the future",
          "ask the owners for a new date",
          _deals(lambda deals, known: (deals.status == "open")
                 & (deals.expected_close_date < known.moment.date())),
          warn_above=0.1, fail_above=1.0),
    Check("without an account", "deals",
          "account features are empty for them", "link them to their accounts",
          _deals(lambda deals, _: deals.account_id.isnull()),
          needs=("accounts",), warn_above=0.05, fail_above=1.0),
)  # fmt: skip


def _dated(known: Known, column: str) -> bool:
    """Whether any deal has the date; a table without dates lacks a column, and is no faulty one."""
    return known.filled("deals", column) > 0


def _last_recorded(known: Known) -> ir.TimestampScalar:
    """The end of the record: closings up to it are no news from the future, only later than `as_of`."""
    if known.end is None:
        return known.moment
    ends = [known.moment]
    for name in ("stage_events", "activities", "deal_changes", "quotes"):
        if known.has(name):
            at = known.warehouse.table(name).recorded_at
            ends.append(at.max(where=at <= ibis.literal(known.end)).as_scalar())
    return ibis.greatest(*ends)
