"""By how much curves of winning promise too much or too little: near and far, and before quarter ends.

A model that is right deal by deal may still promise too much in all, if large deals are slower than it
has learned, or miss how strong the rush at the end of a quarter is, which lasts for few days of a
deal's life. Both are seen on looks whose outcome is known, as what came over what was promised, drawn to
1 where little was seen, and taken out of the curves.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from salesops_ml.evaluation.censoring import OPEN, WON, Floats
from salesops_ml.forecasts.batch import Bools
from salesops_ml.models.curves import Curves
from salesops_ml.models.periods_at_risk import QUARTER_DAYS

SPANS = (14.0, 42.0)
"""Days that part the near, the middle and the far future, each with its own correction."""
WORTH = 60.0
"""Deals of average size at which the correction that was seen counts half."""
RANGE = (0.6, 1.5)
RUSH = (3.5, 7.0, 10.5, 14.0, 28.0)
"""Days to the end of the quarter that part its last days from each other and from the rest."""
RUSH_WINS = 20.0
"""Wins promised at which the correction of a part of the quarter counts half."""
RUSH_RANGE = (0.5, 2.0)


def learn_corrections(
    curves: Curves, looks: pd.DataFrame, labels: pd.DataFrame, *, rush: Floats | None = None
) -> Floats:
    """Factors on what is won in the near, middle and far future, then by part of the quarter (`RUSH`).

    Args:
        curves: of the looks.
        looks: with `amount`, and `f_days_to_quarter_end` where it is known.
        labels: what became of them.
        rush: `rush_factors` of more looks than these.
    """
    rush = rush_factors(curves, looks, labels) if rush is None else rush
    straight = np.concatenate([np.ones(len(SPANS) + 1), rush])
    calendar = corrected(curves, straight, days_to_quarter_end(looks))
    return np.concatenate([money_factors(calendar, looks["amount"], labels), rush])


def days_to_quarter_end(looks: pd.DataFrame) -> Floats | None:
    """(n,) days from each look to the end of its fiscal quarter; None where that is not known."""
    if "f_days_to_quarter_end" not in looks.columns:
        return None
    return looks["f_days_to_quarter_end"].to_numpy(dtype=np.float64)


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
    promised_wins, _ = _promised_and_won(curves, labels)
    duration = labels["duration"].to_numpy(dtype=np.float64)
    money = amount.fillna(0.0).to_numpy(dtype=np.float64)
    won = (labels["event"] == WON).to_numpy()
    span = np.searchsorted(SPANS, edges[:-1], side="right")
    promised = np.bincount(span, weights=money @ promised_wins, minlength=3)
    inside = won & (duration <= edges[-1])
    place = np.searchsorted(SPANS, duration[inside], side="left")
    came = np.bincount(place, weights=money[inside], minlength=3)
    prior = WORTH * float(money.mean()) if len(money) else 0.0
    seen = (came + prior) / np.maximum(promised + prior, 1e-9)
    return np.asarray(np.clip(np.where(promised > 0, seen, 1.0), *RANGE))


def rush_factors(curves: Curves, looks: pd.DataFrame, labels: pd.DataFrame) -> Floats:
    """How many of the promised wins come in each part of the quarter; (len(RUSH) + 1,).

    They move wins within a quarter and leave their number to the spans.

    Args:
        curves: of the looks; only their days up to the first of `SPANS` are read.
        looks: with `f_days_to_quarter_end`; without it every factor is 1.
        labels: what became of them.
    """
    left = days_to_quarter_end(looks)
    if left is None:
        return np.ones(len(RUSH) + 1)
    promised, won = _promised_and_won(curves, labels)
    near = np.asarray(curves.days[1:]) <= SPANS[0]
    part = _part_of_quarter(curves, left)[:, near]
    known = ~np.isnan(np.broadcast_to(left[:, None], part.shape))
    told = [
        np.bincount(part[known], weights=values[:, near][known], minlength=len(RUSH) + 1)
        for values in (won.astype(np.float64), promised)
    ]
    seen, said = told
    if said.sum() <= 0 or seen.sum() <= 0:
        return np.ones(len(RUSH) + 1)
    expected = said * seen.sum() / said.sum()
    factors = (seen + RUSH_WINS) / (expected + RUSH_WINS)
    factors = factors * said.sum() / (factors @ said)
    return np.asarray(np.clip(factors, *RUSH_RANGE))


def corrected(curves: Curves, factors: Floats, left: Floats | None = None) -> Curves:
    """Curves whose hazards of winning are scaled, those of losing kept.

    Args:
        curves: n rows.
        factors: by span, and after these by part of the quarter where that was learned.
        left: (n,) days to the end of the quarter; without them the spans alone count.
    """
    edges = np.asarray(curves.days, dtype=np.float64)
    span = np.searchsorted(SPANS, edges[:-1], side="right")
    scale = np.broadcast_to(factors[span], (len(curves.cif_won), len(span)))
    rush = factors[len(SPANS) + 1 :]
    if len(rush) and left is not None:
        scale = scale * np.where(np.isnan(left)[:, None], 1.0, rush[_part_of_quarter(curves, left)])
    win, lose = _hazards(curves)
    lose = np.clip(lose, 0.0, 1.0)
    win = np.clip(win * scale, 0.0, 1.0 - lose)
    survived = np.cumprod(1.0 - win - lose, axis=1)
    before = np.concatenate([np.ones((len(win), 1)), survived[:, :-1]], axis=1)
    zero = np.zeros((len(win), 1))
    won, lost = (np.hstack([zero, np.cumsum(before * rate, axis=1)]) for rate in (win, lose))
    return Curves(curves.days, won, lost)


def _hazards(curves: Curves) -> tuple[Floats, Floats]:
    """(n, intervals) chance of winning, and of losing, in each, given that the deal is still open."""
    still = np.maximum(1.0 - curves.cif_won - curves.cif_lost, 1e-9)[:, :-1]
    return np.diff(curves.cif_won, axis=1) / still, np.diff(curves.cif_lost, axis=1) / still


def _part_of_quarter(curves: Curves, left: Floats) -> npt.NDArray[np.int64]:
    """(n, intervals) which part of its quarter the middle of each interval lies in."""
    edges = np.asarray(curves.days, dtype=np.float64)
    middle = (edges[:-1] + edges[1:]) / 2
    then = np.mod(np.nan_to_num(left)[:, None] - middle, QUARTER_DAYS)
    return np.searchsorted(RUSH, then)


def _promised_and_won(curves: Curves, labels: pd.DataFrame) -> tuple[Floats, Bools]:
    """(n, intervals) chance of winning in each while it was watched, and whether it was won in it."""
    edges = np.asarray(curves.days, dtype=np.float64)
    hazard, _ = _hazards(curves)
    duration = labels["duration"].to_numpy(dtype=np.float64)[:, None]
    event = labels["event"].to_numpy()[:, None]
    watched = np.clip((duration - edges[:-1]) / np.diff(edges), 0.0, 1.0)
    last = (duration > edges[:-1]) & (duration <= edges[1:])
    watched = np.where(last & (event != OPEN), 1.0, watched)
    return hazard * watched, last & (event == WON)
