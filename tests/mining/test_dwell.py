"""Dwell times against lifelines, an independent implementation, and against what is obvious."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines import AalenJohansenFitter, KaplanMeierFitter

from salesops_ml.mining.dwell import (
    exit_weights,
    share_at_end,
    stage_means,
    stage_quantiles,
    weighted_quantiles,
)

PROBABILITIES = (0.1, 0.25, 0.33, 0.5, 0.77, 0.9)


def world(seed: int, size: int, *, ties: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups, durations and causes (0: still there) of a made world."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 4, size)
    time = rng.exponential(10.0, size)
    if ties:
        time = np.ceil(time)
    cause = rng.choice([0, 1, 2, 3], size, p=[0.25, 0.4, 0.25, 0.1])
    return group, time, cause


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_stage_dwell_is_lifelines_kaplan_meier(seed: int, ties: bool) -> None:
    group, time, cause = world(seed, 401, ties=ties)
    ours = stage_quantiles(group, time, cause > 0, 4, PROBABILITIES)
    weight = exit_weights(group, time, cause > 0, 4)
    for code in range(4):
        here = group == code
        fitter = KaplanMeierFitter().fit(time[here], cause[here] > 0)
        for probability, value in zip(PROBABILITIES, ours[code], strict=True):
            theirs = fitter.percentile(1 - probability)
            assert np.isnan(value) if np.isinf(theirs) else abs(value - theirs) < 1e-9
        curve = fitter.survival_function_["KM_estimate"]
        for t in np.unique(time[here])[::7]:
            left = weight[here & (time <= t)].sum()
            assert abs((1 - left) - curve.loc[t]) < 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_transition_dwell_is_lifelines_aalen_johansen(seed: int) -> None:
    group, time, cause = world(seed, 397, ties=False)
    weight = exit_weights(group, time, cause > 0, 4)
    key = group * 4 + cause
    ours = weighted_quantiles(key, time, weight, 16, PROBABILITIES, of_all=False)
    for code in range(4):
        here = group == code
        for door in (1, 2, 3):
            fitter = AalenJohansenFitter(calculate_variance=False)
            fitter.fit(time[here], cause[here], event_of_interest=door)
            curve = fitter.cumulative_density_.iloc[:, 0]
            chosen = here & (cause == door)
            for t in time[chosen]:
                assert abs(weight[chosen & (time <= t)].sum() - curve.loc[t]) < 1e-9
            for probability, value in zip(PROBABILITIES, ours[code * 4 + door], strict=True):
                reached = curve.index[curve >= probability * curve.iloc[-1] - 1e-12]
                assert abs(value - reached[0]) < 1e-9


def test_without_open_deals_the_quantile_is_the_plain_one() -> None:
    time = np.arange(1.0, 101.0)
    ours = stage_quantiles(np.zeros(100, int), time, np.ones(100, bool), 1, (0.5, 0.9, 1.0))
    assert ours.tolist() == [[50.0, 90.0, 100.0]]


def test_leaving_out_open_deals_would_make_a_slow_stage_look_fast() -> None:
    time = np.concatenate([np.full(50, 5.0), np.full(50, 30.0)])
    left = np.concatenate([np.ones(50, bool), np.zeros(50, bool)])
    honest = stage_means(np.zeros(100, int), time, left, 1)
    assert honest[0] == pytest.approx(0.5 * 5 + 0.5 * 30)
    assert np.isnan(stage_quantiles(np.zeros(100, int), time, left, 1, (0.6,))[0, 0])


def test_the_mean_is_the_area_under_the_curve() -> None:
    group, time, cause = world(9, 200, ties=True)
    means = stage_means(group, time, cause > 0, 4)
    for code in range(4):
        here = group == code
        fitter = KaplanMeierFitter().fit(time[here], cause[here] > 0)
        steps = fitter.survival_function_["KM_estimate"]
        area = (np.diff(steps.index) * steps.to_numpy()[:-1]).sum()
        assert means[code] == pytest.approx(area, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 2)), min_size=1, max_size=60
    )
)
def test_what_must_always_hold(rows: list[tuple[int, int, int]]) -> None:
    group, time, cause = (np.array(column) for column in zip(*rows, strict=True))
    duration = time.astype(float)
    weight = exit_weights(group, duration, cause > 0, 4)
    assert (weight >= 0).all()
    assert (weight[cause == 0] == 0).all()
    assert (np.bincount(group, weights=weight, minlength=4) <= 1 + 1e-9).all()
    quantiles = stage_quantiles(group, duration, cause > 0, 4, (0.1, 0.5, 0.9))
    known = quantiles[~np.isnan(quantiles).any(axis=1)]
    assert (np.diff(known, axis=1) >= 0).all()
    first = share_at_end(group, duration, cause > 0, cause == 1, 4)
    second = share_at_end(group, duration, cause > 0, cause == 2, 4)
    assert (np.abs((first + second)[np.bincount(group, cause > 0, 4) > 0] - 1) < 1e-9).all()
    assert np.isnan(first[3])
    assert np.isnan(second[3])
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = exit_weights(group[order], duration[order], cause[order] > 0, 4)
    assert np.allclose(shuffled, weight[order], atol=1e-12)
