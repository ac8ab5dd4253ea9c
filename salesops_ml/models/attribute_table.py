"""A deal's attributes as numbers and word codes, every word kept that came twice.

Reps, accounts and landing pages are words of which there are thousands, and each may tell something;
so no word is folded away for being one of many. A word that came once, or that is new tonight, is
"rare", an empty cell is "missing".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from salesops_ml.errors import ModelError
from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.proper_scores import Flags

Codes = npt.NDArray[np.int64]

RARE = 0
MISSING = 1
FIRST_WORD = 2


@dataclass(frozen=True)
class AttributeTable:
    """Names of the numeric features, and the vocabulary of each worded one.

    Example:
        >>> frame = pd.DataFrame({"f_amount": [5.0, 7.0, 9.0], "f_rep": ["ann", "bob", "ann"]})
        >>> table = AttributeTable.fit(frame)
        >>> table.codes(pd.DataFrame({"f_rep": ["ann", "new", None]}))[:, 0].tolist()
        [2, 0, 1]
    """

    numeric: tuple[str, ...]
    words: dict[str, tuple[str, ...]]

    @classmethod
    def fit(cls, frame: pd.DataFrame) -> AttributeTable:
        """Learn the `f_*` columns that vary; there may be none."""
        numeric, words = [], {}
        for name in sorted(c for c in frame.columns if c.startswith("f_")):
            values = frame[name]
            if values.nunique(dropna=False) <= 1:
                continue
            if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
                numeric.append(name)
            else:
                counts = values.dropna().astype(str).value_counts()
                words[name] = tuple(sorted(counts.index[counts > 1]))
        return cls(tuple(numeric), words)

    @property
    def names(self) -> tuple[str, ...]:
        """All features: the numeric ones, then the worded ones."""
        return (*self.numeric, *self.words)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each worded feature, rare and missing among them."""
        return tuple(len(words) + FIRST_WORD for words in self.words.values())

    def numbers(self, frame: pd.DataFrame) -> Floats:
        """The numeric features, shape (n, numeric), NaN where nothing is known.

        Raises:
            ModelError: the frame lacks a feature that was learned from.
        """
        _check_present(frame, self.numeric)
        matrix = np.empty((len(frame), len(self.numeric)))
        for j, name in enumerate(self.numeric):
            matrix[:, j] = pd.to_numeric(frame[name]).to_numpy(np.float64, na_value=np.nan)
        matrix[~np.isfinite(matrix)] = np.nan
        return matrix

    def codes(self, frame: pd.DataFrame) -> Codes:
        """The worded features, shape (n, words): RARE, MISSING, or the word's place from 2.

        Raises:
            ModelError: the frame lacks a feature that was learned from.
        """
        _check_present(frame, tuple(self.words))
        matrix = np.empty((len(frame), len(self.words)), dtype=np.int64)
        for j, (name, words) in enumerate(self.words.items()):
            known = {word: code for code, word in enumerate(words, start=FIRST_WORD)}
            place, found = pd.factorize(frame[name])
            codes = [known.get(str(value), RARE) for value in found]
            matrix[:, j] = np.array([*codes, MISSING], dtype=np.int64)[place]
        return matrix

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "numeric": list(self.numeric),
            "words": [[k, list(v)] for k, v in self.words.items()],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AttributeTable:
        """The table that `to_dict` described."""
        return cls(tuple(values["numeric"]), {k: tuple(v) for k, v in values["words"]})


@dataclass(frozen=True)
class Sheet:
    """Training rows in canonical order: numbers, word codes, outcome and weight (mean 1)."""

    numbers: Floats
    codes: Codes
    sizes: tuple[int, ...]
    target: Flags
    weight: Floats

    def part(self, rows: Any) -> Sheet:
        """Some of the rows."""
        return Sheet(
            self.numbers[rows], self.codes[rows], self.sizes, self.target[rows], self.weight[rows]
        )


def _check_present(frame: pd.DataFrame, names: tuple[str, ...]) -> None:
    lacking = [name for name in names if name not in frame.columns]
    if lacking:
        raise ModelError(
            f"the frame lacks feature `{lacking[0]}` ({len(lacking)} in all) that the model was"
            " trained on; build it with the model's own feature specification"
        )
