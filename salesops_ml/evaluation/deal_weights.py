"""One deal, one voice: a deal that is looked at forty times must not count forty times.

Looks are weighted by (looks of the deal)**-power: at 1 every deal weighs the same, at 0 every look.
The censoring weights are made for that weighting: G(t) is the weighted share of looks that are
followed to day t (see `evaluation.censoring`; with power 0 both agree).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from salesops_ml.evaluation.censoring import OPEN, WON, Floats, last_supported_day
from salesops_ml.evaluation.measure import Judged
from salesops_ml.evaluation.splits import labels_at


def deal_weights(deal_id: pd.Series, *, power: float = 1.0) -> Floats:
    """Weight of each look; within a deal they add up to (looks of the deal)**(1 - power).

    Example:
        >>> deal_weights(pd.Series(["a", "a", "b"])).tolist()
        [0.5, 0.5, 1.0]
    """
    looks = deal_id.map(deal_id.value_counts()).to_numpy(float)
    return np.asarray(looks**-power)


def followed_share(followed: Floats, weight: Floats, at: Floats) -> Floats:
    """The weighted share of looks whose follow-up reaches each of the days `at`."""
    order = np.argsort(followed, kind="stable")
    below = np.concatenate([[0.0], np.cumsum(weight[order])])
    share = 1 - below[np.searchsorted(followed[order], at, side="left")] / below[-1]
    return np.asarray(np.clip(share, 0.0, 1.0))


def censoring_weights(
    event: npt.NDArray[np.int64], duration: Floats, followed: Floats, weight: Floats, day: float
) -> Floats:
    """`weight` times the inverse probability of being followed long enough to be judged at `day`."""
    closed = (event != OPEN) & (duration <= day)
    share = followed_share(followed, weight, np.where(closed, duration, day))
    counted = (closed | (followed >= day)) & (share > 0)
    return np.where(counted, weight / np.where(share > 0, share, 1.0), 0.0)


def judged_by_deal(rows: pd.DataFrame, horizon: float, *, power: float = 1.0) -> Judged:
    """`rows` as `measure.Judged`, with censoring weights in which long deals do not dominate.

    Where fewer than 5 % of looks are followed to `horizon` days, the last day that 5 % are followed
    to takes its place.
    """
    labels = labels_at(rows, None)
    event = labels["event"].to_numpy(np.int64)
    duration = labels["duration"].to_numpy(float)
    followed = labels["followed"].to_numpy(float)
    reach = last_supported_day(followed, horizon) or float(np.max(followed, initial=0.0))
    voice = deal_weights(rows["deal_id"], power=power)
    weight = censoring_weights(event, duration, followed, voice, reach)
    return Judged(
        rows, event, duration, followed, (event == WON) & (duration <= reach), weight, reach
    )


def brier_parts(judged: Judged, voice: Floats, days: Floats, cif_won: Floats) -> Floats:
    """Each look's share in the integrated Brier score of "won by that day", averaged over `days`.

    The score is the mean of the parts with the weights `voice` (Graf et al. 1999).

    Args:
        judged: the looks. n of them.
        voice: weight of each look, censoring left out. Shape (n,).
        days: days to judge at. Shape (k,).
        cif_won: promised chance of having won by each day. Shape (n, k).
    """
    total = np.zeros(len(voice))
    for place, day in enumerate(days):
        weight = censoring_weights(
            judged.event, judged.duration, judged.followed, voice, float(day)
        )
        won = (judged.event == WON) & (judged.duration <= day)
        total += weight / voice * (won - cif_won[:, place]) ** 2
    return total / len(days)
