"""How often chance alone would tell two populations of deals so far apart.

Each deal brings a score for each question: what it adds to the figure of all deals together. If the
populations are alike, it does not matter which deal stands on which side; so the sides are drawn
anew, many times, and the difference between the mean scores over its error is compared with those
of the draws. The error is taken anew in each draw, which keeps the promise where the sides differ
in size, spread or length of record (Janssen 1997, Statistics & Probability Letters 36, 9-21; Chung
and Romano 2013, Annals of Statistics 41, 484-507). Questions of which chance is soon seen to be
enough are answered first; the others are drawn on (Besag and Clifford 1991, Biometrika 78, 301-304).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import false_discovery_control

from salesops_ml.mining.steps import Floats, Mask

DRAWS = 10_000
"""Most draws for one question: the least p-value is one in so many."""
_BATCHES = (200, 800, 4000)
_ENOUGH = 20
_CELLS, _AT_ONCE = 1 << 23, 256


def permuted_p_values(scores: Floats, first: Mask, *, draws: int = DRAWS, seed: int = 7) -> Floats:
    """(k,) two-sided p-values of k questions; NaN where all scores are alike.

    Args:
        scores: (m, k) what each of m deals adds.
        first: (m,) whether it stands on the first side.
        draws: most draws for a question.
        seed: of the draws.

    Example:
        >>> scores = np.repeat([0.0, 1.0], 20)[:, None] + np.linspace(0, 0.1, 40)[:, None]
        >>> float(permuted_p_values(scores, np.arange(40) < 20, draws=999)[0])
        0.001
    """
    rng = np.random.default_rng(seed)
    known = np.flatnonzero(np.ptp(scores, axis=0) > 0) if len(scores) else np.zeros(0, np.int64)
    seen = np.abs(_apart(scores, first[None, :].astype(np.float64)))[0]
    beyond, drawn = np.zeros(scores.shape[1]), np.zeros(scores.shape[1])
    alive, done, turn = known, 0, 0
    while len(alive) and done < draws:
        batch = min(_BATCHES[min(turn, len(_BATCHES) - 1)], draws - done)
        beyond[alive] += _exceeded(scores[:, alive], first, seen[alive], batch, rng)
        drawn[alive] += batch
        alive = alive[beyond[alive] < _ENOUGH]
        done, turn = done + batch, turn + 1
    p_values = np.full(scores.shape[1], np.nan)
    p_values[known] = (1 + beyond[known]) / (1 + drawn[known])
    return p_values


def q_values(p_values: Floats) -> Floats:
    """(k,) p-values adjusted for all the questions asked (Benjamini-Hochberg); NaN is none.

    Example:
        >>> q_values(np.array([0.01, np.nan, 0.5])).tolist()
        [0.02, nan, 0.5]
    """
    done = np.full(len(p_values), np.nan)
    known = ~np.isnan(p_values)
    if known.any():
        done[known] = false_discovery_control(p_values[known], method="bh")
    return done


def _exceeded(
    scores: Floats, first: Mask, seen: Floats, draws: int, rng: np.random.Generator
) -> Floats:
    """(k,) in how many draws the sides are at least so far apart.

    Some sides are drawn once; after that it is the deals that are shuffled, which is sooner done.
    """
    at_once = max(min(draws, _AT_ONCE, _CELLS // max(len(first), 1)), 1)
    sides = rng.permuted(np.tile(first, (at_once, 1)), axis=1).astype(np.float64)
    count = np.zeros(scores.shape[1])
    for start in range(0, draws, at_once):
        size = min(at_once, draws - start)
        shuffled = scores[rng.permutation(len(first))]
        count += (np.abs(_apart(shuffled, sides[:size])) >= seen * (1 - 1e-9)).sum(axis=0)
    return count


def _apart(scores: Floats, inside: Floats) -> Floats:
    """(draws, k) difference of the mean scores over its error; `inside` (draws, m) is 1 or 0."""
    size = inside.sum(axis=1)[:, None]
    rest = inside.shape[1] - size
    squares = scores**2
    total, square = scores.sum(axis=0), squares.sum(axis=0)
    here, here_square = inside @ scores, inside @ squares
    one, other = here / size, (total - here) / rest
    spread = (here_square / size - one**2) / size + (
        (square - here_square) / rest - other**2
    ) / rest
    least = 1e-12 * square / inside.shape[1] ** 2
    safe = spread > least
    return np.where(safe, (one - other) / np.sqrt(np.where(safe, spread, 1.0)), 0.0)
