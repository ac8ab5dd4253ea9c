"""Logistic regression on bent lines and words: the steady voice among the trees.

Each number enters as it is, in signed logs and bent at its quartiles; each word of a rep, account or
product has a coefficient of its own, held small by the ridge as in a random-effects model. How small
is chosen by held-out deals. Coefficients are kept as plain numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit

from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.proper_scores import Flags
from salesops_ml.models.attribute_table import RARE, Codes, Sheet
from salesops_ml.models.inner_folds import Places

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Inverse ridge penalties tried, from stiff to loose."""
MOST_ROWS = 25_000
BENDS = (0.25, 0.5, 0.75)
FEW_VALUES = 4
"""Numbers of up to this many values are not bent."""
SOLVER = {"maxiter": 50, "ftol": 1e-6, "gtol": 1e-5}


@dataclass(frozen=True)
class SplineDesign:
    """The design matrix's recipe, learned without the outcome.

    Attributes:
        low, high: limits that numbers are held within. Shape (numeric,).
        bends: where each number's line bends; empty for few-valued numbers.
        mean, scale: standardisation of each number's columns.
        sizes: number of codes of each worded feature.
    """

    low: Floats
    high: Floats
    bends: tuple[tuple[float, ...], ...]
    mean: tuple[tuple[float, ...], ...]
    scale: tuple[tuple[float, ...], ...]
    sizes: tuple[int, ...]

    @classmethod
    def learn(cls, numbers: Floats, sizes: tuple[int, ...]) -> SplineDesign:
        """Limits at the half percentiles, bends at the quartiles."""
        low, high, bends, mean, scale = [], [], [], [], []
        for values in numbers.T:
            known = values[np.isfinite(values)]
            known = known if len(known) else np.zeros(1)
            ends = np.quantile(known, [0.005, 0.995])
            many = len(np.unique(known)) > FEW_VALUES
            inside = np.unique(np.quantile(known, BENDS)) if many else np.empty(0)
            inside = inside[(inside > ends[0]) & (inside < ends[1])]
            wide = _bent(known, ends[0], ends[1], tuple(inside))
            spread = wide.std(axis=0)
            low.append(ends[0])
            high.append(ends[1])
            bends.append(tuple(inside.tolist()))
            mean.append(tuple(wide.mean(axis=0).tolist()))
            scale.append(tuple(np.where(spread > 1e-9, spread, np.inf).tolist()))
        return cls(np.array(low), np.array(high), tuple(bends), tuple(mean), tuple(scale), sizes)

    def matrix(self, numbers: Floats, codes: Codes) -> Any:
        """The design matrix in sparse rows; a missing number is the mean and has a flag, a rare
        word has no column."""
        parts = [sparse.csr_matrix((len(numbers), 0))]
        for j, bends in enumerate(self.bends):
            wide = _bent(numbers[:, j], self.low[j], self.high[j], bends)
            wide = np.nan_to_num((wide - self.mean[j]) / self.scale[j])
            gone = np.isnan(numbers[:, j : j + 1]).astype(float)
            parts.append(sparse.csr_matrix(np.concatenate([wide, gone], axis=1)))
        for j, size in enumerate(self.sizes):
            told, rows = (codes[:, j] != RARE).astype(float), np.arange(len(codes))
            parts.append(sparse.csr_matrix((told, (rows, codes[:, j])), shape=(len(codes), size)))
        return sparse.hstack(parts, format="csr")

    @property
    def widths(self) -> list[int]:
        """Columns of each feature: the numeric ones, then the worded ones."""
        return [len(bends) + 3 for bends in self.bends] + list(self.sizes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a column that never varies has scale null."""
        scale = [[None if s == np.inf else s for s in row] for row in self.scale]
        return {
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "bends": [list(row) for row in self.bends],
            "mean": [list(row) for row in self.mean],
            "scale": scale,
            "sizes": list(self.sizes),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SplineDesign:
        """The design that `to_dict` described."""
        scale = [[np.inf if s is None else s for s in row] for row in values["scale"]]
        return cls(
            np.array(values["low"], dtype=float),
            np.array(values["high"], dtype=float),
            tuple(tuple(row) for row in values["bends"]),
            tuple(tuple(row) for row in values["mean"]),
            tuple(tuple(row) for row in scale),
            tuple(values["sizes"]),
        )


@dataclass(frozen=True)
class SplineLogistic:
    """A design with its coefficients."""

    design: SplineDesign
    coefficients: Floats
    intercept: float

    @classmethod
    def fit(cls, sheet: Sheet, fold: Places, *, seed: int) -> tuple[SplineLogistic, Floats]:
        """The model, and the log-odds of each training row by the fold that did not see it."""
        target, weight = sheet.target, sheet.weight
        design = SplineDesign.learn(sheet.numbers, sheet.sizes)
        matrix = design.matrix(sheet.numbers, sheet.codes)
        folds = int(fold.max()) + 1
        held_out = np.empty((len(STRENGTHS), len(target)))
        for k in range(folds):
            rows = _some(np.flatnonzero(fold != k), seed + k)
            path = _path(matrix[rows], target[rows], weight[rows], STRENGTHS)
            far = matrix[fold == k]
            held_out[:, fold == k] = [far @ slope + shift for slope, shift in path]
        loss = np.logaddexp(0, held_out) - held_out * target
        best = int(np.argmin(loss @ weight))
        rows = _some(np.arange(len(target)), seed)
        slope, shift = _path(matrix[rows], target[rows], weight[rows], STRENGTHS[: best + 1])[-1]
        return cls(design, slope, shift), held_out[best]

    def log_odds(self, numbers: Floats, codes: Codes) -> Floats:
        """Log-odds of winning, shape (n,)."""
        return np.asarray(self.design.matrix(numbers, codes) @ self.coefficients + self.intercept)

    def parts(self, numbers: Floats, codes: Codes) -> Floats:
        """Each feature's share of the log-odds, before the intercept. Shape (n, features)."""
        matrix = self.design.matrix(numbers, codes)
        widths = self.design.widths
        owner = np.repeat(np.arange(len(widths)), widths)
        spread = sparse.csr_matrix(
            (self.coefficients, (np.arange(len(owner)), owner)), shape=(len(owner), len(widths))
        )
        return np.asarray((matrix @ spread).toarray())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "design": self.design.to_dict(),
            "coefficients": self.coefficients.tolist(),
            "intercept": self.intercept,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SplineLogistic:
        """The model that `to_dict` described."""
        return cls(
            SplineDesign.from_dict(values["design"]),
            np.array(values["coefficients"], dtype=float),
            values["intercept"],
        )


def _bent(values: Floats, low: float, high: float, bends: tuple[float, ...]) -> Floats:
    held = np.clip(values, low, high)
    logs = np.sign(held) * np.log1p(np.abs(held))
    return np.column_stack([held, logs, *(np.maximum(held - bend, 0) for bend in bends)])


def _some(rows: Places, seed: int) -> Places:
    if len(rows) <= MOST_ROWS:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, MOST_ROWS, replace=False))


def _path(
    matrix: Any, target: Flags, weight: Floats, strengths: tuple[float, ...]
) -> list[tuple[Floats, float]]:
    """Coefficients and intercept for each strength, each started from the stiffer one."""
    share = weight / weight.sum()
    rate = np.clip(float(share @ target), 1e-6, 1 - 1e-6)
    beta = np.zeros(matrix.shape[1] + 1)
    beta[-1] = np.log(rate / (1 - rate))
    found = []
    across = matrix.T.tocsr()
    for strength in strengths:
        ridge = 1 / (strength * weight.sum())

        def loss(beta: Floats, ridge: float = ridge) -> tuple[float, Floats]:
            z = matrix @ beta[:-1] + beta[-1]
            gap = share * (expit(z) - target)
            value = share @ (np.logaddexp(0, z) - z * target) + ridge * beta[:-1] @ beta[:-1] / 2
            return float(value), np.append(across @ gap + ridge * beta[:-1], gap.sum())

        beta = minimize(loss, beta, jac=True, method="L-BFGS-B", options=SOLVER).x
        found.append((beta[:-1].copy(), float(beta[-1])))
    return found
