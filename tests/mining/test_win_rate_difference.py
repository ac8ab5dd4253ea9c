"""Win rates under censoring: closed forms without open deals, leave-one-out with them, and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from salesops_ml.mining.dwell import share_at_end
from salesops_ml.mining.visits import Endings
from salesops_ml.mining.win_rate_difference import (
    WinRate,
    _influence,
    win_rate,
    win_rate_difference,
)


def endings(seed: int, deals: int, *, win: float = 0.4, horizon: float = np.inf) -> Endings:
    rng = np.random.default_rng(seed)
    days = rng.exponential(20.0, deals).round(1)
    won = rng.random(deals) < win
    until = rng.uniform(0, horizon, deals) if np.isfinite(horizon) else np.full(deals, np.inf)
    return Endings(np.minimum(days, until), days <= until, won & (days <= until))


@pytest.mark.parametrize("won", [0, 1, 7, 30])
def test_without_open_deals_both_intervals_are_those_of_statsmodels(won: int) -> None:
    days = np.arange(30.0) + 1
    first = win_rate(Endings(days, np.ones(30, bool), np.arange(30) < won))
    assert (first.share, first.deals) == (pytest.approx(won / 30), pytest.approx(30))
    theirs = proportion_confint(won, 30, alpha=0.1, method="wilson")
    assert first.interval() == pytest.approx(theirs)
    found = win_rate_difference(first, WinRate(0.5, 40))
    low, high = confint_proportions_2indep(won, 30, 20, 40, method="newcomb", alpha=0.1)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.value == pytest.approx(won / 30 - 0.5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([15.0, 40.0, np.inf]))
def test_the_share_is_that_of_transitions_and_the_interval_holds_it(
    seed: int, deals: int, horizon: float
) -> None:
    group = endings(seed, deals, horizon=horizon)
    rate = win_rate(group)
    code = np.zeros(deals, dtype=np.int64)
    expected = share_at_end(code, group.days, group.known, group.won, 1)[0]
    np.testing.assert_allclose(rate.share, expected, atol=1e-12)
    if not np.isnan(rate.share):
        low, high = rate.interval()
        assert -1e-12 <= low <= rate.share + 1e-12
        assert rate.share - 1e-12 <= high <= 1 + 1e-12
        assert rate.deals <= deals


def test_influences_are_the_slope_when_a_deal_weighs_a_little_more() -> None:
    group = endings(5, 25, horizon=40.0)
    influence, reached = _influence(group.days, group.known, group.won)
    copies, more = 2_000, 2
    for deal in range(25):
        row = np.concatenate([np.repeat(np.arange(25), copies), np.full(more, deal)])
        heavier = _influence(group.days[row], group.known[row], group.won[row])[1]
        slope = (heavier - reached) / (more / copies)
        assert slope == pytest.approx(influence[deal], abs=2e-3)


def test_no_closed_deal_says_nothing() -> None:
    nothing = win_rate(Endings(np.array([3.0]), np.array([False]), np.array([False])))
    found = win_rate_difference(nothing, WinRate(0.5, 10))
    assert np.isnan([nothing.share, found.value, found.low, found.high]).all()


@pytest.mark.parametrize(("deals", "horizon"), [(25, np.inf), (60, 120.0), (200, 90.0)])
def test_the_interval_of_the_difference_covers_what_it_promises(deals: int, horizon: float) -> None:
    covered = []
    for seed in range(400):
        first = win_rate(endings(2 * seed, deals, win=0.3, horizon=horizon))
        second = win_rate(endings(2 * seed + 1, 2 * deals, win=0.5, horizon=horizon))
        found = win_rate_difference(first, second)
        covered.append(found.low <= -0.2 <= found.high)
    assert 0.85 <= np.mean(covered) <= 0.96
