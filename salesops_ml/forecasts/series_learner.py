"""One model for all series of a panel: what the others teach about this one.

Gradient-boosted trees see every series' recent changes in units of that series' own noise, the season
taken out, and learn from all of them how far a series moves over the next steps. A single short series
cannot teach this, a panel can; the learner therefore keeps out of panels with fewer than 30 series
that are long enough to learn from.

Source: the global models of the M4 and M5 competitions (Makridakis et al. 2020, 2022), in the direct
form: the distance to the value k steps ahead is learned at once, k being one of the features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from salesops_ml.forecasts.batch import Floats, Ints, batch_of
from salesops_ml.forecasts.seasonality import seasonal_indices

FEWEST_SERIES = 30
_SHORTEST_WINDOW, _LONGEST_WINDOW = 6, 24
_MOST_ROWS = 200_000
_SEED = 7
_LARGEST_LOG = np.log(np.finfo(np.float64).max) - 1


def learned_forecasts(values: Sequence[Floats], horizon: int, season: int) -> Floats:
    """Forecasts of the shared model for series without gaps; (series, horizon).

    Series above zero are learned from in logarithms. NaN for series shorter than the window it looks
    at and for constant ones, and for all where fewer than 30 can teach.
    """
    window = int(np.clip(season, _SHORTEST_WINDOW, _LONGEST_WINDOW))
    found = np.full((len(values), horizon), np.nan)
    rows = [row for row, one in enumerate(values) if len(one) > window + 2 and np.ptp(one) > 0]
    if len(rows) < FEWEST_SERIES:
        return found
    logs = np.array([values[row].min() > 0 for row in rows])
    scaled = [
        np.log(values[row]) if log else values[row] for row, log in zip(rows, logs, strict=True)
    ]
    past, ahead = _without_season(scaled, horizon, season)
    noise = np.array([np.abs(np.diff(one)).mean() for one in past])
    noise = np.maximum(noise, 1e-12 * np.maximum([np.abs(one).max() for one in past], 1e-300))
    told = _moves([one / size for one, size in zip(past, noise, strict=True)], horizon, window)
    told = np.array([one[-1] for one in past])[:, None] + told * noise[:, None] + ahead
    found[rows] = np.where(logs[:, None], np.exp(np.minimum(told, _LARGEST_LOG)), told)
    return found


def _without_season(
    values: Sequence[Floats], horizon: int, season: int
) -> tuple[list[Floats], Floats]:
    """Each series less its season, and the season of the periods ahead."""
    batch = batch_of(list(values), season)
    indices, phases = seasonal_indices(batch), batch.phases(horizon)
    seasonal = indices[:, phases]
    past = [
        one - seasonal[row, batch.periods - len(one) : batch.periods]
        for row, one in enumerate(values)
    ]
    return past, seasonal[:, batch.periods :]


def _moves(past: Sequence[Floats], horizon: int, window: int) -> Floats:
    """How far each series moves from its latest value, in units of its noise; (series, horizon)."""
    from lightgbm import LGBMRegressor

    looks, targets = _lessons(past, horizon, window)
    trees = LGBMRegressor(
        objective="l1", n_estimators=200, learning_rate=0.05, num_leaves=15, min_child_samples=100,
        subsample=0.8, subsample_freq=1, colsample_bytree=0.7, reg_lambda=5.0, n_jobs=1,
        random_state=_SEED, deterministic=True, force_row_wise=True, verbose=-1,
    )  # fmt: skip
    trees.fit(looks, targets)
    now = np.vstack([_features(one, window)[-1:] for one in past])
    steps = np.arange(1, horizon + 1)
    asked = np.hstack([np.repeat(now, horizon, axis=0), np.tile(steps, len(now))[:, None]])
    return np.asarray(trees.predict(asked).reshape(-1, horizon) * np.sqrt(steps))


def _lessons(past: Sequence[Floats], horizon: int, window: int) -> tuple[Floats, Floats]:
    """What was seen and how far the series then moved, divided by the root of the steps."""
    looks, targets = [], []
    for one in past:
        seen, last = _features(one, window), np.arange(window, len(one))
        for step in _steps(horizon):
            known = last + step < len(one)
            moved = one[last[known] + step] - one[last[known]]
            looks.append(np.column_stack([seen[known], np.full(known.sum(), step)]))
            targets.append(moved / np.sqrt(step))
    rows, moves = np.vstack(looks), np.concatenate(targets)
    kept = np.linspace(0, len(rows) - 1, min(len(rows), _MOST_ROWS)).astype(np.int64)
    return rows[kept], moves[kept]


def _steps(horizon: int) -> Ints:
    """The steps ahead that are learned from: at most eight, dense at first."""
    return np.unique(np.geomspace(1, horizon, 8).round().astype(np.int64))


def _features(one: Floats, window: int) -> Floats:
    """What is seen of a series at each of its periods from `window` on, as far as it was then known.

    Changes inside the window, how far the latest value lies from its means, and the trend so far.
    """
    windows = np.asarray(sliding_window_view(one, window + 1))
    last, place = windows[:, -1], np.arange(window, len(one))
    means = [
        windows.mean(axis=1),
        windows[:, -3:].mean(axis=1),
        np.cumsum(one)[place] / (place + 1),
    ]
    gaps = [mean - last for mean in means]
    return np.column_stack([np.diff(windows, axis=1), *gaps, (last - one[0]) / place])
