"""Breaks: a series that stepped onto another level, for good.

Models that go by the whole past are pulled back to a level that is gone: a price list, a merged
territory, a new way of counting. What they see is therefore mended first, by a named rule:

| a series | is seen as |
|---|---|
| that stepped onto another level, up to three times | its past moved onto the latest level |
| all others | it is |

A step is called one only when it is far larger than what the series does anyway, comes within two
periods, and has lasted: all values of the window after it lie beyond all of the window before it (four
to six periods each). The latest periods are thus left alone, for they can hold an outlier as well as a
step. The series' own differences between neighbouring windows are the measure, so that a random walk,
which steps all the time, has no breaks. Of clean series (noise, autoregressions, walks, trends, counts,
skewed sales; 1,000 of each kind and length) at most 1.8 in a hundred of any kind were touched, two in a
thousand of all; heavy-tailed walks, whose jumps do last, aside. Season taken out; logarithms for series
well above zero. A replayed day is screened by what was known on it. A change of direction is left to the
models: cutting the past off there, or turning it, made forecasts worse.

Source: level shifts as in Chen and Liu (1993), "Joint estimation of model parameters and outlier
effects in time series", found by robust windows instead of one model's residuals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from salesops_ml.forecasts.batch import Batch, Bools, Floats, Ints
from salesops_ml.forecasts.seasonality import seasonal_indices

_NARROWEST, _WIDEST = 4, 6
"""Periods in each of the two windows that are compared."""
_LEAST_WINDOWS = 5
"""Windows that a series must be long to be screened for steps."""
_FAR, _SUDDEN = 5.0, 3.5
"""Robust deviations that a step must exceed: of differences between windows, of changes."""
_ABRUPT = 0.5
"""Share of the difference between the windows that must come within two periods."""
_MOST_STEPS = 3
_TO_SIGMA, _HALF_TO_SIGMA = 1.4826, 0.6267
_SEASONS_TO_COMPARE, _UNLIKE = 3, 4.0
"""Seasons that tell what change is usual, and robust deviations from which one is unlike it."""
_EQUAL = 1e-9
"""Relative differences that are taken for rounding."""
_WELL_ABOVE_ZERO = 1e-4
"""Share of its largest value that a series never falls below, for logarithms to be its scale."""


@dataclass(frozen=True)
class Breaks:
    """What was found, by series.

    Attributes:
        steps: (series, periods) the lasting move that came with each period, 0 where none; a logarithm
            where `logs`.
        logs: (series,) whether the series is well above zero.
    """

    steps: Floats
    logs: Bools


def find_breaks(batch: Batch) -> Breaks:
    """The steps of every series.

    Example:
        >>> from salesops_ml.forecasts.batch import batch_of
        >>> wave = np.tile([0.0, 1.0, -1.0, 0.5, -0.5], 12)
        >>> stepped = wave + np.where(np.arange(60) < 30, 50, 90)
        >>> found = find_breaks(batch_of([wave + 50, stepped], season=1))
        >>> [np.flatnonzero(row).tolist() for row in found.steps]
        [[], [30]]
    """
    known = batch.known
    least = np.where(known, batch.values, np.inf).min(axis=1)
    logs = least > _WELL_ABOVE_ZERO * np.where(known, np.abs(batch.values), 0.0).max(axis=1)
    plain = np.where(logs[:, None], np.log(np.where(batch.values > 0, batch.values, 1.0)), 0.0)
    plain = np.where(known, np.where(logs[:, None], plain, batch.values), np.nan)
    plain -= _season(batch.replaced(plain))
    steps = np.zeros_like(plain)
    window = int(np.clip(batch.season, _NARROWEST, _WIDEST))
    rows = np.flatnonzero(batch.length >= _LEAST_WINDOWS * window)
    for _ in range(_MOST_STEPS):
        if not len(rows):
            break
        place, size = _largest_step(plain[rows], window)
        stepped = size != 0
        rows, place, size = rows[stepped], place[stepped], size[stepped]
        steps[rows, place] += size
        before = np.arange(batch.periods)[None, :] < place[:, None]
        plain[rows] += np.where(before, size[:, None], 0.0)
    return Breaks(steps, logs)


def unbroken(batch: Batch) -> Batch:
    """The series as models should see them; the latest value of each stands as it was.

    Example:
        >>> from salesops_ml.forecasts.batch import batch_of
        >>> wave = np.tile([0.0, 1.0, -1.0, 0.5, -0.5], 12)
        >>> stepped = wave + np.where(np.arange(60) < 30, 50, 90)
        >>> unbroken(batch_of([stepped], season=1)).values[0, [0, 29, 30, 59]].round(1).tolist()
        [90.0, 89.1, 90.0, 89.5]
    """
    found = find_breaks(batch)
    if not found.steps.any():
        return batch
    lift = _moved_before(found.steps)
    factor = np.exp(np.where(found.logs[:, None], lift, 0.0))
    moved = batch.values * factor + np.where(found.logs[:, None], 0.0, lift)
    least = np.where(batch.known, batch.values, np.inf).min(axis=1)
    floor = np.where(least >= 0, 0.0, -np.inf)[:, None]
    return batch.replaced(np.where(lift == 0, batch.values, np.maximum(moved, floor)))


def _season(batch: Batch) -> Floats:
    """The season of each period, estimated as if changes unlike those of the same phase had not been."""
    if batch.season < 2 or batch.periods < 2 * batch.season:
        return np.zeros_like(batch.values)
    change = np.diff(batch.values, axis=1)
    excess = np.zeros_like(batch.values)
    rows = np.flatnonzero(batch.length > _SEASONS_TO_COMPARE * batch.season)
    if len(rows):
        unlike = change[rows] - _usual_by_phase(change[rows], batch.season)
        room = _UNLIKE * _spread(unlike)[:, None]
        excess[rows, 1:] = np.where(np.abs(unlike) > room, unlike, 0.0)
    without = batch.replaced(batch.values + _moved_before(excess))
    return np.asarray(seasonal_indices(without)[:, batch.phases()])


def _usual_by_phase(change: Floats, season: int) -> Floats:
    """Each change's like: the median of those at the same place in the season."""
    usual = np.empty_like(change)
    for phase in range(season):
        same = change[:, phase::season]
        usual[:, phase::season] = np.nanmedian(same, axis=1)[:, None]
    return usual


