"""The straightforward rival: logistic regression of winning by the horizon.

It is a baseline in every table, and a voice in the score itself, since where follow-up is short it
often beats boosted trees. Coefficients are kept as plain numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.proper_scores import Flags
from salesops_ml.models.encoding import Encoder

MOST_ROWS = 25_000
STRENGTH = 0.1


@dataclass(frozen=True)
class LogisticWin:
    """Coefficients on standardised numbers (as they are, and in signed logs) and on words.

    Attributes:
        encoder: the frame's columns and vocabularies.
        low, high: the 1st and 99th percentile that numbers are held within. Shape (numeric,).
        mean, scale: standardisation of the widened numeric block. Shape (2 * numeric,).
        weights: one per column of the design matrix.
    """

    encoder: Encoder
    low: Floats
    high: Floats
    mean: Floats
    scale: Floats
    weights: Floats
    intercept: float

    @classmethod
    def fit(
        cls, frame: pd.DataFrame, target: Flags, weight: Floats, *, encoder: Encoder, seed: int
    ) -> LogisticWin:
        """Learn from rows of positive weight; a sample of them where they are very many."""
        from sklearn.linear_model import LogisticRegression

        rows = np.flatnonzero(weight > 0)
        if len(rows) > MOST_ROWS:
            rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_ROWS, replace=False))
        matrix = encoder.transform(frame.iloc[rows])
        numbers = matrix[:, : len(encoder.numeric)]
        low, high = _limits(numbers)
        wide = _widened(numbers, low, high)
        mean = np.nan_to_num(np.nanmean(wide, axis=0)) if wide.size else np.empty(0)
        scale = np.nan_to_num(np.nanstd(wide, axis=0)) if wide.size else np.empty(0)
        scale = np.where(scale > 1e-9, scale, 1.0)
        shell = cls(encoder, low, high, mean, scale, np.empty(0), 0.0)
        model = LogisticRegression(C=STRENGTH, solver="newton-cholesky", tol=1e-5)
        model.fit(shell._design(matrix), target[rows], sample_weight=weight[rows])
        return cls(
            encoder,
            low,
            high,
            mean,
            scale,
            model.coef_[0].astype(float),
            float(model.intercept_[0]),
        )

    def predict(self, frame: pd.DataFrame) -> Floats:
        """Probability of winning by the horizon, shape (n,)."""
        if len(frame) == 0:
            return np.empty(0)
        score = self._design(self.encoder.transform(frame)) @ self.weights + self.intercept
        return np.asarray(1 / (1 + np.exp(-score)))

    def _design(self, matrix: Floats) -> Floats:
        """Standardised numbers, a flag where a number is missing, a column for each word."""
        count = len(self.encoder.numeric)
        numbers, codes = matrix[:, :count], matrix[:, count:]
        wide = (_widened(numbers, self.low, self.high) - self.mean) / self.scale
        parts = [np.nan_to_num(wide), np.isnan(numbers).astype(float)]
        for j, words in enumerate(self.encoder.words.values()):
            parts.append((codes[:, j : j + 1] == np.arange(len(words))).astype(float))
        return np.concatenate(parts, axis=1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the encoder is stored by whoever holds the model."""
        arrays = ("low", "high", "mean", "scale", "weights")
        return {
            **{name: getattr(self, name).tolist() for name in arrays},
            "intercept": self.intercept,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], encoder: Encoder) -> LogisticWin:
        """The model that `to_dict` described."""
        arrays = {
            name: np.array(values[name], dtype=float)
            for name in ("low", "high", "mean", "scale", "weights")
        }
        return cls(encoder, intercept=float(values["intercept"]), **arrays)


def _limits(numbers: Floats) -> tuple[Floats, Floats]:
    if numbers.size == 0:
        return np.empty(0), np.empty(0)
    known = np.where(np.isnan(numbers).all(axis=0), 0.0, numbers)
    low, high = np.nanquantile(known, [0.01, 0.99], axis=0)
    return np.asarray(low), np.asarray(high)


def _widened(numbers: Floats, low: Floats, high: Floats) -> Floats:
    held = np.clip(numbers, low, high)
    return np.concatenate([held, np.sign(held) * np.log1p(np.abs(held))], axis=1)
