"""The pipeline as a model of the day would have scored it: hazards fitted on what was known then.

For a forecast the money of all open deals counts, week by week, not the place of one deal among others.
So time is cut more coarsely than in the deal model, which lets every interval of the looks that are
learned from take part, none thinned out and weighed up: the weighed ones make small chances too large.
A share of the looks is kept from the trees; by how much the money promised on them differs from the
money won is taken out of the curves (`win_corrections`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.app.win_corrections import (
    SPANS,
    corrected,
    days_to_quarter_end,
    learn_corrections,
    rush_factors,
)
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
RUSH_LOOKS = 40_000
"""Looks on which the rush before quarter ends is counted: a few days of each quarter."""
HELD_OUT = 0.25
"""Share of deals whose looks judge the money."""
TREES = (80, 60)
LEARNING_RATE, LEAVES = 0.1, 15


@dataclass(frozen=True)
class PastPipeline:
    """Hazards of one day, and the correction of their money.

    Attributes:
        hazards: the trees.
        factors: on what is won, as `win_corrections.learn_corrections` gives them.
    """

    hazards: HazardModel
    factors: Floats

    def curves(self, frame: pd.DataFrame) -> Curves:
        """Chances of having won and lost by the end of each interval; never more than one together."""
        return corrected(self.hazards.curves(frame), self.factors, days_to_quarter_end(frame))


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
    wide = _some(np.arange(len(frame)), RUSH_LOOKS, settings.seed)
    looks = frame.iloc[wide]
    soon = hazards.curves(looks, until=SPANS[0])  # the rush is counted there alone
    rush = rush_factors(soon, looks, labels.iloc[wide])
    held = frame.iloc[judge]
    factors = learn_corrections(hazards.curves(held), held, labels.iloc[judge], rush=rush)
    return PastPipeline(hazards, factors)


def interval_borders(horizon: float) -> Floats:
    """Days that part the intervals: short ones at first, then weeks.

    Example:
        >>> interval_borders(30).tolist()
        [0.0, 2.0, 4.0, 7.0, 14.0, 21.0, 30.0]
    """
    inner = [day for day in (0, 2, 4, *range(7, 10_000, 7)) if day < max(horizon - 3, 1)]
    return np.array([*inner, horizon], dtype=np.float64)


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
