"""Errors that hold where rows are not independent: those of one deal, and those of one rep, go together.

The two-way cluster-robust variance of Cameron, Gelbach and Miller (2011), J. Bus. Econ. Stat. 29,
238-249: that of the sums by deal, plus that of the sums by rep, less that of the sums by both. Each
is widened by G / (G - 1) for its G clusters, and tests take the t distribution with the reps' G - 1
degrees of freedom (Cameron and Miller 2015, J. Hum. Resour. 50, 317-372). With few reps their part
is itself uncertain and may come out too small; so the variance is never below that of the deals alone.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from salesops_ml.mining.steps import Floats, Ints

_FEWEST = 2


def clustered_error(influence: Floats, deal: Ints, rep: Ints | None) -> Floats:
    """(k,) standard errors of k estimates.

    Args:
        influence: (n, k) what each row adds to each estimate.
        deal: (n,) code of the deal of each row.
        rep: (n,) code of its rep, -1 where not known (each such deal is its own); None for none.

    Example:
        >>> influence = np.array([[0.1], [0.1], [-0.1], [-0.1]])
        >>> clustered_error(influence, np.array([0, 0, 1, 1]), None).round(3).tolist()
        [0.4]
    """
    by_deal = _variance(influence, deal)
    if rep is None or clusters(rep) < _FEWEST:
        return np.sqrt(by_deal)
    owner = np.where(rep >= 0, rep, rep.max(initial=0) + 1 + deal)
    both = np.unique(np.stack([deal, owner]), axis=1, return_inverse=True)[1].reshape(-1)
    two_way = by_deal + _variance(influence, owner) - _variance(influence, both)
    return np.asarray(np.sqrt(np.maximum(by_deal, two_way)))


def clusters(rep: Ints | None) -> int:
    """How many reps there are."""
    return 0 if rep is None else len(np.unique(rep[rep >= 0]))


def two_sided(estimate: Floats, error: Floats, reps: int) -> Floats:
    """(k,) p-values of estimates against 0; the normal distribution where there are no two reps.

    Example:
        >>> two_sided(np.array([2.0]), np.array([1.0]), 0).round(3).tolist()
        [0.046]
        >>> two_sided(np.array([2.0]), np.array([1.0]), 11).round(3).tolist()
        [0.073]
    """
    return np.asarray(2 * stats.t.sf(np.abs(estimate) / error, _freedom(reps)))


def width(share: float, reps: int) -> float:
    """Errors on either side of an estimate for an interval that holds `share`."""
    return float(stats.t.ppf((1 + share) / 2, _freedom(reps)))


def _freedom(reps: int) -> float:
    return float(reps - 1) if reps >= _FEWEST else np.inf


def _variance(influence: Floats, cluster: Ints) -> Floats:
    order = np.argsort(cluster, kind="stable")
    code = cluster[order]
    opening = np.flatnonzero(np.concatenate([[True], code[1:] != code[:-1]]))
    summed = np.add.reduceat(influence[order], opening, axis=0)
    count = len(opening)
    return np.asarray((summed**2).sum(axis=0) * count / max(count - 1, 1))
