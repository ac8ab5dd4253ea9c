"""Weights that let open deals speak: inverse probability of censoring (IPCW).

A deal still open when the record ends is censored, not lost. At horizon t, a row closed by t counts
1/G(T), a row still followed and open at t counts 1/G(t), a row whose record ends before t while it is
open counts nothing; G(t) is the share of rows whose follow-up reaches t. Follow-up here is
administrative: the end of the record minus the look, known for every row.

Source: Graf, Schmoor, Sauerbrei & Schumacher (1999), Statistics in Medicine 18.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
WON, LOST, OPEN = 1, 2, 0
CODES = {"open": OPEN, "won": WON, "lost": LOST}


def follow_up_share(followed: Floats, at: Floats) -> Floats:
    """G(t): the share of rows whose follow-up reaches each of the days `at`.

    Example:
        >>> follow_up_share(np.array([10.0, 20.0, 30.0, 40.0]), np.array([5.0, 20.0, 41.0])).tolist()
        [1.0, 0.75, 0.0]
    """
    ordered = np.sort(followed)
    return 1.0 - np.searchsorted(ordered, at, side="left") / len(ordered)


def horizon_weights(
    event: npt.NDArray[np.int64], duration: Floats, followed: Floats, horizon: float
) -> Floats:
    """IPCW weight of each row at `horizon` days; nought for rows censored before it.

    Args:
        event: 0 open, 1 won, 2 lost, as known.
        duration: days from the look to the event, or to the end of the record.
        followed: days from the look to the end of the record, whatever the outcome.
        horizon: days.
    """
    closed = (event != OPEN) & (duration <= horizon)
    reach = np.where(closed, np.minimum(duration, horizon), horizon)
    counted = closed | (followed >= horizon)
    share = follow_up_share(followed, reach)
    return np.where(counted & (share > 0), 1.0 / np.where(share > 0, share, 1.0), 0.0)


def last_supported_day(followed: Floats, horizon: float, *, least: float = 0.05) -> float:
    """The last whole day, at most `horizon`, that at least a share `least` of rows is followed to."""
    days = np.arange(1.0, np.floor(horizon) + 1)
    supported = days[follow_up_share(followed, days) >= least]
    return float(supported[-1]) if len(supported) else 0.0
