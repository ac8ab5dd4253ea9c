"""Checks of what deals refer to: stages, accounts, reps, quotas and exchange rates."""

from __future__ import annotations

import ibis.expr.types as ir

from salesops_ml.quality.check import Check, negative, outside_unit, repeated
from salesops_ml.quality.seen import Seen


def _without_win(seen: Seen) -> ir.Table:
    """Pipelines that no stage of theirs wins."""
    stages = seen.table("stages")
    wins = stages.group_by("pipeline").agg(wins=stages.is_won.cast("int64").sum())
    return wins.filter(wins.wins == 0)


def _ends_first(seen: Seen) -> ir.Table:
    quotas = seen.table("quotas")
    return quotas.filter(quotas.period_end < quotas.period_start)


def _worthless(seen: Seen) -> ir.Table:
    rates = seen.table("exchange_rates")
    return rates.filter(rates.rate <= 0)


def _own_manager(seen: Seen) -> ir.Table:
    reps = seen.table("reps")
    return reps.filter(reps.manager_id == reps.rep_id)


REFERENCE_CHECKS: tuple[Check, ...] = (
    Check(
        "duplicate stages", "stages", repeated("stages", "pipeline", "stage"),
        ("pipeline", "stage", "times"), "list each stage of a pipeline once", bears=0.0,
    ),
    Check(
        "pipeline without a winning stage", "stages", _without_win, ("pipeline",),
        "mark the stage that wins with `is_won`", bears=1.0,
    ),
    Check(
        "probability outside 0..1", "stages", outside_unit("stages", "probability"),
        ("pipeline", "stage", "probability"), "divide percentages by 100", bears=0.0,
    ),
    Check(
        "account twice from one day", "accounts", repeated("accounts", "account_id", "valid_from"),
        ("account_id", "valid_from", "times"), "keep one row an account and day", bears=0.0,
    ),
    Check(
        "rep twice from one day", "reps", repeated("reps", "rep_id", "valid_from"),
        ("rep_id", "valid_from", "times"), "keep one row a rep and day", bears=0.0,
    ),
    Check(
        "rep who reports to themselves", "reps", _own_manager, ("rep_id", "manager_id"),
        "leave `manager_id` of the head of sales empty", bears=0.05,
    ),
    Check(
        "negative quotas", "quotas", negative("quotas", "amount"),
        ("owner_id", "period_start", "amount"), "give the target, at least 0", bears=0.0,
    ),
    Check(
        "quota that ends before it starts", "quotas", _ends_first,
        ("owner_id", "period_start", "period_end"), "swap the two days", bears=0.0,
    ),
    Check(
        "exchange rate not above 0", "exchange_rates", _worthless, ("currency", "day", "rate"),
        "give the company's currency for one unit of the other", bears=0.0,
    ),
)  # fmt: skip
