"""State space members: statsmodels' own numbers, a planted season gone on with, and who gets them."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from salesops_ml.forecasts import forecast_series
from salesops_ml.forecasts.batch import batch_of
from salesops_ml.forecasts.conformal import replays
from salesops_ml.forecasts.series_members import NAMES, STATE_SPACE, member_forecasts
from salesops_ml.forecasts.series_pool import Pool, admitted
from salesops_ml.forecasts.series_state_space import Airline, Components

SHAPE = np.array([0.0, 12.0, -7.0, 3.0])


def quarters(length: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(0.5, 1.0, size=length))
    return 100 + np.resize(SHAPE, length) + walk + rng.normal(size=length)


@pytest.mark.parametrize("shift", [0, -200])
def test_the_airline_model_agrees_with_statsmodels_on_the_undifferenced_series(shift):
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    values = quarters(48) + shift
    worked = np.log(values) if shift == 0 else values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SARIMAX(worked, order=(0, 1, 1), seasonal_order=(0, 1, 1, 4))
        theirs = model.fit(disp=0, maxiter=200).forecast(8)
    ours = Airline("sarimax", 4).forecast(values, 8)["mean"]
    assert ours == pytest.approx(np.exp(theirs) if shift == 0 else theirs, abs=0.6)


@pytest.mark.parametrize("kind", [Airline, Components])
def test_a_planted_season_goes_on_and_where_there_is_none_the_level_does(kind):
    values = quarters(60)
    told = kind("model", 4).forecast(values[:-4], 4)["mean"]
    assert np.abs(told - values[-4:]).mean() < 4
    rng = np.random.default_rng(1)
    flat = 10 + rng.normal(0, 0.1, size=40)
    assert kind("model", 1).forecast(flat, 3)["mean"] == pytest.approx([10] * 3, abs=0.25)


def test_who_gets_state_space_models():
    rng = np.random.default_rng(2)
    rare = np.where(rng.random(40) < 0.15, 0.0, quarters(40))
    rare[[3, 9, 20, 31]] = 0.0
    for values, season, given in (
        (quarters(40), 4, True),
        (quarters(23), 4, False),
        (rare, 4, False),
        (quarters(30), 12, False),
        (quarters(120), 26, False),
    ):
        told = member_forecasts([values], 3, season, names=("theta", *STATE_SPACE))
        assert np.isfinite(told[0, 0]).all()
        assert np.isfinite(told[0, 1:]).all() == given
    assert set(STATE_SPACE) < set(NAMES)


def test_large_panels_have_no_candidates_and_each_counts_half_before_evidence():
    small = Pool.of(batch_of([quarters(30)] * 40, 4))
    large = Pool.of(batch_of([np.arange(10.0)] * 2001, 4))
    assert small.candidates == STATE_SPACE
    assert large.candidates == ()
    with_one = replace(small, names=(*small.names, small.candidates[0]))
    for pool in (small, large, with_one):
        assert pool.prior.sum() == pytest.approx(1.0)
        assert pool.prior[0] == pool.prior.max()
    assert with_one.prior[-1] == pytest.approx(with_one.prior[1] / 2)


def test_a_candidate_is_let_in_only_where_the_replayed_middle_is_better_for_it():
    """Members err by chance; one candidate knows what came, one is far too high."""
    found = replays(batch_of([quarters(40, seed) for seed in range(30)], 4), 4)
    rng = np.random.default_rng(4)
    came, size = np.nan_to_num(found.actual), found.scale[:, None]
    standing = [came + 2 * size * rng.normal(size=came.shape) for _ in range(3)]
    good, poor = came + 0.2 * size * rng.normal(size=came.shape), came + 9 * size
    pool = Pool(("ets", "ces"), shared=False, candidates=STATE_SPACE)
    for tried, names in (
        ((good, poor), ("ets", "ces", "sarimax")),
        ((poor, good), ("ets", "ces", "components")),
        ((poor, poor), ("ets", "ces")),
    ):
        told = np.stack([*standing, *tried], axis=1)
        larger, kept = admitted(pool, told, found)
        assert larger.names == names
        assert kept.shape[1] == 1 + len(names)
    few = replace(
        found, **{name: getattr(found, name)[:10] for name in ("actual", "scale", "back")}
    )
    assert admitted(pool, told[:10], few)[0] == pool


@pytest.mark.slow
def test_a_member_that_fails_leaves_the_pool_standing():
    """A series of a few repeated values, on which likelihoods are flat or infinite."""
    flat = np.resize([5.0, 5.0, 5.0, 6.0], 40)
    panel = pd.DataFrame({"unique_id": "a", "ds": np.arange(40), "y": flat})
    told = forecast_series(panel, horizon=4, season_length=4, freq=1)
    assert told["mean"].tolist() == pytest.approx([5, 5, 5, 6], abs=0.2)
