"""Looks at made-up deals with columns that tell the outcome, or honestly do not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.quality.finding import Finding
from salesops_ml.quality.looks import Looks

START = datetime(2025, 1, 1)
Column = Callable[[np.ndarray, np.random.Generator], Any]


def deals(
    count: int = 600,
    *,
    dated: bool = True,
    looks: int = 1,
    share_open: float = 0.0,
    **columns: Column,
) -> pd.DataFrame:
    """Looks at deals, half of the closed ones won; a column is made from who won, and chance.

    Ids and creation times say nothing of the outcome.
    """
    random = np.random.default_rng(3)
    won = random.random(count) < 0.5
    still = random.random(count) < share_open
    days = random.uniform(10, 300, count)
    created = [START + timedelta(days=float(d)) for d in np.sort(random.uniform(0, 500, count))]
    frame = pd.DataFrame(
        {
            "deal_id": [f"d{n:05}" for n in random.permutation(count)],
            "created_at": pd.to_datetime(created) if dated else pd.NaT,
            "outcome": np.where(still, "open", np.where(won, "won", "lost")),
            "length": np.where(still, np.nan, days),
            **{name: make(won & ~still, random) for name, make in columns.items()},
        }
    )
    parts = []
    for number in range(looks):
        ahead = frame["length"] - 7 * number
        part = frame.assign(as_of=frame["created_at"] + timedelta(days=7 * number))
        parts.append(part.assign(days_to_outcome=ahead if dated else 0.0)[~(ahead < 0)])
    return pd.concat(parts, ignore_index=True).drop(columns="length")


def seen(data: pd.DataFrame, *declared: str, test: pd.DataFrame | None = None) -> Looks:
    """The looks, with columns that rest on a declaration."""
    return Looks(data, test, frozenset(declared))


def verdicts(findings: list[Finding]) -> dict[str, str]:
    """The verdict on each column."""
    return {finding.column: finding.verdict for finding in findings}


def words(won: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return random.choice(["north", "south", "east"], len(won))


def strong(won: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """As good as a single honest field gets: AUC .92."""
    return won * 2.0 + random.normal(size=len(won))


def flag(won: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.where(random.random(len(won)) < 0.85, won, ~won) * 1.0


def seldom_known(won: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.where(random.random(len(won)) < 0.3, np.nan, random.normal(size=len(won)))


def size(won: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A sum in whole euros, as strong as `strong`."""
    return np.round(1e5 * np.exp(1.6 * won + random.normal(size=len(won))))


def some(share_won: float, share_lost: float) -> Column:
    def make(won: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return np.where(random.random(len(won)) < np.where(won, share_won, share_lost), 1.0, np.nan)

    return make


HONEST: dict[str, Column] = {
    "f_x_size": size,
    "f_x_strong": strong, "f_x_flag": flag, "f_x_region": words, "f_x_seldom": seldom_known,
    "f_x_number": lambda won, random: random.permutation(len(won)) * 1.0,
    "f_x_name": lambda won, random: [f"c{n}" for n in random.permutation(len(won))],
}  # fmt: skip
