"""Clustered errors against statsmodels' two-way covariance, and against simulation."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.stats.sandwich_covariance import cov_cluster_2groups

from salesops_ml.mining.clusters import Clusters, two_sided, width


def regression(seed: int, reps: int = 25, rows: int = 600) -> tuple[object, np.ndarray, np.ndarray]:
    """Least squares on data with effects of rep and deal; the fit, deals and reps."""
    rng = np.random.default_rng(seed)
    rep, deal = rng.integers(0, reps, rows), rng.integers(0, rows // 3, rows)
    x = rng.standard_normal(rows) + rng.standard_normal(reps)[rep]
    y = (
        rng.standard_normal(reps)[rep]
        + rng.standard_normal(rows // 3)[deal]
        + rng.standard_normal(rows)
    )
    return sm.OLS(y, sm.add_constant(x)).fit(), deal, rep


def influence_of(fit: object) -> np.ndarray:
    model = fit.model  # type: ignore[attr-defined]
    return (model.exog * fit.resid[:, None]) @ fit.normalized_cov_params  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(3))
def test_errors_are_those_of_statsmodels(seed: int) -> None:
    fit, deal, rep = regression(seed)
    both, by_deal, by_rep = cov_cluster_2groups(fit, deal, rep, use_correction=False)
    groups = [len(np.unique(code)) for code in (deal, rep)]
    shares = [count / (count - 1) for count in groups]
    pairs = len(np.unique(rep * 10_000 + deal))
    overlap = (by_deal + by_rep - both) * pairs / (pairs - 1)
    variance = np.diag(by_deal * shares[0] + by_rep * shares[1] - overlap)
    ours = Clusters.of(deal, rep).error(influence_of(fit))
    expected = np.sqrt(np.maximum(variance, np.diag(by_deal) * shares[0]))
    assert np.allclose(ours, expected, rtol=1e-9)


def test_rows_of_one_rep_widen_the_error() -> None:
    fit, deal, rep = regression(7)
    influence = influence_of(fit)
    clusters = Clusters.of(deal, rep)
    assert clusters.error(influence)[1] > 1.5 * clusters.error_by_deal(influence)[1]
    assert clusters.reps == 25


def test_one_rep_or_none_leaves_the_deals() -> None:
    fit, deal, rep = regression(8)
    influence = influence_of(fit)
    by_deal = Clusters.of(deal, None).error(influence)
    assert np.array_equal(Clusters.of(deal, np.zeros_like(rep)).error(influence), by_deal)
    unknown = np.full_like(rep, -1)
    assert np.array_equal(Clusters.of(deal, unknown).error(influence), by_deal)


def test_deals_whose_rep_is_not_known_are_their_own() -> None:
    fit, deal, rep = regression(9)
    influence = influence_of(fit)
    rep = np.where(np.arange(len(rep)) < 300, rep, -1)
    told = np.where(rep >= 0, rep, 1_000 + deal)
    assert np.allclose(
        Clusters.of(deal, rep).error(influence), Clusters.of(deal, told).error(influence)
    )


def test_intervals_and_tests_agree() -> None:
    for reps in (0, 2, 12):
        edge = width(0.9, reps)
        assert two_sided(np.array([edge]), np.ones(1), reps)[0] == pytest.approx(0.1)
    assert width(0.9, 3) > width(0.9, 30) > width(0.9, 0)


def test_an_effect_of_nothing_is_seldom_significant_though_reps_differ() -> None:
    """A property that whole reps have, without effect: of 200, one in twenty at p < 0.05."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        rep = rng.integers(0, 30, 900)
        x = (rng.random(30) < 0.5).astype(float)[rep]
        y = rng.standard_normal(30)[rep] + rng.standard_normal(900)
        fit = sm.OLS(y, sm.add_constant(x)).fit()
        clusters = Clusters.of(np.arange(900), rep)
        p = two_sided(fit.params[1:], clusters.error(influence_of(fit))[1:], clusters.reps)
        hits += int(p[0] < 0.05)
    assert hits <= 24
