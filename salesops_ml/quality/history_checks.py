"""Checks of the histories: order, time, and whether they tell the same story as the deals."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from salesops_ml.quality.check import Check, rows_where
from salesops_ml.quality.known import Known

LATE_DAYS = 1


def _with_deal(known: Known, name: str, *columns: str) -> ir.Table:
    """Rows of a history beside the columns of their deal, as `deal_<column>`."""
    deals = known.table("deals")
    named = deals.select("deal_id", **{f"deal_{column}": deals[column] for column in columns})
    rows = known.table(name)
    return rows.join(named, "deal_id")


def _before_creation(known: Known) -> ir.Table:
    rows = _with_deal(known, "stage_events", "created_at")
    return rows_where(rows, rows.entered_at < rows.deal_created_at)


def _after_close(known: Known) -> ir.Table:
    rows = _with_deal(known, "stage_events", "closed_at")
    return rows_where(rows, rows.entered_at > rows.deal_closed_at)


def _activity_after_close(known: Known) -> ir.Table:
    rows = _with_deal(known, "activities", "closed_at")
    return rows_where(rows, rows["at"] > rows.deal_closed_at, "activity_id")


def _future_event(known: Known) -> ir.Table:
    rows = known.table("stage_events")
    return rows_where(rows, rows.entered_at > known.moment)


def _future_activity(known: Known) -> ir.Table:
    rows = known.table("activities")
    return rows_where(rows, rows["at"] > known.moment, "activity_id")


def _same_moment(known: Known) -> ir.Table:
    rows = known.table("stage_events")
    moments = rows.group_by("deal_id", "entered_at").aggregate(stages=rows.stage.nunique())
    return rows_where(moments, moments.stages > 1)


def _imported(known: Known) -> ir.Table:
    """Moments at which a hundred deals or more entered a stage: an import, not selling."""
    rows = known.table("stage_events")
    counted = rows.group_by("entered_at").aggregate(deals=rows.deal_id.nunique())
    many = counted.filter(counted.deals >= 100).select("entered_at")
    return rows.semi_join(many, "entered_at").select(example=ibis._.entered_at.cast("string"))


def _unknown_stage(known: Known) -> ir.Table:
    return known.table("stage_events").anti_join(known.table("stages"), "stage").select(
        example=ibis._.stage
    )  # fmt: skip


def _without_events(known: Known) -> ir.Table:
    deals = known.table("deals")
    dated = deals.filter(deals.created_at.notnull())
    return dated.anti_join(known.table("stage_events"), "deal_id").select(example=ibis._.deal_id)


def _last_stage(known: Known) -> ir.Table:
    """Deal, status, and the meaning of the last stage that it entered."""
    rows = known.table("stage_events")
    window = ibis.window(group_by="deal_id", order_by=[rows.entered_at.desc(), rows.seq.desc()])
    last = rows.mutate(back=ibis.row_number().over(window)).filter(ibis._.back == 0)
    stages = known.table("stages")
    meaning = stages.group_by("stage").aggregate(
        is_closed=stages.is_closed.any(), is_won=stages.is_won.any()
    )
    deals = known.table("deals").select("deal_id", "status")
    return last.select("deal_id", "stage").join(meaning, "stage").join(deals, "deal_id")


def _open_in_closing_stage(known: Known) -> ir.Table:
    rows = _last_stage(known)
    return rows_where(rows, (rows.status == "open") & rows.is_closed)


def _won_elsewhere(known: Known) -> ir.Table:
    rows = _last_stage(known)
    return rows_where(rows, (rows.status == "won") & ~rows.is_won)


def _late(name: str, at: str, example: str) -> Check:
    def bad(known: Known) -> ir.Table:
        rows = known.table(name)
        late = rows.recorded_at > rows[at] + ibis.interval(days=LATE_DAYS)
        return rows_where(rows, late, example)

    return Check(
        f"{name.replace('_', ' ')} recorded more than {LATE_DAYS} day late", name,
        "on the days between, models cannot count on them", "record things when they happen",
        bad, warn_above=0.05, fail_above=0.8,
    )  # fmt: skip


def _beyond_a_day(known: Known) -> ir.Table:
    rows = known.table("activities")
    return rows_where(rows, rows.duration_minutes > 24 * 60, "activity_id")


def _without_duration(known: Known) -> ir.Table:
    rows = known.table("activities")
    return rows_where(rows, rows.duration_minutes.isnull(), "activity_id")


def _quote_below_zero(known: Known) -> ir.Table:
    rows = known.table("quotes")
    return rows_where(rows, rows.amount < 0, "quote_id")


def _discount_out_of_range(known: Known) -> ir.Table:
    rows = known.table("quotes")
    return rows_where(rows, (rows.discount < 0) | (rows.discount > 1), "quote_id")


HISTORY_CHECKS = (
    Check("stage event before creation", "stage_events",
          "time in stage would begin before the deal", "map `created_at` to the true beginning",
          _before_creation, fail_above=0.2),
    Check("stage event after the close", "stage_events",
          "it stands in the process map, but no model sees it",
          "see whether these deals were opened again", _after_close,
          warn_above=0.05, fail_above=0.5),
    Check("activity after the close", "activities",
          "work on closed deals counts as selling time", "log it on the customer, not on the deal",
          _activity_after_close, warn_above=0.1, fail_above=0.8),
    Check("stage event in the future", "stage_events",
          "what has not happened yet must not be in a history", "correct the time",
          _future_event, fail_above=0.05),
    Check("activity in the future", "activities",
          "planned work is not counted until it is done", "nothing, if these are plans",
          _future_activity, warn_above=0.05, fail_above=1.0),
    Check("several stages at one moment", "stage_events",
          "time spent in them is zero: steps were skipped or filled in afterwards",
          "move deals when they move", _same_moment, warn_above=0.1, fail_above=1.0),
    Check("stage events of an import", "stage_events",
          "a hundred deals that move at one moment were moved by a machine",
          "leave the import's moves out, or give them their true times",
          _imported, warn_above=0.01, fail_above=0.5),
    Check("unknown stage", "stage_events",
          "it has no place in the process", "add it to `stages`, or map it to one",
          _unknown_stage, needs=("stages",), fail_above=0.2),
    Check("deal without stage events", "deals",
          "its path through the process is not known", "load the whole stage history",
          _without_events, needs=("stage_events",), warn_above=0.02),
    Check("open, but in a closing stage", "stage_events",
          "the status or the stage is wrong", "close these deals, or move them back",
          _open_in_closing_stage, needs=("stages",), fail_above=0.2),
    Check("won, but not in a won stage", "stage_events",
          "the process map shows them end elsewhere", "move won deals to the won stage",
          _won_elsewhere, needs=("stages",), warn_above=0.02, fail_above=0.5),
    Check("activity longer than a day", "activities",
          "selling time is overstated", "log the time worked, not the time the task was open",
          _beyond_a_day, warn_above=0.01, fail_above=0.5),
    Check("activity without a duration", "activities",
          "time spent selling is understated", "log how long meetings and calls took",
          _without_duration, warn_above=0.2, fail_above=1.0),
    Check("quote below zero", "quotes",
          "what was offered is not known", "give the price offered, and the discount as a share",
          _quote_below_zero, fail_above=0.05),
    Check("discount outside 0 to 1", "quotes",
          "a discount of 15 would be one of 1,500 percent", "divide percentages by 100",
          _discount_out_of_range, fail_above=0.05),
    _late("stage_events", "entered_at", "deal_id"),
    _late("activities", "at", "activity_id"),
    _late("deal_changes", "changed_at", "deal_id"),
)  # fmt: skip