def _moved_before(steps: Floats) -> Floats:
    """What is to be added to each period for all `steps` that came after it."""
    to_come = steps[:, ::-1].cumsum(axis=1)[:, ::-1]
    return np.concatenate([to_come[:, 1:], np.zeros_like(to_come[:, :1])], axis=1)


def _largest_step(plain: Floats, window: int) -> tuple[Ints, Floats]:
    """Column and size of each series' most striking step; size 0 where none passes."""
    windows = sliding_window_view(plain, window, axis=1)
    middles = np.median(windows, axis=2)
    before, after = slice(None, -window), slice(window, None)
    moved = middles[:, after] - middles[:, before]
    usual = np.nanmedian(moved, axis=1)[:, None]
    rest = moved - usual
    change = np.diff(plain, axis=1)
    typical = _spread(change - np.nanmedian(change, axis=1)[:, None])
    here = slice(window - 1, window - 1 + rest.shape[1])
    within, at_once = _within_two(change)[:, here], np.abs(change[:, here])
    sudden = np.maximum(_ABRUPT * np.abs(rest), _SUDDEN * typical[:, None]) * (1 - _EQUAL)
    far = np.abs(rest) > np.maximum(_FAR * _spread(rest)[:, None], 1e-12)
    lasting = _apart(windows.min(axis=2), windows.max(axis=2), window) > 0
    passed = far & lasting & (np.sign(rest) * within >= sudden)
    score = np.where(passed, np.abs(rest) + at_once, 0.0)
    score = score / np.maximum(score.max(axis=1, keepdims=True), 1e-300)
    best = (score > 1 - _EQUAL).argmax(axis=1)
    row = np.arange(len(plain))
    return best + window, np.where(passed[row, best], rest[row, best], 0.0)


def _apart(lowest: Floats, highest: Floats, window: int) -> Floats:
    """How far the values of neighbouring windows lie apart; below 0 where they overlap."""
    up = lowest[:, window:] - highest[:, :-window]
    down = lowest[:, :-window] - highest[:, window:]
    return np.maximum(up, down)


def _within_two(change: Floats) -> Floats:
    """The change into each period, or over it and the next where that is larger."""
    padded = np.concatenate([change, change[:, -1:] * 0.0], axis=1)
    both = padded[:, :-1] + padded[:, 1:]
    return np.where(np.abs(both) > np.abs(change), both, change)


def _spread(values: Floats) -> Floats:
    """Robust standard deviation about 0; half the usual one where most values are 0, as in counts."""
    size = np.abs(values)
    spread = np.maximum(
        _TO_SIGMA * np.nanmedian(size, axis=1), _HALF_TO_SIGMA * np.nanmean(size, axis=1)
    )
    return np.asarray(spread)
