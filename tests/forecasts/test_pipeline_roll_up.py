"""The roll-up: exact means, shared shock, what lies beyond the curves, and named bad input."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import ModelError
from salesops_ml.forecasts import ScoredPipeline
from salesops_ml.forecasts.closing_amounts import ClosingAmounts
from salesops_ml.forecasts.lag_to_win import LateRates
from salesops_ml.forecasts.pipeline_roll_up import OpenRevenue, roll_up

AS_OF = datetime(2026, 1, 1)
ENDS = np.array([31.0, 59.0, 90.0])
AS_THEY_STAND = ClosingAmounts(np.ones(1), 500.0)
NO_LATE = LateRates(0.0, 0.0, 0.0)


def exponential(
    win: np.ndarray, loss: np.ndarray, days: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Exact curves of constant competing rates."""
    rate = (win + loss)[:, None]
    gone = 1 - np.exp(-rate * days[None, :])
    return win[:, None] / rate * gone, loss[:, None] / rate * gone


def pipeline(count: int, seed: int = 0, horizon: int = 90) -> ScoredPipeline:
    rng = np.random.default_rng(seed)
    days = np.arange(1.0, horizon + 1)
    won, lost = exponential(rng.uniform(0.001, 0.01, count), rng.uniform(0.001, 0.01, count), days)
    deals = pd.DataFrame(
        {"deal_id": [f"d{i:04d}" for i in range(count)], "amount": rng.lognormal(9, 1, count)}
    )
    return ScoredPipeline(AS_OF, deals, days, won, lost)


def rolled(
    deals: ScoredPipeline,
    *,
    shock: float = 0.0,
    samples: int = 4_000,
    amounts: ClosingAmounts = AS_THEY_STAND,
    ends: np.ndarray = ENDS,
    late: LateRates = NO_LATE,
    seed: int = 5,
) -> OpenRevenue:
    rng = np.random.default_rng(seed)
    leaves = np.arange(len(deals.deals)) % 3
    return roll_up(
        deals, amounts, leaves, leaf_count=3, ends=ends, rhythm=np.ones(len(ends)), late=late,
        factor=rng.standard_normal(samples), shock=shock, rng=rng,
    )  # fmt: skip


def test_the_mean_is_the_curves_mean_exactly():
    deals = pipeline(60)
    ratios = ClosingAmounts(np.array([0.7, 0.9, 1.1]), 500.0)
    found = rolled(deals, amounts=ratios, shock=0.3).mean
    by_hand = np.zeros((3, 3))
    for row in range(60):
        at_ends = [0.0, *(deals.cif_won[row, int(end) - 1] for end in ENDS)]
        by_hand[row % 3] += np.diff(at_ends) * deals.amounts[row] * 0.9
    assert found == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("shock", [0.0, 0.3])
def test_samples_scatter_about_the_exact_mean(shock):
    found = rolled(pipeline(400), shock=shock)
    total = found.samples.sum(axis=0)
    error = total.std(axis=1) / np.sqrt(total.shape[1])
    assert np.abs(total.mean(axis=1) - found.mean.sum(axis=0)).max() < 5 * error.max()


def test_independent_deals_have_the_variance_of_coins():
    found = rolled(pipeline(400), samples=20_000)
    assert found.samples.sum(axis=0).var(axis=1) == pytest.approx(found.variance, rel=0.05)


def test_a_shared_shock_widens_the_total_as_its_loading_says():
    deals = pipeline(400)
    calm, shaken = rolled(deals, samples=20_000), rolled(deals, shock=0.2, samples=20_000)
    assert shaken.mean == pytest.approx(calm.mean)
    quarter = shaken.samples.sum(axis=(0, 1)).var()
    promised = calm.samples.sum(axis=(0, 1)).var() + (0.2 * calm.loading.sum()) ** 2
    assert quarter == pytest.approx(promised, rel=0.08)
    assert quarter > 1.5 * calm.samples.sum(axis=(0, 1)).var()


def test_a_deal_is_won_once_and_for_one_amount():
    one = ScoredPipeline(
        AS_OF, pd.DataFrame({"deal_id": ["a"], "amount": [10.0]}), np.array([90.0]),
        np.array([[0.9]]), np.array([[0.1]]),
    )  # fmt: skip
    rng = np.random.default_rng(1)
    found = roll_up(
        one, AS_THEY_STAND, np.zeros(1, dtype=np.int64), leaf_count=1, ends=ENDS, rhythm=np.ones(3),
        late=NO_LATE, factor=rng.standard_normal(500), shock=0.4, rng=rng,
    )  # fmt: skip
    assert set(np.unique(found.samples.sum(axis=(0, 1)))) == {0.0, 10.0}


