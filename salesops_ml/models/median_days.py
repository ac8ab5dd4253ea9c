"""When a deal ends, asked outright: half are done by then.

The hazards add up many small chances, day by day; a booster of the absolute error goes for the middle
in one step, and where the company's clock is in the features it hits it better. The curves are drawn
out or pulled together until their middle lies between the two answers; they stay curves, end where
they ended at the horizon, and P(won by a day) remains one law.

How far they are moved is decided on held-out deals, and not at all where the gain is within the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from salesops_ml.evaluation.bootstrap import interval
from salesops_ml.evaluation.censoring import OPEN, Floats
from salesops_ml.models.boosting import Columns, Rows, fit_booster, load_text, predict, trees_of
from salesops_ml.models.curves import Curves
from salesops_ml.models.encoding import Encoder
from salesops_ml.models.hazards import Looks
from salesops_ml.models.voices import horizon_target
from salesops_ml.settings import Settings

SHARES = {"hazards": (0.25,), "table": (0.25, 0.5, 0.75)}
"""How far the middle may be moved towards the booster's answer. Hazards learned the same features: what
is gained beyond a quarter of the way on deals of the same months was lost on later ones."""
LEAST_DEALS = 200
"""Closed deals below which the middle is left to the curves."""
FILE = "median_days.txt"


@dataclass(frozen=True)
class MedianDays:
    """A booster of the square root of days to the end, and how far the curves follow it."""

    booster: Any
    encoder: Encoder
    share: float
    threads: int = 2

    @classmethod
    def fit(
        cls,
        learn: pd.DataFrame,
        labels: pd.DataFrame,
        settings: Settings,
        *,
        share: float,
        trees: int | None = None,
        watch: tuple[pd.DataFrame, pd.DataFrame] | None = None,
        encoder: Encoder | None = None,
    ) -> MedianDays | None:
        """Learn from deals that ended within the horizon; None where they are too few.

        Args:
            trees: how many; as many as the settings allow, or `watch` asks for, where None.
            watch: later looks and their labels, on which growing stops.
            encoder: learned from these looks, where it is at hand.
        """
        encoder = encoder or Encoder.fit(learn)
        rows, deals = _ended(learn, labels, encoder, settings)
        if deals < LEAST_DEALS:
            return None
        later = _ended(*watch, encoder, settings)[0] if watch else None
        booster = fit_booster(
            rows,
            Columns(encoder.names, tuple(encoder.worded)),
            models=settings.models,
            seed=settings.seed,
            threads=settings.threads,
            trees=trees,
            watch=later if later is not None and len(later.target) else None,
            objective="l1",
        )
        return cls(booster, encoder, share, settings.threads)

    @property
    def trees(self) -> int:
        """Trees that it predicts with."""
        return trees_of(self.booster)

    def days(self, frame: pd.DataFrame) -> Floats:
        """Days by which half of such deals have ended, shape (n,)."""
        root = predict(self.booster, self.encoder.transform(frame), threads=self.threads)
        return np.asarray(np.maximum(root, 0.0) ** 2)

    def move(self, curves: Curves, frame: pd.DataFrame) -> Curves:
        """The curves with their middles moved by `share` of the way."""
        return moved(curves, self.days(frame), self.share)

    def save(self, folder: Path) -> None:
        """LightGBM text beside the model's JSON, which holds `to_dict`."""
        (folder / FILE).write_text(self.booster.model_to_string())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the booster left out."""
        return {"share": self.share, "encoder": self.encoder.to_dict()}

    @classmethod
    def load(cls, folder: Path, values: dict[str, Any], *, threads: int) -> MedianDays:
        """What `save` and `to_dict` kept."""
        booster = load_text((folder / FILE).read_text())
        return cls(booster, Encoder.from_dict(values["encoder"]), values["share"], threads)


def choose_share(
    told: MedianDays,
    late: pd.DataFrame,
    labels: pd.DataFrame,
    curves: Curves,
    settings: Settings,
    *,
    shares: tuple[float, ...],
) -> tuple[float, dict[str, float]]:
    """How far held-out deals ask the middles to be moved, and the mean miss in days at each share."""
    rows, days, weight = _ends(late, labels, settings)
    if not len(rows):
        return 0.0, {}
    frame, some, when = late.iloc[rows], curves.take(rows), days[rows]
    asked, deals = told.days(frame), frame["deal_id"].to_numpy(dtype=object)
    miss = {
        share: np.abs(moved(some, asked, share).quantiles(given="either")[:, 1] - when)
        for share in (0.0, *shares)
    }
    mean = {share: float(np.average(one, weights=weight[rows])) for share, one in miss.items()}
    best = min(mean, key=lambda share: mean[share])
    low, _ = interval(miss[0.0] - miss[best], weight[rows], deals, level=0.9, seed=settings.seed)
    return (best if low > 0 else 0.0), {str(share): one for share, one in mean.items()}


def moved(curves: Curves, asked: Floats, share: float) -> Curves:
    """Curves whose median day of either end lies `share` of the way to `asked`.

    Days are mapped by a power of their share of the horizon, so that 0 and the horizon stay.
    """
    if share == 0 or not len(asked):
        return curves
    horizon = curves.horizon
    edge = 1e-4
    middle = np.clip(curves.quantiles(given="either")[:, 1] / horizon, edge, 1 - edge)
    target = np.clip((1 - share) * middle + share * asked / horizon, edge, 1 - edge)
    power = np.log(middle) / np.log(target)
    then = horizon * (curves.days / horizon)[None, :] ** power[:, None]
    return Curves(
        curves.days,
        _read(curves.days, curves.cif_won, then),
        _read(curves.days, curves.cif_lost, then),
    )


def _read(days: Floats, curve: Floats, then: Floats) -> Floats:
    """Each curve at days of its own, linear in between."""
    right = np.clip(np.searchsorted(days, then), 1, len(days) - 1)
    step = np.clip((then - days[right - 1]) / (days[right] - days[right - 1]), 0.0, 1.0)
    low = np.take_along_axis(curve, right - 1, axis=1)
    high = np.take_along_axis(curve, right, axis=1)
    return np.asarray(low + step * (high - low))


def _ends(
    frame: pd.DataFrame, labels: pd.DataFrame, settings: Settings
) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """Which looks ended within the horizon, and of all looks their days and censoring weights."""
    horizon = settings.models.horizon_days
    looks = Looks.of(frame, labels)
    _, weight = horizon_target(labels, horizon)
    ended = (looks.event != OPEN) & (looks.duration <= horizon) & (weight > 0)
    return np.flatnonzero(ended), looks.duration, weight


def _ended(
    frame: pd.DataFrame, labels: pd.DataFrame, encoder: Encoder, settings: Settings
) -> tuple[Rows, int]:
    """Rows of deals that ended within the horizon, weighted for those censored; and how many deals."""
    rows, days, weight = _ends(frame, labels, settings)
    deals = int(frame["deal_id"].iloc[rows].nunique())
    most = settings.models.max_classifier_rows
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(settings.seed).choice(rows, most, replace=False))
    matrix = encoder.transform(frame.iloc[rows])
    return Rows(matrix, np.sqrt(days[rows]), weight[rows]), deals
