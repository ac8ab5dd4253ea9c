"""Checks of what happened to deals: stage events, changes, activities and quotes."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from salesops_ml.quality.check import (
    Check,
    after_border,
    after_closing,
    before_creation,
    negative,
    orphans,
    outside_unit,
    repeated,
)
from salesops_ml.quality.seen import Seen

DAY_MINUTES = 24 * 60


def _unknown_stage(seen: Seen) -> ir.Table:
    events = seen.table("stage_events")
    known = seen.warehouse.table("stages").select(_stage="stage").distinct()
    return events.anti_join(known, events.stage == known["_stage"])


def _stays_put(seen: Seen) -> ir.Table:
    """Entries into the stage that the deal was in already."""
    events = seen.table("stage_events")
    window = ibis.window(group_by="deal_id", order_by=[events.entered_at, events.seq])
    events = events.mutate(before=events.stage.lag().over(window))
    return events.filter(events.stage == events.before)


def _same_moment(seen: Seen) -> ir.Table:
    events = seen.table("stage_events")
    counts = events.group_by("deal_id", "entered_at").agg(times=events.count())
    return counts.filter(counts.times > 1)


def _impossible_length(seen: Seen) -> ir.Table:
    acts = seen.table("activities")
    return acts.filter((acts.duration_minutes < 0) | (acts.duration_minutes > DAY_MINUTES))


def _lengths(seen: Seen) -> ir.Table:
    acts = seen.table("activities")
    return acts.filter(acts.duration_minutes.notnull())


_MOVE = ("deal_id", "entered_at", "stage")
_CHANGE = ("deal_id", "field", "changed_at")
_ACT = ("activity_id", "deal_id", "at")
_QUOTE = ("quote_id", "deal_id", "sent_at")
_CLOCK = "correct the date in the CRM, or check the time zone of both columns"

HISTORY_CHECKS: tuple[Check, ...] = (
    Check(
        "stage event before creation", "stage_events",
        before_creation("stage_events", "entered_at"), (*_MOVE, "made_at"), _CLOCK,
    ),
    Check(
        "stage event after closing", "stage_events", after_closing("stage_events", "entered_at"),
        (*_MOVE, "ended_at"), "correct the close date, or re-open the deal in the CRM",
    ),
    Check(
        "stage event for an unknown deal", "stage_events",
        orphans("stage_events", "deal_id", "deals"), _MOVE, "load the deal, or drop the event",
    ),
    Check(
        "unknown stage", "stage_events", _unknown_stage, _MOVE,
        "add the stage to `stages`, or map it to one that is there", needs=("stages",),
    ),
    Check(
        "stage entered twice in a row", "stage_events", _stays_put, _MOVE,
        "drop the second entry; it is no move", bears=0.05,
    ),
    Check(
        "equal moments in a deal", "stage_events", _same_moment, ("deal_id", "entered_at", "times"),
        "load times, not dates, so that the order of stages is known", bears=0.05,
    ),
    Check(
        "stage events in the future", "stage_events", after_border("stage_events", "entered_at"),
        _MOVE, "correct the date in the CRM, or check its format",
    ),
    Check(
        "change before creation", "deal_changes", before_creation("deal_changes", "changed_at"),
        (*_CHANGE, "made_at"), _CLOCK,
    ),
    Check(
        "change of an unknown deal", "deal_changes", orphans("deal_changes", "deal_id", "deals"),
        _CHANGE, "load the deal, or drop the change",
    ),
    Check(
        "changes in the future", "deal_changes", after_border("deal_changes", "changed_at"),
        _CHANGE, "correct the date in the CRM, or check its format",
    ),
    Check(
        "duplicate activity ids", "activities", repeated("activities", "activity_id"),
        ("activity_id", "times"), "map a column that is unique", bears=0.0,
    ),
    Check(
        "activity for an unknown deal", "activities", orphans("activities", "deal_id", "deals"),
        _ACT, "load the deal, or leave `deal_id` empty", bears=0.05,
    ),
    Check(
        "activity before creation", "activities", before_creation("activities", "at"),
        (*_ACT, "made_at"), "if the lead came before the deal this is no fault", bears=1.0,
    ),
    Check(
        "activity on a closed deal", "activities", after_closing("activities", "at"),
        (*_ACT, "ended_at"), "book after-sales work elsewhere, or re-open the deal", bears=1.0,
    ),
    Check(
        "activities in the future", "activities", after_border("activities", "at"), _ACT,
        "leave planned meetings out until they took place",
    ),
    Check(
        "impossible length of an activity", "activities", _impossible_length,
        ("activity_id", "duration_minutes"), "give minutes between 0 and 1440", of=_lengths,
    ),
    Check(
        "duplicate quote ids", "quotes", repeated("quotes", "quote_id"), ("quote_id", "times"),
        "map a column that is unique", bears=0.0,
    ),
    Check(
        "quote for an unknown deal", "quotes", orphans("quotes", "deal_id", "deals"), _QUOTE,
        "load the deal, or drop the quote",
    ),
    Check(
        "quote before creation", "quotes", before_creation("quotes", "sent_at"),
        (*_QUOTE, "made_at"), _CLOCK, bears=0.05,
    ),
    Check(
        "negative quotes", "quotes", negative("quotes", "amount"), (*_QUOTE, "amount"),
        "enter the quoted price, at least 0",
    ),
    Check(
        "discount outside 0..1", "quotes", outside_unit("quotes", "discount"),
        ("quote_id", "discount"), "give the discount as a share: 0.15 for 15 %",
    ),
)  # fmt: skip
