"""How well a single column tells won from lost, whatever its kind and direction."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from salesops_ml.quality.looks import Bools, Floats, Integers, plain


def ranking_power(values: pd.Series, won: Bools) -> float:
    """AUC of the column, above one half in either direction; missing is a value of its own.

    Words are ranked by the win share that the other half of the rows gives them, so that a column of
    unique ids does not look clever; give one row a deal, for a deal's rows are siblings.

    Example:
        >>> ranking_power(pd.Series([1.0, 2.0, 3.0, 4.0]), np.array([True, True, False, False]))
        1.0
    """
    return max(_power(score, won) for score in scores(values, won))


def power_within(values: pd.Series, won: Bools, block: Integers) -> float:
    """`ranking_power` among rows of one `block` only, over all blocks by their pairs.

    What drifts with time does not rank deals of one time.
    """
    return max(_power_within(score, won, block) for score in scores(values, won))


def scores(values: pd.Series, won: Bools) -> Iterator[Floats]:
    """The column as numbers to rank by: gaps lowest and highest, or the win shares of its words."""
    values = plain(values)
    if pd.api.types.is_float_dtype(values):
        numbers = values.to_numpy(np.float64)
        missing = np.isnan(numbers)
        for fill in _extremes(numbers) if missing.any() else (0.0,):
            yield np.where(missing, fill, numbers)
        return
    yield word_scores(values, won)


def word_scores(values: pd.Series, won: Bools) -> Floats:
    """The win share of each row's word among the other half of the rows; a new word is average.

    Each half is centred on what it learned, so that the two can be ranked together.
    """
    code, _ = pd.factorize(values.astype(str).to_numpy(dtype=object))
    half = np.random.default_rng(0).random(len(code)) < 0.5
    score = np.zeros(len(code))
    for mine in (half, ~half):
        count = np.bincount(code[~mine], minlength=code.max(initial=0) + 1)
        wins = np.bincount(code[~mine & won], minlength=code.max(initial=0) + 1)
        usual = won[~mine].mean() if (~mine).any() else 0.5
        share = np.divide(wins, count, out=np.full(len(count), usual), where=count > 0)
        score[mine] = share[code[mine]] - usual
    return score


def _extremes(numbers: Floats) -> tuple[float, float]:
    known = numbers[~np.isnan(numbers)]
    return (-1.0, 1.0) if len(known) == 0 else (known.min() - 1.0, known.max() + 1.0)


def _power(score: Floats, won: Bools) -> float:
    return _power_within(score, won, np.zeros(len(won), np.int64))


def _power_within(score: Floats, won: Bools, block: Integers) -> float:
    """Pairs of one block ranked right, of all pairs of one block."""
    right = pairs = 0.0
    for number in np.unique(block):
        mine = block == number
        wins = int(won[mine].sum())
        others = int(mine.sum()) - wins
        right += rankdata(score[mine])[won[mine]].sum() - wins * (wins + 1) / 2
        pairs += wins * others
    area = right / pairs if pairs else 0.5
    return float(max(area, 1 - area))
