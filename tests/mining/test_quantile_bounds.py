"""Bounds of quantiles against lifelines, and against how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from lifelines import KaplanMeierFitter
from lifelines.utils import qth_survival_times

from salesops_ml.mining.dwell import exit_weights, weighted_quantiles
from salesops_ml.mining.influence import AtRisk
from salesops_ml.mining.quantile_bounds import any_exit_quantile, one_exit_quantile


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_of_a_stage_is_lifelines(level: float, ties: bool) -> None:
    rng = np.random.default_rng(8)
    group, days = rng.integers(0, 4, 500), rng.exponential(10, 500)
    days = np.ceil(days) if ties else days
    left = rng.random(500) < 0.7
    table = AtRisk.of(group, days, left, 4)
    for probability in (0.25, 0.5, 0.75):
        value, low, high = any_exit_quantile(table, days, np.arange(500), probability, level)
        for code in range(4):
            here = group == code
            fitter = KaplanMeierFitter(alpha=1 - level).fit(days[here], left[here])
            band = qth_survival_times(1 - probability, fitter.confidence_interval_)
            theirs = sorted(float(end) for end in np.ravel(band))
            ours = [low[code], np.inf if np.isnan(high[code]) else high[code]]
            assert np.allclose(ours, theirs, rtol=0, atol=1e-9)
            assert abs(value[code] - fitter.percentile(1 - probability)) < 1e-9


def test_the_quantile_of_a_transition_is_that_of_dwell() -> None:
    rng = np.random.default_rng(2)
    group, days, door = rng.integers(0, 3, 300), rng.exponential(10, 300), rng.integers(0, 3, 300)
    table = AtRisk.of(group, days, door > 0, 3)
    weight = np.where(door == 2, exit_weights(group, days, door > 0, 3), 0.0)
    for probability in (0.1, 0.5, 0.9):
        found = one_exit_quantile(table, days, np.arange(300), door == 2, probability, 0.9)
        known = weighted_quantiles(group, days, weight, 3, (probability,), of_all=False)[:, 0]
        assert np.allclose(found[0], known)
        assert (found[1] <= found[0]).all()
        assert not (found[0] > found[2]).any()  # an open end is NaN


def crowd(seed: int) -> tuple[np.ndarray, ...]:
    """60 deals, each with one to four stays that are alike; two doors; some stays still go on."""
    rng = np.random.default_rng(seed)
    case = np.repeat(np.arange(60), rng.integers(1, 5, 60))
    pace = rng.choice([0.5, 1.0, 2.0], 60)[case]
    size = len(case)
    days, limit = rng.exponential(10, size) / pace, rng.exponential(60, size)
    door = np.where(rng.random(size) < 0.6, 1, 2)
    return case, np.minimum(days, limit), np.where(days <= limit, door, 0)


def true_median() -> float:
    days = np.linspace(0, 40, 400_001)
    staying = np.mean([np.exp(-days * pace / 10) for pace in (0.5, 1.0, 2.0)], axis=0)
    return float(days[np.searchsorted(-staying, -0.5)])


def test_intervals_hold_the_truth_as_often_as_promised_though_stays_are_siblings() -> None:
    truth, hits, naive = true_median(), [], []
    for seed in range(250):
        case, days, door = crowd(seed)
        table = AtRisk.of(np.zeros(len(case), int), days, door > 0, 1)
        own = np.arange(len(case))
        for found, who in ((hits, case), (naive, own)):
            _, low, high = any_exit_quantile(table, days, who, 0.5, 0.9)
            one = one_exit_quantile(table, days, who, door == 1, 0.5, 0.9)
            found.append([low[0] <= truth <= high[0], one[1][0] <= truth <= one[2][0]])
    held = np.mean(hits, axis=0)
    assert (held > 0.84).all()
    assert (held < 0.97).all()
    assert (np.mean(naive, axis=0) < held).all()


def test_few_exits_leave_the_upper_end_open() -> None:
    days = np.array([1.0, 2.0, 3.0])
    table = AtRisk.of(np.zeros(3, int), days, np.ones(3, bool), 1)
    value, low, high = one_exit_quantile(table, days, np.arange(3), np.ones(3, bool), 0.9, 0.95)
    assert value[0] == 3.0
    assert low[0] <= 3.0
    assert np.isnan(high[0])
    _, _, above = any_exit_quantile(table, days, np.arange(3), 0.9, 0.95)
    assert np.isnan(above[0])


def test_a_door_that_nobody_took_has_no_quantile() -> None:
    days = np.array([1.0, 2.0])
    table = AtRisk.of(np.zeros(2, int), days, np.ones(2, bool), 1)
    found = one_exit_quantile(table, days, np.arange(2), np.zeros(2, bool), 0.5, 0.95)
    assert np.isnan(np.concatenate(found)).all()
