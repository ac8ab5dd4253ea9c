"""The dress rehearsal: learn from the early looks, be judged by the held-out ones, and note the lesson.

What it decides, and nothing else does: how many trees grow, whether the hazards or their rival draw the
curves, how the voices are weighed, which calibration is used, how the timing is bent, how wide the
bands are, and whether there is any signal at all. Then all learn again from every look known at the
border, and keep what was decided here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from salesops_ml.evaluation.bootstrap import clustered_means
from salesops_ml.evaluation.censoring import LOST, OPEN, WON, Floats, last_supported_day
from salesops_ml.evaluation.curve_scores import curve_losses
from salesops_ml.evaluation.proper_scores import Flags, log_loss
from salesops_ml.evaluation.splits import chance
from salesops_ml.models.calibration import KINDS, NONE, Calibration
from salesops_ml.models.curves import Curves
from salesops_ml.models.encoding import Encoder
from salesops_ml.models.hazards import Looks
from salesops_ml.models.held_out import HeldOut
from salesops_ml.models.median_days import SHARES, MedianDays, choose_share
from salesops_ml.models.probability_interval import ProbabilityInterval
from salesops_ml.models.side_by_side import side_by_side
from salesops_ml.models.signal import (
    BASE_RATE,
    MODEL,
    SENTENCES,
    STAGE_AGE,
    Told,
    choose_answer,
    gain,
)
from salesops_ml.models.sufficiency import learning_curve, sufficiency, too_few
from salesops_ml.models.timing_calibration import TimingMap
from salesops_ml.models.voices import (
    Timing,
    Trees,
    Voices,
    fit_flat_table,
    fit_table,
    fit_timing,
    fit_voices,
    horizon_target,
    trees_in,
    two_sided,
)
from salesops_ml.models.win_mass import Stack
from salesops_ml.settings import Settings

LEAST_OUTCOMES = 40
"""Won and lost deals, each, below which the stage x age table is the model."""
MOST_JUDGED = 40_000
"""Held-out looks that are judged; more would only cost time."""
MOST_RACED = 8_000
"""Held-out looks on which the hazards and their rival race."""
LEAST_TO_CALIBRATE = 400
"""Held-out deals below which no calibration is tried: halves of fewer would decide by chance."""

FEWEST_DAYS = 2.0
"""Days that looks must have been followed for, before a race between curves can be judged."""

ALONE = Stack.average(("hazards",))


@dataclass(frozen=True)
class Lesson:
    """What the rehearsal decided.

    Attributes:
        answer: model, stage_age or base_rate.
        note: how it was decided, in a sentence.
        median: how far the curves' middles are moved, and by how many trees; None: not at all.
        facts: the figures behind it, for the model card.
    """

    answer: str
    note: str
    stack: Stack = ALONE
    trees: Trees | None = None
    rival: bool = False
    calibration: Calibration = NONE
    bend: TimingMap = field(default_factory=TimingMap.straight)
    interval: ProbabilityInterval | None = None
    median: tuple[float, int] | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Judged:
    """Held-out looks with what became of them by the horizon: won, closed, and censoring weights."""

    frame: pd.DataFrame
    labels: pd.DataFrame
    won: Flags
    closed: Flags
    weight: Floats
    deals: npt.NDArray[np.object_]


def rehearse(
    learn: pd.DataFrame,
    labels: pd.DataFrame,
    held: HeldOut,
    settings: Settings,
    *,
    plain: bool = False,
) -> Lesson:
    """Learn from the looks not held back, and decide on those that were.

    Args:
        plain: the deals have attributes only, no history.
    """
    early, late = learn[~held.rows], learn[held.rows]
    fewest = fewest_outcomes(early, held.early_labels)
    late = late[_drawn(late, MOST_JUDGED)]
    late_labels = labels.loc[late.index]
    if fewest < LEAST_OUTCOMES or late.empty:
        return _too_few(early, held.early_labels, (late, late_labels), fewest, settings)
    won, weight = horizon_target(late_labels, settings.models.horizon_days)
    looks = Looks.of(late, late_labels)
    closed = (looks.event != OPEN) & (looks.duration <= settings.models.horizon_days)
    judged = _Judged(late, late_labels, won, closed, weight, late["deal_id"].to_numpy(dtype=object))
    usable = held.supported and two_sided(won, weight)
    learnt = _learn(early, held.early_labels, judged, settings, usable=usable, plain=plain)
    voices = learnt.voices
    timing, curves, race = _race(voices, learnt.rival, judged, settings)
    rival = timing if timing is not voices.timing else None
    decided: dict[str, Any] = {
        "trees": trees_in(voices, rival, settings).larger(), "rival": rival is not None,
    }  # fmt: skip
    if not usable:
        median, _, missed = _middle(learnt.median, judged, curves, settings)
        facts = {"timing": race, "median_days": missed}
        return Lesson(MODEL, held.note, median=median, facts=facts, **decided)
    table = voices.table or fit_table(early, held.early_labels, settings, by_stage=True)
    drawn = {
        MODEL: curves,
        STAGE_AGE: table.curves(late),
        BASE_RATE: fit_flat_table(early, held.early_labels, settings, table=table).curves(late),
    }
    said = voices.said(late, curves)
    lesson = _weighed(said, drawn, judged, settings)
    reached = lesson.facts["log_loss"]
    enough = sufficiency(early, held.early_labels, learnt.curve, reached=reached)
    median, shape, missed = _middle(learnt.median, judged, drawn[lesson.answer], settings)
    bend = TimingMap.fit(shape, late, looks.event, looks.duration, weight)
    return replace(
        lesson,
        note=f"{held.note}; {lesson.note}",
        bend=bend,
        median=median,
        facts={**lesson.facts, "timing": race, "sufficiency": enough, "median_days": missed},
        **decided,
    )


def _too_few(
    early: pd.DataFrame,
    labels: pd.DataFrame,
    late: tuple[pd.DataFrame, pd.DataFrame],
    fewest: int,
    settings: Settings,
) -> Lesson:
    """The stage x age table is the model, its middles moved where the held-out looks ask for it."""
    median: tuple[float, int] | None = None
    missed: dict[str, float] = {}
    if len(late[0]) and _dated(labels):
        told = MedianDays.fit(early, labels, settings, share=0.0, watch=late)
        if told is not None:
            curves = fit_table(early, labels, settings, by_stage=True).curves(late[0])
            share, missed = choose_share(told, *late, curves, settings, shares=SHARES["table"])
            median = _decided(told, share)
    return Lesson(
        STAGE_AGE,
        f"too few closed deals to learn more than the stage x age table: {fewest} of the rarer"
        f" outcome to learn from, {LEAST_OUTCOMES} are needed",
        median=median,
        facts={"sufficiency": too_few(fewest, LEAST_OUTCOMES), "median_days": missed},
    )


@dataclass(frozen=True)
class _Learnt:
    """All that is learned from the early looks.

    Attributes:
        rival: of the hazards; None where the two cannot be told apart.
        median: a booster of days to the end; None where nothing is dated, or too few deals ended.
        curve: `learning_curve`; empty where nobody asks.
    """

    voices: Voices
    rival: Timing | None
    median: MedianDays | None
    curve: list[list[float]]


def _learn(
    early: pd.DataFrame,
    labels: pd.DataFrame,
    judged: _Judged,
    settings: Settings,
    *,
    usable: bool,
    plain: bool,
) -> _Learnt:
    """Learn from the early looks, side by side; growing stops on the judged ones."""
    encoder, dated = Encoder.fit(early), _dated(labels)
    watch = (judged.frame, judged.labels)
    shared: dict[str, Any] = {"encoder": encoder, "watch": watch}
    with side_by_side(settings.threads) as start:
        median = (
            start(MedianDays.fit, early, labels, settings, share=0.0, **shared) if dated else None
        )
        curve = rival = None
        if usable:
            curve = start(
                learning_curve, early, labels, judged.frame, (judged.won, judged.weight),
                horizon=settings.models.horizon_days, seed=settings.seed,
            )  # fmt: skip
        if dated and _reach(judged, settings) >= FEWEST_DAYS:
            rival = start(fit_timing, early, labels, settings=settings, rival=True, **shared)
        voices = fit_voices(
            early, labels, settings, only=None if usable else ("hazards",), plain=plain, **shared
        )
        return _Learnt(
            voices,
            rival.result() if rival else None,
            median.result() if median else None,
            curve.result() if curve else [],
        )


def _dated(labels: pd.DataFrame) -> bool:
    return bool((labels["duration"] > 0).any())


def _reach(judged: _Judged, settings: Settings) -> float:
    """The last day on which enough of the judged looks were followed."""
    followed = judged.labels["followed"].to_numpy(float)
    return last_supported_day(followed, settings.models.horizon_days)


def _middle(
    told: MedianDays | None, judged: _Judged, curves: Curves, settings: Settings
) -> tuple[tuple[float, int] | None, Curves, dict[str, float]]:
    """How far the middles of the curves move (None: not), the curves then, and the misses in days."""
    if told is None:
        return None, curves, {}
    share, missed = choose_share(
        told, judged.frame, judged.labels, curves, settings, shares=SHARES["hazards"]
    )
    if share == 0:
        return None, curves, missed
    return _decided(told, share), replace(told, share=share).move(curves, judged.frame), missed


def _decided(told: MedianDays, share: float) -> tuple[float, int] | None:
    """The share, and a tenth more trees for a larger training block."""
    return (share, round(1.1 * told.trees) + 1) if share else None


def _weighed(
    said: dict[str, Floats], drawn: dict[str, Curves], judged: _Judged, settings: Settings
) -> Lesson:
    """Weights, calibration, bands, and whether a simple table would do as well."""
    told = (judged.won, judged.weight, judged.deals)
    dated = bool((judged.labels["duration"] > 0).any())
    if dated:
        kind, losses = _choose_calibration(said, judged)
        stack = Stack.fit(said, *told)
    else:  # one look a deal: the voice on attributes has weighed and calibrated itself
        kind, losses, stack = "none", {}, Stack.average(("attributes",))
    raw = stack.combine(said)
    calibration = Calibration.fit(kind, raw, *told)
    p_win = {name: curves.cif_won[:, -1] for name, curves in drawn.items()}
    p_win[MODEL] = calibration.apply(raw)
    answers = {
        name: Told.of(p_win[name], curves.cif_won[:, -1], curves.cif_lost[:, -1])
        for name, curves in drawn.items()
    }
    answer, gains = choose_answer(
        answers, judged.won, judged.closed, judged.weight, judged.deals, seed=settings.seed
    )
    bands = ProbabilityInterval.fit(p_win[answer], *told, seed=settings.seed)
    loss = log_loss(judged.won, p_win[answer], judged.weight)
    facts: dict[str, Any] = {"gains": gains, "signal": SENTENCES[answer], "log_loss": loss}
    if answer != MODEL:
        return Lesson(answer, SENTENCES[answer], interval=bands, facts=facts)
    facts |= {"calibration": kind, "calibration_losses": losses}
    note = "not calibrated further" if kind == "none" else f"calibrated by {kind.replace('_', '-')}"
    return Lesson(MODEL, note, stack=stack, calibration=calibration, interval=bands, facts=facts)


def _choose_calibration(said: dict[str, Floats], judged: _Judged) -> tuple[str, dict[str, float]]:
    """Weigh and calibrate on the earlier half of the held-out deals, judge on the later half."""
    starts = judged.frame["created_at"]
    if starts.isna().all() or len(np.unique(judged.deals)) < LEAST_TO_CALIBRATE:
        return "none", {}
    early = (starts <= starts.groupby(judged.deals).first().median()).to_numpy()
    won, weight, deals = judged.won, judged.weight, judged.deals
    if not all(two_sided(won[half], weight[half]) for half in (early, ~early)):
        return "none", {}
    stack = Stack.fit(_take(said, early), won[early], weight[early], deals[early])
    first, second = stack.combine(_take(said, early)), stack.combine(_take(said, ~early))
    later = (won[~early], weight[~early])
    mapped = {
        kind: Calibration.fit(kind, first, won[early], weight[early], deals[early]).apply(second)
        for kind in KINDS
    }
    losses = {kind: log_loss(*(later[0], p, later[1])) for kind, p in mapped.items()}
    best = min(KINDS, key=lambda kind: losses[kind])
    saved = gain(mapped[best], mapped["none"], *later, deals[~early], seed=1)
    return (best if saved.real else "none"), losses


def _race(
    voices: Voices, rival: Timing | None, judged: _Judged, settings: Settings
) -> tuple[Timing, Curves, dict[str, Any]]:
    """The hazards, or their rival where it is better by more than the noise of the judgement.

    Returns:
        What draws the curves, its curves of the judged looks, and the figures of the race.
    """
    if rival is None:
        return voices.timing, voices.timing.curves(judged.frame), {}
    reach = _reach(judged, settings)
    days = np.unique(np.linspace(1, reach, 12).round())
    raced = _drawn(judged.frame, MOST_RACED)
    race = judged.frame[raced]
    seen = Looks.of(race, judged.labels[raced])
    deals = race["deal_id"].to_numpy(dtype=object)

    def losses(curves: Curves) -> Floats:
        then = curves.at(days)
        return curve_losses(
            seen.event, seen.duration, seen.followed, days, then.cif_won, then.cif_lost
        )

    drawn = voices.timing.curves(race), rival.curves(race)
    ours, theirs = losses(drawn[0]), losses(drawn[1])
    even = np.ones(len(ours))
    means = clustered_means(ours - theirs, even, deals, draws=200, seed=settings.seed)
    saved = float(np.mean(ours - theirs))
    wins = saved > float(np.nanstd(means))
    told = {
        "used": "incidence boosting" if wins else "hazards",
        "curve_log_loss": {
            "hazards": float(ours.mean()),
            "incidence_boosting": float(theirs.mean()),
        },
        "judged_to_day": reach,
    }
    best = rival if wins else voices.timing
    rest = best.curves(judged.frame[~raced])
    return best, Curves.joined(raced, drawn[int(wins)], rest), told


def _drawn(frame: pd.DataFrame, most: int) -> Flags:
    """All looks at as many deals as make up about `most` looks, drawn by a digest of their names."""
    if len(frame) <= most:
        return np.ones(len(frame), dtype=bool)
    share = chance(frame["deal_id"], salt="judged ").to_numpy()
    return np.asarray(share < most / len(frame))


def fewest_outcomes(learn: pd.DataFrame, labels: pd.DataFrame) -> int:
    """Deals of the rarer of the two outcomes, as known."""
    deals = learn["deal_id"]
    return min(int(deals[labels["event"] == cause].nunique()) for cause in (WON, LOST))


def _take(said: dict[str, Floats], rows: Flags) -> dict[str, Floats]:
    return {name: values[rows] for name, values in said.items()}
