"""Counting by code: which of a few keys occur, and which deals had each of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

_LARGEST_TABLE = 1 << 22
_SHORT = 1 << 16


def recoded(key: Ints, size: int) -> tuple[Ints, Ints]:
    """The keys that occur, sorted, and each row's place among them.

    Args:
        key: (n,) 0 .. size - 1.
        size: how many keys there could be.

    Example:
        >>> [part.tolist() for part in recoded(np.array([7, 2, 7]), 9)]
        [[2, 7], [1, 0, 1]]
    """
    if size > _LARGEST_TABLE:
        present, place = np.unique(key, return_inverse=True)
        return present, place.reshape(-1)
    seen = np.zeros(size, dtype=bool)
    seen[key] = True
    return np.flatnonzero(seen), (np.cumsum(seen) - 1)[key]


def stable_order(code: Ints, size: int) -> npt.NDArray[np.intp]:
    """The order by code in which equal codes keep their order.

    Args:
        code: (n,) 0 .. size - 1.
        size: how many codes there could be. Sixteen bits are sorted by counting.

    Example:
        >>> stable_order(np.array([1, 0, 1, 0]), 2).tolist()
        [1, 3, 0, 2]
    """
    if size <= _SHORT:
        return np.argsort(code.astype(np.uint16), kind="stable")
    if size > _SHORT**2:
        return np.argsort(code, kind="stable")
    order = np.argsort(code.astype(np.uint16), kind="stable")
    return order[np.argsort((code >> 16).astype(np.uint16)[order], kind="stable")]


def distinct_pairs(key: Ints, case: Ints, keys: int) -> tuple[Ints, Ints]:
    """Each pair of a key and a case once, sorted by key, then case.

    Args:
        key: (n,) 0 .. keys - 1.
        case: (n,) codes in rising order, as rows of a log have them.
        keys: how many keys there are.

    Example:
        >>> key, case = np.array([1, 0, 1, 1]), np.array([0, 0, 0, 2])
        >>> [part.tolist() for part in distinct_pairs(key, case, 2)]
        [[0, 1, 1], [0, 0, 2]]
    """
    order = stable_order(key, keys)
    key, case = key[order], case[order]
    new = np.ones(len(key), dtype=bool)
    new[1:] = (key[1:] != key[:-1]) | (case[1:] != case[:-1])
    return key[new], case[new]
