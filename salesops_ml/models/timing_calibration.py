"""Close dates that keep their promise: the timing curve, corrected by when held-out deals really closed.

For every held-out deal that was won, the share of its promised winning curve that had passed on the day
it was won should be spread evenly over 0..1. Where it is not, the curve is bent until it is: its shape
is mapped by the distribution of those shares. Published quantiles are read off the bent curve, so the
80 % interval covers what it covered there, and P(won by a day) stays one and the same curve.

This is conformal prediction on the probability integral transform (Chernozhukov, Wuethrich & Zhu 2021,
"Distributional conformal prediction"), weighted for censoring, by stage where enough deals were won.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from salesops_ml.evaluation.censoring import LOST, WON, Floats
from salesops_ml.models.curves import Curves
from salesops_ml.models.hazard_table import COMPANY, stages_of

LEVELS = np.array(
    [0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 1]
)
PRIOR_DEALS = 50.0
LEAST_DEALS = 100


@dataclass(frozen=True)
class TimingMap:
    """How the shape of the curves of winning and of losing is bent, for the company and by stage.

    Attributes:
        won, lost: stage (or "" for all others) -> the new share at each of `LEVELS`.
    """

    won: dict[str, Floats]
    lost: dict[str, Floats]

    @classmethod
    def straight(cls) -> TimingMap:
        """The map that changes nothing."""
        return cls({COMPANY: LEVELS}, {COMPANY: LEVELS})

    @classmethod
    def fit(
        cls,
        curves: Curves,
        frame: pd.DataFrame,
        event: npt.NDArray[np.int64],
        duration: Floats,
        weight: Floats,
    ) -> TimingMap:
        """Learn from held-out looks.

        Args:
            curves: what was promised for them.
            frame: the looks, with deal_id and, where there is one, stage.
            event, duration: what became of them, as known (0 open, 1 won, 2 lost), and when, days.
            weight: censoring weights at the horizon.
        """
        stages = stages_of(frame)
        deals = frame["deal_id"].to_numpy(dtype=object)
        maps = []
        for cause, curve in ((WON, curves.cif_won), (LOST, curves.cif_lost)):
            ended = (event == cause) & (duration <= curves.horizon) & (weight > 0)
            rows = np.flatnonzero(ended & (curve[:, -1] > 1e-9))
            passed = _passed(curves.days, curve[rows], duration[rows])
            maps.append(_maps(passed, weight[rows], deals[rows], stages[rows]))
        return cls(*maps)

    def apply(self, curves: Curves, frame: pd.DataFrame) -> Curves:
        """The curves bent; their ends stay where they are."""
        stages = stages_of(frame)
        won = _bent(curves.cif_won, stages, self.won)
        lost = _bent(curves.cif_lost, stages, self.lost)
        return Curves(curves.days, won, lost)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            word: {stage: values.tolist() for stage, values in maps.items()}
            for word, maps in (("won", self.won), ("lost", self.lost))
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TimingMap:
        """The map that `to_dict` described."""
        won, lost = (
            {stage: np.array(told) for stage, told in values[word].items()}
            for word in ("won", "lost")
        )
        return cls(won, lost)


def _passed(days: Floats, curve: Floats, when: Floats) -> Floats:
    """The share of each curve's end that it had reached on the day."""
    right = np.clip(np.searchsorted(days, when), 1, len(days) - 1)
    row = np.arange(len(curve))
    low, high = curve[row, right - 1], curve[row, right]
    step = np.clip((when - days[right - 1]) / (days[right] - days[right - 1]), 0, 1)
    return np.asarray((low + step * (high - low)) / curve[:, -1])


def _maps(
    passed: Floats,
    weight: Floats,
    deals: npt.NDArray[np.object_],
    stages: npt.NDArray[np.object_],
) -> dict[str, Floats]:
    """Shares at or below each level; the company leans on the straight map, a stage on the company."""
    company = _share_below(passed, weight, len(np.unique(deals)), LEVELS)
    done = {COMPANY: company}
    for stage in sorted(set(stages)):
        mine = stages == stage
        count = len(np.unique(deals[mine]))
        if count >= LEAST_DEALS:
            done[stage] = _share_below(passed[mine], weight[mine], count, company)
    return done


def _share_below(passed: Floats, weight: Floats, deals: int, prior: Floats) -> Floats:
    if deals == 0:
        return prior
    below = (passed[:, None] <= LEVELS[None, :]) * weight[:, None]
    share = below.sum(axis=0) / weight.sum()
    mixed = (deals * share + PRIOR_DEALS * prior) / (deals + PRIOR_DEALS)
    mixed[0], mixed[-1] = 0.0, 1.0
    return np.asarray(np.maximum.accumulate(mixed))


def _bent(curve: Floats, stages: npt.NDArray[np.object_], maps: dict[str, Floats]) -> Floats:
    end = curve[:, -1:]
    shape = np.clip(curve / np.maximum(end, 1e-12), 0, 1)
    done = np.empty_like(curve)
    known = np.array([stage if stage in maps else COMPANY for stage in stages], dtype=object)
    for stage in set(known):
        mine = known == stage
        done[mine] = np.interp(shape[mine], LEVELS, maps[stage]) * end[mine]
    return done
