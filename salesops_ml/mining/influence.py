"""What each stay adds to a figure of censored stays, and how sure the figure is.

Shares, win rates, restricted means and points of an incidence curve are all sums over the exits of
an exit weight (see `dwell`) times a value: 1 for exits by one door, the days for a mean. How such a
sum moves when one stay is given a little more weight is its influence; the squares of the
influences, added up deal by deal, are the variance of the sum. That allows for open deals, and for
deals that come by more than once.

The infinitesimal jackknife: Jaeckel (1972), Bell Labs memorandum MM 72-1215-11; for the Aalen-Johansen
estimator with clusters: Ying and Wei (1994), Journal of Multivariate Analysis 50, 17-29.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv
from scipy.stats import norm

from salesops_ml.mining.dwell import exit_weights
from salesops_ml.mining.steps import Floats, Ints, Mask


@dataclass(frozen=True)
class AtRisk:
    """Stays of several groups in the order of their lengths, ready for sums over their exits.

    Times that are equal within a group are one block; b counts the blocks.

    Attributes:
        group, exited, weight: (n,) as given, and the exit weight of each stay.
        block: (n,) the block of each stay.
        owner: (b,) the group of each block, in rising order; `time`: (b,) its days.
        count: (b,) stays still there just before; `exits`: (b,) how many leave then.
        groups: how many groups there are.
    """

    group: Ints
    exited: Mask
    weight: Floats
    block: Ints
    owner: Ints
    time: Floats
    count: Floats
    exits: Floats
    groups: int

    @classmethod
    def of(cls, group: Ints, days: Floats, exited: Mask, groups: int) -> AtRisk:
        """The stays of `groups` groups: (n,) group, days there, and whether each has ended.

        Example:
            >>> left = np.array([True, False, True])
            >>> AtRisk.of(np.zeros(3, int), np.array([1.0, 2.0, 3.0]), left, 1).count.tolist()
            [3.0, 2.0, 1.0]
        """
        order = np.lexsort((days, group))
        code, time = group[order], days[order]
        new = np.ones(len(order), dtype=bool)
        new[1:] = (code[1:] != code[:-1]) | (time[1:] != time[:-1])
        opening = np.flatnonzero(new)
        block = np.empty(len(order), dtype=np.int64)
        block[order] = np.cumsum(new) - 1
        end = np.cumsum(np.bincount(group, minlength=groups))
        weight = exit_weights(group, days, exited, groups) if len(group) else np.zeros(0)
        return cls(
            group, exited, weight, block, code[opening], time[opening],
            count=(end[code[opening]] - opening).astype(np.float64),
            exits=np.bincount(block, weights=exited, minlength=len(opening)).astype(np.float64),
            groups=groups,
        )  # fmt: skip

    def sums(self, value: Floats) -> tuple[Floats, Floats]:
        """(groups,) the sums over the exits of weight times `value` (n,), and (n,) each influence.

        Example:
            >>> left = np.array([True, True, False])
            >>> stays = AtRisk.of(np.zeros(3, int), np.array([1.0, 2.0, 3.0]), left, 1)
            >>> total, influence = stays.sums(np.ones(3))  # the share that has left
            >>> total.round(3).tolist(), influence.round(3).tolist()
            ([0.667], [0.111, 0.111, -0.222])
        """
        told = np.where(self.exited, self.weight * value, 0.0)
        added = summed(self.block, told, len(self.owner))
        total = summed(self.owner, added, self.groups)
        rest = total[self.owner] - self.running(added)
        staying = self.count - self.exits
        lost = np.where(staying > 0, rest / np.maximum(staying, 1.0), 0.0)
        drift = self.running((added - lost * self.exits) / self.count)
        own = np.where(self.exited, told - lost[self.block], 0.0)
        return total, own - drift[self.block]

    def running(self, values: Floats) -> Floats:
        """(b,) sums of the group's blocks up to each, itself included."""
        total = np.cumsum(values)
        if not len(total):
            return total
        first = np.ones(len(total), dtype=bool)
        first[1:] = self.owner[1:] != self.owner[:-1]
        before = (total - values)[first]
        return np.asarray(total - before[np.cumsum(first) - 1])


@dataclass(frozen=True)
class Figure:
    """A figure for each of some groups, and what each stay adds to it.

    Attributes:
        value: (groups,) NaN where there is none.
        influence: (n,) its sum over a group is 0.
        group: (n,) the group of each stay.
    """

    value: Floats
    influence: Floats
    group: Ints

    def error(self, case: Ints) -> Floats:
        """(groups,) standard error, the stays of one deal (`case`, (n,) codes) taken together."""
        return clustered_error(self.influence, self.group, case, len(self.value))


