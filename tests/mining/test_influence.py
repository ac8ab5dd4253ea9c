"""Influences against numeric derivatives, variances against what is known, intervals against luck."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from salesops_ml.mining.dwell import share_at_end, stage_means
from salesops_ml.mining.influence import (
    AtRisk,
    clustered_error,
    restricted_mean,
    share_interval,
    share_of_exits,
)


def stays(seed: int, size: int, *, ties: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    days = rng.exponential(10.0, size)
    return rng.integers(0, 3, size), np.ceil(days / 4) if ties else days, rng.integers(0, 3, size)


def weighted_sum(days: np.ndarray, door: np.ndarray, value: np.ndarray, mass: np.ndarray) -> float:
    """The sum over exits by a slow loop, each stay having some mass."""
    staying, total = 1.0, 0.0
    for time in np.unique(days):
        at_risk = mass[days >= time].sum()
        leaving = (days == time) & (door > 0)
        total += staying * (mass * value)[leaving].sum() / at_risk
        staying *= 1 - mass[leaving].sum() / at_risk
    return total


@pytest.mark.parametrize("ties", [False, True])
def test_an_influence_is_the_derivative_by_the_mass_of_a_stay(ties: bool) -> None:
    group, days, door = stays(5, 90, ties=ties)
    value = np.random.default_rng(1).normal(size=90)
    total, influence = AtRisk.of(group, days, door > 0, 3).sums(value)
    for code in range(3):
        here = group == code
        size = int(here.sum())
        assert (
            abs(total[code] - weighted_sum(days[here], door[here], value[here], np.ones(size)))
            < 1e-9
        )
        for turn in range(0, size, 3):
            step = np.zeros(size)
            step[turn] = 1e-5
            up = weighted_sum(days[here], door[here], value[here], 1 + step)
            down = weighted_sum(days[here], door[here], value[here], 1 - step)
            assert abs(influence[here][turn] - (up - down) / 2e-5) < 1e-6
        assert abs(influence[here].sum()) < 1e-9


def test_shares_and_means_are_those_of_dwell() -> None:
    group, days, door = stays(9, 200, ties=True)
    table = AtRisk.of(group, days, door > 0, 3)
    share = share_of_exits(table, door == 1).value
    assert np.allclose(share, share_at_end(group, days, door > 0, door == 1, 3))
    longest = np.array([days[group == code].max() for code in range(3)])
    means = restricted_mean(table, days, longest).value
    assert np.allclose(means, stage_means(group, days, door > 0, 3))


def test_without_open_deals_the_error_is_that_of_a_plain_share_and_mean() -> None:
    group, days, door = stays(3, 300, ties=False)
    everyone = np.ones(300, bool)
    table = AtRisk.of(group, days, everyone, 3)
    share = share_of_exits(table, door == 1)
    size = np.bincount(group)
    expected = np.sqrt(share.value * (1 - share.value) / size)
    assert np.allclose(share.error(np.arange(300)), expected)
    mean = restricted_mean(table, days, np.full(3, 1e6))
    spread = [days[group == code].std() / np.sqrt(size[code]) for code in range(3)]
    assert np.allclose(mean.error(np.arange(300)), spread)


def test_stays_of_one_deal_count_once() -> None:
    """Every stay twice, in the same deal: the figure is no surer than with each once."""
    group, days, door = stays(4, 150, ties=False)
    once = share_of_exits(AtRisk.of(group, days, door > 0, 3), door == 1)
    twice = [np.tile(part, 2) for part in (group, days, door)]
    again = share_of_exits(AtRisk.of(twice[0], twice[1], twice[2] > 0, 3), twice[2] == 1)
    assert np.allclose(again.value, once.value)
    assert np.allclose(
        again.error(np.tile(np.arange(150), 2)), once.error(np.arange(150)), rtol=0.05
    )
    assert (again.error(np.arange(300)) < 0.8 * once.error(np.arange(150))).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.data())
def test_of_independent_cases_the_interval_is_clopper_and_pearsons(
    size: int, data: st.DataObject
) -> None:
    hits = data.draw(st.integers(0, size))
    share = hits / size
    error = np.sqrt(share * (1 - share) / size)
    low, high = share_interval(*(np.array([x]) for x in (share, error, size)), 0.95)
    theirs = binomtest(hits, size).proportion_ci(0.95, method="exact")
    assert abs(low[0] - theirs.low) < 1e-6
    assert abs(high[0] - theirs.high) < 1e-6


def test_the_interval_of_a_share_keeps_its_promise_with_open_deals_and_siblings() -> None:
    """80 deals with one to three stays each, alike within a deal; a fifth of the stays still open."""
    covered = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        case = np.repeat(np.arange(80), rng.integers(1, 4, 80))
        taste = rng.beta(2, 3, 80)[case]  # a mean of .4
        first = rng.random(len(case)) < taste
        days, limit = rng.exponential(10, len(case)), rng.exponential(40, len(case))
        table = AtRisk.of(np.zeros(len(case), int), np.minimum(days, limit), days <= limit, 1)
        figure = share_of_exits(table, first)
        low, high = share_interval(
            figure.value, figure.error(case), np.array([float(len(case))]), 0.9
        )
        covered.append(low[0] <= 0.4 <= high[0])
    assert 0.86 <= np.mean(covered) <= 0.97


def test_nothing_in_a_group_is_told_as_nothing() -> None:
    nobody = AtRisk.of(np.zeros(0, int), np.zeros(0), np.zeros(0, bool), 2)
    assert np.isnan(share_of_exits(nobody, np.zeros(0, bool)).value).all()
    assert np.isnan(clustered_error(np.zeros(0), np.zeros(0, int), np.zeros(0, int), 2)).all()
