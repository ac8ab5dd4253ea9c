"""The pipeline as a model of the day would have scored it: hazards fitted on what was known then.

For a forecast the money of all open deals counts, week by week, not the place of one deal among others.
So time is cut more coarsely than in the deal model, which lets every interval of the looks that are
learned from take part, none thinned out and weighed up: the weighed ones make small chances too large.
A share of the looks is kept from the trees; by how much the money promised on them differs from the
money won is taken out of the curves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.evaluation.censoring import OPEN, WON, Floats
from salesops_ml.evaluation.splits import chance
from salesops_ml.forecasts.batch import Ints
from salesops_ml.models.boosting import Columns, Rows, fit_booster
from salesops_ml.models.curves import Curves
from salesops_ml.models.encoding import Encoder
from salesops_ml.models.hazards import HazardModel, Looks
from salesops_ml.models.periods_at_risk import rows_at_risk, time_names, with_time
from salesops_ml.settings import Settings

LOOKS = 12_000
"""Looks that the trees learn from."""
HELD_OUT = 0.25
"""Share of deals whose looks judge the money."""
TREES = (80, 60)
LEARNING_RATE, LEAVES = 0.1, 15
SPANS = (14.0, 42.0)
"""Days that part the near, the middle and the far future, each with its own correction."""
WORTH = 60.0
"""Deals of average size at which the correction that was seen counts half."""
RANGE = (0.6, 1.5)


@dataclass(frozen=True)
class PastPipeline:
    """Hazards of one day, and the correction of their money.

    Attributes:
        hazards: the trees.
        factors: on what is won in the near, the middle and the far future.
    """

    hazards: HazardModel
    factors: Floats

    def curves(self, frame: pd.DataFrame) -> Curves:
        """Chances of having won and lost by the end of each interval; never more than one together."""
        return corrected(self.hazards.curves(frame), self.factors)


def fit_past_pipeline(
    frame: pd.DataFrame, labels: pd.DataFrame, settings: Settings
) -> PastPipeline:
    """Learn from looks before a day, with their outcomes as known on it.

    Args:
        frame: rows of the data set, all before that day.
        labels: `labels_at` of them.
    """
    aside = (chance(frame["deal_id"], salt="past pipeline") < HELD_OUT).to_numpy()
    learn = _some(np.flatnonzero(~aside), LOOKS, settings.seed)
    judge = _some(np.flatnonzero(aside), LOOKS // 2, settings.seed)
    hazards = _fit(frame.iloc[learn], labels.iloc[learn], settings)
    held = frame.iloc[judge]
    factors = money_factors(hazards.curves(held), held["amount"], labels.iloc[judge])
    return PastPipeline(hazards, factors)


def interval_borders(horizon: float) -> Floats:
    """Days that part the intervals: short ones at first, then weeks.

    Example:
        >>> interval_borders(30).tolist()
        [0.0, 2.0, 4.0, 7.0, 14.0, 21.0, 30.0]
    """
    inner = [day for day in (0, 2, 4, *range(7, 10_000, 7)) if day < max(horizon - 3, 1)]
    return np.array([*inner, horizon], dtype=np.float64)


def money_factors(curves: Curves, amount: pd.Series[float], labels: pd.DataFrame) -> Floats:
    """Money won over money promised in the near, middle and far future, drawn to 1 where few.

    Promised is what the hazards make of the time in which each deal was watched: chance of winning in an
    interval, given that it was still open at its start.

    Args:
        curves: of the looks.
        amount: of each, as known then.
        labels: what became of them.
    """
    edges = np.asarray(curves.days, dtype=np.float64)
    still = np.maximum(1.0 - curves.cif_won - curves.cif_lost, 1e-9)
    hazard = np.diff(curves.cif_won, axis=1) / still[:, :-1]
    duration = labels["duration"].to_numpy(dtype=np.float64)
    ended = (labels["event"] != OPEN).to_numpy()
    width = np.diff(edges)
    watched = np.clip((duration[:, None] - edges[:-1]) / width, 0.0, 1.0)
    last = (duration[:, None] > edges[:-1]) & (duration[:, None] <= edges[1:])
    watched = np.where(last & ended[:, None], 1.0, watched)
    money = amount.fillna(0.0).to_numpy(dtype=np.float64)
    won = (labels["event"] == WON).to_numpy()
    span = np.searchsorted(SPANS, edges[:-1], side="right")
    promised = np.bincount(span, weights=money @ (hazard * watched), minlength=3)
    inside = won & (duration <= edges[-1])
    place = np.searchsorted(SPANS, duration[inside], side="left")
    came = np.bincount(place, weights=money[inside], minlength=3)
    prior = WORTH * float(money.mean()) if len(money) else 0.0
    seen = (came + prior) / np.maximum(promised + prior, 1e-9)
    return np.asarray(np.clip(np.where(promised > 0, seen, 1.0), *RANGE))


def corrected(curves: Curves, factors: Floats) -> Curves:
    """Curves whose hazards of winning are scaled by the factor of their span, those of losing kept."""
    edges = np.asarray(curves.days, dtype=np.float64)
    span = np.searchsorted(SPANS, edges[:-1], side="right")
    still = np.maximum(1.0 - curves.cif_won - curves.cif_lost, 1e-9)
    lose = np.clip(np.diff(curves.cif_lost, axis=1) / still[:, :-1], 0.0, 1.0)
    win = np.diff(curves.cif_won, axis=1) / still[:, :-1] * factors[span]
    win = np.clip(win, 0.0, 1.0 - lose)
    survived = np.cumprod(1.0 - win - lose, axis=1)
    before = np.concatenate([np.ones((len(win), 1)), survived[:, :-1]], axis=1)
    zero = np.zeros((len(win), 1))
    won, lost = (np.hstack([zero, np.cumsum(before * rate, axis=1)]) for rate in (win, lose))
    return Curves(curves.days, won, lost)


def _some(rows: Ints, most: int, seed: int) -> Ints:
    """At most so many of the rows, by chance."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _fit(frame: pd.DataFrame, labels: pd.DataFrame, settings: Settings) -> HazardModel:
    encoder = Encoder.fit(frame)
    looks = Looks.of(frame, labels)
    edges = interval_borders(settings.models.horizon_days)
    rows = rows_at_risk(
        looks.event, looks.duration, edges, most=LOOKS * len(edges), seed=settings.seed
    )
    matrix = with_time(encoder.transform(frame), encoder.names, *rows.clock(edges))
    ended = rows.event != OPEN
    won = (rows.event[ended] == WON).astype(float)
    columns = Columns((*encoder.names, *time_names(encoder.names)), tuple(encoder.worded))
    shared: dict[str, Any] = {
        "models": settings.models.model_copy(
            update={"learning_rate": LEARNING_RATE, "leaves": LEAVES}
        ),
        "seed": settings.seed,
        "threads": settings.threads,
    }
    ending = Rows(matrix, ended.astype(float), rows.weight)
    winning = Rows(matrix[ended], won, np.ones(len(won)))
    return HazardModel(
        encoder, edges,
        fit_booster(ending, columns, trees=TREES[0], **shared),
        fit_booster(winning, columns, trees=TREES[1], **shared),
        settings.threads,
    )  # fmt: skip
