"""Known causes: working days found and used, columns read with their future, gaps in them named."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import DataError, UsageError
from salesops_ml.forecasts import forecast_series
from salesops_ml.forecasts.panel import read_panel
from salesops_ml.forecasts.series_regressors import fitted_effects, read_regressors

MONTHS = pd.date_range("2019-01-01", periods=66, freq="MS")
AHEAD = 6


def working_days() -> np.ndarray:
    first = MONTHS.values.astype("datetime64[D]")
    after = (MONTHS + pd.offsets.MonthBegin()).values.astype("datetime64[D]")
    return np.busday_count(first, after)


def revenue(effect: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    season = 0.1 * np.sin(np.arange(66) * np.pi / 6)
    return 1000 * np.exp(effect * (working_days() - 21) + season + rng.normal(0, 0.02, size=66))


def panel(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"unique_id": "won", "ds": MONTHS[: len(values)], "y": values})


@pytest.mark.parametrize(
    ("mode", "seeds"), [("fast", 3), pytest.param("best", 1, marks=pytest.mark.slow)]
)
def test_a_planted_working_day_effect_improves_the_forecast(mode, seeds):
    gains = []
    for seed in range(seeds):
        values = revenue(0.05, seed)
        asked = {"horizon": AHEAD, "season_length": 12, "freq": "MS", "mode": mode}
        past = panel(values[:-AHEAD])
        errors = [
            np.abs(forecast_series(past, **asked, **more)["mean"] - values[-AHEAD:]).mean()
            for more in ({}, {"calendar": ("working_days",)})
        ]
        gains.append(errors[1] / errors[0])
    assert np.mean(gains) < 0.8


def test_the_effect_is_found_and_noise_is_not():
    for planted in (0.05, 0.0):
        known = panel(revenue(planted))
        series, calendar = read_panel(known, "MS")
        asked = (known, known.iloc[:0], series, calendar, 3, ("working_days",), ())
        causes = read_regressors(*asked)
        assert causes[0][:66, 0].tolist() == working_days().tolist()
        effect = fitted_effects([series[0].values], causes, 12)[0]
        slope = np.polyfit(causes[0][:66, 0], effect.past, 1)[0]
        assert slope == pytest.approx(planted, abs=0.012 if planted else 1e-12)


def test_a_cause_that_does_not_matter_changes_nothing():
    past = panel(revenue(0.0, seed=4)[:-AHEAD])
    asked = {"horizon": AHEAD, "season_length": 12, "freq": "MS", "mode": "fast"}
    plain, asked_for = (
        forecast_series(past, **asked, **more) for more in ({}, {"calendar": ("working_days",)})
    )
    pd.testing.assert_frame_equal(plain, asked_for)


def test_own_columns_come_with_rows_for_the_future():
    rng = np.random.default_rng(3)
    campaign = rng.integers(0, 2, size=66).astype(float)
    values = 500 + 80 * campaign + rng.normal(0, 5, size=66) - 700
    rows = panel(values).assign(campaign=campaign, note="words are left aside")
    rows.loc[60:, "y"] = np.nan
    told = forecast_series(rows, horizon=6, season_length=12, freq="MS", mode="fast")
    assert len(told) == 6
    assert told["ds"].iloc[0] == MONTHS[60]
    assert np.abs(told["mean"] - (-200 + 80 * campaign[60:])).max() < 15


def test_missing_futures_holes_and_wrong_calendars_are_named():
    rows = panel(revenue(0.0)).assign(price=np.arange(66.0))
    asked = {"horizon": 2, "season_length": 12, "freq": "MS", "mode": "fast"}
    with pytest.raises(DataError, match=r"2024-07-01.*regressor `price` is not given"):
        forecast_series(rows, **asked)
    holed = rows.assign(price=rows.price.where(rows.index != 5))
    with pytest.raises(DataError, match=r"2019-06-01.*`price` is nan"):
        forecast_series(holed, **asked)
    with pytest.raises(DataError, match="not a finite number"):
        forecast_series(rows.assign(y=rows.y.where(rows.index != 5)), **asked)
    for more, words in (
        ({"calendar": ("full_moon",)}, "'full_moon'"),
        ({"calendar": ("holidays",)}, "`holidays` is empty"),
        ({"freq": 1, "calendar": ("working_days",)}, "whole numbers"),
    ):
        with pytest.raises(UsageError, match=words):
            forecast_series(panel(revenue(0.0)) if "freq" not in more else
                            panel(revenue(0.0)).assign(ds=range(66)), **asked | more)  # fmt: skip


def test_calendar_causes_of_months_and_weeks():
    weeks = pd.date_range("2024-03-11", periods=4, freq="W-MON")
    frame = pd.DataFrame({"unique_id": "a", "ds": weeks, "y": [1.0, 2.0, 3.0, 4.0]})
    series, calendar = read_panel(frame, "W-MON")
    names = ("working_days", "quarter_end", "holidays")
    causes = read_regressors(
        frame, frame.iloc[:0], series, calendar, 1, names, [date(2024, 4, 1), date(2024, 3, 29)]
    )[0]
    assert causes[:, 2].sum() == 2
    assert causes[:, 1].sum() == 1
    assert causes[:, 0].sum() == 5 * 5 - 2
