"""Features in words, with the deal's own value: "27 days in this stage"."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

PHRASES = {
    "f_days_in_stage": "{:.0f} days in this stage",
    "f_days_in_stage_of_expected": "{:.1f} times the expected time in this stage",
    "f_days_per_stage": "{:.0f} days a stage so far",
    "f_age_days": "{:.0f} days old",
    "f_stage": "stage {}",
    "f_stages_seen": "{:.0f} stages seen",
    "f_stage_position": "at place {:.0f} of the process",
    "f_furthest_position": "came as far as place {:.0f} of the process",
    "f_visits_of_stage": "visit {:.0f} to this stage",
    "f_moves": "{:.0f} stage moves",
    "f_moves_14d": "{:.0f} stage moves in 14 days",
    "f_moves_back": "went back {:.0f} times",
    "f_skips": "skipped stages {:.0f} times",
    "f_crm_probability": "the CRM says {:.0%}",
    "f_days_since_activity": "{:.0f} days since the last activity",
    "f_activities": "{:.0f} activities so far",
    "f_activity_trend": "{:+.0f} activities, this fortnight against the last",
    "f_minutes_30d": "{:.0f} minutes of work in 30 days",
    "f_last_kind": "last activity: {}",
    "f_last_outcome": "last outcome: {}",
    "f_days_since_outcome": "{:.0f} days since the last outcome",
    "f_pushes": "close date pushed {:.0f} times",
    "f_pushes_30d": "close date pushed {:.0f} times in 30 days",
    "f_days_pushed": "close date pushed by {:.0f} days",
    "f_days_to_expected_close": "{:.0f} days to the expected close",
    "f_amount_changes": "amount changed {:.0f} times",
    "f_amount_ratio": "amount at {:.0%} of its first value",
    "f_days_since_amount_change": "{:.0f} days since the amount changed",
    "f_quotes": "{:.0f} quotes",
    "f_quote_status": "last quote {}",
    "f_days_since_quote": "{:.0f} days since the last quote",
    "f_discount": "discount of {:.0%}",
    "f_quote_amount": "quoted {:,.0f}",
    "f_rep": "owned by {}",
    "f_rep_team": "team {}",
    "f_rep_region": "sold in {}",
    "f_rep_win_rate": "rep wins {:.0%} of deals",
    "f_rep_closed": "rep has closed {:.0f} deals",
    "f_rep_open": "rep has {:.0f} open deals",
    "f_rep_tenure_days": "rep hired {:.0f} days ago",
    "f_owner_changes": "owner changed {:.0f} times",
    "f_account_win_rate": "account's deals win {:.0%}",
    "f_account_closed": "account closed {:.0f} deals before",
    "f_account_open": "account has {:.0f} open deals",
    "f_account_employees": "account of {:,.0f} employees",
    "f_account_revenue": "account revenue of {:,.0f}",
    "f_days_to_quarter_end": "{:.0f} days to quarter end",
    "f_changes_30d": "{:.0f} changes in 30 days",
    "f_workdays_in_stage": "{:.0f} working days in this stage",
    "f_days_in_stage_of_won": "{:.1f} times as long in this stage as deals that won",
    "f_age_of_won": "{:.1f} times the age at which deals are won",
    "f_stage_win_rate": "{:.0%} of deals that reached this stage were won",
    "f_rep_stage_win_rate": "rep wins {:.0%} of deals brought to this stage",
    "f_previous_stage": "came from stage {}",
    "f_days_in_previous_stage": "{:.0f} days in the stage before",
    "f_days_since_back": "{:.0f} days since it went back",
    "f_moves_per_week": "{:.1f} stage moves a week",
    "f_loops": "entered a stage again {:.0f} times",
    "f_activity_gap": "an activity every {:.1f} days",
    "f_silence_of_rhythm": "silent for {:.1f} times its usual gap",
    "f_days_to_first_activity": "first activity after {:.1f} days",
    "f_days_to_first_quote": "first quote after {:.0f} days",
    "f_quotes_30d": "{:.0f} quotes in 30 days",
    "f_quote_ratio": "last quote at {:.0%} of the first",
    "f_quote_of_amount": "quoted {:.0%} of the amount",
    "f_amount_raises": "amount raised {:.0f} times",
    "f_amount_cuts": "amount cut {:.0f} times",
    "f_last_amount_ratio": "amount last changed to {:.0%}",
    "f_amount_of_rep": "{:.1f} times the rep's usual amount",
    "f_amount_of_won": "{:.1f} times the usual amount of won deals",
    "f_amount_of_segment": "{:.1f} times the usual amount won in its segment",
    "f_pulls": "close date pulled in {:.0f} times",
    "f_days_since_push": "{:.0f} days since the close date was pushed",
    "f_last_push_days": "last pushed by {:.0f} days",
    "f_promised_days": "first promised within {:.0f} days",
    "f_promise_used": "{:.0%} of the first promised time is gone",
    "f_expected_days_to_month_end": "expected {:.0f} days before the end of a month",
    "f_category_changes": "forecast category changed {:.0f} times",
    "f_quarter_month": "month {:.0f} of the quarter",
    "f_created_hour": "came in at {:.0f} o'clock",
    "f_rep_open_amount": "rep has {:,.0f} of open deals",
    "f_rep_win_rate_180d": "rep won {:.0%} of late",
    "f_rep_segment_win_rate": "rep wins {:.0%} in this segment",
    "f_win_rate_180d": "the company won {:.0%} of late",
    "f_product_win_rate": "deals of this product win {:.0%}",
    "f_lead_source_win_rate": "deals of this source win {:.0%}",
    "f_deal_type_win_rate": "deals of this type win {:.0%}",
    "f_pipeline_win_rate": "deals of this pipeline win {:.0%}",
    "f_days_since_anything": "{:.0f} days since anything happened",
    "f_days_since_account_win": "{:.0f} days since the account's last win",
}
"""How a feature is told; others are told by the rules of `in_words`."""


SINGULAR = {
    "days": "day", "moves": "move", "stages": "stage", "activities": "activity", "quotes": "quote",
    "changes": "change", "deals": "deal", "minutes": "minute",
}  # fmt: skip
NOT_MEASURED = (
    "f_month", "f_created_month", "f_weekday", "f_created_weekday", "f_created_hour", "f_overdue",
    "f_quarter_month", "f_crm_probability", "f_stage_position", "f_furthest_position",
    "f_days_to_quarter_end", "f_win_rate_180d", "f_closes_this_quarter",
)  # fmt: skip
"""Numbers of which it says nothing what those of won deals were."""
OF_WON = {
    "f_days_in_stage": "f_days_in_stage_of_won",
    "f_days_in_stage_of_won": "f_days_in_stage_of_won",
    "f_age_days": "f_age_of_won",
    "f_age_of_won": "f_age_of_won",
}
"""Times that the deal's own row compares with what won deals took."""


