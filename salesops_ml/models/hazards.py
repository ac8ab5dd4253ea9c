"""When a deal ends, and how: competing risks in discrete time, learned by boosted trees.

Two questions are asked of every interval a deal is still open in: does it end now, and if it ends
now, is it won? Their product is the hazard of winning; summed over the time that the deal survives it
gives the curve of having won by each day. Open deals take part for as long as they were watched.

Source: Tutz & Schmid (2016), Modeling Discrete Time-to-Event Data, ch. 8 (competing risks).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from salesops_ml.evaluation.censoring import OPEN, WON, Floats
from salesops_ml.models.boosting import Columns, Rows, fit_booster, load_text, predict, trees_of
from salesops_ml.models.curves import Curves
from salesops_ml.models.encoding import Encoder
from salesops_ml.models.periods_at_risk import (
    in_every_interval,
    interval_edges,
    rows_at_risk,
    time_names,
    with_time,
)
from salesops_ml.models.side_by_side import side_by_side
from salesops_ml.settings import Models

CHUNK = 3_000


@dataclass(frozen=True)
class Looks:
    """Looks at deals with their outcome as known.

    Attributes:
        event: 0 open, 1 won, 2 lost.
        duration: days until it, or until the border.
        followed: days from the look to the border, whatever the outcome.
    """

    frame: pd.DataFrame
    event: npt.NDArray[np.int64]
    duration: Floats
    followed: Floats

    @classmethod
    def of(cls, frame: pd.DataFrame, labels: pd.DataFrame) -> Looks:
        """Looks with the labels that `evaluation.splits.labels_at` gave for them."""
        return cls(
            frame,
            labels["event"].to_numpy(np.int64),
            labels["duration"].to_numpy(float),
            labels["followed"].to_numpy(float),
        )


@dataclass(frozen=True)
class HazardModel:
    """Two boosters on rows at risk: `ending` and, given the end, `winning`."""

    encoder: Encoder
    edges: Floats
    ending: Any
    winning: Any
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
        trees: tuple[int, int] | None = None,
        watch: Looks | None = None,
    ) -> HazardModel:
        """Learn from looks with their outcome as known.

        Args:
            trees: trees of `ending` and `winning`; the most that the settings allow where None.
            watch: later looks on which growing stops when they no longer gain.
        """
        edges = interval_edges(models.horizon_days)
        columns = Columns((*encoder.names, *time_names(encoder.names)), tuple(encoder.worded))
        shared: dict[str, Any] = {"models": models, "seed": seed, "threads": threads}
        ending, winning = _rows(looks, encoder, edges, models.max_period_rows, seed)
        watched: tuple[Rows | None, Rows | None] = (None, None)
        if watch is not None:
            watched = _rows(watch, encoder, edges, models.max_period_rows // 4, seed)
        most = trees or (models.trees, models.trees)
        with side_by_side(threads) as start:
            ends = start(fit_booster, ending, columns, trees=most[0], watch=watched[0], **shared)
            wins = start(fit_booster, winning, columns, trees=most[1], watch=watched[1], **shared)
            return cls(encoder, edges, ends.result(), wins.result(), threads)

    @property
    def trees(self) -> tuple[int, int]:
        """Trees of `ending` and of `winning`."""
        return trees_of(self.ending), trees_of(self.winning)

    def curves(self, frame: pd.DataFrame, *, until: float | None = None) -> Curves:
        """Chances of having won and lost by the end of each interval.

        Args:
            until: day after which nothing is asked: the curves end with the last interval that is over
                by then. What they say of earlier days is the same.
        """
        days = self.edges if until is None else self.edges[self.edges <= until]
        parts = [
            self._chunk(frame.iloc[start : start + CHUNK], days)
            for start in range(0, max(len(frame), 1), CHUNK)
        ]
        won = np.concatenate([part[0] for part in parts])
        lost = np.concatenate([part[1] for part in parts])
        return Curves(days, won, lost)

    def _chunk(self, frame: pd.DataFrame, edges: Floats) -> tuple[Floats, Floats]:
        every = in_every_interval(len(frame), edges)
        risk = with_time(self.encoder.transform(frame), self.encoder.names, *every)
        shape = (len(frame), len(edges) - 1)
        ends = predict(self.ending, risk, threads=self.threads).reshape(shape)
        wins = predict(self.winning, risk, threads=self.threads).reshape(shape)
        return incidence(ends * wins, ends * (1 - wins))

    def save(self, folder: Path) -> None:
        """Two LightGBM text files."""
        (folder / "ending.txt").write_text(self.ending.model_to_string())
        (folder / "winning.txt").write_text(self.winning.model_to_string())

    @classmethod
    def load(cls, folder: Path, encoder: Encoder, horizon: int, threads: int) -> HazardModel:
        """The model that `save` wrote."""
        ending = load_text((folder / "ending.txt").read_text())
        winning = load_text((folder / "winning.txt").read_text())
        return cls(encoder, interval_edges(horizon), ending, winning, threads)


def _rows(looks: Looks, encoder: Encoder, edges: Floats, most: int, seed: int) -> tuple[Rows, Rows]:
    """Rows for `ending` (intervals at risk) and for `winning` (those in which a deal ended)."""
    rows = rows_at_risk(looks.event, looks.duration, edges, most=most, seed=seed)
    matrix = with_time(encoder.transform(looks.frame), encoder.names, *rows.clock(edges))
    ended = rows.event != OPEN
    last = np.flatnonzero(ended)
    if len(last) > most // 2:
        last = np.sort(np.random.default_rng(seed).choice(last, most // 2, replace=False))
    won = (rows.event[last] == WON).astype(float)
    return (
        Rows(matrix, ended.astype(float), rows.weight),
        Rows(matrix[last], won, np.ones(len(won))),
    )


def incidence(won: Floats, lost: Floats) -> tuple[Floats, Floats]:
    """Cumulative incidences at the interval borders from hazards within them.

    Args:
        won: hazard of winning in each interval, shape (n, k).
        lost: hazard of losing in each interval, shape (n, k); won + lost at most 1.

    Returns:
        Two arrays (n, k + 1) that start at 0.

    Example:
        >>> won, lost = incidence(np.array([[0.5, 0.5]]), np.array([[0.0, 0.5]]))
        >>> won.tolist(), lost.tolist()
        ([[0.0, 0.5, 0.75]], [[0.0, 0.0, 0.25]])
    """
    survived = np.cumprod(1 - won - lost, axis=1)
    before = np.concatenate([np.ones((len(won), 1)), survived[:, :-1]], axis=1)
    zero = np.zeros((len(won), 1))
    return (
        np.concatenate([zero, np.cumsum(before * won, axis=1)], axis=1),
        np.concatenate([zero, np.cumsum(before * lost, axis=1)], axis=1),
    )
