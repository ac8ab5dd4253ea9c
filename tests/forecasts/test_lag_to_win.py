"""Rates by age: against lifelines, against a world of known rates, and by hand."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from salesops_ml.forecasts.lag_to_win import late_rates, learn_lag_to_win, promised_wins
from salesops_ml.forecasts.outlook import outlook
from salesops_ml.forecasts.rhythm import learn_pace
from salesops_ml.settings import Company

AS_OF = datetime(2026, 7, 1)
WIN, LOSS = 0.006, 0.009


def poisson_world(count: int, seed: int = 0, years: float = 2.0) -> pd.DataFrame:
    """Deals that arrive evenly and end at constant rates; those after AS_OF are still open."""
    rng = np.random.default_rng(seed)
    born = AS_OF - pd.to_timedelta(rng.uniform(0, 365 * years, count), unit="D")
    life = pd.to_timedelta(rng.exponential(1 / (WIN + LOSS), count), unit="D")
    ended = born + life
    won = rng.random(count) < WIN / (WIN + LOSS)
    closed = ended <= AS_OF
    return pd.DataFrame(
        {
            "deal_id": [f"d{i}" for i in range(count)],
            "created_at": born,
            "closed_at": pd.Series(ended).where(closed),
            "status": np.where(closed, np.where(won, "won", "lost"), "open"),
            "amount": 100.0,
        }
    )


def test_agrees_with_lifelines_on_a_whole_history():
    from lifelines import AalenJohansenFitter

    deals = poisson_world(1_500)
    found = learn_lag_to_win(deals, since=datetime(2020, 1, 1), as_of=AS_OF, days=200)
    days = np.floor((deals.closed_at.fillna(AS_OF) - deals.created_at) / pd.Timedelta(days=1))
    event = deals.status.map({"open": 0, "won": 1, "lost": 2})
    # an open deal was not watched to the end of its last day, so it leaves before it
    times = days - np.where(event == 0, 0.5, 0.0)
    theirs = AalenJohansenFitter(calculate_variance=False).fit(
        times + 1, event, event_of_interest=1
    )
    curve = theirs.cumulative_density_.iloc[:, 0]
    for age in (10, 50, 100, 199):
        assert found.won[age] == pytest.approx(curve[curve.index <= age + 1.25].iloc[-1], abs=1e-4)


def test_finds_the_rates_of_a_known_world_whatever_the_window():
    deals = poisson_world(20_000)
    for months in (6, 24):
        since = AS_OF - timedelta(days=30 * months)
        found = learn_lag_to_win(deals, since=since, as_of=AS_OF, days=181)
        truth = WIN / (WIN + LOSS) * (1 - np.exp(-(WIN + LOSS) * np.arange(1, 182)))
        assert found.won[[30, 90, 180]] == pytest.approx(truth[[30, 90, 180]], rel=0.06)


def test_rates_go_on_beyond_the_oldest_deal():
    young = poisson_world(5_000, years=0.25)
    found = learn_lag_to_win(young, since=datetime(2020, 1, 1), as_of=AS_OF, days=400)
    assert found.won[399] == pytest.approx(WIN / (WIN + LOSS), rel=0.1)


def test_an_empty_past_promises_nothing():
    nothing = poisson_world(10).head(0)
    found = learn_lag_to_win(nothing, since=datetime(2020, 1, 1), as_of=AS_OF, days=30)
    assert (found.won == 0).all()
    assert (found.amount == 1).all()


def test_larger_deals_that_take_longer_are_worth_more_later():
    deals = poisson_world(8_000)
    days = (deals.closed_at - deals.created_at) / pd.Timedelta(days=1)
    deals["amount"] = np.where(days > 60, 300.0, 100.0)
    found = learn_lag_to_win(deals, since=datetime(2020, 1, 1), as_of=AS_OF, days=200)
    assert found.amount[150] > 2 * found.amount[5]
    wins = days[deals.status == "won"].astype(int)
    assert found.amount[wins.clip(upper=199)].mean() == pytest.approx(1.0, abs=0.01)


def test_promised_wins_add_up_to_the_wins_seen():
    deals = poisson_world(6_000)
    since = AS_OF - timedelta(days=365)
    lag = learn_lag_to_win(deals, since=since, as_of=AS_OF, days=100)
    won, promised = promised_wins(deals, lag, since=since, as_of=AS_OF)
    assert won.sum() > 1_000
    assert promised.sum() == pytest.approx(won.sum(), rel=0.03)


def test_late_rates_are_those_of_old_deals():
    deals = poisson_world(20_000)
    found = late_rates(deals, since=datetime(2020, 1, 1), as_of=AS_OF, from_age=60)
    assert (found.win, found.loss) == (pytest.approx(WIN, rel=0.1), pytest.approx(LOSS, rel=0.1))
    assert 0.45 < found.trust < 0.5
    none = late_rates(deals.head(0), since=datetime(2020, 1, 1), as_of=AS_OF, from_age=60)
    assert (none.win, none.trust) == (0.0, 0.0)


def test_the_pace_of_a_steady_world_is_even():
    deals = poisson_world(20_000)
    since = AS_OF - timedelta(days=720)
    view = outlook(AS_OF, months=5, company=Company())
    lag = learn_lag_to_win(deals, since=since, as_of=AS_OF, days=200)
    pace = learn_pace(deals, lag, view, since=since)
    assert pace.rhythm == pytest.approx(1.0, abs=0.07)
    assert pace.level == pytest.approx(1.0, abs=0.07)


def test_a_rush_at_quarter_ends_and_a_better_year_are_seen():
    deals = poisson_world(30_000, seed=2)
    month = deals.closed_at.dt.month
    quiet = (month % 3 == 1) & (deals.status == "won")
    # half of the wins of each quarter's first month come in its last month instead
    late = deals.index[quiet & (deals.index % 2 == 0)]
    moved = deals.loc[late, "closed_at"] + pd.Timedelta(days=61)
    deals.loc[late, "closed_at"] = moved.where(moved <= AS_OF)
    deals.loc[deals.closed_at.isna(), "status"] = "open"
    since = AS_OF - timedelta(days=720)
    view = outlook(AS_OF, months=2, company=Company())
    lag = learn_lag_to_win(deals, since=since, as_of=AS_OF, days=200)
    rhythm = learn_pace(deals, lag, view, since=since).rhythm
    assert rhythm[0] < 0.7 < 1.0 < rhythm[1] * 1.1
    assert rhythm[2] > 1.25
