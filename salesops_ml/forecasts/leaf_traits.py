"""What sets one leaf of the tree apart when it comes to new deals: how many, how often won, how large.

Each trait is the leaf's own as far as its numbers carry, and the company's beyond (credibility,
Buehlmann 1967). How far its numbers carry also says how uncertain it stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from salesops_ml.forecasts.batch import Bools, Floats, Ints

_BETWEEN_LEAVES = 0.04
"""Variance of true conversion and deal size between leaves, relative to the mean, taken as known."""
_CREDIBLE_WINS = 1.0 / _BETWEEN_LEAVES
_SHARE_CREDIBLE = 5.0
_SHARE_HALF_LIFE_DAYS = 120.0


@dataclass(frozen=True)
class LeafTraits:
    """Traits by leaf, (leaves,).

    Attributes:
        share: of the company's arrivals.
        conversion, size: chance of winning and won amount, relative to the company's.
        variance: relative variance of the product of the three.
    """

    share: Floats
    conversion: Floats
    size: Floats
    variance: Floats


def learn_leaf_traits(
    deals: pd.DataFrame,
    leaves: Ints,
    is_won: Bools,
    promised: Floats,
    won: pd.DataFrame,
    *,
    count: int,
    inactive: Ints,
    as_of: datetime,
) -> LeafTraits:
    """Learn from dated deals.

    Args:
        deals: created_at.
        leaves: each deal's leaf number.
        is_won: whether it was won within the window.
        promised: wins that its days at risk promise at the company's rates.
        won: the rows of `deals` won in the window, with their amount.
        count: number of leaves.
        inactive: leaves where nothing new starts.
        as_of: the day.
    """
    ago = (pd.Timestamp(as_of) - deals["created_at"]).dt.total_seconds().to_numpy() / 86_400.0
    weight = np.asarray(0.5 ** (ago / _SHARE_HALF_LIFE_DAYS), dtype=np.float64)
    recent = np.bincount(leaves, weights=weight, minlength=count).astype(np.float64)
    expected = np.bincount(leaves, weights=promised, minlength=count)
    seen = np.bincount(leaves[is_won], minlength=count)
    share = _shares(recent, count, inactive)
    conversion = (seen + _CREDIBLE_WINS) / (expected + _CREDIBLE_WINS)
    size, size_variance = _sizes(won, leaves[won.index], count)
    conversion = conversion / max(float(share @ conversion), 1e-12)
    size = size / max(float((share * conversion) @ size), 1e-12)
    variance = 1.0 / (recent + 1.0) + 1.0 / (expected + _CREDIBLE_WINS) + size_variance
    return LeafTraits(share, conversion, size, variance)


def _shares(recent: Floats, count: int, inactive: Ints) -> Floats:
    """Each leaf's share of arrivals: recent ones count more, and nobody's share is only luck."""
    weight = np.where(recent > 0.05, recent + _SHARE_CREDIBLE / max(count, 1), 0.0)
    active = weight.copy()
    active[inactive] = 0.0
    kept = active if active.sum() > 0 else weight
    return kept / kept.sum() if kept.sum() > 0 else np.full(count, 1.0 / count)


def _sizes(won: pd.DataFrame, leaves: Ints, count: int) -> tuple[Floats, Floats]:
    """Mean won amount of each leaf relative to the company's, and its relative variance."""
    amounts = won["amount"].to_numpy(dtype=np.float64)
    known = ~np.isnan(amounts)
    mean = float(amounts[known].mean()) if known.any() else 0.0
    if mean <= 0:
        return np.ones(count), np.full(count, _BETWEEN_LEAVES)
    spread = float(amounts[known].std() / mean) ** 2
    credible = max(spread / _BETWEEN_LEAVES, 1.0)
    wins = np.bincount(leaves[known], minlength=count)
    sums = np.bincount(leaves[known], weights=amounts[known], minlength=count)
    size = np.asarray((sums / mean + credible) / (wins + credible), dtype=np.float64)
    return size, np.asarray(spread / (wins + credible), dtype=np.float64)
