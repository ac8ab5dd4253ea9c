"""How sure each figure is: intervals from drawing whole deals, made quick enough to give one to each.

The calibration error keeps the groups of the whole record; since chance alone makes promised and
happened differ, its draws lie above the figure rather than around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.proper_scores import Flags, calibration_line, log_losses, logit

LEVEL = 0.95
NEWTON_STEPS = 4


class DealDraws:
    """Samples of deals with replacement; the same for every figure and model on the same rows."""

    def __init__(self, deals: npt.NDArray[np.object_], *, draws: int, seed: int = 7) -> None:
        names, self.place = np.unique(deals, return_inverse=True)
        chance = np.full(len(names), 1 / len(names))
        self.picks = np.random.default_rng(seed).multinomial(len(names), chance, size=draws)

    def sums(self, values: Floats) -> Floats:
        """The sum of `values` (one a row, or several columns) in each draw."""
        columns = values.reshape(len(values), -1)
        by_deal = np.column_stack(
            [np.bincount(self.place, column, self.picks.shape[1]) for column in columns.T]
        )
        return np.asarray(self.picks @ by_deal)

    def means(self, values: Floats, weight: Floats) -> Floats:
        """The weighted mean in each draw; NaN in one without weight."""
        drawn = self.sums(np.column_stack([values * weight, weight]))
        return _ratio(drawn[:, 0], drawn[:, 1])

    def of_mean(self, values: Floats, weight: Floats) -> list[float] | None:
        """Interval of a weighted mean."""
        return _interval(self.means(values, weight))

    def of_savings(
        self, won: Flags, ours: Floats, others: Mapping[str, Floats], weight: Floats
    ) -> dict[str, dict[str, Any]]:
        """By the name of another's chances: `saved`, the mean log-loss that ours saves on the same
        rows, and `saved_interval`. An interval above nought says that ours is better.
        """
        told: dict[str, dict[str, Any]] = {}
        base = log_losses(won, ours)
        for name, p in others.items():
            gap = log_losses(won, p) - base
            told[name] = {
                "saved": float(np.average(gap, weights=weight)),
                "saved_interval": self.of_mean(gap, weight),
            }
        return told

    def of_auc(self, won: Flags, p: Floats, weight: Floats) -> list[float] | None:
        """Interval of the area under the ROC curve."""
        values, rank = np.unique(p, return_inverse=True)
        drawn = []
        for pick in self.picks:
            mass = weight * pick[self.place]
            wins = np.bincount(rank, mass * won, len(values))
            others = np.bincount(rank, mass * ~won, len(values))
            below = np.cumsum(others) - others
            drawn.append((wins @ (below + others / 2), wins.sum() * others.sum()))
        pairs = np.array(drawn)
        return _interval(_ratio(pairs[:, 0], pairs[:, 1]))

    def of_slope(self, won: Flags, p: Floats, weight: Floats) -> list[float] | None:
        """Interval of the calibration slope; None where all chances are the same or all ended alike."""
        if np.ptp(p) == 0:
            return None
        intercept, slope = calibration_line(won, p, weight)
        if not np.isfinite(slope):
            return None
        score = logit(p)
        line = np.array([intercept, slope])
        slopes = [_line(line, won, score, weight * pick[self.place])[1] for pick in self.picks]
        return _interval(np.array(slopes))

    def of_calibration_error(
        self, won: Flags, p: Floats, weight: Floats, *, bins: int = 15
    ) -> list[float] | None:
        """Interval of the expected calibration error over groups of equal mass."""
        order = np.argsort(p, kind="stable")
        mass = np.cumsum(weight[order])
        if mass[-1] <= 0:
            return None
        group = np.empty(len(p), dtype=np.int64)
        middle = mass - weight[order] / 2
        group[order] = np.minimum((bins * middle / mass[-1]).astype(int), bins - 1)
        inside = group[:, None] == np.arange(bins)
        gaps = self.sums(inside * (weight * (won - p))[:, None])
        return _interval(_ratio(np.abs(gaps).sum(axis=1), self.sums(weight)[:, 0]))


def _line(start: Floats, won: Flags, score: Floats, weight: Floats) -> Floats:
    """The logistic line of one draw; from the line of all, four Newton steps are there."""
    line = start
    for _ in range(NEWTON_STEPS):
        fitted = expit(line[0] + line[1] * score)
        pull, bend = weight * (won - fitted), weight * fitted * (1 - fitted)
        slope, curve = bend @ score, bend @ score**2
        spread = bend.sum() * curve - slope**2
        if spread <= 0:
            return np.full(2, np.nan)
        up, tilt = pull.sum(), pull @ score
        step = np.array([curve * up - slope * tilt, bend.sum() * tilt - slope * up]) / spread
        line = line + step
    return line


def _ratio(above: Floats, below: Floats) -> Floats:
    held = below > 0
    return np.where(held, above / np.where(held, below, 1.0), np.nan)


def _interval(drawn: Floats) -> list[float] | None:
    if not np.isfinite(drawn).any():
        return None
    tail = (1 - LEVEL) / 2
    return [float(bound) for bound in np.nanquantile(drawn, [tail, 1 - tail])]
