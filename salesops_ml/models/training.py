"""Fitting `deal_scores` on what was known at the border, and not a day more.

First the voices learn from the early looks and are judged on held-out ones (`models.rehearsal`). Then
they learn again from all looks, as known at the border, and keep what the rehearsal decided.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from salesops_ml.errors import ModelError
from salesops_ml.evaluation.censoring import LOST, OPEN, WON
from salesops_ml.evaluation.splits import Borders, labels_at
from salesops_ml.models.deal_scores import DealScores
from salesops_ml.models.encoding import Encoder
from salesops_ml.models.held_out import hold_out
from salesops_ml.models.median_days import MedianDays
from salesops_ml.models.probability_interval import ProbabilityInterval
from salesops_ml.models.rehearsal import Lesson, rehearse
from salesops_ml.models.side_by_side import side_by_side
from salesops_ml.models.signal import BASE_RATE, MODEL, STAGE_AGE
from salesops_ml.models.voices import Voices, fit_flat_table, fit_table, fit_voices
from salesops_ml.settings import Settings
from salesops_ml.snapshots.features import FeatureSpec

HISTORY = {"stages", "changes", "activities", "quotes"}
"""Feature blocks that tell what happened to a deal; without any, there are attributes only."""


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
    calibration = (block.reindex(learn.index) == "calibration").to_numpy()
    horizon = settings.models.horizon_days
    held = hold_out(learn, labels, calibration, horizon=horizon)
    dated = bool((labels["duration"] > 0).any())
    plain = not dated or not set(spec.blocks) & HISTORY
    lesson = rehearse(learn, labels, held, settings, plain=plain)
    encoder = Encoder.fit(learn) if lesson.answer == MODEL else None
    with side_by_side(settings.threads) as start:
        median = start(_final_median, learn, labels, lesson, settings, encoder)
        voices = _final_voices(learn, labels, lesson, settings, encoder, plain=plain)
        middle = median.result()
    model = DealScores(
        spec=spec,
        horizon_days=horizon,
        voices=voices,
        stack=lesson.stack,
        calibration=lesson.calibration,
        bend=lesson.bend,
        median=middle,
        interval=lesson.interval or ProbabilityInterval.from_deals(learn["deal_id"].nunique()),
        facts=_facts(learn, labels, borders, lesson),
    )
    return model.remembering(learn, (labels["event"] == WON).to_numpy())


def _final_voices(
    learn: pd.DataFrame,
    labels: pd.DataFrame,
    lesson: Lesson,
    settings: Settings,
    encoder: Encoder | None,
    *,
    plain: bool,
) -> Voices:
    """All looks of the training block, with the sizes and voices that the rehearsal chose."""
    if lesson.answer == STAGE_AGE:
        table = fit_table(learn, labels, settings, by_stage=True)
        return Voices(table, threads=settings.threads)
    if lesson.answer == BASE_RATE:
        return Voices(fit_flat_table(learn, labels, settings), threads=settings.threads)
    return fit_voices(
        learn,
        labels,
        settings,
        only=lesson.stack.voices,
        trees=lesson.trees,
        rival=lesson.rival,
        plain=plain,
        encoder=encoder,
    )


def _final_median(
    learn: pd.DataFrame,
    labels: pd.DataFrame,
    lesson: Lesson,
    settings: Settings,
    encoder: Encoder | None,
) -> MedianDays | None:
    if lesson.median is None:
        return None
    share, trees = lesson.median
    return MedianDays.fit(learn, labels, settings, share=share, trees=trees, encoder=encoder)


def _check_outcomes(learn: pd.DataFrame, labels: pd.DataFrame) -> None:
    for cause, word in ((WON, "won"), (LOST, "lost")):
        if not (labels["event"] == cause).any():
            raise ModelError(
                f"no deal is known as {word} at the border of the training block"
                f" ({learn['deal_id'].nunique()} deals, {int((labels['event'] == OPEN).sum())} open"
                " looks): a win model needs both outcomes; give more history or move the border"
            )


def _facts(
    learn: pd.DataFrame, labels: pd.DataFrame, borders: Borders | None, lesson: Lesson
) -> dict[str, Any]:
    deals = learn["deal_id"]
    return {
        "rows": len(learn),
        "deals": int(deals.nunique()),
        "won_deals": int(deals[labels["event"] == WON].nunique()),
        "lost_deals": int(deals[labels["event"] == LOST].nunique()),
        "known_at": borders.test_from.isoformat() if borders else None,
        "answer": lesson.answer,
        "calibration": lesson.note,
        "voices": dict(zip(lesson.stack.voices, lesson.stack.weights, strict=True)),
        "rehearsal": lesson.facts,
    }
