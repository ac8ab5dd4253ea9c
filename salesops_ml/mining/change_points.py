"""Whether and when something changed, among many things watched over the same stretches of time.

The stretch after which the sums of surprises before and after lie furthest apart, over all things
watched, is the candidate; whether that is more than chance is told by permuting the stretches, all
things together, so that what happens at one time stays together (Matteson and James 2014, J. Am.
Stat. Assoc. 109, 334-345). Where nothing changed, an alarm comes up with a chance of at most `alarm`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salesops_ml.mining.steps import Floats, Ints, Mask

ALARM = 0.05
FEWEST_STRETCHES = 8
_SIDE = 3
_LEAST_VARIANCE = 5.0
_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class ChangePoint:
    """One change.

    Attributes:
        after: how many stretches lie before it.
        p_value: by permutation.
        changed: (k,) whether each thing watched changed then.
        strength: (k,) standardised difference, after less before.
    """

    after: int
    p_value: float
    changed: Mask
    strength: Floats


def find_change(
    surprise: Floats, variance: Floats, *, alarm: float = ALARM, draws: int = 999, seed: int = 7
) -> ChangePoint | None:
    """The strongest change; None where chance would do as much.

    Args:
        surprise, variance: (k, w) of k things in w stretches; a surprise has mean zero and that
            variance as long as nothing changes.
        alarm: chance of a false alarm.
        draws: permutations. seed: of these.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> surprise = rng.normal(size=(2, 40)) * 3
        >>> find_change(surprise, np.full((2, 40), 9.0)) is None
        True
        >>> surprise[1, 25:] += 9
        >>> one = find_change(surprise, np.full((2, 40), 9.0))
        >>> one.after, one.changed.tolist()
        (25, [False, True])
    """
    size = surprise.shape[1]
    if size < FEWEST_STRETCHES or not len(surprise):
        return None
    noise, scale = standardised(surprise, variance)
    apart = split_scores(noise[:, None, :], variance, scale)[:, 0]
    best = np.abs(apart).max(axis=0)
    after = int(np.argmax(best))
    if best[after] <= 0:
        return None
    chance = _by_chance(noise, variance, scale, draws, np.random.default_rng(seed))
    p_value = (1 + (chance >= best[after] * (1 - 1e-9)).sum()) / (1 + draws)
    if p_value > alarm:
        return None
    bar = min(float(np.quantile(chance, 1 - alarm)), float(best[after]))
    strength = apart[:, after]
    return ChangePoint(after + 1, float(p_value), np.abs(strength) >= bar, strength)


def _by_chance(
    noise: Floats, variance: Floats, scale: Floats, draws: int, rng: np.random.Generator
) -> Floats:
    """(draws,) the largest difference of all things and splits, the stretches being permuted."""
    chance = np.zeros(draws)
    at_once = max(_AT_ONCE // max(noise.size, 1), 1)
    for start in range(0, draws, at_once):
        many = min(at_once, draws - start)
        order = rng.permuted(np.tile(np.arange(noise.shape[1]), (many, 1)), axis=1)
        drawn = np.abs(split_scores(noise[:, order], variance, scale))
        chance[start : start + many] = drawn.max(axis=(0, 2))
    return chance


def standardised(surprise: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """(k, w) surprises about their mean, over their deviation, and (k,) how much wider they spread."""
    total = variance.sum(axis=1, keepdims=True)
    mean = surprise.sum(axis=1, keepdims=True) / np.where(total > 0, total, 1.0)
    told = variance > 0
    noise = np.where(told, surprise - mean * variance, 0.0) / np.sqrt(np.where(told, variance, 1.0))
    count = np.maximum(told.sum(axis=1), 1)
    return noise, np.sqrt((noise**2).sum(axis=1) / count)


def split_scores(noise: Floats, variance: Floats, scale: Floats) -> Floats:
    """(k, d, w - 1) standardised differences, after less before, of d orders of the noise (k, d, w).

    0 where a side is too short, or has too little to go by.
    """
    steps = noise * np.sqrt(variance)[:, None, :]
    before = np.cumsum(variance, axis=1)
    total = before[:, -1:]
    part = (before / np.where(total > 0, total, 1.0))[:, :-1]
    summed = np.cumsum(steps, axis=2)
    gap = part[:, None, :] * summed[:, :, -1:] - summed[:, :, :-1]
    spread = part * (1 - part) * total
    least = np.minimum(before[:, :-1], total - before[:, :-1])
    place = np.arange(1, variance.shape[1])
    usable = (least >= _LEAST_VARIANCE) & (place >= _SIDE) & (place <= variance.shape[1] - _SIDE)
    usable &= scale[:, None] > 0
    safe = np.where(usable, spread, 1.0) * np.where(scale > 0, scale, 1.0)[:, None] ** 2
    return np.where(usable[:, None, :], gap / np.sqrt(safe)[:, None, :], 0.0)


def split_curve(surprise: Floats, variance: Floats) -> Floats:
    """(w - 1,) how much one change after each stretch would explain, all things (k, w) together."""
    noise, scale = standardised(surprise, variance)
    told = split_scores(noise[:, None, :], variance, scale)[:, 0]
    return np.asarray((told**2).sum(axis=0))


def split_interval(
    surprise: Floats, variance: Floats, *, level: float, draws: int, seed: int
) -> tuple[int, int, int]:
    """After which stretch things changed, if they changed once, and between which that lies.

    All splits belong to the interval that explain hardly less than the best. How much less is
    allowed is learned by drawing each side's noise anew around its own mean, so that the true split
    is known (Siegmund 1988, International Statistical Review 56, 31-48).

    Args:
        surprise, variance: (k, w) of the things that changed, in fine stretches.
        level: what the interval promises. draws, seed: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    curve = split_curve(surprise, variance)
    after = int(np.argmax(curve)) + 1
    sides = [np.arange(after), np.arange(after, surprise.shape[1])]
    mean, noise = np.zeros_like(surprise), np.zeros_like(surprise)
    for side in sides:
        part = variance[:, side]
        total = part.sum(axis=1, keepdims=True)
        level_here = surprise[:, side].sum(axis=1, keepdims=True) / np.where(total > 0, total, 1.0)
        mean[:, side] = level_here * part
        noise[:, side], _ = standardised(surprise[:, side], part)
    lacking = np.empty(draws)
    for turn in range(draws):
        order = np.concatenate([rng.choice(side, len(side)) for side in sides])
        drawn = split_curve(mean + noise[:, order] * np.sqrt(variance), variance)
        lacking[turn] = drawn.max() - drawn[after - 1]
    near = np.flatnonzero(curve >= curve[after - 1] - np.quantile(lacking, level)) + 1
    return after, int(near[0]), int(near[-1])


def stretches(begin: int, end: int, count: int) -> Ints:
    """(count + 1,) edges of `count` stretches of equal length, microseconds."""
    return np.linspace(begin, end, count + 1).round().astype(np.int64)
