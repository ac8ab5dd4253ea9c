"""Win rates of two groups of deals, and how far apart they are, deals that are still open censored.

The win rate is the share won among those that close (Aalen-Johansen, see `dwell.share_at_end`). Its
variance is the sum of squared influences of the single deals (the infinitesimal jackknife), which is
p (1 - p) / n where no deal is open. It is told as an effective number of deals, so that Wilson's
interval serves each group and Newcombe's their difference: both keep their promise with a handful of
deals, or with none or all of them won.

Wilson (1927), J. Am. Stat. Assoc. 22, 209-212; Newcombe (1998), Statistics in Medicine 17, 873-890
(method 10).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from salesops_ml.mining.steps import Floats, Mask
from salesops_ml.mining.visits import Endings

LEVEL = 0.9
_NAN = float("nan")


@dataclass(frozen=True)
class WinRate:
    """Share won of those that close, 0..1, and how many deals it is worth; NaN where none has closed."""

    share: float
    deals: float

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Wilson's interval."""
        z = float(norm.ppf(0.5 + level / 2))
        centre = (self.share * self.deals + z * z / 2) / (self.deals + z * z)
        spread = self.share * (1 - self.share) / self.deals + z * z / (4 * self.deals**2)
        half = z * self.deals / (self.deals + z * z) * float(np.sqrt(spread))
        return centre - half, centre + half


@dataclass(frozen=True)
class Difference:
    """First minus second, with an interval; NaN where one of the two has no closed deal."""

    value: float
    low: float
    high: float


def win_rate(endings: Endings) -> WinRate:
    """The win rate of a group of deals.

    Example:
        >>> won = np.array([True, False, False, False])
        >>> closed = np.array([True, True, True, True])
        >>> rate = win_rate(Endings(np.array([2.0, 5.0, 3.0, 9.0]), closed, won))
        >>> round(rate.share, 3), round(rate.deals, 3)
        (0.25, 4.0)
    """
    closed = int(endings.known.sum())
    if not closed:
        return WinRate(_NAN, _NAN)
    won = endings.known & endings.won
    by_won, share_won = _influence(endings.days, endings.known, won)
    by_any, share_any = _influence(endings.days, endings.known, endings.known)
    share = min(share_won / share_any, 1.0)
    variance = float((((by_won - share * by_any) / share_any) ** 2).sum())
    spread = share * (1 - share)
    deals = spread / variance if variance > 0 and spread > 1e-12 else float(closed)
    return WinRate(share, min(deals, float(len(endings.days))))


def win_rate_difference(first: WinRate, second: WinRate, *, level: float = LEVEL) -> Difference:
    """How much more often the first group wins.

    Example:
        >>> found = win_rate_difference(WinRate(0.7, 80), WinRate(0.6, 80), level=0.95)
        >>> round(found.value, 2), round(found.low, 3), round(found.high, 3)
        (0.1, -0.047, 0.241)
    """
    if np.isnan(first.share) or np.isnan(second.share):
        return Difference(_NAN, _NAN, _NAN)
    (low_1, high_1), (low_2, high_2) = first.interval(level), second.interval(level)
    value = first.share - second.share
    down = np.hypot(first.share - low_1, high_2 - second.share)
    up = np.hypot(high_1 - first.share, second.share - low_2)
    return Difference(value, value - float(down), value + float(up))


def _influence(days: Floats, known: Mask, chosen: Mask) -> tuple[Floats, float]:
    """(n,) influence of each deal on the incidence of the chosen endings at the end, and that."""
    times, place = np.unique(days, return_inverse=True)
    place = place.reshape(-1)
    size = np.bincount(place, minlength=len(times))
    at_risk = (len(days) - np.cumsum(size) + size).astype(np.float64)
    ended = np.bincount(place, weights=known, minlength=len(times)) / at_risk
    hit = np.bincount(place, weights=chosen, minlength=len(times)) / at_risk
    before = np.concatenate([[1.0], np.cumprod(1 - ended)[:-1]])
    reached = np.cumsum(before * hit)
    everyone = ended >= 1
    to_come = np.where(everyone, 0.0, (reached[-1] - reached) / np.where(everyone, 1.0, 1 - ended))
    exposed = np.cumsum((before * hit - to_come * ended) / at_risk)
    own = (before[place] * chosen - to_come[place] * known) / at_risk[place]
    return own - exposed[place], float(reached[-1])
