"""The voices of a score, each learned from the same looks: the curve, the classifier, the regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.evaluation.censoring import WON, Floats, horizon_weights
from salesops_ml.evaluation.proper_scores import Flags
from salesops_ml.models.attribute_win import AttributeWin
from salesops_ml.models.boosting import Columns, Rows, fit_booster, predict, trees_of
from salesops_ml.models.curves import Curves
from salesops_ml.models.encoding import Encoder
from salesops_ml.models.hazard_table import HazardTable
from salesops_ml.models.hazards import HazardModel, Looks
from salesops_ml.models.incidence_boosting import IncidenceModel
from salesops_ml.models.logistic import LogisticWin
from salesops_ml.models.side_by_side import side_by_side
from salesops_ml.settings import Settings

Timing = HazardModel | IncidenceModel | HazardTable


@dataclass(frozen=True)
class Trees:
    """Numbers of trees, as found on held-out looks."""

    ending: int
    winning: int
    classifier: int
    incidence: int

    def larger(self) -> Trees:
        """A tenth more, for a larger training block."""
        return Trees(**{name: round(1.1 * count) + 1 for name, count in vars(self).items()})


@dataclass(frozen=True)
class Voices:
    """The parts of a score before they are weighed.

    Attributes:
        timing: what draws the curves.
        encoder: the matrix that all but a table read.
        classifier: won by the horizon, boosted; None where one class is missing.
        logistic: won by the horizon, a regression; None likewise.
        table: what usually becomes of a deal in its stage at its age; it holds the others back where
            there are few deals to learn from. None where `timing` is a table itself.
        attributes: won by the horizon, from attributes alone; it takes the place of the classifier and
            the regression where deals have no history.
    """

    timing: Timing
    encoder: Encoder | None = None
    classifier: Any = None
    logistic: LogisticWin | None = None
    table: HazardTable | None = None
    attributes: AttributeWin | None = None
    threads: int = 2

    def said(self, frame: pd.DataFrame, timing: Curves) -> dict[str, Floats]:
        """P(won by the horizon) according to each voice; `timing` are the curves of the first."""
        told = {"hazards": timing.cif_won[:, -1]}
        if self.classifier is not None and self.encoder is not None:
            matrix = self.encoder.transform(frame)
            told["classifier"] = predict(self.classifier, matrix, threads=self.threads)
        if self.logistic is not None:
            told["logistic"] = self.logistic.predict(frame)
        if self.attributes is not None:
            told["attributes"] = self.attributes.predict(frame)
        if self.table is not None:
            told["stage_age"] = self.table.curves(frame).cif_won[:, -1]
        return told


def fit_voices(
    learn: pd.DataFrame,
    labels: pd.DataFrame,
    settings: Settings,
    *,
    only: tuple[str, ...] | None = None,
    trees: Trees | None = None,
    watch: tuple[pd.DataFrame, pd.DataFrame] | None = None,
    rival: bool = False,
    plain: bool = False,
    encoder: Encoder | None = None,
) -> Voices:
    """Fit the voices named in `only`; all of them where it is None.

    Args:
        trees: numbers of trees found earlier.
        watch: later looks and their labels, on which growing stops.
        rival: let the incidence booster draw the curves instead of the hazards.
        plain: the deals have attributes only, no history.
        encoder: learned from these looks, where it is at hand.
    """
    encoder = encoder or Encoder.fit(learn)
    won, weight = horizon_target(labels, settings.models.horizon_days)
    both = two_sided(won, weight)
    rich = both and not plain
    classifier = logistic = attributes = table = None
    with side_by_side(settings.threads) as start:
        if rich and _speaks("classifier", only):
            target = (won, weight)
            classifier = start(_fit_classifier, learn, target, encoder, settings, trees, watch)
        if rich and _speaks("logistic", only):
            logistic = start(
                LogisticWin.fit, learn, won, weight, encoder=encoder, seed=settings.seed
            )
        timing = fit_timing(learn, labels, encoder, settings, trees=trees, watch=watch, rival=rival)
        if both and plain and _speaks("attributes", only):
            attributes = _fit_attributes(learn, won, weight, settings)
        if not isinstance(timing, HazardTable) and _speaks("stage_age", only):
            table = fit_table(learn, labels, settings, by_stage=True)
        return Voices(
            timing,
            encoder,
            classifier.result() if classifier else None,
            logistic.result() if logistic else None,
            table,
            attributes,
            settings.threads,
        )


def _speaks(voice: str, only: tuple[str, ...] | None) -> bool:
    return only is None or voice in only


def _fit_attributes(
    learn: pd.DataFrame, won: Flags, weight: Floats, settings: Settings
) -> AttributeWin:
    """Looks at one deal are siblings: they stay together in the inner folds."""
    deals = learn["deal_id"].to_numpy(dtype=object)
    siblings = deals if len(np.unique(deals)) < len(deals) else None
    return AttributeWin.fit(
        learn,
        won,
        weight,
        models=settings.models,
        seed=settings.seed,
        threads=settings.threads,
        groups=siblings,
    )


def _fit_classifier(
    learn: pd.DataFrame,
    target: tuple[Flags, Floats],
    encoder: Encoder,
    settings: Settings,
    trees: Trees | None,
    watch: tuple[pd.DataFrame, pd.DataFrame] | None,
) -> Any:
    rows, later = _classifier_rows(learn, target, encoder, settings), None
    if watch:
        then = horizon_target(watch[1], settings.models.horizon_days)
        later = _classifier_rows(watch[0], then, encoder, settings)
    later = later if later and len(set(later.target)) == 2 else None
    unwatched = None if later else settings.models.trees // 3
    return fit_booster(
        rows,
        Columns(encoder.names, tuple(encoder.worded)),
        models=settings.models,
        seed=settings.seed,
        threads=settings.threads,
        trees=trees.classifier if trees else unwatched,
        watch=later,
    )


def fit_timing(
    learn: pd.DataFrame,
    labels: pd.DataFrame,
    encoder: Encoder,
    settings: Settings,
    *,
    trees: Trees | None = None,
    watch: tuple[pd.DataFrame, pd.DataFrame] | None = None,
    rival: bool = False,
) -> Timing:
    """Learned curves; a table where the deals are not dated, so that there is no time to learn."""
    if not (labels["duration"] > 0).any():
        return fit_table(learn, labels, settings, by_stage=True)
    shared: dict[str, Any] = {
        "encoder": encoder,
        "models": settings.models,
        "seed": settings.seed,
        "threads": settings.threads,
        "watch": Looks.of(*watch) if watch else None,
    }
    looks = Looks.of(learn, labels)
    if rival:
        return IncidenceModel.fit(looks, trees=trees.incidence if trees else None, **shared)
    return HazardModel.fit(looks, trees=(trees.ending, trees.winning) if trees else None, **shared)


def fit_flat_table(
    learn: pd.DataFrame,
    labels: pd.DataFrame,
    settings: Settings,
    *,
    table: HazardTable | None = None,
) -> HazardTable:
    """The stage x age table in which all deals that end have one chance of winning.

    The chance is taken from the first look at each deal, so that long deals do not count more.

    Args:
        table: the stage x age table of these looks, where it is at hand.
    """
    first = ~learn["deal_id"].duplicated().to_numpy()
    born = fit_table(learn[first], labels[first], settings, by_stage=False)
    table = table or fit_table(learn, labels, settings, by_stage=True)
    return table.with_share(born.share())


def fit_table(
    learn: pd.DataFrame, labels: pd.DataFrame, settings: Settings, *, by_stage: bool
) -> HazardTable:
    """The stage x age table, or the base rate, of looks with their labels."""
    return HazardTable.fit(
        learn,
        labels["event"].to_numpy(np.int64),
        labels["duration"].to_numpy(float),
        horizon=settings.models.horizon_days,
        by_stage=by_stage,
    )


def trees_in(voices: Voices, rival: Timing | None, settings: Settings) -> Trees:
    """The numbers of trees that growing stopped at."""
    most = settings.models.trees
    classifier = most // 3 if voices.classifier is None else trees_of(voices.classifier)
    hazards = voices.timing.trees if isinstance(voices.timing, HazardModel) else (1, 1)
    return Trees(*hazards, classifier, rival.trees if isinstance(rival, IncidenceModel) else 1)


def horizon_target(labels: pd.DataFrame, horizon: float) -> tuple[Flags, Floats]:
    """Won by the horizon, and the censoring weight of each row."""
    event = labels["event"].to_numpy(np.int64)
    duration = labels["duration"].to_numpy(float)
    followed = labels["followed"].to_numpy(float)
    won = (event == WON) & (duration <= horizon)
    return won, horizon_weights(event, duration, followed, horizon)


def two_sided(won: Flags, weight: Floats) -> bool:
    """Whether both outcomes are among the rows that count."""
    counted = weight > 0
    return bool(won[counted].any() and (~won[counted]).any())


def _classifier_rows(
    learn: pd.DataFrame, target: tuple[Flags, Floats], encoder: Encoder, settings: Settings
) -> Rows:
    won, weight = target
    rows = np.flatnonzero(weight > 0)
    most = settings.models.max_classifier_rows
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(settings.seed).choice(rows, most, replace=False))
    return Rows(encoder.transform(learn.iloc[rows]), won[rows].astype(float), weight[rows])
