"""Fitting `deal_scores` on what was known at the border, and not a day more.

First the voices learn from the train block as it stood when the calibration block began; on the
calibration block, as it stood at the test border, they are weighed and calibrated. Then they learn
again from both blocks, as known at the border, and keep those weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.errors import ModelError
from salesops_ml.evaluation.censoring import (
    LOST,
    OPEN,
    WON,
    Floats,
    horizon_weights,
    last_supported_day,
)
from salesops_ml.evaluation.proper_scores import Flags
from salesops_ml.evaluation.splits import Borders, labels_at
from salesops_ml.models.boosting import Columns, Rows, fit_binary, trees_of
from salesops_ml.models.deal_scores import DealScores
from salesops_ml.models.encoding import Encoder
from salesops_ml.models.hazard_table import HazardTable
from salesops_ml.models.hazards import HazardModel, Looks
from salesops_ml.models.logistic import LogisticWin
from salesops_ml.models.probability_interval import ProbabilityInterval
from salesops_ml.models.win_mass import Stack
from salesops_ml.settings import Settings
from salesops_ml.snapshots.features import FeatureSpec

LEAST_OUTCOMES = 40
"""Won and lost deals, each, below which the stage x age table is the model."""


@dataclass(frozen=True)
class Voices:
    """The parts of a score before they are weighed."""

    timing: HazardModel | HazardTable
    encoder: Encoder | None = None
    classifier: Any = None
    logistic: LogisticWin | None = None


def fit_deal_scores(
    data: pd.DataFrame,
    block: pd.Series,
    borders: Borders | None,
    *,
    spec: FeatureSpec,
    settings: Settings,
) -> DealScores:
    """Train on the rows whose `block` is train or calibration.

    Args:
        data: looks with features and outcome (`snapshots.build_dataset`).
        block: train, calibration, test or unused, per row.
        borders: where the calibration and test blocks begin; None where the table has no dates.

    Raises:
        ModelError: no deal was won, or none was lost, by the border.
    """
    learn = data[block.isin(["train", "calibration"])].sort_values(["deal_id", "as_of"])
    labels = labels_at(learn, borders.test_from if borders else None)
    _check_outcomes(learn, labels)
    held = (block.reindex(learn.index) == "calibration").to_numpy()
    weighing = _weigh(learn, labels, held, borders, settings)
    if weighing.trees is None:
        table = HazardTable.fit(learn, *_known(labels), horizon=_horizon(settings), by_stage=True)
        voices = Voices(table)
    else:
        voices = fit_voices(learn, labels, settings, only=weighing.stack, trees=weighing.trees)
    return DealScores(
        spec=spec,
        horizon_days=_horizon(settings),
        stack=weighing.stack,
        interval=weighing.interval or ProbabilityInterval.from_deals(learn["deal_id"].nunique()),
        threads=settings.threads,
        facts=_facts(learn, labels, borders, weighing.note),
        **vars(voices),
    )


def fit_voices(
    learn: pd.DataFrame,
    labels: pd.DataFrame,
    settings: Settings,
    *,
    only: Stack | None = None,
    trees: tuple[int, int, int] | None = None,
    watch: tuple[pd.DataFrame, pd.DataFrame] | None = None,
) -> Voices:
    """Fit the voices that `only` gives weight to; all of them where it is None.

    The classifier is always fitted: where it has no say in the score it still gives the reasons.

    Args:
        trees: numbers of trees found earlier (ending, winning, classifier).
        watch: later looks and their labels, on which growing stops.
    """
    models = settings.models
    encoder = Encoder.fit(learn)
    shared: dict[str, Any] = {"models": models, "seed": settings.seed, "threads": settings.threads}
    timing = _fit_timing(learn, labels, encoder, settings, trees, watch)
    won, weight = horizon_target(labels, models.horizon_days)
    classifier = logistic = None
    if _two_sided(won, weight):
        later = _classifier_rows(*watch, encoder, settings) if watch else None
        later = later if later and len(set(later.target)) == 2 else None
        unwatched = None if later else models.trees // 3
        classifier = fit_binary(
            _classifier_rows(learn, labels, encoder, settings),
            Columns(encoder.names, tuple(encoder.worded)),
            trees=trees[2] if trees else unwatched,
            watch=later,
            **shared,
        )
    if _speaks(only, "logistic") and _two_sided(won, weight):
        logistic = LogisticWin.fit(learn, won, weight, encoder=encoder, seed=settings.seed)
    return Voices(timing, encoder, classifier, logistic)


def _fit_timing(
    learn: pd.DataFrame,
    labels: pd.DataFrame,
    encoder: Encoder,
    settings: Settings,
    trees: tuple[int, int, int] | None,
    watch: tuple[pd.DataFrame, pd.DataFrame] | None,
) -> HazardModel | HazardTable:
    """Learned hazards; a table where the deals are not dated, so that there is no time to learn."""
    if not (labels["duration"] > 0).any():
        return HazardTable.fit(learn, *_known(labels), horizon=_horizon(settings), by_stage=True)
    return HazardModel.fit(
        _looks(learn, labels),
        encoder=encoder,
        models=settings.models,
        seed=settings.seed,
        threads=settings.threads,
        trees=trees[:2] if trees else None,
        watch=_looks(*watch) if watch else None,
    )


def horizon_target(labels: pd.DataFrame, horizon: float) -> tuple[Flags, Floats]:
    """Won by the horizon, and the censoring weight of each row."""
    event, duration = _known(labels)
    followed = labels["followed"].to_numpy(float)
    won = (event == WON) & (duration <= horizon)
    return won, horizon_weights(event, duration, followed, horizon)


@dataclass(frozen=True)
class Weighing:
    """What the calibration block taught: weights, bands, numbers of trees, and a word on it."""

    stack: Stack
    note: str
    trees: tuple[int, int, int] | None = None
    interval: ProbabilityInterval | None = None


def _weigh(
    learn: pd.DataFrame,
    labels: pd.DataFrame,
    held: Flags,
    borders: Borders | None,
    settings: Settings,
) -> Weighing:
    """Learn from the early looks, and see on the held-out late ones how it went."""
    alone = Stack.average(("hazards",))
    early, late = learn[~held], learn[held]
    early_labels = labels_at(early, borders.calibration_from if borders else None)
    if _fewest_outcomes(early, early_labels) < LEAST_OUTCOMES or late.empty:
        return Weighing(alone, "too few closed deals to learn more than the stage x age table")
    followed = labels["followed"].to_numpy(float)[held]
    reach = last_supported_day(followed, _horizon(settings))
    seen = reach >= _horizon(settings) or not (labels["duration"] > 0).any()
    only = None if seen else alone
    voices = fit_voices(early, early_labels, settings, only=only, watch=(late, labels[held]))
    trees = _trees(voices, settings)
    if not seen:
        return Weighing(
            alone,
            f"the calibration block is followed for {reach:.0f} of {_horizon(settings)} days:"
            " the hazards speak alone, uncalibrated",
            trees,
        )
    shell = DealScores(
        FeatureSpec(()), _horizon(settings), stack=alone,
        interval=ProbabilityInterval.from_deals(1), threads=settings.threads, **vars(voices),
    )  # fmt: skip
    said = shell.voices(late, voices.timing.curves(late))
    won, weight = horizon_target(labels[held], _horizon(settings))
    deals = late["deal_id"].to_numpy(dtype=object)
    stack = Stack.fit(said, won, weight, deals)
    p = stack.combine(said)
    interval = ProbabilityInterval.fit(p, won, weight, deals, seed=settings.seed)
    return Weighing(stack, "weighed and calibrated on the calibration block", trees, interval)


def _trees(voices: Voices, settings: Settings) -> tuple[int, int, int]:
    """Numbers of trees found on the early looks, a tenth more for the larger final block."""
    classifier = settings.models.trees if voices.classifier is None else trees_of(voices.classifier)
    hazards = voices.timing.trees if isinstance(voices.timing, HazardModel) else (1, 1)
    ending, winning, alone = (round(1.1 * n) + 1 for n in (*hazards, classifier))
    return ending, winning, alone


def _classifier_rows(
    learn: pd.DataFrame, labels: pd.DataFrame, encoder: Encoder, settings: Settings
) -> Rows:
    won, weight = horizon_target(labels, settings.models.horizon_days)
    rows = np.flatnonzero(weight > 0)
    most = settings.models.max_classifier_rows
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(settings.seed).choice(rows, most, replace=False))
    return Rows(encoder.transform(learn.iloc[rows]), won[rows].astype(float), weight[rows])


def _looks(frame: pd.DataFrame, labels: pd.DataFrame) -> Looks:
    return Looks(frame, *_known(labels))


def _known(labels: pd.DataFrame) -> tuple[Any, Floats]:
    return labels["event"].to_numpy(np.int64), labels["duration"].to_numpy(float)


def _horizon(settings: Settings) -> int:
    return settings.models.horizon_days


def _speaks(stack: Stack | None, voice: str) -> bool:
    return stack is None or voice in stack.voices


def _two_sided(won: Flags, weight: Floats) -> bool:
    counted = weight > 0
    return bool(won[counted].any() and (~won[counted]).any())


def _fewest_outcomes(learn: pd.DataFrame, labels: pd.DataFrame) -> int:
    deals = learn["deal_id"]
    return min(int(deals[labels["event"] == cause].nunique()) for cause in (WON, LOST))


def _check_outcomes(learn: pd.DataFrame, labels: pd.DataFrame) -> None:
    for cause, word in ((WON, "won"), (LOST, "lost")):
        if not (labels["event"] == cause).any():
            raise ModelError(
                f"no deal is known as {word} at the border of the training block"
                f" ({learn['deal_id'].nunique()} deals, {int((labels['event'] == OPEN).sum())} open"
                " looks): a win model needs both outcomes; give more history or move the border"
            )


def _facts(
    learn: pd.DataFrame, labels: pd.DataFrame, borders: Borders | None, note: str
) -> dict[str, Any]:
    deals = learn["deal_id"]
    return {
        "rows": len(learn),
        "deals": int(deals.nunique()),
        "won_deals": int(deals[labels["event"] == WON].nunique()),
        "lost_deals": int(deals[labels["event"] == LOST].nunique()),
        "known_at": borders.test_from.isoformat() if borders else None,
        "calibration": note,
    }
