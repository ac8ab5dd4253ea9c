"""How good probabilities are: proper scores, ranking and calibration, each with row weights.

Weights carry censoring (see `evaluation.censoring`); with equal weights these are the usual figures.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from salesops_ml.evaluation.censoring import Floats, follow_up_share

EPSILON = 1e-6
Flags = npt.NDArray[np.bool_]


def log_loss(won: Flags, p: Floats, weight: Floats | None = None) -> float:
    """Mean of -log of the probability given to what happened; lower is better.

    Example:
        >>> round(log_loss(np.array([True, False]), np.array([0.8, 0.4])), 4)
        0.367
    """
    return float(np.average(log_losses(won, p), weights=weight))


def log_losses(won: Flags, p: Floats) -> Floats:
    """The log-loss of each row."""
    p = np.clip(p, EPSILON, 1 - EPSILON)
    return np.where(won, -np.log(p), -np.log1p(-p))


def brier(won: Flags, p: Floats, weight: Floats | None = None) -> float:
    """Mean squared distance between probability and what happened (Brier 1950)."""
    return float(np.average((p - won) ** 2, weights=weight))


def auc(won: Flags, p: Floats, weight: Floats | None = None) -> float:
    """The chance that a won row is scored above another; ties count half. NaN with one class.

    Example:
        >>> auc(np.array([True, False, True]), np.array([0.9, 0.5, 0.5]))
        0.75
    """
    weight = np.ones(len(p)) if weight is None else weight
    values, place = np.unique(p, return_inverse=True)
    wins = np.bincount(place, weights=weight * won, minlength=len(values))
    others = np.bincount(place, weights=weight * ~won, minlength=len(values))
    below = np.cumsum(others) - others
    pairs = wins.sum() * others.sum()
    return float((wins * (below + others / 2)).sum() / pairs) if pairs > 0 else float("nan")


def calibration_line(won: Flags, p: Floats, weight: Floats | None = None) -> tuple[float, float]:
    """Intercept and slope of the logistic regression of `won` on logit(p) (Cox 1958).

    A slope below 1 means scores too extreme, above 1 too timid; (0, 1) is perfect. NaN with one class.
    """
    weight = np.ones(len(p)) if weight is None else weight
    if not (won[weight > 0].any() and (~won)[weight > 0].any()):
        return float("nan"), float("nan")
    score = logit(p)

    def loss(line: Floats) -> tuple[float, Floats]:
        z = line[0] + line[1] * score
        gap = weight * (1 / (1 + np.exp(-z)) - won)
        value = (weight * (np.logaddexp(0, z) - won * z)).sum() / weight.sum()
        return float(value), np.array([gap.sum(), (gap * score).sum()]) / weight.sum()

    found = minimize(loss, np.array([0.0, 1.0]), jac=True, method="BFGS").x
    return float(found[0]), float(found[1])


def calibration_error(
    won: Flags, p: Floats, weight: Floats | None = None, *, bins: int = 15
) -> float:
    """Expected calibration error over `bins` of equal mass: mean |promised - happened|."""
    table = reliability(won, p, weight, bins=bins)
    return float(np.average(np.abs(table[:, 0] - table[:, 1]), weights=table[:, 2]))


def reliability(won: Flags, p: Floats, weight: Floats | None = None, *, bins: int = 15) -> Floats:
    """Rows of (mean promised, share won, weight) over `bins` groups of equal mass."""
    weight = np.ones(len(p)) if weight is None else weight
    order = np.argsort(p, kind="stable")
    mass = np.cumsum(weight[order])
    if mass[-1] <= 0:
        return np.empty((0, 3))
    group = np.minimum((bins * (mass - weight[order] / 2) / mass[-1]).astype(int), bins - 1)
    total = np.bincount(group, weights=weight[order], minlength=bins)
    promised = np.bincount(group, weights=(weight * p)[order], minlength=bins)
    happened = np.bincount(group, weights=(weight * won)[order], minlength=bins)
    held = total > 0
    rows = np.column_stack(
        [promised[held] / total[held], happened[held] / total[held], total[held]]
    )
    return np.asarray(rows)


def integrated_brier(
    won_day: Floats, followed: Floats, days: Floats, curve: Floats, closed_day: Floats
) -> float:
    """Mean over `days` of the IPCW Brier score of "won by that day" (Graf et al. 1999).

    Args:
        won_day: day of winning, inf where not won as known. Shape (n,).
        followed: days of administrative follow-up. Shape (n,).
        days: the days to average over. Shape (k,).
        curve: promised probability of having won by each day. Shape (n, k).
        closed_day: day of either outcome, inf while open. Shape (n,).
    """
    scores = []
    share = follow_up_share(followed, np.minimum(closed_day, followed))
    for j, day in enumerate(days):
        ended = closed_day <= day
        at_day = follow_up_share(followed, np.array([day]))[0]
        weight = np.where(
            ended, 1 / np.maximum(share, 1e-12), (followed >= day) / max(at_day, 1e-12)
        )
        scores.append(float(np.mean(weight * ((won_day <= day) - curve[:, j]) ** 2)))
    return float(np.mean(scores))


def logit(p: Floats) -> Floats:
    """Log-odds of `p`, kept finite."""
    p = np.clip(p, EPSILON, 1 - EPSILON)
    return np.asarray(np.log(p) - np.log1p(-p))
