"""How good a whole curve is: log-loss of "won, lost or open by then", over days, weighted for censoring.

At each day every deal is in one of three states; the probability that was given to the one it is in
counts. Rows whose record ends before the day while the deal is open count nothing, the others the more.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from salesops_ml.evaluation.censoring import LOST, WON, Floats, horizon_weights

FLOOR = 1e-4


def curve_losses(
    event: npt.NDArray[np.int64],
    duration: Floats,
    followed: Floats,
    days: Floats,
    cif_won: Floats,
    cif_lost: Floats,
) -> Floats:
    """Each row's IPCW log-loss, averaged over `days`; the mean over rows is a proper score.

    Args:
        event: 0 open, 1 won, 2 lost, as known. Shape (n,).
        duration: days to it, or to the end of the record. Shape (n,).
        followed: days from the look to the end of the record. Shape (n,).
        days: days to judge at, within the follow-up of some rows. Shape (k,).
        cif_won, cif_lost: promised chance of either by each day. Shape (n, k).

    Example:
        >>> told = curve_losses(np.array([1]), np.array([5.0]), np.array([9.0]), np.array([7.0]),
        ...                     np.array([[0.5]]), np.array([[0.25]]))
        >>> round(float(told[0]), 4)
        0.6931
    """
    total = np.zeros(len(event))
    for j, day in enumerate(days):
        by_then = duration <= day
        chance = np.where(
            (event == WON) & by_then,
            cif_won[:, j],
            np.where((event == LOST) & by_then, cif_lost[:, j], 1 - cif_won[:, j] - cif_lost[:, j]),
        )
        weight = horizon_weights(event, duration, followed, float(day))
        total += weight * -np.log(np.clip(chance, FLOOR, 1.0))
    return total / len(days)
