"""Which looks are held back while the voices learn, so that they can be weighed by what they never saw.

Every fourth customer with all its deals, from the whole training block: so the held-out deals have
been watched as long as the others, siblings never stand on both sides, and what is learned from them
(weights, timing) holds for a model of nearly the same size. The last part of the block alone would be
more like tomorrow, but most of its deals are still open: on synthetic companies its few closed ones
doubled the calibration error. Where nothing is dated it is the calibration block.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import numpy as np
import pandas as pd

from salesops_ml.evaluation.censoring import last_supported_day
from salesops_ml.evaluation.proper_scores import Flags
from salesops_ml.evaluation.splits import labels_at

ONE_IN = 4


@dataclass(frozen=True)
class HeldOut:
    """The looks held back, the labels of the others as they learn from them, and a word on it.

    Attributes:
        rows: held back or not. Shape (n,).
        early_labels: labels of the looks that are not held back.
        note: how they were chosen.
        supported: whether some of them are followed to the horizon.
    """

    rows: Flags
    early_labels: pd.DataFrame
    note: str
    supported: bool


def hold_out(
    learn: pd.DataFrame,
    labels: pd.DataFrame,
    calibration: Flags,
    *,
    horizon: int,
) -> HeldOut:
    """The held-out looks of a training frame.

    Args:
        learn: looks of the train and calibration blocks.
        labels: their labels as known at the test border.
        calibration: which of them are the calibration block.
    """
    if not (labels["duration"] > 0).any():
        early = labels_at(learn[~calibration], None)
        return HeldOut(calibration, early, "weighed and calibrated on the calibration block", True)
    followed = labels["followed"].to_numpy(float)
    rows = by_chance(learn)
    reach = last_supported_day(followed[rows], horizon) if rows.any() else 0.0
    note = "weighed and calibrated on every fourth customer's deals of the training block"
    if reach < horizon:
        note = f"the training block is followed for {reach:.0f} of {horizon} days: uncalibrated"
    return HeldOut(rows, labels[~rows], note, reach >= horizon)


def by_chance(learn: pd.DataFrame) -> Flags:
    """Every fourth customer with all its deals, by a digest of its name; every fourth deal without."""
    names = learn["deal_id"].astype(str)
    if "account_id" in learn.columns:
        names = learn["account_id"].astype("string").fillna(names).astype(str)
    kinds, place = np.unique(names.to_numpy(dtype=object), return_inverse=True)
    drawn = np.array([crc32(name.encode()) % ONE_IN == 0 for name in kinds], dtype=bool)
    return np.asarray(drawn[place])
