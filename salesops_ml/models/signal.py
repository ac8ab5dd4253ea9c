"""Is there anything to learn? A score must beat the simple tables on deals it never saw, or give way.

On the held-out looks the score is compared, row by row, with the stage x age table, and that with the
base rate. A gain must exceed its own standard error, told by deal; else the simpler answer is used and
said. A company without signal is better served by its base rate than by confident noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from salesops_ml.evaluation.bootstrap import clustered_means
from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.proper_scores import Flags, log_losses

DRAWS = 200
MODEL, STAGE_AGE, BASE_RATE = "model", "stage_age", "base_rate"
SENTENCES = {
    MODEL: "the deal model is used",
    STAGE_AGE: "no signal beyond stage and age: the stage x age table is used",
    BASE_RATE: "no signal beyond the base rate: every deal gets it",
}


@dataclass(frozen=True)
class Gain:
    """Mean log-loss saved by one answer over another, and its standard error by deal."""

    mean: float
    error: float

    @property
    def real(self) -> bool:
        """Whether it exceeds its own noise."""
        return self.mean > self.error


def gain(
    better: Floats,
    worse: Floats,
    won: Flags,
    weight: Floats,
    deals: npt.NDArray[np.object_],
    *,
    seed: int,
) -> Gain:
    """What the probabilities `better` save over `worse`, on the same rows.

    Example:
        >>> won = np.array([True, False] * 50)
        >>> right, blunt = np.where(won, 0.8, 0.2), np.full(100, 0.5)
        >>> deals = np.arange(100).astype(object)
        >>> gain(right, blunt, won, np.ones(100), deals, seed=1).real
        True
    """
    saved = log_losses(won, worse) - log_losses(won, better)
    means = clustered_means(saved, weight, deals, draws=DRAWS, seed=seed)
    return Gain(float(np.average(saved, weights=weight)), float(np.nanstd(means)))


def choose_answer(
    model: Floats,
    tables: tuple[Floats, Floats],
    won: Flags,
    weight: Floats,
    deals: npt.NDArray[np.object_],
    *,
    seed: int,
) -> tuple[str, dict[str, Any]]:
    """The answer to use (`model`, `stage_age`, `base_rate`), and the gains that decided it.

    Args:
        tables: what the stage x age table says, and the base rate.
    """
    table, base = tables
    over_table = gain(model, table, won, weight, deals, seed=seed)
    over_base = gain(model, base, won, weight, deals, seed=seed)
    table_over_base = gain(table, base, won, weight, deals, seed=seed)
    told = {
        "model_over_stage_age": vars(over_table),
        "model_over_base_rate": vars(over_base),
        "stage_age_over_base_rate": vars(table_over_base),
    }
    if over_table.real and over_base.real:
        return MODEL, told
    return (STAGE_AGE if table_over_base.real else BASE_RATE), told
