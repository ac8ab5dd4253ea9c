"""Proper scores against scikit-learn and against slow loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from salesops_ml.evaluation import proper_scores as ours
from salesops_ml.evaluation.censoring import follow_up_share, horizon_weights, last_supported_day


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = draw(st.integers(4, 60))
    seed = draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    won = rng.random(n) < 0.4
    won[:2] = [True, False]
    p = np.round(rng.uniform(0.01, 0.99, n), draw(st.sampled_from([1, 6]))).clip(0.01, 0.99)
    return won, p, rng.uniform(0.1, 3.0, n)


@given(scored())
def test_scores_equal_scikit_learn(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    won, p, weight = case
    assert ours.log_loss(won, p, weight) == pytest.approx(
        metrics.log_loss(won, p, sample_weight=weight, labels=[False, True])
    )
    assert ours.brier(won, p, weight) == pytest.approx(
        metrics.brier_score_loss(won, p, sample_weight=weight)
    )
    assert ours.auc(won, p, weight) == pytest.approx(
        metrics.roc_auc_score(won, p, sample_weight=weight)
    )


def test_calibration_line_is_the_logistic_regression_on_the_logit() -> None:
    rng = np.random.default_rng(3)
    p = rng.uniform(0.05, 0.95, 3_000)
    won = rng.random(3_000) < 1 / (1 + np.exp(-(0.4 + 0.7 * ours.logit(p))))
    model = LogisticRegression(C=np.inf, tol=1e-10).fit(ours.logit(p)[:, None], won)
    intercept, slope = ours.calibration_line(won, p)
    assert intercept == pytest.approx(model.intercept_[0], abs=1e-3)
    assert slope == pytest.approx(model.coef_[0, 0], abs=1e-3)
    assert slope == pytest.approx(0.7, abs=0.1)


def test_calibration_error_of_the_truth_is_small_and_of_a_shifted_score_is_the_shift() -> None:
    rng = np.random.default_rng(4)
    p = rng.uniform(0.1, 0.7, 40_000)
    won = rng.random(40_000) < p
    assert ours.calibration_error(won, p) < 0.015
    assert ours.calibration_error(won, p + 0.2) == pytest.approx(0.2, abs=0.01)
    table = ours.reliability(won, p)
    assert len(table) == 15
    assert np.ptp(table[:, 2]) / table[:, 2].mean() < 0.01


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.floats(2.0, 30.0))
def test_censoring_weights_equal_a_loop_by_hand(seed: int, horizon: float) -> None:
    rng = np.random.default_rng(seed)
    n = 40
    followed = np.round(rng.uniform(0.5, 40, n), 1)
    end = np.round(rng.exponential(15, n), 1)
    event = np.where(end <= followed, rng.integers(1, 3, n), 0)
    duration = np.where(event > 0, end, followed)
    weights = horizon_weights(event, duration, followed, horizon)
    for i in range(n):
        closed = event[i] > 0 and duration[i] <= horizon
        if closed:
            share = np.mean(followed >= duration[i])
        elif followed[i] >= horizon:
            share = np.mean(followed >= horizon)
        else:
            assert weights[i] == 0
            continue
        assert weights[i] == pytest.approx(1 / share)


def test_weighted_share_won_is_unbiased_under_censoring() -> None:
    rng = np.random.default_rng(5)
    n, horizon = 200_000, 30.0
    win_day, lose_day = rng.exponential(40, n), rng.exponential(60, n)
    followed = rng.uniform(0, 60, n)
    end = np.minimum(win_day, lose_day)
    event = np.where(end > followed, 0, np.where(win_day < lose_day, 1, 2))
    weights = horizon_weights(event, np.minimum(end, followed), followed, horizon)
    won = (event == 1) & (end <= horizon)
    truth = np.mean((win_day < lose_day) & (win_day <= horizon))
    assert np.average(won, weights=weights) == pytest.approx(truth, abs=0.006)
    naive = np.mean(won)
    assert abs(naive - truth) > 0.05


def test_last_supported_day_is_where_few_rows_are_still_followed() -> None:
    followed = np.arange(1.0, 101.0)
    assert last_supported_day(followed, 200) == 96
    assert last_supported_day(followed, 20) == 20
    assert follow_up_share(followed, np.array([96.0]))[0] == pytest.approx(0.05)


def test_integrated_brier_equals_a_loop_by_hand() -> None:
    rng = np.random.default_rng(6)
    n, days = 30, np.array([5.0, 10.0, 15.0])
    followed = rng.uniform(3, 30, n)
    win, lose = rng.exponential(12, n), rng.exponential(20, n)
    end = np.minimum(win, lose)
    seen = end <= followed
    won_day = np.where(seen & (win < lose), end, np.inf)
    closed_day = np.where(seen, end, np.inf)
    curve = np.sort(rng.uniform(0, 1, (n, 3)), axis=1)
    total = 0.0
    for j, day in enumerate(days):
        for i in range(n):
            if closed_day[i] <= day:
                weight = 1 / np.mean(followed >= closed_day[i])
            elif followed[i] >= day:
                weight = 1 / np.mean(followed >= day)
            else:
                weight = 0.0
            total += weight * ((won_day[i] <= day) - curve[i, j]) ** 2
    found = ours.integrated_brier(won_day, followed, days, curve, closed_day)
    assert found == pytest.approx(total / (n * len(days)))
