"""Steps onto another level: planted ones found, clean series left alone, forecasts the better for it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_ml.forecasts import forecast_series
from salesops_ml.forecasts.batch import batch_of
from salesops_ml.forecasts.series_breaks import find_breaks, unbroken
from salesops_ml.forecasts.smoothing import combined

COUNT, LENGTH = 300, 72


def clean(kind: str, season: int, seed: int = 1) -> list[np.ndarray]:
    """Series of one kind without a break."""
    rng = np.random.default_rng(seed)
    shape = (COUNT, LENGTH)
    noise = rng.normal(size=shape)
    weak = noise.copy()
    for place in range(1, LENGTH):
        weak[:, place] += 0.7 * weak[:, place - 1]
    told = {
        "noise": noise + 100,
        "autoregression": weak + 100,
        "walk": np.cumsum(noise, axis=1) + 1000,
        "walk in per cent": 100 * np.exp(np.cumsum(0.05 * noise, axis=1)),
        "trend": noise + 0.5 * np.arange(LENGTH) + 50,
        "counts": rng.poisson(3, size=shape).astype(float),
        "skewed sales": np.exp(0.6 * noise + 5),
    }[kind]
    wave = np.sin(np.arange(LENGTH) * 2 * np.pi / season) if season > 1 else 0.0
    return list(told * (1 + 0.05 * wave))


def stepped(size: float, place: int, season: int = 12, seed: int = 2) -> list[np.ndarray]:
    after = np.arange(LENGTH) >= place
    return [one + size * after for one in clean("noise", season, seed)]


@pytest.mark.parametrize("season", [1, 4, 12])
@pytest.mark.parametrize(
    "kind",
    ["noise", "autoregression", "walk", "walk in per cent", "trend", "counts", "skewed sales"],
)
def test_clean_series_have_few_breaks(kind, season):
    found = find_breaks(batch_of(clean(kind, season), season))
    assert (found.steps != 0).any(axis=1).mean() <= 0.02


@pytest.mark.parametrize(("size", "least"), [(8, 0.85), (12, 0.97), (-12, 0.97), (20, 0.97)])
def test_a_planted_step_is_found_where_it_came_and_as_large_as_it_was(size, least):
    found = find_breaks(batch_of(stepped(size, 40), 12))
    hit = found.steps[:, 40] != 0
    assert hit.mean() >= least
    moved = np.expm1(found.steps[hit, 40]) * 100
    assert np.median(moved) == pytest.approx(size, abs=1.0)
    assert ((found.steps != 0).sum(axis=1) > 1).mean() <= 0.02


def test_two_steps_are_undone_together_and_the_latest_value_stands():
    rng = np.random.default_rng(5)
    place = np.arange(LENGTH)
    level = 100 + 30.0 * (place >= 24) - 40.0 * (place >= 50)
    raw = level + rng.normal(size=LENGTH)
    seen = unbroken(batch_of([raw], 1)).values[0]
    assert seen[-1] == raw[-1]
    for part in (seen[:24], seen[24:50], seen[50:]):
        assert part.mean() == pytest.approx(90, abs=1.5)


def test_an_outlier_and_a_step_of_the_last_periods_are_left_alone():
    rng = np.random.default_rng(6)
    raw = 100 + rng.normal(size=(2, LENGTH))
    raw[0, 40] += 40
    raw[1, -3:] += 40
    assert not find_breaks(batch_of(list(raw), 1)).steps.any()


def test_what_comes_later_does_not_change_what_was_seen_before():
    known = stepped(12, 40)[:20]
    later = [np.append(one, [500.0, 500.0, 500.0, 500.0, 500.0, 500.0]) for one in known]
    cut = [one[:LENGTH] for one in later]
    assert (unbroken(batch_of(cut, 12)).values == unbroken(batch_of(known, 12)).values).all()


@given(
    values=st.lists(st.integers(0, 50), min_size=1, max_size=60),
    season=st.sampled_from([1, 4, 12]),
    scale=st.sampled_from([1e-3, 0.5, 1024.0, 3e7]),
)
def test_any_series_stays_finite_above_zero_and_true_to_its_unit(values, season, scale):
    one = np.array(values, dtype=float)
    seen = unbroken(batch_of([one], season)).values[0]
    assert np.isfinite(seen).all()
    assert (seen >= 0).all()
    assert seen[-1] == one[-1]
    scaled = unbroken(batch_of([one * scale], season)).values[0]
    assert scaled == pytest.approx(seen * scale, rel=1e-6, abs=1e-9 * scale)


def test_forecasts_after_a_step_are_nearer_than_those_of_the_whole_past():
    """Ours against the same method on the raw past: a panel with steps is judged on what comes next."""
    horizon = 6
    raw = [one[:60] for one in stepped(20, 44)[:60]]
    past = [one[:-horizon] for one in raw]
    actual = np.concatenate([one[-horizon:] for one in raw])
    panel = pd.concat(
        pd.DataFrame({"unique_id": f"{place:02}", "ds": np.arange(len(one)), "y": one})
        for place, one in enumerate(past)
    )
    told = forecast_series(panel, horizon=horizon, season_length=12, freq=1, mode="fast")
    without = combined(batch_of(past, 12), horizon).ravel()
    ours, theirs = (np.abs(guess - actual).mean() for guess in (told["mean"], without))
    assert ours < 0.5 * theirs
