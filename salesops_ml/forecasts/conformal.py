"""How far off have such forecasts been: interval half-widths from replayed forecasts.

Every series is forecast again from several earlier days. The absolute errors, divided by the series'
own scale, are pooled over series and days, for each step ahead; their quantile at the promised level
is the half-width (split conformal prediction, pooled over a panel). Theory's intervals promise 95 %
and hold 86 % on such series; these hold what they promise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from salesops_ml.forecasts.batch import Batch, Floats, Ints, batch_of
from salesops_ml.forecasts.seasonality import seasonal_indices

Forecaster = Callable[[Batch, int], Floats]

_ENOUGH = 40
"""Errors at one step ahead from which that step speaks for itself."""
_FEW = 10
"""Errors over all steps below which a normal law with growing variance is assumed."""
_MOST_ORIGINS, _ERRORS_WANTED = 24, 200
_SEASONS_TO_HALF, _PERIODS_TO_HALF = 2, 12
"""After how long a change counts for half in a series' scale."""


@dataclass(frozen=True)
class Replays:
    """Series as they stood on earlier days, and what then came.

    Attributes:
        earlier: one row per (series, earlier day).
        actual: (replays, horizon), NaN after the series' end.
        scale: (replays,) each one's `series_scale`, above 0.
        back: (replays,) how many periods before its end each series stands.
    """

    earlier: Batch
    actual: Floats
    scale: Floats
    back: Ints

    def errors(self, told: Floats) -> list[Floats]:
        """Scaled absolute errors of the forecasts `told`, by step ahead."""
        error = np.abs(self.actual - told) / self.scale[:, None]
        return [step[~np.isnan(step)] for step in error.T]


def half_widths(
    batch: Batch, forecaster: Forecaster, horizon: int, levels: Sequence[int]
) -> dict[int, Floats]:
    """Half-width of the interval at each level (per cent), each (series, horizon)."""
    found = replays(batch, horizon)
    errors = (
        [np.empty(0)] * horizon
        if found is None
        else found.errors(forecaster(found.earlier, horizon))
    )
    return widths_from(errors, series_scale(batch), levels)


def widths_from(errors: list[Floats], scale: Floats, levels: Sequence[int]) -> dict[int, Floats]:
    """Half-widths (series, horizon) by level, from scaled errors by step ahead.

    Widths never shrink with the step ahead. With fewer than 40 errors at a step, errors of all steps
    are pooled after division by their common growth; with fewer than 10 in all, the one-step error is
    taken as normal, its variance growing by the one-step variance every second step.
    """
    horizon = len(errors)
    found = np.array([len(step) for step in errors])
    if found.sum() < _FEW:
        growth = np.sqrt(1.0 + 0.5 * np.arange(horizon))
        width = {level: 1.2533 * float(norm.ppf(0.5 + level / 200)) * growth for level in levels}
    elif found.min() < _ENOUGH:
        width = _pooled(errors, horizon, levels)
    else:
        width = {
            level: np.array([upper_quantile(step, level / 100) for step in errors])
            for level in levels
        }
    return {
        level: scale[:, None] * np.maximum.accumulate(width[level])[None, :] for level in levels
    }


def series_scale(batch: Batch) -> Floats:
    """Mean absolute change from period to period, season taken out; (series,).

    Recent changes count for more, one of two seasons (12 periods at least) ago for half: a series that
    has grown since its beginning moves by more than it did on average. A plain mean makes the next
    steps' intervals too narrow.
    """
    indices = seasonal_indices(batch)
    plain = batch.values - indices[:, batch.phases()]
    change = np.abs(np.diff(plain, axis=1))
    half_life = max(_SEASONS_TO_HALF * batch.season, _PERIODS_TO_HALF)
    recent = 0.5 ** (np.arange(batch.periods - 1)[::-1] / half_life)
    weight = np.where(batch.known[:, :-1], recent, 0.0)
    size = np.where(batch.known, np.abs(batch.values), 0.0).sum(axis=1) / batch.length
    total = np.maximum(weight.sum(axis=1), 1e-300)
    moved = (weight * np.where(np.isnan(change), 0.0, change)).sum(axis=1) / total
    return np.asarray(np.where(batch.length > 1, np.maximum(moved, 1e-9 * size), 0.5 * size))


def upper_quantile(errors: Floats, level: float) -> float:
    """The conformal quantile: the ceil((n + 1) level)-th smallest, the largest where n is small."""
    rank = int(np.ceil((len(errors) + 1) * level))
    return float(np.sort(errors)[min(rank, len(errors)) - 1])


def replays(batch: Batch, horizon: int, *, most: int | None = None) -> Replays | None:
    """Every series as it stood on several earlier days; None where none is long enough.

    Args:
        batch: the series.
        horizon: periods ahead.
        most: how many replays at most, taken evenly from all; None for all.
    """
    least = _least_history(batch)
    starts = [
        (int(row), int(back))
        for back in _origins(batch, horizon)
        for row in np.flatnonzero(batch.length - back >= least)
    ]
    if most is not None and len(starts) > most:
        starts = [starts[place] for place in np.linspace(0, len(starts) - 1, most).astype(int)]
    if not starts:
        return None
    rows = [batch.values[row, start:] for row, start in enumerate(batch.start)]
    earlier = batch_of([rows[row][: len(rows[row]) - back] for row, back in starts], batch.season)
    actual = np.full((len(starts), horizon), np.nan)
    for place, (row, back) in enumerate(starts):
        seen = rows[row][len(rows[row]) - back :][:horizon]
        actual[place, : len(seen)] = seen
    scale = series_scale(earlier)
    usable = scale > 0
    if not usable.any():
        return None
    ago = np.array([back for _, back in starts], dtype=np.int64)
    return Replays(earlier.take(usable), actual[usable], scale[usable], ago[usable])


def _origins(batch: Batch, horizon: int) -> Ints:
    """How many periods ago the replays start: few for a wide panel, many for a lone series."""
    longest = int(batch.length.max()) - int(_least_history(batch).min())
    if longest < 1:
        return np.empty(0, dtype=np.int64)
    wanted = int(np.clip(np.ceil(_ERRORS_WANTED / len(batch.length)), 3, _MOST_ORIGINS))
    furthest = min(longest, max(2 * horizon, wanted))
    nearest = min(horizon, furthest) if wanted == 3 else 1
    return np.unique(np.linspace(nearest, furthest, wanted).astype(np.int64))


def _least_history(batch: Batch) -> Ints:
    """Periods a replay needs: two seasons where the series has three, else a handful."""
    whole = 2 * batch.season
    return np.where(batch.length >= whole + batch.season, whole, min(whole, 5)).astype(np.int64)


def _pooled(errors: list[Floats], horizon: int, levels: Sequence[int]) -> dict[int, Floats]:
    """Quantiles of all errors, each divided by the growth of errors with the step ahead."""
    steps = np.concatenate([np.full(len(e), step) for step, e in enumerate(errors)])
    together = np.concatenate(errors)
    squares = together**2
    spread = float(np.var(steps))
    slope = 0.0
    if spread > 0:
        slope = float(np.mean((steps - steps.mean()) * (squares - squares.mean()))) / spread
    slope = max(slope, 0.0)
    base = max(float(squares.mean() - slope * steps.mean()), 0.05 * float(squares.mean()), 1e-300)
    growth = np.sqrt(base + slope * np.arange(horizon))
    standard = together / growth[steps]
    return {level: upper_quantile(standard, level / 100) * growth for level in levels}
