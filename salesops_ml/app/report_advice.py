"""What to do about the process, in words, for the report, the process page and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from salesops_ml.figures.numbers import known, money
from salesops_ml.figures.recommendation_words import worded

MOST_ADVICE = 8


@dataclass(frozen=True)
class Advice:
    """One recommendation: its money, what was found, how sure that is, and what to do."""

    price: str
    finding: str
    confidence: str
    what_to_do: str


def advice(recommendations: pd.DataFrame, currency: str, most: int = MOST_ADVICE) -> list[Advice]:
    """The first recommendations in words."""
    rows = worded(recommendations, currency=currency).head(most).to_dict("records")
    return [
        Advice(
            _price(row, currency), str(row["finding"]), str(row["confidence"]),
            str(row["what_to_do"]),
        )
        for row in rows
    ]  # fmt: skip


def _price(row: dict[Any, Any], currency: str) -> str:
    if known(row["money"]) is None:
        return "no price"
    month = " a month" if "month" in str(row["money_means"]) else ""
    return f"{money(row['money'], currency)}{month}"
