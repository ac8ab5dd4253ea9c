"""Intervals of the series engine: what a series moves by now counts, and what is promised is held."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_ml.forecasts import forecast_series
from salesops_ml.forecasts.batch import batch_of
from salesops_ml.forecasts.conformal import series_scale


def growing_walks(count: int, length: int, seed: int) -> list[np.ndarray]:
    """Walks in per cent: their steps in units grow with them, about twentyfold over 60 periods."""
    rng = np.random.default_rng(seed)
    return [100 * np.exp(np.cumsum(rng.normal(0.05, 0.04, size=length))) for _ in range(count)]


def frame_of(series: list[np.ndarray]) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame({"unique_id": f"{place:03}", "ds": np.arange(len(one)), "y": one})
        for place, one in enumerate(series)
    )


@given(
    values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30),
    season=st.sampled_from([1, 4]),
)
def test_the_scale_equals_a_slow_loop_and_is_not_moved_by_padding(values, season):
    one = np.array(values)
    with_longer = batch_of([one, np.arange(60.0)], season=1)
    weights = [0.5 ** (age / 12) for age in range(len(one) - 1)][::-1]
    moves = [abs(after - before) for before, after in pairwise(one)]
    least = 1e-9 * np.abs(one).mean()
    expected = max(np.average(moves, weights=weights), least) if moves else np.abs(one).mean() / 2
    assert series_scale(with_longer)[0] == pytest.approx(expected, rel=1e-9, abs=1e-300)
    alone = series_scale(batch_of([one], season))[0]
    assert np.isfinite(alone)
    assert series_scale(batch_of([3 * one], season))[0] == pytest.approx(3 * alone, rel=1e-6)


def test_intervals_of_series_that_grow_hold_in_each_third_of_the_horizon():
    """Judged after the last day, where the steps are larger than they ever were on average."""
    walks, horizon = growing_walks(300, 72, seed=4), 6
    told = forecast_series(
        frame_of([walk[:-horizon] for walk in walks]),
        horizon=horizon, season_length=4, freq=1, mode="fast",
    )  # fmt: skip
    actual = np.concatenate([walk[-horizon:] for walk in walks])
    third = np.tile(np.arange(horizon) * 3 // horizon, len(walks))
    for level, least, most in ((80, 0.75, 0.87), (95, 0.925, 0.98)):
        inside = (told[f"lo_{level}"] <= actual) & (actual <= told[f"hi_{level}"])
        for part in range(3):
            assert least <= inside[third == part].mean() <= most
