"""Lessons of replayed forecasts: planted errors are found, and little evidence changes little."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_ml.forecasts import Weights, learn_weights
from salesops_ml.forecasts.combine import MONTH_DAYS, QUANTILES, future_factors, widened

START = pd.Timestamp("1990-01-01")
AHEAD = np.arange(1.0, 6.0)


def replayed(
    origins: int, *, short_by: float = 1.0, series_error: float = 0.0, noise: float = 0.0,
    half_width: float = 10.0,
) -> pd.DataFrame:  # fmt: skip
    """A record in which what came is `short_by` times what was said, plus noise."""
    rng = np.random.default_rng(1)
    rows = []
    for origin in range(origins):
        for ahead in range(4):
            said = 100.0 + 10 * rng.standard_normal()
            came = said * short_by + noise * rng.standard_normal()
            common = {
                "origin": START + pd.DateOffset(months=origin), "node": "company", "grain": "month",
                "actual": came, "closed": 0.0,
                "period": f"{origin}+{ahead}", "horizon": ahead, "variance": 4.0, "loading": 100.0,
                "days_to_end": MONTH_DAYS * (ahead + 1),
            }  # fmt: skip
            spread = [-half_width, -0.84 * half_width, -0.65 * half_width, 0.0]
            spread += [0.65 * half_width, 0.84 * half_width, half_width]
            told = dict(zip(QUANTILES, said + np.array(spread), strict=True))
            rows.append(common | told | {"method": "bottom_up", "mean": said})
            guess = came + series_error * rng.standard_normal()
            rows.append(common | {"method": "series", "mean": guess})
    return pd.DataFrame(rows)


def test_no_evidence_changes_nothing():
    empty = learn_weights(replayed(0), shock=0.1)
    assert empty == Weights(shock=0.1)
    running = replayed(3).assign(actual=np.nan)
    assert learn_weights(running, shock=0.1) == Weights(shock=0.1)
    assert future_factors(
        np.array([5.0, 0.0]), np.array([9.0, 9.0]), empty, AHEAD[:2]
    ).tolist() == [1.0, 1.0]


def test_a_steady_shortfall_is_lifted_as_evidence_grows():
    learned = [learn_weights(replayed(n, short_by=1.2), shock=0.1) for n in (1, 6, 400)]
    lifts = [one.at(AHEAD[:1])[0][0] for one in learned]
    assert 1.005 < lifts[0] < lifts[1] < lifts[2]
    assert lifts[2] == pytest.approx(1.2, abs=0.02)


def test_a_series_that_knows_better_gains_weight_and_one_that_errs_does_not():
    good, bad, one = (
        learn_weights(replayed(count, noise=noise, series_error=error), shock=0.1).at(AHEAD[:4])[1]
        for count, noise, error in ((300, 20.0, 1.0), (300, 1.0, 30.0), (1, 20.0, 1.0))
    )
    assert min(good) > 0.5
    assert max(bad) < 0.1
    assert max(one) < 0.2


def test_weeks_of_one_month_teach_no_more_than_one_of_them():
    monthly = replayed(12, short_by=1.2, noise=5.0, series_error=2.0)
    days = pd.to_timedelta(7, unit="D")
    weekly = pd.concat(
        [monthly.assign(origin=monthly["origin"] + week * days) for week in range(4)]
    )
    once, often = (learn_weights(rows, shock=0.1) for rows in (monthly, weekly))
    assert often.lift == pytest.approx(once.lift)
    assert often.series == pytest.approx(once.series)
    assert often.shock == pytest.approx(once.shock)
    assert often.width("month", 0) == pytest.approx(once.width("month", 0), rel=0.1)


def test_the_last_week_of_a_month_has_a_lift_of_its_own():
    """Near the end half as much came as was said, a month away exactly what was said."""
    early = replayed(200)
    late = replayed(200).assign(days_to_end=7.0).query("horizon == 0")
    late = late.assign(actual=0.5 * late["mean"], origin=late["origin"] + pd.Timedelta(days=22))
    lift, _ = learn_weights(pd.concat([early, late]), shock=0.1).at(np.array([0.25, 1.0, 4.0]))
    assert lift[0] < 0.85 < 0.9 < lift[1] < lift[2]
    assert lift[2] == pytest.approx(1.0, abs=0.08)


def test_the_shock_is_what_errors_have_beyond_chance():
    # errors of 20 beside a chance of 2: a factor with a loading of 100 needs a shock of .2
    found = learn_weights(replayed(200, noise=20.0), shock=0.1).shock
    assert found == pytest.approx(0.2, abs=0.02)
    assert learn_weights(replayed(200, noise=2.0), shock=0.1).shock < 0.03


def test_intervals_widen_until_they_hold_and_stay_where_they_do():
    narrow = learn_weights(replayed(100, noise=20.0, half_width=10.0), shock=0.1)
    right = learn_weights(replayed(100, noise=20.0, half_width=39.2), shock=0.1)
    assert narrow.width("month", 0)[1] > 3
    assert right.width("month", 0) == (pytest.approx(1.0, abs=0.12), pytest.approx(1.0, abs=0.12))
    assert right.width("quarter", 3) == (1.0, 1.0)


def test_lessons_survive_json():
    lessons = learn_weights(replayed(10, short_by=1.1, noise=5.0), shock=0.1)
    assert Weights.from_json(lessons.to_json()) == lessons
    told = replace(lessons, money=(0.8, 0.9, 1.0))
    assert Weights.from_json(told.to_json()) == told


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=7, max_size=7),
    inner=st.floats(0.5, 4),
    outer=st.floats(0.5, 4),
)
def test_widened_quantiles_stay_ordered_about_their_median(values, inner, outer):
    quantiles = np.sort(np.array(values))
    done = widened(quantiles, (inner, outer))
    assert (np.diff(done) >= 0).all()
    assert done[3] == quantiles[3]
    assert widened(quantiles, (1.0, 1.0)) == pytest.approx(quantiles, abs=1e-9)


@given(
    weight=st.floats(0, 1), lift=st.floats(0.67, 1.5),
    bottom_up=st.lists(st.just(0.0) | st.floats(1e-6, 1e9), min_size=1, max_size=5),
)  # fmt: skip
def test_factors_lie_between_the_lifted_forecast_and_the_series(weight, lift, bottom_up):
    said = np.array(bottom_up)
    lessons = Weights(0.1, lift=(lift,), series=(weight,))
    factors = future_factors(said, 2 * said, lessons, AHEAD[: len(said)])
    assert (factors >= min(lift, 2.0) - 1e-9).all()
    assert (factors <= max(lift, 2.0) + 1e-9).all()
