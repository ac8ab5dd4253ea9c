"""How well a single column tells won from lost, whatever its kind and direction."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata


def ranking_power(values: pd.Series, won: npt.NDArray[np.bool_]) -> float:
    """AUC of the column, above one half in either direction; missing is a value of its own.

    Words are ranked by the win share that the other half of the rows gives them, so that a column of
    unique ids does not look clever.

    Example:
        >>> ranking_power(pd.Series([1.0, 2.0, 3.0, 4.0]), np.array([True, True, False, False]))
        1.0
    """
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        numbers = values.to_numpy(np.float64)
        missing = np.isnan(numbers)
        scores = [np.where(missing, fill, numbers) for fill in _extremes(numbers)]
        return max(_power(score, won) for score in scores)
    text = values.astype(str).to_numpy(dtype=object)
    half = np.arange(len(text)) % 2 == 0
    score = np.empty(len(text))
    for mine in (half, ~half):
        table = pd.Series(won[~mine].astype(float)).groupby(text[~mine]).mean()
        score[mine] = pd.Series(text[mine]).map(table).fillna(won.mean()).to_numpy()
    return float(np.mean([_power(score[mine], won[mine]) for mine in (half, ~half)]))


def _extremes(numbers: npt.NDArray[np.float64]) -> tuple[float, float]:
    known = numbers[~np.isnan(numbers)]
    return (-1.0, 1.0) if len(known) == 0 else (known.min() - 1.0, known.max() + 1.0)


def _power(score: npt.NDArray[np.float64], won: npt.NDArray[np.bool_]) -> float:
    wins, others = int(won.sum()), int((~won).sum())
    if wins == 0 or others == 0:
        return 0.5
    area = (rankdata(score)[won].sum() - wins * (wins + 1) / 2) / (wins * others)
    return float(max(area, 1 - area))
