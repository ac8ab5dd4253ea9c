"""Making a promised 30 % happen in three of ten: none, beta or Venn-Abers, whichever proves right.

Which one is decided per data set: each learns from the earlier half of the held-out deals and is judged
by IPCW log-loss on the later half, over all rows, open deals included. `none` stays unless another
gains more than the noise of that judgement, since a needless map does harm to a score that is right.

Sources: Kull, Silva Filho & Flach (2017) for beta; Vovk, Petej & Fedorova (2015), "Large-scale
probabilistic predictors with and without guarantees of validity", for Venn-Abers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.proper_scores import EPSILON, Flags

KINDS = ("none", "beta", "venn_abers")
BINS = 400
GRID = 101
PRIOR_SPREAD = 0.5


@dataclass(frozen=True)
class Calibration:
    """A rising map from score to probability.

    Attributes:
        kind: none, beta or venn_abers.
        numbers: beta: its a, b and c; venn_abers: the probability at each score of `grid`.
        grid: venn_abers: rising scores. Shape (g,).
    """

    kind: str = "none"
    numbers: tuple[float, ...] = ()
    grid: tuple[float, ...] = ()

    @classmethod
    def fit(
        cls, kind: str, p: Floats, won: Flags, weight: Floats, deals: npt.NDArray[np.object_]
    ) -> Calibration:
        """Learn the map of `kind` from scored rows with their censoring weights; evidence is by deal."""
        if kind == "none":
            return cls()
        seen = weight > 0
        evidence = len(np.unique(deals[seen]))
        if kind == "beta":
            return cls("beta", _fit_beta(p[seen], won[seen], weight[seen], evidence))
        return _fit_venn_abers(p[seen], won[seen], weight[seen], evidence)

    def apply(self, p: Floats) -> Floats:
        """Calibrated probabilities, shape (n,)."""
        if self.kind == "beta":
            a, b, c = self.numbers
            p = np.clip(p, EPSILON, 1 - EPSILON)
            return np.asarray(1 / (1 + np.exp(-(a * np.log(p) - b * np.log1p(-p) + c))))
        if self.kind == "venn_abers":
            return np.asarray(np.interp(p, self.grid, self.numbers))
        return p

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": self.kind, "numbers": list(self.numbers), "grid": list(self.grid)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Calibration:
        """The map that `to_dict` described."""
        return cls(values["kind"], tuple(values["numbers"]), tuple(values["grid"]))


NONE = Calibration()
"""The map that changes nothing."""


def _fit_beta(p: Floats, won: Flags, weight: Floats, evidence: int) -> tuple[float, ...]:
    """a ln p - b ln(1 - p) + c, with a prior at (1, 1, 0) so that few deals change little."""
    p = np.clip(p, EPSILON, 1 - EPSILON)
    parts = np.column_stack([np.log(p), -np.log1p(-p), np.ones(len(p))])
    center = np.array([1.0, 1.0, 0.0])
    share = weight / weight.sum()

    def loss(beta: Floats) -> tuple[float, Floats]:
        z = parts @ beta
        gap = share * (1 / (1 + np.exp(-z)) - won)
        away = (beta - center) / PRIOR_SPREAD**2
        value = evidence * (share * (np.logaddexp(0, z) - won * z)).sum()
        return float(value + ((beta - center) * away).sum() / 2), evidence * (gap @ parts) + away

    bounds = [(0.0, None), (0.0, None), (None, None)]
    found = minimize(loss, center, jac=True, method="L-BFGS-B", bounds=bounds).x
    return tuple(float(value) for value in found)


def _fit_venn_abers(p: Floats, won: Flags, weight: Floats, evidence: int) -> Calibration:
    """Isotonic fits with each grid score added once as a loss and once as a win, merged by minimax.

    Rows are first gathered into bins of equal mass, so that the cost does not grow with the rows.
    """
    from sklearn.isotonic import IsotonicRegression

    order = np.argsort(p, kind="stable")
    bins = [part for part in np.array_split(order, min(BINS, len(order))) if len(part)]
    mass = np.array([weight[part].sum() for part in bins]) * evidence / weight.sum()
    score = np.array([np.average(p[part], weights=weight[part]) for part in bins])
    share = np.array([np.average(won[part], weights=weight[part]) for part in bins])
    grid = np.unique(np.quantile(score, np.linspace(0, 1, GRID)))
    ends: list[Floats] = []
    for outcome in (0.0, 1.0):
        told = [
            IsotonicRegression(y_min=0, y_max=1)
            .fit([*score, s], [*share, outcome], sample_weight=[*mass, 1.0])
            .predict([s])[0]
            for s in grid
        ]
        ends.append(np.maximum.accumulate(np.array(told)))
    merged = ends[1] / (1 - ends[0] + ends[1])
    return Calibration("venn_abers", tuple(merged.tolist()), tuple(grid.tolist()))
