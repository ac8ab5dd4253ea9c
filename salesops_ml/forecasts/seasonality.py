"""The yearly shape of a series: which months are always strong, which always weak.

Classical decomposition by a centred moving average. Two guards keep noise from posing as a season:
a series is only called seasonal when its autocorrelation at one season says so, and the indices are
shrunk towards "no season" by the share of them that noise explains (James-Stein, after Miller and
Williams 2003, "Shrinkage estimators of time series seasonal factors").
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from salesops_ml.forecasts.batch import Batch, Bools, Floats

SIGNIFICANT = 1.645
"""Standard errors that the autocorrelation at one season must exceed (90 %, two-sided)."""


def seasonal_indices(batch: Batch) -> Floats:
    """Additive seasonal indices (series, season), zero-mean over a season; zeros where none is seen.

    Column j belongs to phase j of `Batch.phases`. For a multiplicative season pass logarithms.
    """
    nothing = np.zeros((len(batch.length), batch.season))
    if batch.season < 2 or batch.periods < 2 * batch.season:
        return nothing
    raw, noise = _phase_means(batch)
    raw = raw - raw.mean(axis=1, keepdims=True)
    signal = (raw**2).sum(axis=1) / (batch.season - 1)
    lost = max(batch.season - 3, 1) / max(batch.season - 1, 1) * noise
    kept = np.clip(1.0 - lost / np.maximum(signal, 1e-300), 0.0, 1.0)
    return np.where(is_seasonal(batch)[:, None], kept[:, None] * raw, nothing)


def is_seasonal(batch: Batch) -> Bools:
    """Whether the autocorrelation at one season stands out from those at shorter lags."""
    known = batch.known
    mean = np.where(known, batch.values, 0.0).sum(axis=1) / batch.length
    centred = np.where(known, batch.values - mean[:, None], 0.0)
    variance = np.maximum((centred**2).sum(axis=1), 1e-300)
    lags = [
        (centred[:, lag:] * centred[:, : batch.periods - lag]).sum(axis=1) / variance
        for lag in range(1, batch.season + 1)
    ]
    shorter = np.sum(np.square(lags[:-1]), axis=0) if batch.season > 1 else 0.0
    bound = SIGNIFICANT * np.sqrt((1.0 + 2.0 * shorter) / batch.length)
    found: Bools = (np.abs(lags[-1]) > bound) & (batch.length >= 2 * batch.season)
    return found


def _phase_means(batch: Batch) -> tuple[Floats, Floats]:
    """Mean deviation from the moving average by phase, and the noise variance of those means."""
    detrended = batch.values - _centred_average(batch)
    phases = batch.phases()
    means = np.zeros((len(batch.length), batch.season))
    squares, counts = np.zeros_like(means), np.zeros_like(means)
    for phase in range(batch.season):
        column = detrended[:, phases == phase]
        seen = ~np.isnan(column)
        counts[:, phase] = seen.sum(axis=1)
        filled = np.where(seen, column, 0.0)
        means[:, phase] = filled.sum(axis=1) / np.maximum(counts[:, phase], 1.0)
        gap = np.where(seen, column - means[:, [phase]], 0.0)
        squares[:, phase] = (gap**2).sum(axis=1)
    freedom = np.maximum(counts.sum(axis=1) - batch.season, 1.0)
    noise = squares.sum(axis=1) / freedom / np.maximum(counts.mean(axis=1), 1.0)
    return means, noise


def _centred_average(batch: Batch) -> Floats:
    """Moving average over one season, half weights at both ends where the season is even."""
    odd = batch.season % 2
    weights = np.full(batch.season + 1 - odd, 1.0 / batch.season)
    if not odd:
        weights[[0, -1]] /= 2
    half = len(weights) // 2
    average = np.full_like(batch.values, np.nan)
    windows = sliding_window_view(batch.values, len(weights), axis=1)
    average[:, half : batch.periods - half] = windows @ weights
    return average
