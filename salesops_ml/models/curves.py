"""A deal's future as one pair of curves: the chance of having won, and of having lost, by each day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salesops_ml.evaluation.censoring import Floats

QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Curves:
    """Cumulative incidence of winning and losing for n deals over k days, linear in between.

    Attributes:
        days: days after the look, rising, the first 0 and the last the horizon. Shape (k,).
        cif_won: chance of having won by each day. Shape (n, k), rising along k.
        cif_lost: likewise for losing; cif_won + cif_lost never exceeds 1.
    """

    days: Floats
    cif_won: Floats
    cif_lost: Floats

    @property
    def horizon(self) -> float:
        """The last day."""
        return float(self.days[-1])

    def at(self, days: npt.ArrayLike) -> Curves:
        """The curves at other days within the horizon."""
        wanted = np.asarray(days, dtype=float)
        right = np.clip(np.searchsorted(self.days, wanted), 1, len(self.days) - 1)
        left = right - 1
        share = (wanted - self.days[left]) / (self.days[right] - self.days[left])
        share = np.clip(share, 0.0, 1.0)

        def between(curve: Floats) -> Floats:
            return np.asarray(curve[:, left] * (1 - share) + curve[:, right] * share)

        return Curves(wanted, between(self.cif_won), between(self.cif_lost))

    def with_mass(self, p_won: Floats, p_lost: Floats) -> Curves:
        """The same timing with other chances at the horizon (one law: p_win is the curve's end).

        Where a curve carries no chance at all, its timing is the mean one.
        """
        return Curves(
            self.days,
            _scaled(self.cif_won, p_won, self.days),
            _scaled(self.cif_lost, p_lost, self.days),
        )

    def with_win(self, p_won: Floats) -> Curves:
        """The same timing with another chance of winning; losing keeps its share of what is left."""
        return self.with_mass(p_won, lost_beside(p_won, self.cif_won[:, -1], self.cif_lost[:, -1]))

    def quantiles(self, *, given: str, levels: tuple[float, ...] = QUANTILES) -> Floats:
        """Days by which the shares `levels` of the outcomes within the horizon have come.

        Args:
            given: `won`, or `either` for winning or losing.

        Returns:
            Shape (n, len(levels)).
        """
        curve = self.cif_won if given == "won" else self.cif_won + self.cif_lost
        return np.column_stack([_crossing(self.days, curve, level) for level in levels])

    @classmethod
    def joined(cls, rows: npt.NDArray[np.bool_], inside: Curves, outside: Curves) -> Curves:
        """The curves of all deals, from those of `rows` and those of the others."""
        won, lost = np.empty((2, len(rows), len(inside.days)))
        won[rows], won[~rows] = inside.cif_won, outside.cif_won
        lost[rows], lost[~rows] = inside.cif_lost, outside.cif_lost
        return cls(inside.days, won, lost)

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Curves:
        """The curves of some deals."""
        return Curves(self.days, self.cif_won[rows], self.cif_lost[rows])


def lost_beside(p_won: Floats, cif_won: Floats, cif_lost: Floats) -> Floats:
    """The chance of losing beside `p_won`, where the curves that time it end at the other two.

    Example:
        >>> lost_beside(np.array([0.6]), np.array([0.2]), np.array([0.4])).round(6).tolist()
        [0.2]
    """
    return np.asarray((1 - p_won) * np.clip(cif_lost / np.maximum(1 - cif_won, 1e-12), 0, 1))


def reporting_days(horizon: int) -> Floats:
    """The days that curves are published at: daily to 60, then weekly, and the horizon.

    Example:
        >>> reporting_days(75)[-3:].tolist()
        [67.0, 74.0, 75.0]
    """
    days = [*range(min(60, horizon) + 1), *range(67, horizon + 1, 7)]
    return np.array(sorted({*days, horizon}), dtype=float)


def _scaled(curve: Floats, mass: Floats, days: Floats) -> Floats:
    end = curve[:, -1:]
    mean = curve.mean(axis=0)
    spare = mean / mean[-1] if mean[-1] > 0 else days / days[-1]
    shape = np.where(end > 1e-12, curve / np.maximum(end, 1e-12), spare)
    return np.asarray(np.clip(shape, 0, 1) * mass[:, None])


def _crossing(days: Floats, curve: Floats, level: float) -> Floats:
    """First day at which each curve reaches `level` of its end, linear between days."""
    target = level * curve[:, -1]
    right = np.clip((curve < target[:, None]).sum(axis=1), 1, len(days) - 1)
    rows = np.arange(len(curve))
    low, high = curve[rows, right - 1], curve[rows, right]
    rise = np.maximum(high - low, 1e-300)
    share = np.clip((target - low) / rise, 0, 1)
    day = days[right - 1] + share * (days[right] - days[right - 1])
    return np.asarray(np.where(curve[:, -1] > 0, day, level * days[-1]))
