"""Which rows are held out together, so that what is learned inside training mirrors use.

Deals of one account are held out together where accounts will be new, deals of one season where the
season will be; otherwise at random, with the same share of won deals in each fold.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from salesops_ml.evaluation.proper_scores import Flags

Places = npt.NDArray[np.int64]

SEASONS = 8
"""Blocks of time that each fold holds out."""


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
        order: rank in time; each fold then holds out several whole blocks of it, early and late
            ones. Equal ranks come in random order. Not used beside `groups`.

    Example:
        >>> fold = inner_folds(np.arange(96) % 2 == 0, folds=2, seed=1, order=np.arange(96))
        >>> [len(set(block)) for block in fold.reshape(16, 6)] == [1] * 16
        True
    """
    rows = len(target)
    rng = np.random.default_rng(seed)
    if groups is not None:
        return _by_group(groups, folds, rng)
    if order is not None:
        rank = np.argsort(np.lexsort((rng.random(rows), order)))
        holder = np.concatenate([rng.permutation(folds) for _ in range(SEASONS)])
        return np.asarray(holder[rank * len(holder) // rows], dtype=np.int64)
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


def _by_group(groups: npt.NDArray[np.generic], folds: int, rng: np.random.Generator) -> Places:
    _, member = np.unique(groups, return_inverse=True)
    size = np.bincount(member)
    line = rng.permutation(len(size))
    middle = np.cumsum(size[line]) - size[line] / 2
    fold = np.empty(len(size), dtype=np.int64)
    fold[line] = (middle * folds / len(groups)).astype(np.int64)
    return np.asarray(fold[member])
