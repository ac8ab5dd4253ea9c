"""What each KPI means, in which unit, which way is better, and what it needs to be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["up", "down", "neither"]


@dataclass(frozen=True)
class Definition:
    """One KPI.

    Attributes:
        name: as in the column `metric`; a detail follows it after a colon (`stage_dwell_p50:Lead`).
        unit: %, days, hours, count, ratio, money, money/day or money/h.
        better: which way is good news.
        needs: what it cannot be told without: a table; a column with values, as `table.column`; the
            history of a field, as `deal_changes:field`; or activities of a kind that a setting names,
            as `activities@kpis.meetings`. `|` between them: any one will do.
        meaning: in a sentence.
    """

    name: str
    unit: str
    better: Better
    needs: tuple[str, ...]
    meaning: str


_CLOSED = ("deals.closed_at",)
_CYCLE = ("deals.created_at", "deals.closed_at")
_OPEN = ("deals.created_at",)
_MONEY = ("deals.amount_base|deals.amount|deal_changes:amount_base|deal_changes:amount",)
_DUE = ("deals.expected_close_date|deal_changes:expected_close_date",)
_DUE_DATES = ("deal_changes:expected_close_date",)
_TIMED = ("activities.duration_minutes", "activities@kpis.selling")
_STAGES = ("stage_events", "stages")

_UP: Better = "up"
_DOWN: Better = "down"
_NEITHER: Better = "neither"

_ALL = (
    Definition("quota_achievement_rate", "%", _UP, ("quotas", *_CLOSED),
               "share of the reps with a quota whose won amount reached it"),
    Definition("quota_attainment", "%", _UP, ("quotas", *_CLOSED, *_MONEY),
               "won amount as a share of the quota"),
    Definition("win_rate", "%", _UP, _CLOSED, "won deals as a share of the deals closed"),
    Definition("win_rate_amount", "%", _UP, (*_CLOSED, *_MONEY),
               "won amount as a share of the amount closed"),
    Definition("cycle_mean", "days", _DOWN, _CYCLE, "mean days from creation to winning"),
    Definition("cycle_median", "days", _DOWN, _CYCLE, "median days from creation to winning"),
    Definition("cycle_typical", "days", _DOWN, _CYCLE,
               "days within which half of what will be won by the horizon is won, open deals counted"),
    Definition("deal_size_mean", "money", _UP, (*_CLOSED, *_MONEY), "mean amount of won deals"),
    Definition("deal_size_median", "money", _UP, (*_CLOSED, *_MONEY), "median amount of won deals"),
    Definition("open_deal_size_mean", "money", _NEITHER, (*_OPEN, *_MONEY),
               "mean amount of the deals open at the end of the period"),
    Definition("open_deal_size_median", "money", _NEITHER, (*_OPEN, *_MONEY),
               "median amount of the deals open at the end of the period"),
    Definition("selling_time_share", "%", _UP, _TIMED,
               "minutes with customers as a share of all logged minutes"),
    Definition("won_per_selling_hour", "money/h", _UP,
               (*_TIMED, *_CLOSED, *_MONEY),
               "won amount per hour with customers"),
    Definition("open_pipeline", "money", _UP, (*_OPEN, *_MONEY),
               "amount of the deals open at the end of the period"),
    Definition("open_deals", "count", _UP, _OPEN, "deals open at the end of the period"),
    Definition("weighted_pipeline_crm", "money", _UP,
               (*_OPEN, *_MONEY, *_STAGES, "stages.probability"),
               "open amounts weighted by the CRM's stage probability"),
    Definition("weighted_pipeline_model", "money", _UP, (*_OPEN, *_MONEY),
               "open amounts weighted by the model's probability of winning"),
    Definition("pipeline_efficiency", "%", _UP, (*_CYCLE, *_MONEY),
               "won amount as a share of the pipeline at the start and what was created since"),
    Definition("pipeline_coverage_start", "ratio", _UP, ("quotas", *_OPEN, *_MONEY, *_DUE),
               "pipeline due in the period against the quota, at its start"),
    Definition("pipeline_coverage", "ratio", _UP, ("quotas", *_CYCLE, *_MONEY, *_DUE),
               "pipeline still due in the period against what is missing to the quota"),
    Definition("forecast_accuracy", "%", _UP, ("forecast_submissions", *_CLOSED, *_MONEY),
               "1 - WAPE of submitted forecasts against what was won"),
    Definition("forecast_bias", "%", _NEITHER, ("forecast_submissions", *_CLOSED, *_MONEY),
               "how far submitted forecasts lean above (+) or below (-) what was won"),
    Definition("meetings_per_rep", "count", _UP, ("activities@kpis.meetings",),
               "meetings over open deals per active rep"),
    Definition("stage_conversion", "%", _UP, _STAGES,
               "share of the deals entering the stage that reach a later one"),
    Definition("stage_win_rate", "%", _UP, _STAGES,
               "share of the deals entering the stage that are won"),
    Definition("stage_dwell_p50", "days", _DOWN, ("stage_events",), "median days in the stage"),
    Definition("stage_dwell_p90", "days", _DOWN, ("stage_events",),
               "days within which 90 % of the deals leave the stage"),
    Definition("stage_overdue", "%", _DOWN, ("stage_events", "stages.expected_days"),
               "share of the deals that stay in the stage past the expected days"),
    Definition("transition_dwell_p50", "days", _DOWN, ("stage_events",),
               "median days in the stage of the deals that go on this way"),
    Definition("transition_dwell_p90", "days", _DOWN, ("stage_events",),
               "days within which 90 % of the deals that go on this way leave"),
    Definition("sales_velocity", "money/day", _UP, (*_CYCLE, *_MONEY),
               "open deals x win rate x mean deal size / mean cycle"),
    Definition("slippage_deals", "%", _DOWN, (*_DUE_DATES, *_CYCLE),
               "share of the deals due in the period that were moved past it"),
    Definition("slippage_amount", "%", _DOWN, (*_DUE_DATES, *_CYCLE, *_MONEY),
               "share of the amount due in the period that was moved past it"),
    Definition("pushes_per_deal", "count", _DOWN, (*_DUE_DATES, *_CYCLE),
               "times that the expected close was moved later, per open deal"),
    Definition("speed_to_lead_p50", "hours", _DOWN, ("activities", *_OPEN),
               "median hours from creation to the first activity"),
    Definition("speed_to_lead_p90", "hours", _DOWN, ("activities", *_OPEN),
               "hours within which 90 % of the new deals have a first activity"),
    Definition("ageing_deals", "count", _DOWN, (*_CYCLE, *_STAGES),
               "open deals older than 90 % of won deals were in the same stage"),
    Definition("ageing_amount", "money", _DOWN, (*_CYCLE, *_STAGES, *_MONEY),
               "amount of those deals"),
    Definition("waterfall", "money", _NEITHER, (*_CYCLE, *_MONEY, *_DUE_DATES),
               "a step from the pipeline due at the start of the period to that at its end"),
)  # fmt: skip

DEFINITIONS: dict[str, Definition] = {definition.name: definition for definition in _ALL}


def definition_of(metric: str) -> Definition:
    """The definition behind a value of the column `metric`, whatever its detail.

    Example:
        >>> definition_of("stage_dwell_p50:Proposal").unit
        'days'
    """
    return DEFINITIONS[metric.partition(":")[0]]