def test_beyond_the_curves_constant_rates_go_on():
    deals = pipeline(200, horizon=60)
    longer = pipeline(200, horizon=240)
    days = np.array([90.0, 150.0, 240.0])
    found = deals.won_by(days, np.ones(3), NO_LATE)
    assert found == pytest.approx(longer.won_by(days, np.ones(3), NO_LATE), rel=0.01)


def test_late_rates_of_the_company_take_their_share():
    deals = pipeline(50, horizon=60)
    days = np.array([60.0, 120.0])
    own = deals.won_by(days, np.ones(2), NO_LATE)
    none = deals.won_by(days, np.ones(2), LateRates(0.0, 0.02, 1.0))
    assert none[:, 1] == pytest.approx(own[:, 0])
    lively = deals.won_by(days, np.ones(2), LateRates(0.5, 0.0, 1.0))
    everything_open = 1 - deals.cif_lost[:, -1]
    assert lively[:, 1] == pytest.approx(everything_open, rel=1e-6)


@given(horizon=st.integers(5, 120), trust=st.floats(0, 1), rhythm=st.floats(0.1, 4))
@settings(max_examples=20, deadline=None)
def test_chances_never_fall_nor_leave_what_is_possible(horizon, trust, rhythm):
    deals = pipeline(20, horizon=horizon)
    days = np.arange(1.0, 400.0, 13.0)
    late = LateRates(0.01, 0.02, trust)
    found = deals.won_by(days, np.full(len(days), rhythm), late)
    assert (np.diff(found, axis=1) >= -1e-12).all()
    assert (found <= 1 - deals.cif_lost[:, -1:] + 1e-12).all()


@given(seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_row_order_changes_nothing(seed):
    deals = pipeline(30)
    order = np.random.default_rng(seed).permutation(30)
    shuffled = ScoredPipeline(
        AS_OF, deals.deals.iloc[order], deals.days, deals.cif_won[order], deals.cif_lost[order]
    )
    assert np.array_equal(rolled(deals).samples, rolled(shuffled).samples)


def test_an_unpriced_deal_takes_what_such_deals_close_for():
    unpriced = ClosingAmounts(np.array([0.5, 1.5]), 500.0)
    frame = pd.DataFrame({"deal_id": ["a", "b", "c"], "amount": [np.nan, 0.0, 80.0]})
    won = np.full((3, 1), 0.5)
    deals = ScoredPipeline(AS_OF, frame, np.array([31.0]), won, won)
    found = rolled(deals, amounts=unpriced).mean
    assert found.sum(axis=1) == pytest.approx([250.0, 250.0, 40.0])


def test_an_empty_pipeline_brings_nothing():
    nothing = np.zeros((0, 2))
    deals = pd.DataFrame({"deal_id": [], "amount": []})
    empty = ScoredPipeline(AS_OF, deals, np.array([1.0, 2.0]), nothing, nothing)
    assert rolled(empty, samples=10).samples.sum() == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cif_won": np.array([[0.5, 0.4]])}, "curves of deal `a` fall"),
        ({"cif_won": np.array([[0.5, 0.9]])}, "leave 0..1"),
        ({"cif_won": np.array([[0.5, np.nan]])}, "curves of deal `a`"),
        ({"cif_won": np.array([[0.5]])}, r"`cif_won` has shape \(1, 1\)"),
        ({"days": np.array([30.0, 10.0])}, "`days` must rise"),
        ({"deals": pd.DataFrame({"deal_id": ["a"]})}, "lacks column `amount`"),
    ],
)
def test_impossible_curves_are_named(change, words):
    good = {
        "deals": pd.DataFrame({"deal_id": ["a"], "amount": [1.0]}), "days": np.array([10.0, 30.0]),
        "cif_won": np.array([[0.1, 0.2]]), "cif_lost": np.array([[0.1, 0.3]]),
    }  # fmt: skip
    with pytest.raises(ModelError, match=words):
        ScoredPipeline(AS_OF, **(good | change))


def test_a_deal_scored_twice_is_named():
    frame = pd.DataFrame({"deal_id": ["a", "a"], "amount": [1.0, 1.0]})
    curves = np.zeros((2, 1))
    with pytest.raises(ModelError, match="deal `a` stands twice"):
        ScoredPipeline(AS_OF, frame, np.array([10.0]), curves, curves)
