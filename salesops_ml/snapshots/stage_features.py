"""Where the deal stands in the process, how long it has stood there, and how it came."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from salesops_ml.snapshots.closings import staged_events
from salesops_ml.snapshots.visible import KEY, days_between, numbered, visible
from salesops_ml.snapshots.vocabulary import slugs
from salesops_ml.snapshots.working_time import DAY, with_working_time
from salesops_ml.warehouse import Warehouse


def stage_features(
    warehouse: Warehouse, spine: ir.Table, *, stages: tuple[str, ...], calendar: ir.Table
) -> ir.Table:
    """Latest stage and the path to it, over the whole life of the deal.

    f_stage: a deal's chance is first of all its stage's. f_stage_position: order carries between
    pipelines. f_days_in_stage: deals that linger lose. f_workdays_in_stage: the same, weekends and
    holidays not counted. f_days_in_stage_of_expected: linger beyond what was agreed. f_stages_seen,
    f_moves, f_moves_back, f_skips: smooth paths win, loops don't. f_loops: entries into stages where
    it had been before. f_days_since_back: a setback wears off. f_visits_of_stage: back again where
    it was. f_furthest_position: how far it ever came. f_previous_stage, f_days_in_previous_stage:
    where it came from, and how hard that was. f_days_per_stage, f_moves_per_week: its pace so far.
    f_moves_14d: momentum. f_crm_probability: the CRM's view. f_days_at_<stage>: time in each of the
    usual `stages` so far, all visits together.

    Args:
        stages: the stages that get a column.
        calendar: see `snapshots.working_time`.
    """
    moves = with_working_time(ranked_moves(warehouse), calendar, at="entered_at", name="worked")
    seen = path(spine, moves)
    seen = seen.mutate(days_ago=days_between(seen.entered_at, seen.as_of))
    latest = seen.group_by(*KEY).agg(**_standing(seen), **_way(seen), **_time_at(seen, stages))
    latest = with_working_time(latest, calendar, at="as_of", name="worked_now")
    moved = latest.f_moves
    return latest.mutate(
        f_days_in_stage_of_expected=latest.f_days_in_stage / latest.expected_days.nullif(0),
        f_workdays_in_stage=(latest.worked_now - latest.worked).cast("float64") / DAY,
        f_days_per_stage=latest.first_days_ago / moved,
        f_moves_per_week=7 * moved / ibis.greatest(latest.first_days_ago, 1.0),
        f_loops=moved - latest.f_stages_seen,
    ).drop("expected_days", "first_days_ago", "worked", "worked_now")


def _standing(seen: ir.Table) -> dict[str, ir.Value]:
    """Where the deal stands, and what the process says of that place."""
    return {
        "f_stage": seen.stage.argmax(seen.place),
        "f_stage_position": seen.position.argmax(seen.place).cast("float64"),
        "f_days_in_stage": seen.days_ago.argmax(seen.place),
        "worked": seen.worked.argmax(seen.place),
        "expected_days": seen.expected_days.argmax(seen.place),
        "f_crm_probability": seen.probability.argmax(seen.place),
        "f_visits_of_stage": (seen.stage == seen.last_stage).sum().cast("float64"),
    }


def _way(seen: ir.Table) -> dict[str, ir.Value]:
    """How it came there."""
    left = seen.next_at.notnull()
    return {
        "f_previous_stage": seen.stage.argmax(seen.place, where=left),
        "f_days_in_previous_stage": _days(seen.seconds.argmax(seen.place, where=left)),
        "f_stages_seen": seen.stage.nunique().cast("float64"),
        "f_moves": seen.count().cast("float64"),
        "f_moves_back": seen.back.cast("int64").sum().cast("float64"),
        "f_days_since_back": seen.days_ago.min(where=seen.back),
        "f_skips": seen.skipped.cast("int64").sum().cast("float64"),
        "f_furthest_position": seen.position.max().cast("float64"),
        "f_moves_14d": (seen.days_ago < 14).sum().cast("float64"),
        "first_days_ago": seen.days_ago.max(),
    }


def _time_at(seen: ir.Table, stages: tuple[str, ...]) -> dict[str, ir.Value]:
    return {
        f"f_days_at_{name}": _days(seen.seconds.sum(where=seen.stage == stage))
        for stage, name in slugs(stages).items()
    }


def _days(seconds: ir.Value) -> ir.Value:
    return seconds.cast("float64") / DAY


def ranked_moves(warehouse: Warehouse) -> ir.Table:
    """Stage events with their rank within the deal."""
    return numbered(staged_events(warehouse), "entered_at", "seq")


def path(spine: ir.Table, moves: ir.Table) -> ir.Table:
    """Each look's way so far: a row per visible stage entry.

    Columns besides those of the event: `next_at`, when that stage was left (null: not yet),
    `seconds` spent there, `back` and `skipped` for how it was entered, `last_stage` where the deal
    stands. All of it by what could be seen at the look: an entry that was recorded late does not cut
    an earlier look's visit in two.
    """
    seen = visible(spine, moves, at="entered_at")
    here = ibis.window(group_by=KEY, order_by=seen.place)
    whole = ibis.window(group_by=KEY, order_by=seen.place, preceding=None, following=None)
    before = seen.position.lag().over(here)
    seen = seen.mutate(
        next_at=seen.entered_at.lead().over(here),
        back=(seen.position < before).fill_null(False),
        skipped=(seen.position > before + 1).fill_null(False),
        last_stage=seen.stage.last().over(whole),
    )
    until = ibis.coalesce(seen.next_at, seen.as_of)
    return seen.mutate(seconds=until.delta(seen.entered_at, unit="second"))
