"""The pool behind `best`: its middle, its weights, its members, and what it adds to `fast`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import UsageError
from salesops_ml.forecasts import forecast_series
from salesops_ml.forecasts.batch import batch_of
from salesops_ml.forecasts.conformal import replays
from salesops_ml.forecasts.series_learner import FEWEST_SERIES, learned_forecasts
from salesops_ml.forecasts.series_members import NAMES, member_forecasts
from salesops_ml.forecasts.series_pool import learned_weights, weighted_middle
from salesops_ml.forecasts.series_shared import shared_forecasts


def seasonal_walks(count: int, length: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = 10 * np.sin(np.arange(length) * np.pi / 2)
    return [100 + shape + np.cumsum(rng.normal(0.3, 2.0, size=length)) for _ in range(count)]


def panel_of(walks: list[np.ndarray]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"unique_id": f"s{place:02}", "ds": np.arange(len(walk)), "y": walk})
        for place, walk in enumerate(walks)
    ]
    return pd.concat(parts, ignore_index=True)


def test_the_middle_cuts_both_ends_leaves_gaps_out_and_follows_the_weights():
    members = np.array([[[1.0], [2.0], [3.0], [4.0], [90.0], [np.nan]]])
    assert weighted_middle(members, np.full(6, 1 / 6))[0, 0] == pytest.approx(3.0)
    heavy = np.array([0.9, 0.02, 0.02, 0.02, 0.02, 0.02])
    assert weighted_middle(members, heavy)[0, 0] == pytest.approx(1.0)


def test_a_better_member_counts_for_more_but_never_for_all():
    found = replays(batch_of(seasonal_walks(30, 40), season=4), 4)
    good = found.actual + found.scale[:, None] * 0.1
    poor = found.actual + found.scale[:, None] * 5.0
    absent = np.full_like(good, np.nan)
    prior = np.array([1.5, 1.0, 1.0]) / 3.5
    weights = learned_weights(np.stack([good, poor, absent], axis=1), found, prior)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] > weights[2] > 0
    assert 1 / 8 <= weights[1] < weights[0] <= 5 / 6


def test_replays_know_nothing_of_what_came_after():
    whole = seasonal_walks(5, 40)
    found = replays(batch_of(whole, season=4), 4)
    for row, back in enumerate(found.back):
        past = found.earlier.values[row, found.earlier.start[row] :]
        assert any(np.array_equal(past, one[: 40 - back]) for one in whole)


def test_members_of_long_seasons_short_series_and_plain_ones_are_finite():
    rng = np.random.default_rng(1)
    weekly = 50 + 20 * np.sin(np.arange(160) * 2 * np.pi / 52) + rng.normal(size=160)
    for values, season in ((weekly, 52), (weekly[:13], 12), (weekly[:30], 1)):
        told = member_forecasts([values], 6, season)
        assert told.shape == (1, len(NAMES), 6)
        given = dict(zip(NAMES, np.isfinite(told[0]).all(axis=1), strict=True))
        few = len(values) < 24
        assert given == {"ets": True, "ces": True, "theta": True, "arima": not few,
                         "sarimax": season == 1, "components": season == 1}  # fmt: skip
    season = 50 + 20 * np.sin(np.arange(160, 166) * 2 * np.pi / 52)
    told = member_forecasts([weekly], 6, 52)[0]
    assert np.nanmedian(np.abs(told - season)) < 4.0


def test_the_shared_model_needs_a_panel_and_learns_a_trend_from_it():
    lines = [np.arange(30.0) * (1 + place) + 5 for place in range(FEWEST_SERIES)]
    rng = np.random.default_rng(2)
    noisy = [line + rng.normal(0, 0.05, size=30) for line in lines]
    told = learned_forecasts([line - 300 for line in noisy], 3, 1)
    ahead = np.array([[line[-1] + (place + 1) * step - 300 for step in (1, 2, 3)]
                      for place, line in enumerate(lines)])  # fmt: skip
    assert np.abs(told - ahead).max() / 30 < 0.5
    assert np.isnan(learned_forecasts(noisy[:5], 3, 1)).all()


def test_shared_boosters_need_a_panel_go_on_with_its_season_and_may_fall_below_zero():
    walks = [walk - 120 for walk in seasonal_walks(40, 40, seed=3)]
    told = shared_forecasts([walk[:-4] for walk in walks], 4, 4)
    ahead = np.array([walk[-4:] for walk in walks])
    naive = np.array([walk[-8:-4] for walk in walks])
    assert np.isfinite(told).all()
    assert np.abs(told[:, 0] - ahead).mean() < np.abs(naive - ahead).mean()
    assert (told < 0).any()
    short = [walk[:9] for walk in walks]
    assert np.isnan(shared_forecasts(short, 4, 4)).all()
    assert np.isnan(shared_forecasts(walks[:10], 4, 4)).all()
    again = shared_forecasts([walk[:-4] for walk in walks], 4, 4)
    assert (told == again).all()


@pytest.mark.slow
def test_best_gives_the_same_numbers_on_one_process_and_two_and_in_any_row_order():
    panel = panel_of(seasonal_walks(16, 20))
    asked = {"horizon": 3, "season_length": 4, "freq": 1, "mode": "best"}
    one = forecast_series(panel, **asked)
    two = forecast_series(panel.sample(frac=1.0, random_state=1), processes=2, **asked)
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert (one.lo_95 <= one.lo_80).all()
    assert (one.hi_80 <= one.hi_95).all()


@pytest.mark.slow
def test_best_is_nearer_than_a_seasonal_naive_forecast_and_covers():
    walks = seasonal_walks(24, 44, seed=5)
    horizon = 4
    told = forecast_series(
        panel_of([walk[:-horizon] for walk in walks]), horizon=horizon, season_length=4, freq=1
    )
    actual = np.concatenate([walk[-horizon:] for walk in walks])
    naive = np.concatenate([walk[-2 * horizon : -horizon] for walk in walks])
    assert np.abs(told["mean"] - actual).mean() < 0.9 * np.abs(naive - actual).mean()
    assert 0.65 <= ((told.lo_80 <= actual) & (actual <= told.hi_80)).mean() <= 0.93


def test_an_unknown_mode_and_no_process_are_named():
    panel = panel_of(seasonal_walks(1, 12))
    for asked, words in (({"mode": "slow"}, "`mode` is 'slow'"), ({"processes": 0}, "`processes`")):
        with pytest.raises(UsageError, match=words):
            forecast_series(panel, horizon=2, season_length=4, freq=1, **asked)
