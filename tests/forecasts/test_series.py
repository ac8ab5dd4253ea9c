"""The series engine: known accuracy on M3, intervals that hold, and a rule for every odd series."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import DataError, UsageError
from salesops_ml.forecasts import forecast_series, series_rules
from salesops_ml.forecasts.batch import batch_of
from salesops_ml.forecasts.seasonality import seasonal_indices
from salesops_ml.forecasts.smoothing import theta
from tests.needs import shared_data

fast = partial(forecast_series, mode="fast")


def monthly(values: list[float], name: str = "a") -> pd.DataFrame:
    months = pd.date_range("2022-01-01", periods=len(values), freq="MS")
    return pd.DataFrame({"unique_id": name, "ds": months, "y": values})


def m3(grain: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = pd.read_csv(shared_data("m3", f"M3_{grain}_long.csv.gz")).rename(columns={"t": "ds"})
    return frame[frame.split == "train"], frame[frame.split == "test"]


def seasonal_naive(train: pd.DataFrame, test: pd.DataFrame, season: int) -> pd.DataFrame:
    past = {name: rows.y.to_numpy()[-season:] for name, rows in train.groupby("unique_id")}
    rows = test.sort_values(["unique_id", "ds"])
    step = rows.groupby("unique_id").cumcount()
    repeats = [past[name][k % season] for name, k in zip(rows.unique_id, step, strict=True)]
    return rows[["unique_id", "ds"]].assign(mean=repeats)


def mase(forecast: pd.DataFrame, train: pd.DataFrame, test: pd.DataFrame, season: int) -> float:
    joined = forecast.merge(test, on=["unique_id", "ds"])
    assert len(joined) == len(test)
    scale = train.sort_values("ds").groupby("unique_id")["y"]
    scale = scale.apply(lambda y: np.abs(y.to_numpy()[season:] - y.to_numpy()[:-season]).mean())
    error = (joined.y - joined["mean"]).abs() / joined.unique_id.map(scale)
    return float(error.groupby(joined.unique_id).mean().mean())


def test_the_metric_gives_the_published_figure_for_seasonal_naive():
    train, test = m3("monthly")
    assert mase(seasonal_naive(train, test, 12), train, test, 12) == pytest.approx(1.1461, abs=5e-4)


@pytest.mark.parametrize(("grain", "season"), [("monthly", 12), ("quarterly", 4)])
def test_beats_seasonal_naive_and_covers_on_a_sample_of_m3(grain, season):
    train, test = m3(grain)
    chosen = sorted(test.unique_id.unique())[::7][:100]
    train, test = (part[part.unique_id.isin(chosen)] for part in (train, test))
    horizon = int(test.groupby("unique_id").size().iloc[0])
    forecast = fast(train, horizon=horizon, season_length=season, freq=1)
    naive = mase(seasonal_naive(train, test, season), train, test, season)
    assert mase(forecast, train, test, season) < 0.85 * naive
    joined = forecast.merge(test, on=["unique_id", "ds"])
    for level, slack in ((80, 0.08), (95, 0.05)):
        inside = joined.y.between(joined[f"lo_{level}"], joined[f"hi_{level}"]).mean()
        assert inside == pytest.approx(level / 100, abs=slack)


def test_theta_agrees_with_statsmodels():
    from statsmodels.tsa.forecasting.theta import ThetaModel

    rng = np.random.default_rng(3)
    walks = [100 + np.cumsum(rng.normal(0.5, 2, size=80)) for _ in range(5)]
    ours = theta(batch_of(walks, season=1), 6)
    for row, walk in enumerate(walks):
        index = pd.date_range("2020-01-01", periods=80, freq="MS")
        theirs = ThetaModel(pd.Series(walk, index=index), deseasonalize=False).fit().forecast(6)
        assert ours[row] == pytest.approx(theirs.to_numpy(), rel=0.02)


def test_a_planted_season_is_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    shape = 10 * np.sin(np.arange(12) * np.pi / 6)
    noise = rng.normal(size=(2, 72))
    found = seasonal_indices(batch_of([np.tile(shape, 6) + noise[0], noise[1]], season=12))
    assert found[0] == pytest.approx(shape, abs=1.5)
    assert np.abs(found[1]).max() < 0.6


@pytest.mark.parametrize(
    ("values", "rule", "expected"),
    [
        ([0.0] * 12, "all_zero", 0.0),
        ([7.0] * 12, "constant", 7.0),
        ([4.0, 6.0], "short", 5.0),
        ([4.0], "short", 4.0),
        ([0, 0, 5, 0, 0, 5, 0, 0, 5, 0, 0, 5], "intermittent", None),
        ([10, 12, 11, 13, 12, 14], "young", None),
        ([10, 12, 11, 13, 12, 14] * 2, "regular", None),
    ],
)
def test_every_odd_series_has_its_rule(values, rule, expected):
    panel = monthly([float(v) for v in values])
    assert series_rules(panel, freq="MS")["rule"].tolist() == [rule]
    forecast = fast(panel, horizon=3, season_length=12, freq="MS")
    assert np.isfinite(forecast.drop(columns=["unique_id", "ds"]).to_numpy(dtype=float)).all()
    if expected is not None:
        assert forecast["mean"].tolist() == pytest.approx([expected] * 3)
    if rule in ("all_zero", "constant"):
        assert (forecast["hi_95"] == forecast["lo_95"]).all()


def test_gaps_are_filled_in_a_straight_line_and_counted():
    whole = monthly([float(10 + month) for month in range(24)])
    gappy = whole.drop(index=[5, 6, 13])
    assert series_rules(gappy, freq="MS").to_dict("records") == [
        {"unique_id": "a", "rule": "regular", "gaps": 3}
    ]
    left, right = (fast(panel, horizon=4, season_length=12, freq="MS") for panel in (whole, gappy))
    pd.testing.assert_frame_equal(left, right)


def test_a_horizon_longer_than_the_history_is_named():
    panel = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": range(count), "y": np.arange(count) + 1.0})
        for name, count in (("old", 30), ("young", 5))
    )
    told = series_rules(panel, freq=1, horizon=6).set_index("unique_id")["long_horizon"]
    assert told.to_dict() == {"old": False, "young": True}
    found = forecast_series(panel, horizon=6, season_length=4, freq=1, mode="fast")
    assert found.groupby("unique_id").size().tolist() == [6, 6]


def test_refunds_may_be_forecast_below_zero_but_sales_may_not():
    falling = [float(100 - 5 * month) for month in range(19)]
    sales = fast(monthly(falling), horizon=6, season_length=1, freq="MS")
    assert (sales[["mean", "lo_80", "lo_95"]] >= 0).all(axis=None)
    refunds = monthly([value - 60 for value in falling])
    assert (fast(refunds, horizon=6, season_length=1, freq="MS")["lo_95"] < 0).all()


def test_dates_go_on_from_the_last_one_of_each_series():
    panel = pd.concat([monthly([1.0, 2.0, 3.0, 4.0]), monthly([1.0, 2.0, 3.0], name="b")])
    forecast = fast(panel, horizon=2, season_length=1, freq="MS")
    first = forecast.groupby("unique_id")["ds"].min()
    assert first["a"] == pd.Timestamp("2022-05-01")
    assert first["b"] == pd.Timestamp("2022-04-01")


@given(
    scale=st.floats(0.01, 1e6),
    values=st.lists(st.integers(1, 1000), min_size=1, max_size=40),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_units_and_row_order_do_not_matter_and_intervals_nest(scale, values, seed):
    panel = monthly([float(v) for v in values])
    shuffled = panel.sample(frac=1.0, random_state=seed)
    numbers = ["mean", "lo_80", "hi_80", "lo_95", "hi_95"]
    plain = fast(panel, horizon=4, season_length=12, freq="MS")
    scaled = fast(shuffled.assign(y=shuffled.y * scale), horizon=4, season_length=12, freq="MS")
    assert scaled[numbers].to_numpy() == pytest.approx(plain[numbers].to_numpy() * scale, rel=1e-6)
    assert (plain.lo_95 <= plain.lo_80).all()
    assert (plain.lo_80 <= plain["mean"]).all()
    assert (plain["mean"] <= plain.hi_80).all()
    assert (plain.hi_80 <= plain.hi_95).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: pd.concat([p, p.tail(1)]), "stands twice"),
        (lambda p: p.assign(y=[1.0, np.nan, 3.0]), "not a finite number"),
        (lambda p: p.assign(y=[1.0, np.inf, 3.0]), "`a`, 2022-02-01"),
        (lambda p: p.assign(ds=p.ds + pd.to_timedelta([0, 3, 0], unit="D")), "not on the calendar"),
        (lambda p: p.drop(columns="y"), "lacks column `y`"),
        (lambda p: p.head(0), "no rows"),
        (lambda p: p.assign(y=[1.0, -np.inf, 3.0]), "not a finite number"),
        (lambda p: p.assign(y=[1.0, None, 3.0]), "not a finite number"),
        (lambda p: p.assign(y=["1", "2", "three"]), "`y` is three, not a finite number"),
        (lambda p: p.assign(y=[1.0, 1e200, 3.0]), "`a`, 2022-02-01.*beyond 1e\\+150"),
        (lambda p: p.assign(unique_id=["a", None, "a"]), "2022-02-01.*has no `unique_id`"),
        (lambda p: pd.concat([p.assign(unique_id=1), p.assign(unique_id="1")]), "called `1`"),
        (lambda p: p.assign(ds=[p.ds[0], pd.NaT, p.ds[2]]), "`ds` is NaT, not a date"),
        (lambda p: p.assign(ds=["2022-01-01", "soon", "2022-03-01"]), "`ds` is soon, not a date"),
    ],
)
def test_bad_panels_are_named(change, words):
    panel = change(monthly([1.0, 2.0, 3.0]))
    with pytest.raises(DataError, match=words):
        fast(panel, horizon=2, season_length=12, freq="MS")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"horizon": 0}, "`horizon` is 0"),
        ({"season_length": 0}, "`season_length` is 0"),
        ({"levels": (80, 100)}, "`levels` holds 100"),
        ({"horizon": 2.5}, "`horizon` is 2.5; give a whole number"),
        ({"season_length": None}, "`season_length` is None; give a whole number"),
        ({"freq": "XYZ"}, "`freq` is 'XYZ', which pandas does not know"),
        ({"freq": 0}, "`freq` is 0; give a step"),
        ({"freq": 1}, "`freq` is 1, a step of whole numbers, and `ds` are datetime"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    asked = {"horizon": 2, "season_length": 12, "levels": (80, 95), "freq": "MS"} | arguments
    with pytest.raises(UsageError, match=words):
        fast(monthly([1.0, 2.0, 3.0]), **asked)


def test_whole_numbers_need_a_whole_step():
    panel = monthly([1.0, 2.0, 3.0]).assign(ds=[1, 2, 3])
    with pytest.raises(UsageError, match="a frequency of dates, and `ds` are int64"):
        fast(panel, horizon=2, season_length=1, freq="MS")


def test_dates_as_text_days_or_categories_say_the_same():
    plain = monthly([10.0, 12.0, 11.0, 13.0])
    asked = {"horizon": 2, "season_length": 12, "freq": "MS"}
    expected = fast(plain, **asked)
    kinds = pd.Categorical(plain.unique_id, categories=["a", "never sold"])
    for other in (
        plain.assign(ds=plain.ds.dt.strftime("%Y-%m-%d")),
        plain.assign(ds=plain.ds.dt.date),
        plain.assign(unique_id=kinds),
    ):
        pd.testing.assert_frame_equal(fast(other, **asked), expected)