def in_words(
    feature: str,
    value: Any,
    *,
    row: Mapping[Any, Any] | None = None,
    won: Mapping[str, float] | None = None,
) -> str:
    """A feature and the deal's own value as a phrase, with the measure of won deals where known.

    Args:
        row: the deal's other values.
        won: medians of won deals in the same stage.

    Example:
        >>> in_words("f_days_in_stage", 27.2), in_words("f_lead_source", "web")
        ('27 days in this stage', 'lead source: web')
        >>> in_words("f_kind_meeting_30d", 2.0), in_words("f_overdue", 1.0)
        ('meeting: 2 in 30 days', 'past its expected close')
        >>> in_words("f_days_since_quote", None)
        'no quote yet'
        >>> deal = {"stage": "Negotiation", "f_days_in_stage": 27, "f_days_in_stage_of_won": 2.45}
        >>> in_words("f_days_in_stage", 27, row=deal)
        '27 days in Negotiation (deals that won took 11)'
        >>> in_words("f_activities_30d", 2.0, won={"f_activities_30d": 6.0})
        '2 activities in 30 days (won deals: 6)'
    """
    row = row or {}
    if feature in OF_WON:
        told = _time_taken(feature, row)
        if told:
            return told
    if feature == "f_stage" and not _is_known(value):
        value = row.get("stage")
    name = feature.removeprefix("f_").removeprefix("x_").replace("_", " ")
    if not _is_known(value):
        if feature.startswith("f_days_since_"):
            return f"no {name.removeprefix('days since ')} yet"
        return f"{name}: not known"
    if isinstance(value, str):
        value = value.replace("_", " ")
        return PHRASES[feature].format(value) if feature in PHRASES else f"{name}: {value}"
    phrase = _singular(_number_in_words(feature, name, float(value)))
    return phrase + _measure(feature, float(value), (won or {}).get(feature))


