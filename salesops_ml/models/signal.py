"""Is there anything to learn? A score must tell winners from losers better than the base rate does.

On the held-out deals that ended, the share of winning that was promised is compared with the base
rate's, each deal counting once. What it saves must be more than chance would give in one case of
twenty; and over all rows the score must not be worse than the stage x age table, which is a voice in it.
Else the simpler answer is used and said: a company without signal is better served by its base rate than
by confident noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from salesops_ml.evaluation.bootstrap import clustered_means
from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.proper_scores import Flags, log_losses
from salesops_ml.models.curves import lost_beside

DRAWS = 200
CERTAIN = 1.645
"""Standard errors that a gain must exceed: by chance one in twenty does."""
MODEL, STAGE_AGE, BASE_RATE = "model", "stage_age", "base_rate"
SENTENCES = {
    MODEL: "the deal model is used",
    STAGE_AGE: "no signal beyond the base rate of the deal's stage and age: that table is used",
    BASE_RATE: "no signal beyond the base rate: every deal that ends gets it",
}


@dataclass(frozen=True)
class Gain:
    """Mean log-loss saved by one answer over another, and its standard error, clustered by deal."""

    mean: float
    error: float

    @property
    def real(self) -> bool:
        """Whether it exceeds its own noise, at one chance in twenty."""
        return self.mean > CERTAIN * self.error


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


@dataclass(frozen=True)
class Told:
    """What one answer says of held-out rows: P(won by the horizon), and its share of ending by then."""

    p_win: Floats
    share: Floats

    @classmethod
    def of(cls, p_win: Floats, cif_won: Floats, cif_lost: Floats) -> Told:
        """From a score and the ends of the curves that time it."""
        p_lost = lost_beside(p_win, cif_won, cif_lost)
        return cls(p_win, p_win / np.maximum(p_win + p_lost, 1e-12))


def choose_answer(
    answers: dict[str, Told],
    won: Flags,
    closed: Flags,
    weight: Floats,
    deals: npt.NDArray[np.object_],
    *,
    seed: int,
) -> tuple[str, dict[str, Any]]:
    """The answer to use (`model`, `stage_age`, `base_rate`), and the gains that decided it.

    Args:
        answers: what each of the three says.
        won: won by the horizon.
        closed: won or lost by the horizon.
        weight: censoring weights at the horizon.
    """
    model, table, base = (answers[name] for name in (MODEL, STAGE_AGE, BASE_RATE))
    _, place = np.unique(deals, return_inverse=True)
    looks = np.bincount(place, weights=closed)[place]
    among = weight * closed / np.maximum(looks, 1)
    over_table = gain(model.p_win, table.p_win, won, weight, deals, seed=seed)
    over_base = gain(model.share, base.share, won, among, deals, seed=seed)
    table_over_base = gain(table.share, base.share, won, among, deals, seed=seed)
    told = {
        "model_over_stage_age": vars(over_table),
        "model_over_base_rate_among_closed": vars(over_base),
        "stage_age_over_base_rate_among_closed": vars(table_over_base),
    }
    if over_base.real and over_table.mean > 0:
        return MODEL, told
    return (STAGE_AGE if table_over_base.real else BASE_RATE), told
