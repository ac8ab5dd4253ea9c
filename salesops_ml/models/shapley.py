"""Who moved the score? Each group of features gets its share of the way from a typical deal to this one.

A curve has no simple terms: features act together, interval after interval. So the groups are let in
one by one, in several orders, and each is credited with how far the score moved when it came in. The
shares of a deal sum exactly to the difference from the typical deal. Every order is also walked
backwards, which takes most of the luck of the draw out (antithetic pairs).

Source: Strumbelj & Kononenko (2014), "Explaining prediction models and individual predictions with
feature contributions"; Mitchell, Cooper, Frank & Holmes (2022), "Sampling permutations for Shapley
value estimation", for the antithetic pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from salesops_ml.evaluation.censoring import Floats

Places = npt.NDArray[np.int64]
SEED = 20_140


def grouped_shapley(
    value: Callable[[Floats], Floats],
    matrix: Floats,
    typical: Floats,
    groups: Sequence[Places],
    *,
    pairs: int = 2,
    seed: int = SEED,
) -> Floats:
    """Each group's share of `value(matrix) - value(typical)`, shape (n, groups); rows sum to it.

    A group in which a deal does not differ from the typical deal has exactly no share.

    Args:
        value: rows of features to scores, shape (m, features) -> (m,), each row on its own.
        matrix: the deals' features, NaN where not known. Shape (n, features).
        typical: the features of the deal to start from. Shape (features,).
        groups: places of each group's columns; together all columns that `value` reads.
        pairs: orders drawn; each is walked forth and back. Two groups are exact with one pair.

    Example:
        >>> deals, typical = np.array([[2.0, 3.0]]), np.array([0.0, 1.0])
        >>> groups = [np.array([0]), np.array([1])]
        >>> grouped_shapley(lambda rows: rows[:, 0] * rows[:, 1], deals, typical, groups).tolist()
        [[4.0, 2.0]]
    """
    differs = np.column_stack([_differs(matrix[:, g], typical[g]) for g in groups])
    start = np.full(len(matrix), value(typical[None])[0])
    end = value(matrix) if len(matrix) else start
    orders = _orders(len(groups), pairs, seed)
    shares = np.zeros((len(matrix), len(groups)))
    for order in orders:
        shares += _walk(value, matrix, typical, groups, differs, order, start, end)
    return shares / len(orders)


def spread(shares: Floats, wanted: Floats) -> Floats:
    """`shares` made to sum to `wanted`, what is lacking given in proportion to their sizes.

    Example:
        >>> spread(np.array([[3.0, -1.0, 0.0]]), np.array([2.4])).round(6).tolist()
        [[3.3, -0.9, 0.0]]
    """
    lacking = wanted - shares.sum(axis=1)
    size = np.abs(shares)
    total = size.sum(axis=1, keepdims=True)
    part = np.where(total > 0, size / np.where(total > 0, total, 1.0), 1 / max(shares.shape[1], 1))
    return np.asarray(shares + part * lacking[:, None])


def _walk(
    value: Callable[[Floats], Floats],
    matrix: Floats,
    typical: Floats,
    groups: Sequence[Places],
    differs: npt.NDArray[np.bool_],
    order: Places,
    start: Floats,
    end: Floats,
) -> Floats:
    """One order: groups come in one after the other; only deals that they change are scored anew."""
    mixed = np.repeat(typical[None], len(matrix), axis=0)
    left = differs.sum(axis=1)
    now = start.copy()
    shares = np.zeros((len(matrix), len(groups)))
    for g in order:
        rows = np.flatnonzero(differs[:, g])
        mixed[np.ix_(rows, groups[g])] = matrix[np.ix_(rows, groups[g])]
        left[rows] -= 1
        then = end[rows].copy()
        open_rows = left[rows] > 0
        if open_rows.any():
            then[open_rows] = value(mixed[rows[open_rows]])
        shares[rows, g] = then - now[rows]
        now[rows] = then
    return shares


def _orders(groups: int, pairs: int, seed: int) -> list[Places]:
    random = np.random.default_rng(seed)
    drawn = [random.permutation(groups) for _ in range(pairs)]
    return [order for first in drawn for order in (first, first[::-1])]


def _differs(values: Floats, typical: Floats) -> npt.NDArray[np.bool_]:
    same = (values == typical) | (np.isnan(values) & np.isnan(typical))
    return np.asarray(~same.all(axis=1))


def thinned(count: int, most: int) -> Places:
    """Up to `most` places of `count`, from the first to the last.

    Example:
        >>> thinned(48, 4).tolist(), thinned(3, 8).tolist()
        ([0, 16, 31, 47], [0, 1, 2])
    """
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(np.int64))


def filled(known: Floats, places: Places, count: int) -> Floats:
    """Values known at some places of `count`, linear in between. Shape (n, count)."""
    full = np.empty((len(known), count))
    full[:, places] = known
    for (left, right), (j, _) in zip(pairwise(places), pairwise(range(len(places))), strict=True):
        step = np.linspace(0, 1, right - left + 1)[None, 1:-1]
        full[:, left + 1 : right] = known[:, [j]] * (1 - step) + known[:, [j + 1]] * step
    return full
