"""Errors that hold where rows are not independent: those of one deal, and those of one rep, go together.

The two-way cluster-robust variance of Cameron, Gelbach and Miller (2011), J. Bus. Econ. Stat. 29,
238-249: that of the sums by deal, plus that of the sums by rep, less that of the sums by both. Each
is widened by G / (G - 1) for its G clusters, and tests take the t distribution with the reps' G - 1
degrees of freedom (Cameron and Miller 2015, J. Hum. Resour. 50, 317-372). With few reps their part
is itself uncertain and may come out too small; so the variance is never below that of the deals alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import sparse, stats

from salesops_ml.mining.steps import Floats, Ints

_FEWEST = 2


@dataclass(frozen=True)
class Clusters:
    """Which rows go together; made once, asked for many errors.

    Attributes:
        deal: (deals, n) indicators of each deal's rows.
        rep, both: the same of each rep, and of each deal of each rep; None where there are no two reps.
        reps: how many reps there are.

    Example:
        >>> influence = np.array([[0.1], [0.1], [-0.1], [-0.1]])
        >>> Clusters.of(np.array([0, 0, 1, 1]), None).error(influence).round(3).tolist()
        [0.4]
    """

    deal: sparse.csr_array
    rep: sparse.csr_array | None
    both: sparse.csr_array | None
    reps: int

    @classmethod
    def of(cls, deal: Ints, rep: Ints | None) -> Clusters:
        """Clusters of n rows.

        Args:
            deal: (n,) code of the deal of each row.
            rep: (n,) code of its rep, -1 where not known (each such deal is its own); None for none.
        """
        reps = 0 if rep is None else len(np.unique(rep[rep >= 0]))
        if rep is None or reps < _FEWEST:
            return cls(_indicators(deal), None, None, reps)
        owner = np.where(rep >= 0, rep, rep.max(initial=0) + 1 + deal)
        pair = owner * (deal.max(initial=0) + 1) + deal
        return cls(_indicators(deal), _indicators(owner), _indicators(pair), reps)

    def error(self, influence: Floats) -> Floats:
        """(k,) standard errors of k estimates, given what each row adds to each, (n, k)."""
        by_deal = _variance(self.deal, influence)
        if self.rep is None or self.both is None:
            return np.asarray(np.sqrt(by_deal))
        two_way = by_deal + _variance(self.rep, influence) - _variance(self.both, influence)
        return np.asarray(np.sqrt(np.maximum(by_deal, two_way)))

    def error_by_deal(self, influence: Floats) -> Floats:
        """(k,) standard errors with the rows of one deal going together, whoever owns it."""
        return np.asarray(np.sqrt(_variance(self.deal, influence)))


def two_sided(estimate: Floats, error: Floats, reps: Ints | int) -> Floats:
    """(k,) p-values of estimates against 0; the normal distribution where there are no two reps.

    Args:
        estimate, error: (k,). reps: how many reps there are, for all or (k,).

    Example:
        >>> two_sided(np.array([2.0]), np.array([1.0]), 0).round(3).tolist()
        [0.046]
        >>> two_sided(np.array([2.0]), np.array([1.0]), 11).round(3).tolist()
        [0.073]
    """
    return np.asarray(2 * stats.t.sf(np.abs(estimate) / error, _freedom(reps)))


@cache
def width(share: float, reps: int) -> float:
    """Errors on either side of an estimate for an interval that holds `share`."""
    return float(stats.t.ppf((1 + share) / 2, _freedom(reps)))


def _freedom(reps: Ints | int) -> Floats:
    return np.where(np.asarray(reps) >= _FEWEST, np.asarray(reps) - 1.0, np.inf)


def _indicators(code: Ints) -> sparse.csr_array:
    present, place = np.unique(code, return_inverse=True)
    shape = (len(present), len(code))
    return sparse.csr_array((np.ones(len(code)), (place.reshape(-1), np.arange(len(code)))), shape)


def _variance(rows: sparse.csr_array, influence: Floats) -> Floats:
    summed, count = rows @ influence, rows.shape[0]
    return np.asarray((summed**2).sum(axis=0) * count / max(count - 1, 1))
