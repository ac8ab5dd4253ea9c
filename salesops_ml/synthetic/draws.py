"""Seeded chance, in two kinds.

A *stream* serves what is drawn once (reps, accounts, arrivals). A *fate* serves what happens to a
deal: the number belongs to (deal, move, day), so two worlds that differ in one bottleneck meet the
same luck everywhere else - common random numbers, whatever the order of computation.
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_AGES = np.uint64(1 << 16)


def stream(seed: int, name: str) -> np.random.Generator:
    """A generator of its own for `name`: another knob's draws never shift this one's.

    Example:
        >>> bool(stream(7, "reps").random() == stream(7, "reps").random())
        True
    """
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(name.encode())]))


def deal_keys(seed: int, lane: str, count: int) -> Keys:
    """One 64-bit key per deal for one kind of fate (`lane`)."""
    first = np.random.SeedSequence([seed, zlib.crc32(lane.encode())]).generate_state(1, np.uint64)
    return _mixed(first[0] + np.arange(1, count + 1, dtype=np.uint64) * _MIX_2)


def fate(keys: Keys, moves: npt.NDArray[np.int64], age: npt.NDArray[np.int64]) -> Floats:
    """Uniform numbers in [0, 1) for the deals of `keys` after `moves` moves, on day `age` in stage.

    SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), started at each deal's own key.
    """
    step = moves.astype(np.uint64) * _AGES + age.astype(np.uint64)
    bits = _mixed(keys + step * _GAMMA)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(values: Keys) -> Keys:
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    return values ^ (values >> np.uint64(31))


def choose(rng: np.random.Generator, shares: list[float], count: int) -> npt.NDArray[np.int64]:
    """`count` draws of an option's number, by (unnormalised) shares."""
    edges = np.cumsum(np.asarray(shares, dtype=np.float64))
    picked = np.searchsorted(edges, rng.random(count) * edges[-1], side="right")
    numbers: npt.NDArray[np.int64] = np.minimum(picked, len(shares) - 1).astype(np.int64)
    return numbers
