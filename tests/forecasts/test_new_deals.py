"""Deals to come: arrivals, conversion, lag and amounts of a world whose rates are known."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from salesops_ml.forecasts.monthly import MonthlyTotals, monthly_series, next_months
from salesops_ml.forecasts.new_deals import NewDealRates, learn_new_deals, simulate_new_deals
from salesops_ml.forecasts.outlook import Outlook, outlook
from salesops_ml.settings import Company

AS_OF = datetime(2026, 7, 1)
WIN, LOSS = 0.006, 0.009
PER_DAY = 20.0
VIEW = outlook(AS_OF, months=5, company=Company())


def steady_world(seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Two years of even arrivals at two leaves; leaf 1 has a third of them, twice as large."""
    rng = np.random.default_rng(seed)
    count = int(PER_DAY * 730)
    born = AS_OF - pd.to_timedelta(rng.uniform(0, 730, count), unit="D")
    ended = born + pd.to_timedelta(rng.exponential(1 / (WIN + LOSS), count), unit="D")
    closed = ended <= AS_OF
    won = rng.random(count) < WIN / (WIN + LOSS)
    leaf = (rng.random(count) < 1 / 3).astype(np.int64)
    deals = pd.DataFrame(
        {
            "created_at": born,
            "closed_at": pd.Series(ended).where(closed),
            "status": np.where(closed, np.where(won, "won", "lost"), "open"),
            "amount": rng.exponential(100.0, count) * (1 + leaf),
        }
    )
    return deals, leaf


def learned(
    deals: pd.DataFrame, leaf: np.ndarray, view: Outlook = VIEW, **changes: object
) -> NewDealRates:
    arguments = {
        "leaf_count": 2, "inactive": np.array([], dtype=np.int64), "season": 12,
        "created": deals["created_at"], "since": view.as_of - timedelta(days=720),
    }  # fmt: skip
    return learn_new_deals(deals, leaf, view, **(arguments | changes))


def true_wins() -> np.ndarray:
    """Expected wins a month of deals that arrive evenly from AS_OF on."""
    rate = WIN + LOSS

    def until(day: np.ndarray) -> np.ndarray:
        return PER_DAY * WIN / rate * (day - (1 - np.exp(-rate * day)) / rate)

    return np.diff(until(np.concatenate([[0.0], VIEW.ends])))


def test_the_known_world_is_found():
    rates = learned(*steady_world())
    assert rates.arrivals == pytest.approx(PER_DAY * np.diff([0, *VIEW.ends]), rel=0.08)
    assert rates.expected_wins().sum(axis=0)[1:] == pytest.approx(true_wins()[1:], rel=0.12)
    assert rates.share == pytest.approx([2 / 3, 1 / 3], abs=0.02)
    assert rates.conversion == pytest.approx(1.0, abs=0.06)
    assert rates.size[1] / rates.size[0] == pytest.approx(2.0, rel=0.08)
    amounts = rates.mean_amounts()[:, -1]
    assert amounts == pytest.approx([100.0, 200.0], rel=0.1)


def test_samples_scatter_about_the_exact_mean_and_share_the_factor():
    rates = learned(*steady_world())
    rng = np.random.default_rng(3)
    factor = rng.standard_normal(4_000)
    found = simulate_new_deals(rates, factor=factor, shock=0.15, rng=rng)
    total = found.samples.sum(axis=0)
    error = total.std(axis=1) / np.sqrt(total.shape[1])
    assert (np.abs(total.mean(axis=1) - found.mean.sum(axis=0)) < 5 * error).all()
    assert np.corrcoef(factor, total.sum(axis=0))[0, 1] > 0.4
    slope = np.polyfit(factor, total.sum(axis=0), 1)[0]
    assert slope == pytest.approx(0.15 * found.loading.sum(), rel=0.15)


def test_variance_without_shock_is_as_told():
    rates = learned(*steady_world())
    rng = np.random.default_rng(4)
    found = simulate_new_deals(rates, factor=rng.standard_normal(8_000), shock=0.0, rng=rng)
    simulated = found.samples.sum(axis=0).var(axis=1)
    # told for each month as if all arrivals surprised alike; spreading them over months is calmer
    assert (simulated < 1.1 * found.variance).all()
    assert (simulated > 0.5 * found.variance).all()


def test_what_one_leaf_gains_the_others_lose():
    rates = learned(*steady_world())
    wild = replace(rates, leaf_variance=np.array([0.5, 0.5]))
    totals = []
    for one in (rates, wild):
        rng = np.random.default_rng(6)
        found = simulate_new_deals(one, factor=rng.standard_normal(3_000), shock=0.0, rng=rng)
        totals.append(found.samples.sum(axis=1))
    calm, shaken = totals
    assert shaken[0].std() > 2 * calm[0].std()
    assert shaken.sum(axis=0).std() < 1.15 * calm.sum(axis=0).std()
    assert shaken.sum(axis=0).mean() == pytest.approx(calm.sum(axis=0).mean(), rel=0.02)


def test_nothing_starts_where_the_rep_has_left():
    rates = learned(*steady_world(), inactive=np.array([1]))
    assert rates.share.tolist() == [1.0, 0.0]
    assert rates.expected_wins()[1].sum() == 0


def test_a_part_of_a_month_brings_its_part_of_arrivals():
    deals, leaf = steady_world()
    middle = AS_OF - timedelta(days=15)
    known = deals[deals.created_at <= middle].reset_index(drop=True)
    late = known.closed_at > middle
    known.loc[late, "closed_at"] = pd.NaT
    known.loc[late, "status"] = "open"
    view = outlook(middle, months=2, company=Company())
    rates = learned(known, leaf[: len(known)], view)
    assert rates.arrivals[0] == pytest.approx(PER_DAY * 15, rel=0.1)


def test_a_company_without_a_past_has_a_future_of_nothing():
    deals, leaf = steady_world()
    rates = learned(deals.head(0), leaf[:0])
    rng = np.random.default_rng(0)
    found = simulate_new_deals(rates, factor=rng.standard_normal(50), shock=0.1, rng=rng)
    assert found.samples.sum() == 0
    assert found.mean.sum() == 0


def test_months_are_added_up_and_broken_ones_left_out():
    days = ["2026-03-20", "2026-04-02", "2026-04-30 23:59", "2026-05-01", "2026-07-01"]
    totals = monthly_series(
        pd.Series(pd.to_datetime(days, format="ISO8601")), np.array([9.0, 1, 2, 4, 8]), VIEW
    )
    assert (totals.first.isoformat(), totals.values.tolist()) == ("2026-04-01", [3.0, 4.0, 0.0])


def test_without_a_whole_month_the_pace_goes_on():
    mean, deviation = next_months(MonthlyTotals(AS_OF.date(), np.empty(0), 30.0, 1.5), 2, season=12)
    assert mean.tolist() == [20.0, 20.0]
    assert deviation.tolist() == [10.0, 10.0]
