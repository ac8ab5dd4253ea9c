"""The event log: which deal entered which stage when, as it was known on a day.

`event_log` reads it from the warehouse as one table expression; `log_files.read_log` reads it from a
file, with the column names that pm4py uses.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import ibis
import ibis.expr.types as ir

from salesops_ml.mining.log_columns import ACTIVITY, CASE, PM4PY_COLUMNS, TIMESTAMP
from salesops_ml.mining.log_files import read_log

if TYPE_CHECKING:
    from salesops_ml.warehouse import Warehouse

__all__ = ["ACTIVITY", "CASE", "PM4PY_COLUMNS", "TIMESTAMP", "event_log", "read_log"]


def event_log(warehouse: Warehouse, *, as_of: datetime, pipeline: str | None = None) -> ir.Table:
    """Stage events known at `as_of` (naive UTC), one row each, ordered within the deal.

    Events of one moment keep the order of `seq`. Only what was recorded, and took place, by `as_of`
    counts, so later rows and today's values never change it.

    Returns a table expression with columns:
        case_id, activity: the deal and the stage it entered.
        entered_at: when, UTC.
        position: 0 for the deal's first event, then 1, 2, ...
        next_activity: the stage it entered next; null where none is known.
        left_at: when it left; null where it is still there, or ended there by closing.
        rep_id: who owned or moved the deal then.
        is_closed, is_won: whether the stage ends, or wins, the deal.
        stage_position: the stage's agreed place in the process; null where none is agreed.
        amount: the deal's amount as known at `as_of`, company currency.
        outcome: open, won or lost, as known at `as_of`.
        closed_at: when it was won or lost; null while open.
        pipeline: the sales process that the deal runs in.
        as_of: the day of looking; open deals are followed up to it.
    """
    events = _visible_events(warehouse, as_of, pipeline)
    order = ibis.window(group_by="case_id", order_by=["entered_at", "seq"])
    events = events.mutate(
        position=ibis.row_number().over(order),
        next_activity=events.activity.lead().over(order),
        left_at=events.entered_at.lead().over(order),
    )
    log = events.join(_outcomes(events), "case_id", how="left").drop("case_id_right")
    log = log.join(_amounts(warehouse, as_of), "case_id", how="left").drop("case_id_right")
    ended_unseen = log.left_at.isnull() & ~log.is_closed & log.closed_at.notnull()
    log = log.mutate(
        left_at=ibis.ifelse(ended_unseen, log.closed_at, log.left_at),
        amount=ibis.coalesce(log.amount, log.todays_amount),
        as_of=ibis.literal(as_of).cast("timestamp"),
    )
    return log.select(
        "case_id", "activity", "entered_at", "position", "next_activity", "left_at", "rep_id",
        "is_closed", "is_won", "stage_position", "amount", "outcome", "closed_at", "pipeline",
        "as_of",
    ).order_by(["case_id", "position"])  # fmt: skip


def _visible_events(warehouse: Warehouse, as_of: datetime, pipeline: str | None) -> ir.Table:
    """Stage events recorded and entered by `as_of`, with their deal's row and their stage's."""
    events = warehouse.table("stage_events")
    moment = ibis.literal(as_of).cast("timestamp")
    events = events.filter(events.recorded_at <= moment, events.entered_at <= moment)
    deals = warehouse.table("deals")
    deals = deals.select(
        deal_key=deals.deal_id,
        pipeline=deals.pipeline.fill_null(""),
        todays_amount=_amount_without_history(warehouse, deals),
        todays_status=deals.status,
        todays_close=ibis.ifelse(deals.closed_at <= moment, deals.closed_at, ibis.null()),
    )
    if pipeline is not None:
        deals = deals.filter(deals.pipeline == pipeline)
    stages = warehouse.table("stages")
    stages = stages.select(
        stage_key=stages.stage,
        stage_pipeline=stages.pipeline,
        stage_position=stages.position,
        is_won=stages.is_won,
        is_closed=stages.is_closed,
    )
    joined = events.join(deals, events.deal_id == deals.deal_key, how="inner")
    joined = joined.join(
        stages,
        [joined.stage == stages.stage_key, joined.pipeline == stages.stage_pipeline],
        how="left",
    )
    return joined.select(
        "entered_at", "seq", "rep_id", "pipeline", "todays_amount", "todays_status",
        "todays_close", "stage_position",
        case_id=joined.deal_id,
        activity=joined.stage,
        is_won=joined.is_won.fill_null(False),
        is_closed=joined.is_closed.fill_null(False),
    )  # fmt: skip


def _amount_without_history(warehouse: Warehouse, deals: ir.Table) -> ir.Value:
    """Today's amount where the source keeps no history of amounts at all, else null."""
    changes = warehouse.table("deal_changes")
    kept = changes.filter(changes.field.isin(["amount_base", "amount"])).count().execute() > 0
    if kept:
        return ibis.null().cast("float64")
    return ibis.coalesce(deals.amount_base, deals.amount).cast("float64")


def _outcomes(events: ir.Table) -> ir.Table:
    """Each deal's outcome: by its last events if they close it, else by its dated closing.

    Several closing events in a row (approved, registered, activated) close at the first of them.
    """
    whole = ibis.window(group_by="case_id")
    events = events.mutate(
        last_open=events.position.max(where=~events.is_closed).over(whole).fill_null(-1)
    )
    closing = events.is_closed & (events.position > events.last_open)
    deals = events.group_by("case_id").aggregate(
        ever_closed=events.is_closed.any(),
        closes=closing.any(),
        wins=events.is_won.any(where=closing).fill_null(False),
        first_closing=events.entered_at.min(where=closing),
        last_entered=events.entered_at.max(),
        status=events.todays_status.max(),
        todays_close=events.todays_close.max(),
    )
    dated = ~deals.ever_closed & (deals.todays_close >= deals.last_entered)
    dated = (dated & (deals.status != "open")).fill_null(False)
    return deals.select(
        "case_id",
        outcome=ibis.cases(
            (deals.closes & deals.wins, "won"),
            (deals.closes, "lost"),
            (dated, deals.status),
            else_="open",
        ),
        closed_at=ibis.cases(
            (deals.closes, deals.first_closing), (dated, deals.todays_close), else_=None
        ),
    )


def _amounts(warehouse: Warehouse, as_of: datetime) -> ir.Table:
    """The last amount recorded by `as_of` of each deal: company currency, else the deal's own."""
    changes = warehouse.table("deal_changes")
    moment = ibis.literal(as_of).cast("timestamp")
    changes = changes.filter(
        changes.field.isin(["amount_base", "amount"]), changes.recorded_at <= moment
    )
    latest = ibis.window(
        group_by=["deal_id", "field"], order_by=[ibis.desc("changed_at"), ibis.desc("seq")]
    )
    changes = changes.mutate(age=ibis.row_number().over(latest))
    changes = changes.filter(changes.age == 0)
    value = changes.new_value.try_cast("float64")
    by_deal = changes.group_by("deal_id").aggregate(
        base=value.max(where=changes.field == "amount_base"),
        own=value.max(where=changes.field == "amount"),
    )
    return by_deal.select(case_id=by_deal.deal_id, amount=ibis.coalesce(by_deal.base, by_deal.own))