def share_of_exits(stays: AtRisk, chosen: Mask) -> Figure:
    """Share of those who leave that does so by the chosen door, those still there censored.

    It is `dwell.share_at_end`, with its influences.

    Example:
        >>> days, left = np.array([2.0, 5.0, 3.0]), np.array([True, True, False])
        >>> stays = AtRisk.of(np.zeros(3, int), days, left, 1)
        >>> share_of_exits(stays, np.array([True, False, False])).value.round(3).tolist()
        [0.333]
    """
    return ratio(stays, chosen.astype(np.float64), np.ones(len(chosen)))


def ratio(stays: AtRisk, upper: Floats, lower: Floats) -> Figure:
    """The sum over the exits of `upper` (n,) over that of `lower` (n,), each weighted."""
    above, moved = stays.sums(upper)
    below, shifted = stays.sums(lower)
    value = above / np.where(below > 0, below, np.nan)
    base = np.where(below > 0, below, 1.0)[stays.group]
    told = np.nan_to_num(value)[stays.group]
    known = np.where(below > 0, 1.0, 0.0)[stays.group]
    return Figure(value, known * (moved - told * shifted) / base, stays.group)


def restricted_mean(stays: AtRisk, days: Floats, limit: Floats) -> Figure:
    """Mean days until any exit, up to `limit` (groups,) days: the area under Kaplan and Meier's curve.

    Example:
        >>> days = np.array([1.0, 2.0, 9.0])
        >>> stays = AtRisk.of(np.zeros(3, int), days, np.array([True, True, False]), 1)
        >>> restricted_mean(stays, days, np.array([4.0])).value.round(3).tolist()
        [2.333]
    """
    short = limit[stays.group] - days
    saved, influence = stays.sums(np.where(short > 0, short, 0.0))
    seen = np.bincount(stays.group, minlength=stays.groups) > 0
    return Figure(np.where(seen, limit - saved, np.nan), -influence, stays.group)


def clustered_error(influence: Floats, group: Ints, case: Ints, groups: int) -> Floats:
    """(groups,) square root of the summed squares of the deals' influences."""
    order = np.lexsort((case, group))
    code, deal, value = group[order], case[order], influence[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (code[1:] != code[:-1]) | (deal[1:] != deal[:-1])
    if not len(order):
        return np.full(groups, np.nan)
    total = np.add.reduceat(value, np.flatnonzero(new))
    square = np.bincount(code[new], weights=total**2, minlength=groups)
    seen = np.bincount(code, minlength=groups) > 0
    return np.where(seen, np.sqrt(square), np.nan)


def summed(key: Ints, value: Floats | Mask, keys: int) -> Floats:
    """(keys,) sums of the values by key."""
    return np.bincount(key, weights=value, minlength=keys).astype(np.float64)


def share_interval(
    share: Floats, error: Floats, most: Floats, level: float
) -> tuple[Floats, Floats]:
    """Low and high ends for shares (k,), given standard errors and how many stays they rest on.

    Clopper and Pearson's interval at the effective sample size, share * (1 - share) / error ** 2,
    of at most `most`: Korn and Graubard (1998), Survey Methodology 24, 193-201.

    Example:
        >>> low, high = share_interval(np.array([0.0]), np.array([0.0]), np.array([30.0]), 0.95)
        >>> low.tolist(), high.round(3).tolist()
        ([0.0], [0.116])
    """
    tail = (1 - level) / 2
    share = np.clip(share, 0.0, 1.0)
    spread = share * (1 - share)
    safe = np.where((error > 0) & (spread > 0), error, 1.0)
    size = np.where((error > 0) & (spread > 0), np.minimum(spread / safe**2, most), most)
    hits, known = share * size, ~np.isnan(share) & (most > 0)
    hits, size = np.where(known, hits, 1.0), np.where(known, size, 2.0)
    some, rest = np.maximum(hits, 1e-9), np.maximum(size - hits, 1e-9)
    low = np.where(hits > 1e-9, betaincinv(some, rest + 1, tail), 0.0)
    high = np.where(size - hits > 1e-9, betaincinv(some + 1, rest, 1 - tail), 1.0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def normal_interval(value: Floats, error: Floats, level: float) -> tuple[Floats, Floats]:
    """Value minus and plus the normal quantile of `level` times the error."""
    wide = float(norm.ppf((1 + level) / 2)) * error
    return value - wide, value + wide
