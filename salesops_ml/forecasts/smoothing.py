"""Two sturdy forecasters that disagree usefully: theta, and damped Holt-Winters.

Both run over a whole batch at once, on a grid of smoothing parameters. Instead of picking the one
best set of parameters, every set is weighted by its likelihood: the short series that sales gives
rarely say which set is right.

Sources: Assimakopoulos and Nikolopoulos (2000) in the form of Hyndman and Billah (2003) for theta;
Gardner (2006) for the damped seasonal method. Median of both, on the plain and the logarithmic
scale, after the finding that combining beats choosing (Makridakis and Hibon 2000).
"""

from __future__ import annotations

import numpy as np

from salesops_ml.forecasts.batch import Batch, Floats
from salesops_ml.forecasts.seasonality import seasonal_indices

_ALPHAS = np.array([0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99])
_HOLT_WINTERS = np.array(
    [
        (alpha, alpha * beta, phi, (1 - alpha) * gamma)
        for alpha in (0.05, 0.15, 0.3, 0.5, 0.8)
        for beta in (0.02, 0.2)
        for phi in (0.85, 0.97)
        for gamma in (0.02, 0.1, 0.25, 0.5)
    ]
)
_NO_SEASON = np.unique(np.where(np.arange(4) == 3, 0.0, _HOLT_WINTERS), axis=0)
_START = 3
"""Periods whose mean starts an exponential smoothing."""


def combined(batch: Batch, horizon: int) -> Floats:
    """Median of theta and Holt-Winters on both scales; (series, horizon).

    Series that touch zero or go below it have no logarithm and are judged on the plain scale alone.
    """
    members = np.full((4, len(batch.length), horizon), np.nan)
    members[0], members[1] = _members(batch, horizon)
    positive = np.where(batch.known, batch.values, 1.0).min(axis=1) > 0
    if positive.any():
        chosen = batch.take(positive)
        logs = chosen.replaced(np.log(chosen.values))
        ceiling = np.log(np.finfo(np.float64).max) - 1
        for place, member in enumerate(_members(logs, horizon), start=2):
            members[place, positive] = np.exp(np.minimum(member, ceiling))
    return np.asarray(np.nanmedian(members, axis=0))


def theta(batch: Batch, horizon: int) -> Floats:
    """Half the linear trend, half a smoothed line bent twice as much; (series, horizon).

    The series must carry no season.
    """
    clock = np.arange(1.0 - batch.periods, 1.0)
    intercept, slope = _linear_trend(batch, clock)
    line = intercept[:, None] + slope[:, None] * clock
    level = smoothed_level(batch.replaced(2 * batch.values - line))
    ahead = np.arange(1, horizon + 1)
    return 0.5 * (intercept[:, None] + slope[:, None] * ahead) + 0.5 * level[:, None]


def smoothed_level(batch: Batch) -> Floats:
    """Where exponential smoothing stands at the end; (series,)."""
    start, _ = batch.first(_START)
    level = np.repeat(start[:, None], len(_ALPHAS), axis=1)
    squares = np.zeros_like(level)
    known = batch.known
    for column in range(batch.periods):
        error = np.where(known[:, [column]], batch.values[:, [column]] - level, 0.0)
        squares += error**2
        level += _ALPHAS * error
    return np.asarray((_likelihood(squares, batch) * level).sum(axis=1))


def holt_winters(batch: Batch, indices: Floats, horizon: int) -> Floats:
    """Level, damped trend and season, each smoothed; (series, horizon).

    Args:
        batch: the series, season included.
        indices: additive seasonal indices to start from, (series, season).
        horizon: periods ahead.
    """
    grid = _HOLT_WINTERS if batch.season > 1 else _NO_SEASON
    alpha, beta, phi, gamma = grid.T
    phases, known = batch.phases(horizon), batch.known
    level, trend = _start(batch, indices, len(grid))
    season = np.repeat(indices[:, :, None], len(grid), axis=2)
    squares = np.zeros_like(level)
    for column in range(batch.periods):
        here, phase = known[:, [column]], phases[column]
        ahead = level + phi * trend
        error = np.where(here, batch.values[:, [column]] - ahead - season[:, phase], 0.0)
        squares += error**2
        level = np.where(here, ahead + alpha * error, level)
        trend = np.where(here, phi * trend + beta * error, trend)
        season[:, phase] += gamma * error
    weights = _likelihood(squares, batch)
    damping = np.cumsum(phi[None, :] ** np.arange(1, horizon + 1)[:, None], axis=0)
    steps = [
        (weights * (level + damping[step] * trend + season[:, phases[batch.periods + step]])).sum(1)
        for step in range(horizon)
    ]
    return np.stack(steps, axis=1)


def _members(batch: Batch, horizon: int) -> tuple[Floats, Floats]:
    indices = seasonal_indices(batch)
    phases = batch.phases(horizon)
    plain = batch.replaced(batch.values - indices[:, phases[: batch.periods]])
    seasonal = indices[:, phases[batch.periods :]]
    return theta(plain, horizon) + seasonal, holt_winters(batch, indices, horizon)


def _linear_trend(batch: Batch, clock: Floats) -> tuple[Floats, Floats]:
    """Least-squares line through each series: its value now, and its slope a period."""
    known = batch.known
    middle = np.where(known, clock, 0.0).sum(axis=1) / batch.length
    mean = np.where(known, batch.values, 0.0).sum(axis=1) / batch.length
    run = np.where(known, clock - middle[:, None], 0.0)
    rise = (run * np.where(known, batch.values, 0.0)).sum(axis=1)
    slope = rise / np.maximum((run**2).sum(axis=1), 1e-300)
    return mean - slope * middle, slope


def _start(batch: Batch, indices: Floats, copies: int) -> tuple[Floats, Floats]:
    """First level and trend, from the first season (or as much of it as there is)."""
    plain = batch.replaced(batch.values - indices[:, batch.phases()])
    span = np.maximum(np.minimum(batch.length - 1, max(batch.season, 4)), 1)
    whole, counted = plain.first(span + 1)
    early, taken = plain.first(np.maximum(counted // 2, 1))
    late = (whole * counted - early * taken) / np.maximum(counted - taken, 1)
    trend = np.where(counted > 1, (late - early) / np.maximum(counted / 2, 1.0), 0.0)
    level = whole - trend * (counted + 1) / 2
    return np.repeat(level[:, None], copies, axis=1), np.repeat(trend[:, None], copies, axis=1)


def _likelihood(squares: Floats, batch: Batch) -> Floats:
    """Weight of each set of parameters: Gaussian likelihood of the one-step errors."""
    least = np.maximum(squares.max(axis=1, keepdims=True) * 1e-12, 1e-300)
    score = -0.5 * batch.length[:, None] * np.log(np.maximum(squares, least))
    weights = np.exp(score - score.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
