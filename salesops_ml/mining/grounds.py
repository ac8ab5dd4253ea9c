"""What two populations are compared on: stays whose end may not be known yet, and figures of them.

Where one side has been followed for a shorter time, its stays are cut off earlier. Figures are
therefore told up to the longest time for which both sides can be followed, so that a young quarter
is not taken for a quick one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salesops_ml.mining.influence import (
    AtRisk,
    Figure,
    normal_interval,
    ratio,
    restricted_mean,
    share_interval,
    summed,
)
from salesops_ml.mining.steps import Floats, Ints, Mask

FEWEST_FOLLOWED = 10
LEAST_FOLLOWED = 0.2
"""Stays, and share of the stays, that must be followed up to the limit on each side."""


@dataclass(frozen=True)
class Told:
    """A figure on both sides, and what each deal adds to it.

    Attributes:
        first, second: the figure on each side; NaN where there is none.
        difference: second less first, with `low` and `high` as its interval.
        score: (m,) what each deal adds to the figure of all together.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    score: Floats


@dataclass(frozen=True)
class Ground:
    """Stays of deals on two sides.

    Attributes:
        case, side: (n,) deal, and 0 or 1.
        days: (n,) length so far; `exited`: (n,) whether it has ended.
        together, apart: the stays as one group, and as two.
        limit: days up to which both sides are followed; infinite where nothing is open.
        deals: how many deals the log has.
    """

    case: Ints
    side: Ints
    days: Floats
    exited: Mask
    together: AtRisk
    apart: AtRisk
    limit: float
    deals: int

    @classmethod
    def of(cls, case: Ints, days: Floats, exited: Mask, followed: Floats, side: Ints) -> Ground:
        """Stays of deals `case` (n,), of which `side` (m,) says where they stand, 0 or 1.

        `followed` (n,) are the days from each stay's begin to the end of the record.
        """
        here = side[case]
        nobody = np.zeros(len(case), dtype=np.int64)
        return cls(
            case, here, days, exited,
            AtRisk.of(nobody, days, exited, 1), AtRisk.of(here, days, exited, 2),
            common_limit(days, exited, followed, here), len(side),
        )  # fmt: skip

    def count(self, chosen: Mask) -> tuple[int, int]:
        """How many of the chosen (n,) stays there are on each side."""
        both = np.bincount(self.side[chosen], minlength=2)
        return int(both[0]), int(both[1])

    def deals_on_each_side(self) -> tuple[int, int]:
        """How many deals have a stay here."""
        both = [len(np.unique(self.case[self.side == code])) for code in (0, 1)]
        return both[0], both[1]

    def share(self, chosen: Mask, counted: Mask, level: float) -> Told:
        """Share of the exits that count (n,) that are by the chosen door (n,), up to the limit."""
        within = self.exited & counted & (self.days <= self.limit)
        upper, lower = (chosen & within).astype(float), within.astype(float)
        figure = ratio(self.apart, upper, lower)
        most = summed(self.side, within, 2)
        low, high = share_interval(figure.value, figure.error(self.case), most, level)
        pooled = ratio(self.together, upper, lower)
        value = figure.value
        down = np.hypot(value[1] - low[1], high[0] - value[0])
        up = np.hypot(high[1] - value[1], value[0] - low[0])
        return self._told(figure, pooled, -down, up)

    def mean_days(self, chosen: Mask, level: float) -> Told:
        """Mean days of those who leave by the chosen door (n,), up to the limit."""
        within = (chosen & self.exited & (self.days <= self.limit)).astype(float)
        figure = ratio(self.apart, within * self.days, within)
        return self._of_means(figure, ratio(self.together, within * self.days, within), level)

    def restricted_days(self, level: float) -> Told:
        """Mean days until any exit, each stay counted up to the limit."""
        limit = self.finite_limit()
        figure = restricted_mean(self.apart, self.days, np.full(2, limit))
        pooled = restricted_mean(self.together, self.days, np.full(1, limit))
        return self._of_means(figure, pooled, level)

    def finite_limit(self) -> float:
        """The limit, or the longest stay where nothing is open."""
        return self.limit if np.isfinite(self.limit) else float(self.days.max(initial=0.0))

    def _of_means(self, figure: Figure, pooled: Figure, level: float) -> Told:
        error = figure.error(self.case)
        low, high = normal_interval(np.zeros(1), np.hypot(error[:1], error[1:]), level)
        return self._told(figure, pooled, float(low[0]), float(high[0]))

    def _told(self, figure: Figure, pooled: Figure, down: float, up: float) -> Told:
        first, second = (float(value) for value in figure.value)
        score = summed(self.case, pooled.influence, self.deals)
        apart = second - first
        return Told(first, second, apart, apart + float(down), apart + float(up), score)


def common_limit(days: Floats, exited: Mask, followed: Floats, side: Ints) -> float:
    """Up to how many days both sides can be followed; infinite where nothing is open.

    On a side with open stays it is the time for which a share of `LEAST_FOLLOWED` of its stays, and
    at least `FEWEST_FOLLOWED`, began early enough before the end of the record, and no longer than
    the longest stay where that is still open.

    Args:
        days, exited: (n,) length of the stays so far, and whether they have ended.
        followed: (n,) days from their begin to the end of the record.
        side: (n,) 0 or 1.

    Example:
        >>> days, side = np.arange(40.0), np.arange(40) % 2
        >>> [common_limit(days, days < top, np.arange(40.0), side) for top in (40, 20)]
        [inf, 20.0]
    """
    limit = np.inf
    for code in (0, 1):
        mine = side == code
        if mine.any() and not exited[mine].all():
            size = int(mine.sum())
            enough = max(FEWEST_FOLLOWED, int(LEAST_FOLLOWED * size))
            place = max(size - enough, 0)
            limit = min(limit, float(np.partition(followed[mine], place)[place]))
            longest = np.flatnonzero(mine)[np.argmax(days[mine])]
            limit = limit if exited[longest] else min(limit, float(days[longest]))
    return limit
