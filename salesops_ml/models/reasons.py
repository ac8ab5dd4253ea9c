"""Why a deal scores as it does: additive contributions, grouped into things a person can act on.

They add up, on the log-odds of winning by the horizon: a base, each group of features, and what
calibration did make exactly the published chance. Boosted trees give their exact Shapley values
(Lundberg et al. 2020), the regression its own terms, a table its cell against the company; for curves,
which have no terms, groups get Shapley values (`models.shapley`). They describe association, not
effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.proper_scores import logit
from salesops_ml.models.encoding import Encoder
from salesops_ml.models.known_deals import KnownDeals
from salesops_ml.models.side_by_side import threads_now
from salesops_ml.models.wording import in_words

BASE = "base"
CALIBRATION = "calibration"
FAINT = 0.02
"""Log-odds below which a group is no reason."""

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


@dataclass(frozen=True)
class Parts:
    """The contributions to a score, on the log-odds of the published chance.

    Attributes:
        groups: each group's contribution, and last `base` and `calibration`; every row sums to the
            log-odds of `p_win`. Shape (n, groups + 2).
        features: the same by feature, for the voices that have terms; it says which feature leads a
            group. Shape (n, features).
    """

    groups: pd.DataFrame
    features: pd.DataFrame

    @classmethod
    def join(
        cls, voices: list[tuple[float, pd.DataFrame]], intercept: float, p_win: Floats
    ) -> Parts:
        """Add up voices by their weights; what is left to the log-odds of `p_win` is calibration.

        Args:
            voices: weight, and contributions by feature (or by group, named as such) with `base`.
        """
        index = voices[0][1].index if voices else pd.RangeIndex(len(p_win))
        groups: dict[str, Floats] = {}
        features: dict[str, Floats] = {}
        base = np.full(len(p_win), intercept)
        for weight, parts in voices:
            base += weight * parts[BASE].to_numpy()
            for name in parts.columns.drop(BASE):
                told = weight * parts[name].to_numpy()
                group = group_of(name) if name.startswith("f_") else name
                groups[group] = groups.get(group, 0.0) + told
                if name.startswith("f_"):
                    features[name] = features.get(name, 0.0) + told
        table = pd.DataFrame({name: groups[name] for name in sorted(groups)}, index=index)
        table[BASE] = base
        table[CALIBRATION] = logit(p_win) - table.sum(axis=1).to_numpy()
        return cls(table, pd.DataFrame(features, index=index))


def contributions(
    booster: Any, encoder: Encoder, frame: pd.DataFrame, *, threads: int
) -> pd.DataFrame:
    """Contribution of each feature to the booster's log-odds, plus `base`. Shape (n, features + 1).

    Each row sums to the booster's log-odds of winning by the horizon.
    """
    matrix = encoder.transform(frame)
    values = np.zeros((0, len(encoder.names) + 1))
    if len(frame):
        values = booster.predict(matrix, pred_contrib=True, num_threads=threads_now(threads))
    return pd.DataFrame(values, columns=[*encoder.names, BASE], index=frame.index)


def strongest(
    parts: Parts, frame: pd.DataFrame, known: KnownDeals, *, most: int = 3
) -> list[list[Reason]]:
    """For each row the strongest groups for and against, up to `most` of each, strongest first."""
    groups = list(parts.groups.columns.drop([BASE, CALIBRATION]))
    sums = parts.groups[groups].to_numpy()
    names = list(parts.features.columns)
    values = parts.features.to_numpy()
    members = {g: [j for j, name in enumerate(names) if group_of(name) == g] for g in groups}
    rows = frame.to_dict("records")
    return [
        _row_reasons(rows[i], groups, sums[i], (names, members, values[i]), known, most)
        for i in range(len(frame))
    ]


def _row_reasons(
    row: Mapping[Any, Any],
    groups: list[str],
    sums: Floats,
    inside: tuple[list[str], dict[str, list[int]], Floats],
    known: KnownDeals,
    most: int,
) -> list[Reason]:
    names, members, values = inside
    order = np.argsort(-np.abs(sums), kind="stable")
    found: list[Reason] = []
    for sign in (1, -1):
        for g in [g for g in order if sign * sums[g] > FAINT][:most]:
            group = groups[g]
            leads = members[group]
            if not leads:
                continue
            lead = names[max(leads, key=lambda j: sign * values[j])]
            text = in_words(lead, row.get(lead), row=row, won=known.of_won(row.get("stage")))
            found.append(Reason(group, float(sums[g]), lead, text))
    return sorted(found, key=lambda reason: -abs(reason.contribution))
