"""Feature frames to numbers: one matrix, the same columns and codes in training and tonight.

Words become codes of a vocabulary learned in training; a word never or seldom seen there is "other",
an empty cell stays empty. The vocabulary is stored with the model as JSON.

A rep with few deals goes by the record as of the day alone: what a name stood for while its owner was
new is soon wrong, and a model that learned it by heart is too sure of itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.errors import ModelError
from salesops_ml.evaluation.censoring import Floats
from salesops_ml.models.clock_guard import clocklike

MIN_ROWS = 20
MAX_WORDS = 250
KNOWN_PERSON_DEALS = 200
"""Deals of a person from which the name says more than the record; `f_rep_win_rate` tells the others."""


@dataclass(frozen=True)
class Encoder:
    """Names of numeric features, and the vocabulary of each worded one."""

    numeric: tuple[str, ...]
    words: dict[str, tuple[str, ...]]

    @classmethod
    def fit(cls, frame: pd.DataFrame) -> Encoder:
        """Learn columns and vocabularies from the `f_*` columns of a training frame.

        Columns that never vary are left out, and those that are clocks (`models.clock_guard`).

        Raises:
            ModelError: no column is left.
        """
        clocks = set(clocklike(frame))
        features = [name for name in frame.columns if name.startswith("f_") and name not in clocks]
        numeric, words = [], {}
        for name in sorted(features):
            values = frame[name]
            if values.nunique(dropna=False) <= 1:
                continue
            if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
                numeric.append(name)
            else:
                known = _vocabulary(_well_known(frame) if name == "f_rep" else values)
                if known:
                    words[name] = known
        if not numeric and not words:
            raise ModelError(
                "no feature varies in the training rows; give more history or attributes"
            )
        return cls(tuple(numeric), words)

    @property
    def names(self) -> tuple[str, ...]:
        """Column names of the matrix, in order."""
        return (*self.numeric, *self.words)

    @property
    def worded(self) -> list[int]:
        """Places of the columns that hold codes."""
        return list(range(len(self.numeric), len(self.names)))

    def transform(self, frame: pd.DataFrame) -> Floats:
        """The matrix, shape (n, features): numbers, codes from 0, and NaN where nothing is known.

        Raises:
            ModelError: the frame lacks a feature that the model was trained on.
        """
        lacking = [name for name in self.names if name not in frame.columns]
        if lacking:
            raise ModelError(
                f"the frame lacks feature `{lacking[0]}` ({len(lacking)} in all) that the model was"
                " trained on; build it with the model's own feature specification"
            )
        columns = [pd.to_numeric(frame[name]).to_numpy(np.float64) for name in self.numeric]
        columns += [_codes(frame[name], words) for name, words in self.words.items()]
        matrix = np.column_stack(columns)
        matrix[~np.isfinite(matrix)] = np.nan
        return matrix

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"numeric": list(self.numeric), "words": {k: list(v) for k, v in self.words.items()}}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Encoder:
        """The encoder that `to_dict` described."""
        return cls(tuple(values["numeric"]), {k: tuple(v) for k, v in values["words"].items()})


def _well_known(frame: pd.DataFrame) -> pd.Series:
    """The rep of each look, empty for one with few deals; all, where no record tells of them."""
    reps = frame["f_rep"]
    if "f_rep_win_rate" not in frame.columns or frame["f_rep_win_rate"].nunique() <= 1:
        return reps
    deals = frame.groupby(reps.astype("string"), observed=True)["deal_id"].nunique()
    known = deals.index[deals >= KNOWN_PERSON_DEALS]
    return reps.astype("string").where(reps.astype("string").isin(known))


def _vocabulary(values: pd.Series) -> tuple[str, ...]:
    counts = values.dropna().astype(str).value_counts()
    least = min(MIN_ROWS, max(len(values) // 100, 1))
    frequent = counts[counts >= least].head(MAX_WORDS)
    return tuple(sorted(frequent.index))


def _codes(values: pd.Series, words: tuple[str, ...]) -> Floats:
    known = {word: float(code) for code, word in enumerate(words)}
    place, found = pd.factorize(values)
    codes = [known.get(str(value), float(len(words))) for value in found]
    return np.array([*codes, np.nan])[place]
