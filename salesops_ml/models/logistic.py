"""The straightforward rival: logistic regression of winning by the horizon.

It is a baseline in every table, and a voice in the score itself, since where follow-up is short it
often beats boosted trees. Coefficients are kept as plain numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
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
        center: mean of each column over the training rows, where contributions count from.
    """

    encoder: Encoder
    low: Floats
    high: Floats
    mean: Floats
    scale: Floats
    weights: Floats
    intercept: float
    center: Floats = field(default_factory=lambda: np.empty(0))

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
        design = shell._design(matrix)
        model.fit(design, target[rows], sample_weight=weight[rows])
        return replace(
            shell,
            weights=model.coef_[0].astype(float),
            intercept=float(model.intercept_[0]),
            center=design.mean(axis=0),
        )

    def predict(self, frame: pd.DataFrame) -> Floats:
        """Probability of winning by the horizon, shape (n,)."""
        if len(frame) == 0:
            return np.empty(0)
        score = self._design(self.encoder.transform(frame)) @ self.weights + self.intercept
        return np.asarray(1 / (1 + np.exp(-score)))

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Each feature's part of the log-odds, and `base`, that of the mean of the training rows.

        Exact, since the model is linear; rows sum to the log-odds of `predict`.
        Shape (n, features + 1).
        """
        names = self.encoder.names
        center = self.center if self.center.size else np.zeros(len(self.weights))
        parts = np.zeros((len(frame), len(names) + 1))
        parts[:, -1] = self.intercept + center @ self.weights
        if len(frame):
            terms = (self._design(self.encoder.transform(frame)) - center) * self.weights
            np.add.at(parts.T, self._feature_of_column(), terms.T)
        return pd.DataFrame(parts, columns=[*names, "base"], index=frame.index)

    def _feature_of_column(self) -> npt.NDArray[np.int64]:
        """The place of the feature that each column of the design matrix tells of."""
        count = len(self.encoder.numeric)
        sizes = [len(words) for words in self.encoder.words.values()]
        worded = np.repeat(np.arange(count, count + len(sizes)), sizes)
        return np.concatenate([np.tile(np.arange(count), 3), worded]).astype(np.int64)

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
        arrays = ("low", "high", "mean", "scale", "weights", "center")
        return {
            **{name: getattr(self, name).tolist() for name in arrays},
            "intercept": self.intercept,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], encoder: Encoder) -> LogisticWin:
        """The model that `to_dict` described."""
        arrays = {
            name: np.array(values.get(name, []), dtype=float)
            for name in ("low", "high", "mean", "scale", "weights", "center")
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
