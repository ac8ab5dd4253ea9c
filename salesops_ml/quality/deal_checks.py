"""Checks of the deals themselves: ids, dates, amounts and status."""

from __future__ import annotations

import ibis.expr.types as ir

from salesops_ml.quality.check import Check, after_border, negative, orphans, repeated
from salesops_ml.quality.seen import Seen
from salesops_ml.schema import STATUSES


def _won(seen: Seen) -> ir.Table:
    deals = seen.table("deals")
    return deals.filter(deals.status == "won")


def _closed(seen: Seen) -> ir.Table:
    deals = seen.table("deals")
    return deals.filter(deals.status != "open")


def _open(seen: Seen) -> ir.Table:
    deals = seen.table("deals")
    return deals.filter(deals.status == "open")


def _won_without_date(seen: Seen) -> ir.Table:
    """None where no deal is dated at all: that is a missing column, and told as such."""
    won = _won(seen)
    dated = int(seen.warehouse.table("deals").closed_at.count().execute()) > 0
    return won.filter(won.closed_at.isnull() & dated)


def _lost_without_date(seen: Seen) -> ir.Table:
    closed = _closed(seen)
    dated = int(seen.warehouse.table("deals").closed_at.count().execute()) > 0
    return closed.filter((closed.status == "lost") & closed.closed_at.isnull() & dated)


def _without_creation(seen: Seen) -> ir.Table:
    deals = seen.table("deals")
    dated = int(seen.warehouse.table("deals").created_at.count().execute()) > 0
    return deals.filter(deals.created_at.isnull() & dated)


def _closed_before_created(seen: Seen) -> ir.Table:
    deals = seen.table("deals")
    return deals.filter(deals.closed_at < deals.created_at)


def _open_with_date(seen: Seen) -> ir.Table:
    opened = _open(seen)
    return opened.filter(opened.closed_at.notnull())


def _unknown_status(seen: Seen) -> ir.Table:
    deals = seen.table("deals")
    return deals.filter(deals.status.notin(STATUSES))


def _won_for_nothing(seen: Seen) -> ir.Table:
    won = _won(seen)
    return won.filter(won.amount == 0)


def _won_without_amount(seen: Seen) -> ir.Table:
    won = _won(seen)
    return won.filter(won.amount.isnull())


def _not_in_base_currency(seen: Seen) -> ir.Table:
    deals = seen.table("deals")
    return deals.filter(deals.amount.notnull() & deals.amount_base.isnull())


def _overdue(seen: Seen) -> ir.Table:
    opened = _open(seen)
    return opened.filter(opened.expected_close_date < seen.as_of.date())


def _without_events(seen: Seen) -> ir.Table:
    deals = seen.table("deals")
    events = seen.warehouse.table("stage_events")
    known = events.select(_deal=events.deal_id).distinct()
    return deals.anti_join(known, deals.deal_id == known["_deal"])


def _against_its_stage(seen: Seen) -> ir.Table:
    """Deals whose last stage says another end than their status, over the whole record."""
    events, stages = seen.warehouse.table("stage_events"), seen.warehouse.table("stages")
    ordered = events.mutate(_moment=events.entered_at.epoch_seconds() * 1_000 + events.seq)
    last = ordered.group_by("deal_id").agg(last_stage=ordered.stage.argmax(ordered["_moment"]))
    deals = seen.table("deals")
    told = deals.join(last, "deal_id").join(
        stages.select(_pipeline="pipeline", last_stage="stage", wins="is_won", ends="is_closed"),
        "last_stage",
    )
    told = told.filter(told.pipeline.isnull() | (told.pipeline == told["_pipeline"]))
    wrong = (told.wins != (told.status == "won")) | (told.ends != (told.status != "open"))
    return told.filter(wrong).select("deal_id", "status", "last_stage").distinct()


DEAL_CHECKS: tuple[Check, ...] = (
    Check(
        "duplicate deal ids", "deals", repeated("deals", "deal_id"), ("deal_id", "times"),
        "merge the deals, or map a column that is unique", bears=0.0,
    ),
    Check(
        "unknown status", "deals", _unknown_status, ("deal_id", "status"),
        "map the value to open, won or lost under `values: {status: ...}`", bears=0.0,
    ),
    Check(
        "deals without creation date", "deals", _without_creation, ("deal_id", "status"),
        "fill the creation date in the CRM; such deals enter no snapshot",
    ),
    Check(
        "won deals without close date", "deals", _won_without_date, ("deal_id", "created_at"),
        "fill the close date in the CRM; until then the deal's revenue belongs to no period",
        of=_won,
    ),
    Check(
        "lost deals without close date", "deals", _lost_without_date, ("deal_id", "created_at"),
        "fill the close date in the CRM; until then the deal looks open for ever", of=_closed,
    ),
    Check(
        "closed before created", "deals", _closed_before_created,
        ("deal_id", "created_at", "closed_at"),
        "correct one of the two dates in the CRM, or check the date format", of=_closed,
    ),
    Check(
        "open deals with a close date", "deals", _open_with_date, ("deal_id", "closed_at"),
        "map the expected close to `expected_close_date`, not to `closed_at`", of=_open,
    ),
    Check(
        "deals dated in the future", "deals", after_border("deals", "created_at", "closed_at"),
        ("deal_id", "created_at", "closed_at"),
        "correct the date in the CRM, or check day and month in the date format",
    ),
    Check(
        "negative amounts", "deals", negative("deals", "amount", "amount_base"),
        ("deal_id", "amount"), "enter credits as deals lost or as changes, not below 0",
    ),
    Check(
        "won deals with zero amount", "deals", _won_for_nothing, ("deal_id", "closed_at"),
        "enter the amount, or leave free trials out of the pipeline", bears=0.05, of=_won,
    ),
    Check(
        "won deals without amount", "deals", _won_without_amount, ("deal_id", "closed_at"),
        "enter the amount; until then the deal adds nothing to revenue", bears=0.05, of=_won,
    ),
    Check(
        "amounts without a base currency", "deals", _not_in_base_currency,
        ("deal_id", "currency", "amount"),
        "load `exchange_rates` for this currency, or correct the currency", bears=0.05,
    ),
    Check(
        "open deals past their expected close", "deals", _overdue,
        ("deal_id", "expected_close_date"), "have their owners push or close them", bears=1.0,
        of=_open,
    ),
    Check(
        "deals for an unknown account", "deals", orphans("deals", "account_id", "accounts"),
        ("deal_id", "account_id"), "load the account, or correct the deal's account",
        needs=("accounts",), bears=0.05,
    ),
    Check(
        "deals for an unknown rep", "deals", orphans("deals", "rep_id", "reps"),
        ("deal_id", "rep_id"), "load the rep, past ones too, or correct the deal's owner",
        needs=("reps",), bears=0.05,
    ),
    Check(
        "deals without a stage event", "deals", _without_events, ("deal_id", "status"),
        "load the stage history of every deal, from its first stage on", needs=("stage_events",),
        bears=0.05,
    ),
    Check(
        "status against the last stage", "deals", _against_its_stage,
        ("deal_id", "status", "last_stage"),
        "correct the status, or load the entry into the closing stage",
        needs=("stage_events", "stages"), bears=0.02,
    ),
)  # fmt: skip