def _time_taken(feature: str, row: Mapping[Any, Any]) -> str | None:
    """Days in stage or age, beside the days that deals that won took."""
    ratio = row.get(OF_WON[feature])
    staged = "stage" in feature
    days = row.get("f_days_in_stage" if staged else "f_age_days")
    if not _is_known(ratio) or not _is_known(days):
        return None
    ratio, days = float(ratio or 0), float(days or 0)
    if ratio <= 0:
        return None
    stage = row.get("stage")
    place = f"in {stage}" if staged and _is_known(stage) else "in this stage" if staged else "old"
    return f"{_singular(f'{days:.0f} days')} {place} (deals that won took {days / ratio:.0f})"


def _measure(feature: str, value: float, usual: float | None) -> str:
    """What won deals had, in the same figures; nothing where that reads the same."""
    if usual is None or feature in NOT_MEASURED:
        return ""
    mine, theirs = _figure(feature, value), _figure(feature, usual)
    return "" if mine == theirs else f" (won deals: {theirs})"


def _figure(feature: str, value: float) -> str:
    """The number alone, as the feature's phrase writes it."""
    if feature == "f_log_amount":
        return f"{np.exp(value):,.0f}"
    found = re.search(r"\{[^}]*\}", PHRASES.get(feature, ""))
    if found:
        return found.group().format(value)
    counted = feature.startswith(("f_kind_", "f_activities_", "f_days_since_"))
    return f"{value:.0f}" if counted else f"{value:,.3g}"


def _singular(phrase: str) -> str:
    """One day, not "1 days"; once, not "1 times"."""
    phrase = re.sub(r"(?<![\d.,])1 times(?! (as|the|its))", "once", phrase)
    return re.sub(rf"(?<![\d.,+-])1 ((?:\w+ )?)({'|'.join(SINGULAR)})\b", _one, phrase)


def _one(found: re.Match[str]) -> str:
    return f"1 {found.group(1)}{SINGULAR[found.group(2)]}"


def _is_known(value: Any) -> bool:
    return value is not None and not pd.isna(value)


def _number_in_words(feature: str, name: str, value: float) -> str:
    if feature in PHRASES:
        return PHRASES[feature].format(value)
    if feature == "f_log_amount":
        return f"amount of {np.exp(value):,.0f}"
    if feature == "f_overdue":
        return "past its expected close" if value else "not past its expected close"
    if feature in ("f_month", "f_created_month"):
        word = "born in" if feature == "f_created_month" else "it is"
        return f"{word} {calendar.month_name[int(value)]}"
    if feature == "f_weekday":
        return f"it is {calendar.day_name[int(value)]}"
    if feature.startswith("f_kind_"):
        kind = feature.removeprefix("f_kind_")
        when = " in 30 days" if kind.endswith("_30d") else " so far"
        return f"{kind.removesuffix('_30d').replace('_', ' ')}: {value:.0f}{when}"
    if feature.startswith("f_activities_"):
        window = feature.removeprefix("f_activities_").removesuffix("d")
        return f"{value:.0f} activities in {window} days"
    if feature.startswith("f_days_since_"):
        return f"{value:.0f} {name.replace('days since', 'days since the last')}"
    return f"{name}: {value:,.3g}"
