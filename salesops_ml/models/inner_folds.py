"""Which rows are held out together, so that what is learned inside training mirrors use.

Deals of one account are held out together where accounts will be new, deals of one season where the
season will be; otherwise at random, with the same share of won deals in each fold.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from salesops_ml.evaluation.proper_scores import Flags

Places = npt.NDArray[np.int64]


def inner_folds(
    target: Flags,
    *,
    folds: int,
    seed: int,
    groups: npt.NDArray[np.generic] | None = None,
    order: npt.NDArray[np.generic] | None = None,
) -> Places:
    """The fold of each row, shape (n,), from 0.

    Args:
        groups: rows of one group share a fold.
        order: rank in time; folds are then blocks of time. With `groups`, a group stands where its
            first row does.

    Example:
        >>> inner_folds(np.array([True, False] * 3), folds=3, seed=1, order=np.arange(6)).tolist()
        [0, 0, 1, 1, 2, 2]
    """
    rows = len(target)
    rng = np.random.default_rng(seed)
    if groups is not None:
        return _by_group(groups, order, folds, rng)
    if order is not None:
        rank = np.argsort(np.argsort(order, kind="stable"), kind="stable")
        return np.asarray(rank * folds // rows, dtype=np.int64)
    fold = np.empty(rows, dtype=np.int64)
    start = 0
    for side in (True, False):
        members = rng.permutation(np.flatnonzero(target == side))
        fold[members] = (np.arange(len(members)) + start) % folds
        start += len(members)
    return fold


def both_sides(target: Flags, fold: Places) -> bool:
    """True where leaving out any fold leaves won and lost deals to learn from."""
    kept = (target[fold != k] for k in np.unique(fold))
    return len(np.unique(fold)) > 1 and all(0 < some.sum() < len(some) for some in kept)


def _by_group(
    groups: npt.NDArray[np.generic],
    order: npt.NDArray[np.generic] | None,
    folds: int,
    rng: np.random.Generator,
) -> Places:
    _, member = np.unique(groups, return_inverse=True)
    size = np.bincount(member)
    if order is None:
        line = rng.permutation(len(size))
    else:
        first = np.full(len(size), np.iinfo(np.int64).max)
        np.minimum.at(first, member, np.argsort(np.argsort(order, kind="stable"), kind="stable"))
        line = np.argsort(first, kind="stable")
    middle = np.cumsum(size[line]) - size[line] / 2
    fold = np.empty(len(size), dtype=np.int64)
    fold[line] = (middle * folds / len(groups)).astype(np.int64)
    return np.asarray(fold[member])
