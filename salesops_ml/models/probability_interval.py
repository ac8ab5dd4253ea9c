"""How far a probability can be trusted: what became of deals that were scored alike.

The held-out deals are cut into groups of equal size by score. In each, the share that really won is
held against what was promised; its clustered standard error gives the band within which the true
share lies in nine of ten cases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from salesops_ml.evaluation.bootstrap import clustered_means
from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.proper_scores import Flags

GROUPS = 10
Z90 = 1.645


@dataclass(frozen=True)
class ProbabilityInterval:
    """Offsets below and above the score, by score.

    Attributes:
        score: mean promised probability of each group, rising. Shape (g,).
        below, above: distance of the ends of the 90 % band from the promise. Shape (g,).
    """

    score: Floats
    below: Floats
    above: Floats

    @classmethod
    def fit(
        cls,
        p: Floats,
        won: Flags,
        weight: Floats,
        deals: npt.NDArray[np.object_],
        *,
        seed: int,
    ) -> ProbabilityInterval:
        """Learn from held-out deals; groups with too little to see widen to their neighbours'."""
        order = np.argsort(p, kind="stable")
        rows = []
        for group in np.array_split(order, min(GROUPS, max(len(np.unique(deals)) // 30, 1))):
            if weight[group].sum() <= 0:
                continue
            promised = float(np.average(p[group], weights=weight[group]))
            happened = float(np.average(won[group], weights=weight[group]))
            means = clustered_means(
                won[group].astype(float), weight[group], deals[group], draws=200, seed=seed
            )
            spread = max(float(np.nanstd(means)), 0.5 / len(np.unique(deals[group])))
            shift = happened - promised
            rows.append((promised, min(shift - Z90 * spread, 0.0), max(shift + Z90 * spread, 0.0)))
        table = np.array(sorted(rows)).reshape(-1, 3)
        return cls(table[:, 0], table[:, 1], table[:, 2])

    @classmethod
    def from_deals(cls, deals: int) -> ProbabilityInterval:
        """Where nothing could be held back: the binomial error of a tenth of the training deals."""
        score = np.linspace(0.0, 1.0, 11)
        spread = Z90 * np.sqrt(np.maximum(score * (1 - score), 0.02) / max(deals / 10, 1.0))
        return cls(score, -spread, spread)

    def around(self, p: Floats) -> tuple[Floats, Floats]:
        """Lower and upper end for each score, within 0..1 and around it."""
        low = p + np.interp(p, self.score, self.below)
        high = p + np.interp(p, self.score, self.above)
        return np.clip(low, 0.0, p), np.clip(high, p, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: getattr(self, name).tolist() for name in ("score", "below", "above")}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ProbabilityInterval:
        """The intervals that `to_dict` described."""
        return cls(*(np.array(values[name]) for name in ("score", "below", "above")))
