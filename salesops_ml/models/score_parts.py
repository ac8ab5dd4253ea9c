"""The parts of every voice of a score, whatever kind of voice it is.

A voice that has terms of its own tells them (`.contributions(frame)`); a table tells its cell; curves
are asked what each group of features changes, starting from the typical deal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.proper_scores import logit
from salesops_ml.models.boosting import predict
from salesops_ml.models.encoding import Encoder
from salesops_ml.models.hazard_table import HazardTable
from salesops_ml.models.hazards import HazardModel, incidence
from salesops_ml.models.incidence_boosting import IncidenceModel
from salesops_ml.models.known_deals import KnownDeals
from salesops_ml.models.periods_at_risk import with_time
from salesops_ml.models.reasons import BASE, Parts, contributions, group_of
from salesops_ml.models.shapley import filled, grouped_shapley, spread, thinned
from salesops_ml.models.side_by_side import threads_now
from salesops_ml.models.voices import Timing, Voices
from salesops_ml.models.win_mass import Stack

MOMENTS = 6
"""Intervals at which coalitions of groups read the hazards; between them log-odds are linear."""
FEW_MOMENTS = 3
PLACES = {"hazards": "timing", "stage_age": "table"}
"""Where a voice of the stack stands in `Voices`, where not under its own name."""
HEARD_WELL = 0.02
"""Curves of less weight in the score are asked in one pair of orders, at few moments."""


def score_parts(
    voices: Voices, stack: Stack, known: KnownDeals, frame: pd.DataFrame, p_win: Floats
) -> Parts:
    """Contributions that sum, with base and calibration, to the log-odds of `p_win`."""
    told = [
        (weight, _voice_parts(name, weight, voices, known, frame))
        for name, weight in zip(stack.voices, stack.weights, strict=True)
    ]
    parts = Parts.join(told, stack.intercept, p_win)
    if voices.encoder is None or not parts.features.empty or voices.classifier is None:
        return parts
    leading = _classifier_parts(voices, frame).drop(columns=BASE)
    return Parts(parts.groups, leading)


def _voice_parts(
    name: str, weight: float, voices: Voices, known: KnownDeals, frame: pd.DataFrame
) -> pd.DataFrame:
    if name == "classifier":
        return _classifier_parts(voices, frame)
    voice: Any = getattr(voices, PLACES.get(name, name))
    if isinstance(voice, HazardTable):
        return table_parts(voice, frame)
    if hasattr(voice, "contributions"):
        told: pd.DataFrame = voice.contributions(frame)
        return told
    if weight < HEARD_WELL:
        return curve_parts(voice, frame, known, pairs=1, moments=FEW_MOMENTS)
    return curve_parts(voice, frame, known, pairs=2)


def _classifier_parts(voices: Voices, frame: pd.DataFrame) -> pd.DataFrame:
    if voices.encoder is None:
        return pd.DataFrame({BASE: np.zeros(len(frame))}, index=frame.index)
    return contributions(voices.classifier, voices.encoder, frame, threads=voices.threads)


def table_parts(table: HazardTable, frame: pd.DataFrame) -> pd.DataFrame:
    """The company's rate as base, what the stage changes, and what the age in it changes."""
    if frame.empty:
        return pd.DataFrame(columns=["f_stage", "f_age_days", BASE], index=frame.index, dtype=float)
    by_age = {
        name for name in table.cells if name.rpartition("|")[0] in table.cells and "|" in name
    }
    stages = {name: cell for name, cell in table.cells.items() if name not in by_age}
    levels = (
        HazardTable(table.edges, {"": table.cells[""]}, by_stage=False),
        HazardTable(table.edges, stages, table.by_stage),
        table,
    )
    company, stage, age = (logit(level.curves(frame).cif_won[:, -1]) for level in levels)
    parts = {"f_stage": stage - company, "f_age_days": age - stage, BASE: company}
    return pd.DataFrame(parts, index=frame.index)


def curve_parts(
    timing: Timing, frame: pd.DataFrame, known: KnownDeals, *, pairs: int, moments: int = MOMENTS
) -> pd.DataFrame:
    """Each group's Shapley value on the log-odds of the curve's end, from the typical deal's on.

    Coalitions are read at a few moments only; what that misses is known exactly in the sum, and is
    shared among the groups in proportion, so that rows sum to the curve's own end.
    """
    if isinstance(timing, HazardTable):
        return table_parts(timing, frame)
    encoder = timing.encoder
    typical = known.typical_row(encoder)
    names, groups = grouped_columns(encoder)
    value = end_of_curve(timing, moments=moments)
    matrix = encoder.transform(frame)
    shares = grouped_shapley(value, matrix, typical, groups, pairs=pairs)
    start = logit(timing.curves(_as_frame(typical, encoder)).cif_won[:, -1])[0]
    end = logit(timing.curves(frame).cif_won[:, -1])
    parts = pd.DataFrame(spread(shares, end - start), columns=names, index=frame.index)
    return parts.assign(**{BASE: start})


def grouped_columns(encoder: Encoder) -> tuple[list[str], list[Any]]:
    """Group names, and the places of each group's features in the encoder's matrix."""
    of = np.array([group_of(name) for name in encoder.names], dtype=object)
    names = sorted(set(of))
    return names, [np.flatnonzero(of == name) for name in names]


def end_of_curve(
    timing: HazardModel | IncidenceModel, *, moments: int = MOMENTS
) -> Callable[[Floats], Floats]:
    """A quick reading of the log-odds of the curve's end, from rows of the encoder's matrix."""
    if isinstance(timing, HazardModel):
        return _hazards_end(timing, moments)
    return _incidence_end(timing)


def _hazards_end(model: HazardModel, moments: int) -> Callable[[Floats], Floats]:
    count = len(model.edges) - 1
    places = thinned(count, moments)
    middle, width = (model.edges[:-1] + model.edges[1:]) / 2, np.diff(model.edges)

    def value(matrix: Floats) -> Floats:
        rows, k = len(matrix), len(places)
        row = np.repeat(np.arange(rows), k)
        clock = (np.tile(middle[places], rows), np.tile(width[places], rows))
        risk = with_time(matrix, model.encoder.names, row, *clock)
        hazards = []
        for booster in (model.ending, model.winning):
            told = logit(predict(booster, risk, threads=model.threads)).reshape(rows, k)
            hazards.append(expit(filled(told, places, count)))
        ends, wins = hazards
        return logit(incidence(ends * wins, ends * (1 - wins))[0][:, -1])

    return value


def _incidence_end(model: IncidenceModel) -> Callable[[Floats], Floats]:
    last = float(model.edges[-1])

    def value(matrix: Floats) -> Floats:
        rows = len(matrix)
        even = np.ones(rows)
        asked = with_time(matrix, model.encoder.names, np.arange(rows), last * even, even)
        told = np.asarray(model.booster.predict(asked, num_threads=threads_now(model.threads)))
        return logit(told[:, 1] / np.maximum(told[:, 1] + told[:, 2], 1.0))

    return value


def _as_frame(typical: Floats, encoder: Encoder) -> pd.DataFrame:
    """The typical deal as a frame that the encoder reads as exactly `typical`."""
    told: dict[str, Any] = {
        name: [value] for name, value in zip(encoder.numeric, typical, strict=False)
    }
    codes = typical[len(encoder.numeric) :]
    for (name, words), code in zip(encoder.words.items(), codes, strict=True):
        word = None if np.isnan(code) else words[int(code)] if code < len(words) else "\0"
        told[name] = [word]
    return pd.DataFrame(told)
