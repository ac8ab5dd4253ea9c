"""Why a deal scores as it does: additive contributions, grouped into things a person can act on.

The contributions are those of the boosted classifier (exact Shapley values of its trees, Lundberg et
al. 2020), on the log-odds of winning by the horizon; features that say the same thing are summed
before they are ranked. They describe association, not effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.evaluation.censoring import Floats
from salesops_ml.models.encoding import Encoder
from salesops_ml.models.wording import in_words

GROUPS = {
    "stage": (
        "f_stage", "f_crm_probability", "f_furthest", "f_visits", "f_moves", "f_skips", "f_loops",
        "f_previous_stage", "f_days_since_back",
    ),
    "pace": (
        "f_days_in_stage", "f_age_", "f_days_per_stage", "f_workdays_in_stage", "f_days_at_",
        "f_days_in_previous_stage",
    ),
    "amount": ("f_log_amount", "f_amount", "f_changes", "f_last_amount"),
    "close date": (
        "f_days_to_expected", "f_overdue", "f_push", "f_days_pushed", "f_pulls", "f_promise",
        "f_closes_this_quarter", "f_expected_days", "f_days_since_push", "f_last_push",
    ),
    "quotes": ("f_quote", "f_discount", "f_days_since_quote", "f_days_to_first_quote"),
    "rep": ("f_rep", "f_owner"),
    "account": ("f_account", "f_days_since_account"),
    "season": (
        "f_month", "f_weekday", "f_created_", "f_days_to_quarter_end", "f_quarter_month",
        "f_win_rate_",
    ),
    "forecast category": ("f_forecast_category", "f_category_changes"),
    "product and source": ("f_product", "f_lead_source", "f_deal_type", "f_pipeline"),
    "activity": (
        "f_activit", "f_kind_", "f_days_since_", "f_minutes", "f_last_", "f_outcome_",
        "f_silence", "f_days_to_first_activity",
    ),
}  # fmt: skip
"""What a feature is about, by its first letters; the first group that knows them has it."""
EXCEPTIONS = {
    "f_days_since_quote": "quotes",
    "f_days_since_amount_change": "amount",
    "f_stages_seen": "pace",
}
"""Features whose first letters would put them into another group."""


@dataclass(frozen=True)
class Reason:
    """One group's part in a score.

    Attributes:
        group: what it is about.
        contribution: its part of the log-odds of winning; above 0 speaks for the deal.
        feature: the feature that carries most of it.
        text: in words, with the deal's own value.
    """

    group: str
    contribution: float
    feature: str
    text: str


def group_of(feature: str) -> str:
    """The group that a feature belongs to; its own name for extra attributes.

    Example:
        >>> group_of("f_days_in_stage"), group_of("f_x_segment")
        ('pace', 'segment')
    """
    if feature.startswith("f_x_"):
        return feature.removeprefix("f_x_").replace("_", " ")
    if feature in EXCEPTIONS:
        return EXCEPTIONS[feature]
    for group, prefixes in GROUPS.items():
        if feature.startswith(prefixes):
            return group
    return feature.removeprefix("f_").replace("_", " ")


def contributions(
    booster: Any, encoder: Encoder, frame: pd.DataFrame, *, threads: int
) -> pd.DataFrame:
    """Contribution of each feature to the booster's log-odds, plus `base`. Shape (n, features + 1).

    Each row sums to the booster's log-odds of winning by the horizon.
    """
    matrix = encoder.transform(frame)
    values = booster.predict(matrix, pred_contrib=True, num_threads=threads)
    return pd.DataFrame(values, columns=[*encoder.names, "base"], index=frame.index)


def strongest(parts: pd.DataFrame, frame: pd.DataFrame, *, most: int = 3) -> list[list[Reason]]:
    """For each row the strongest groups for and against, up to `most` of each, strongest first.

    Args:
        parts: what `contributions` gave for `frame`.
    """
    names = [name for name in parts.columns if name != "base"]
    groups = sorted({group_of(name) for name in names})
    member = np.array([[group_of(name) == group for name in names] for group in groups])
    values = parts[names].to_numpy()
    sums = values @ member.T.astype(float)
    return [
        _row_reasons(frame.iloc[i], names, groups, member, values[i], sums[i], most)
        for i in range(len(frame))
    ]


def _row_reasons(
    row: pd.Series,
    names: list[str],
    groups: list[str],
    member: Any,
    values: Floats,
    sums: Floats,
    most: int,
) -> list[Reason]:
    order = np.argsort(-np.abs(sums), kind="stable")
    found: list[Reason] = []
    for sign in (1, -1):
        chosen = [g for g in order if sign * sums[g] > 0.02][:most]
        for g in chosen:
            inside = np.flatnonzero(member[g])
            lead = names[inside[np.argmax(sign * values[inside])]]
            text = in_words(lead, row[lead])
            found.append(Reason(groups[g], float(sums[g]), lead, text))
    return sorted(found, key=lambda reason: -abs(reason.contribution))
