"""The rival of the hazards: one boosted classifier of "won, lost or open by day t", whatever t.

Each look is asked about at a few days; rows whose record ends before such a day count nothing, the
others count more in turn (a proper loss under censoring). It learns the curve itself instead of its
slope, so errors do not add up along the way; against that it must be forced to rise.

Source: Alberge, Maladiere, Grisel, Abecassis & Varoquaux (2025), "Survival models: proper scoring rule
and stochastic optimization with competing risks" (SurvivalBoost).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from salesops_ml.evaluation.censoring import LOST, WON, Floats, horizon_weights
from salesops_ml.models.boosting import Columns, Rows, fit_booster, load_text, trees_of
from salesops_ml.models.curves import Curves
from salesops_ml.models.encoding import Encoder
from salesops_ml.models.hazards import CHUNK, Looks
from salesops_ml.models.periods_at_risk import interval_edges, time_names, with_time
from salesops_ml.models.side_by_side import threads_now
from salesops_ml.settings import Models

ASKED_DAYS = 14
FILE = "incidence.txt"


@dataclass(frozen=True)
class IncidenceModel:
    """A boosted classifier with three classes on (look, day) rows."""

    encoder: Encoder
    edges: Floats
    booster: Any
    threads: int

    @classmethod
    def fit(
        cls,
        looks: Looks,
        *,
        encoder: Encoder,
        models: Models,
        seed: int,
        threads: int,
        trees: int | None = None,
        watch: Looks | None = None,
    ) -> IncidenceModel:
        """Learn from looks with their outcome and follow-up as known.

        Args:
            trees: rounds of three trees; a fifth of what the settings allow where None.
            watch: later looks on which growing stops when they no longer gain.
        """
        edges = interval_edges(models.horizon_days)
        columns = Columns((*encoder.names, *time_names(encoder.names)), tuple(encoder.worded))
        most = models.max_period_rows // 5
        booster = fit_booster(
            _rows(looks, encoder, edges, most, seed),
            columns,
            models=models.model_copy(update={"learning_rate": min(2 * models.learning_rate, 1.0)}),
            seed=seed,
            threads=threads,
            trees=trees or max(models.trees // 5, 1),
            watch=_rows(watch, encoder, edges, most // 3, seed) if watch else None,
            classes=3,
        )
        return cls(encoder, edges, booster, threads)

    @property
    def trees(self) -> int:
        """Rounds of three trees."""
        return trees_of(self.booster)

    def curves(self, frame: pd.DataFrame) -> Curves:
        """Chances of having won and lost by the end of each interval, made to rise."""
        starts = range(0, max(len(frame), 1), CHUNK)
        parts = [self._chunk(frame.iloc[start : start + CHUNK]) for start in starts]
        return Curves(
            self.edges,
            np.concatenate([part[0] for part in parts]),
            np.concatenate([part[1] for part in parts]),
        )

    def _chunk(self, frame: pd.DataFrame) -> tuple[Floats, Floats]:
        ends = self.edges[1:]
        if not len(frame):
            return np.zeros((0, len(self.edges))), np.zeros((0, len(self.edges)))
        row = np.repeat(np.arange(len(frame)), len(ends))
        asked = _asked(self.encoder, frame, row, np.tile(ends, len(frame)))
        told = np.asarray(self.booster.predict(asked, num_threads=threads_now(self.threads)))
        told = told.reshape(len(frame), len(ends), 3)
        won, lost = (np.maximum.accumulate(told[:, :, cause], axis=1) for cause in (WON, LOST))
        excess = np.maximum(won[:, -1:] + lost[:, -1:], 1.0)
        zero = np.zeros((len(frame), 1))
        return np.hstack([zero, won / excess]), np.hstack([zero, lost / excess])

    def save(self, folder: Path) -> None:
        """One LightGBM text file."""
        (folder / FILE).write_text(self.booster.model_to_string())

    @classmethod
    def load(cls, folder: Path, encoder: Encoder, horizon: int, threads: int) -> IncidenceModel:
        """The model that `save` wrote."""
        booster = load_text((folder / FILE).read_text())
        return cls(encoder, interval_edges(horizon), booster, threads)


def _rows(looks: Looks, encoder: Encoder, edges: Floats, most: int, seed: int) -> Rows:
    """Looks asked about at a few days, with censoring weights; at most about `most` rows."""
    place = np.unique(np.linspace(0, len(edges) - 2, ASKED_DAYS).round().astype(int))
    days = edges[1:][place]
    row, asked, weight, target = [], [], [], []
    for day in days:
        told = horizon_weights(looks.event, looks.duration, looks.followed, float(day))
        counted = np.flatnonzero(told > 0)
        row.append(counted)
        asked.append(np.full(len(counted), day))
        weight.append(told[counted])
        by_then = looks.duration[counted] <= day
        target.append(np.where(by_then, looks.event[counted], 0))
    rows, at, weights, classes = (np.concatenate(part) for part in (row, asked, weight, target))
    if len(rows) > most:
        kept = np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))
        rows, at, weights, classes = rows[kept], at[kept], weights[kept], classes[kept]
    return Rows(_asked(encoder, looks.frame, rows, at), classes.astype(float), weights)


def _asked(
    encoder: Encoder, frame: pd.DataFrame, row: npt.NDArray[np.int64], day: Floats
) -> Floats:
    return with_time(encoder.transform(frame), encoder.names, row, day, np.ones(len(day)))
