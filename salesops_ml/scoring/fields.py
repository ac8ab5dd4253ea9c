"""The fields of ours that a CRM shows beside a deal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from datetime import date, datetime
from typing import Any

import pandas as pd

PROBABILITY_DIGITS = 6
FIELDS = (
    "salesops_win_probability",
    "salesops_close_p50",
    "salesops_score_band",
    "salesops_reasons",
    "salesops_scored_at",
    "salesops_model_version",
)
"""Column names, in the order of the attributes of `Score`."""
SCORED = ("p_win", "close_p50_date", "band", "reasons", "scored_at", "model_version")
"""The columns of `score_open_deals` that they are filled from, in the same order."""


@dataclass(frozen=True)
class Score:
    """What is written of one deal.

    Attributes:
        win_probability: chance of winning within the model's horizon, 0..1, six digits.
        close_p50: median day of winning, given that it is won.
        band: very low, low, medium or high.
        reasons: why, in words.
        scored_at: when the score was made, naive UTC, to the second.
        model_version: which model made it.
    """

    win_probability: float | None = None
    close_p50: date | None = None
    band: str | None = None
    reasons: str | None = None
    scored_at: datetime | None = None
    model_version: str | None = None

    @property
    def empty(self) -> bool:
        """Whether all fields are empty, as after a withdrawal."""
        return all(value is None for value in astuple(self))

    def values(self) -> dict[str, Any]:
        """The fields by column name."""
        return dict(zip(FIELDS, astuple(self), strict=True))

    def to_json(self) -> str:
        """The fields as text, for the journal."""
        return json.dumps(vars(self), default=str, ensure_ascii=False)


def score_of(row: Mapping[Any, Any]) -> Score:
    """The score in a row with columns `FIELDS`; NaN and NaT read as empty.

    Example:
        >>> score_of({"salesops_win_probability": 0.12345678}).win_probability
        0.123457
    """
    given = {name: _known(row.get(name)) for name in FIELDS}
    chance, closes, band, reasons, at, version = given.values()
    return Score(
        win_probability=None if chance is None else round(float(chance), PROBABILITY_DIGITS),
        close_p50=None if closes is None else pd.Timestamp(closes).date(),
        band=None if band is None else str(band),
        reasons=None if reasons is None else str(reasons),
        scored_at=None if at is None else pd.Timestamp(at).floor("s").to_pydatetime(),
        model_version=None if version is None else str(version),
    )


def score_from_json(text: str) -> Score:
    """The score that `Score.to_json` told.

    Example:
        >>> score = Score(win_probability=0.4, scored_at=datetime(2026, 3, 1, 8))
        >>> score_from_json(score.to_json()) == score
        True
    """
    found = json.loads(text)
    closes, at = found["close_p50"], found["scored_at"]
    return Score(
        win_probability=found["win_probability"],
        close_p50=None if closes is None else date.fromisoformat(closes),
        band=found["band"],
        reasons=found["reasons"],
        scored_at=None if at is None else datetime.fromisoformat(at),
        model_version=found["model_version"],
    )


def scores_by_deal(scores: pd.DataFrame) -> dict[str, Score]:
    """The scores that `score_open_deals` gave, as fields to write, by deal."""
    named = scores[["deal_id", *SCORED]].rename(columns=dict(zip(SCORED, FIELDS, strict=True)))
    return {str(row["deal_id"]): score_of(row) for row in named.to_dict("records")}


def current_by_deal(current: pd.DataFrame) -> dict[str, Score]:
    """The fields as they stand in the CRM, by deal; rows whose fields are all empty are left out."""
    found = {str(row["deal_id"]): score_of(row) for row in current.to_dict("records")}
    return {deal_id: score for deal_id, score in found.items() if not score.empty}


def _known(value: Any) -> Any:
    return None if value is None or pd.isna(value) else value
