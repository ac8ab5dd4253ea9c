"""Lead scoring as a widely used open CRM does it: naive Bayes on the words that closed deals ended with.

It counts how often each value of each field stood on won and on lost deals, at their last look, and
multiplies. It is a baseline only: final values are not what was known earlier, and fields that say the
same thing count twice.

Source: Odoo's documentation of predictive lead scoring (fields' values, won and lost counts, smoothed).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from salesops_ml.evaluation.censoring import OPEN, WON, Floats
from salesops_ml.models.encoding import Encoder

SMOOTHING = 0.1


def naive_bayes_win(
    learn: pd.DataFrame,
    event: npt.NDArray[np.int64],
    test: pd.DataFrame,
    *,
    encoder: Encoder,
) -> Floats | None:
    """P(won) of the test looks from the last looks of closed deals; None without words or outcomes.

    Args:
        learn: training looks, sorted by deal and day.
        event: their outcome as known: 0 open, 1 won, 2 lost.
    """
    from sklearn.naive_bayes import CategoricalNB

    last = ~learn["deal_id"].duplicated(keep="last").to_numpy() & (event != OPEN)
    won = event[last] == WON
    if not encoder.words or won.all() or not won.any():
        return None
    sizes = [len(words) + 2 for words in encoder.words.values()]
    model = CategoricalNB(alpha=SMOOTHING, min_categories=sizes)
    model.fit(_codes(encoder, learn[last]), won)
    return np.asarray(model.predict_proba(_codes(encoder, test))[:, 1])


def _codes(encoder: Encoder, frame: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Codes of the words; an unknown word and an empty cell are values of their own."""
    matrix = encoder.transform(frame)[:, len(encoder.numeric) :]
    empty = [len(words) + 1 for words in encoder.words.values()]
    return np.where(np.isnan(matrix), empty, matrix).astype(np.int64)
