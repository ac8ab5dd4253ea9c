"""The record by week: worked by hand, honest about weeks, and the same whatever the order of rows."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_ml.errors import UsageError
from salesops_ml.forecasts import backtest_revenue
from salesops_ml.forecasts.backtest_scores import backtest_summary
from salesops_ml.forecasts.combine import PARTS, QUANTILES
from salesops_ml.forecasts.skill import in_weeks, parts_by_week, record_by_week
from salesops_ml.forecasts.time_machine import fitting_days, weekly_origins
from salesops_ml.settings import Settings
from tests.forecasts.companies import END, SETTINGS


def said(method: str, origin: str, quarter: str, mean: float, actual: float) -> dict[str, object]:
    year, number = quarter.split("-Q")
    start = pd.Timestamp(int(year), 3 * int(number) - 2, 1)
    return {
        "method": method, "origin": pd.Timestamp(origin), "grain": "quarter", "horizon": 0,
        "level": "company", "node": "company", "period": quarter, "period_start": start,
        "mean": mean, "actual": actual, **dict.fromkeys(QUANTILES, mean), "closed": mean / 2,
        "from_open": mean / 4, "from_new": mean / 4, "adjustment": 0.0,
    }  # fmt: skip


def test_skill_by_hand() -> None:
    """Three quarters, second week: ours is off by 2, 1 and 3, the run rate by 4, 4 and 4."""
    rows = []
    for quarter, day, miss in (
        ("2025-Q3", "2025-07-08", 2), ("2025-Q4", "2025-10-08", -1), ("2026-Q1", "2026-01-08", 3),
    ):  # fmt: skip
        rows += [said("ours", day, quarter, 10 + miss, 10), said("run_rate", day, quarter, 14, 10)]
    told = record_by_week(pd.DataFrame(rows)).set_index("method")
    assert told["week"].tolist() == [2, 2]
    assert told.loc["ours", "wape"] == pytest.approx(6 / 30)
    assert told.loc["run_rate", "skill"] == pytest.approx(1 - 6 / 12)
    low, high = told.loc["run_rate", ["skill_low", "skill_high"]]
    assert 1 - 3 / 4 - 1e-9 <= low <= 0.5 <= high <= 1 - 1 / 4 + 1e-9
    assert np.isnan(told.loc["ours", "skill"])


def test_only_what_both_foretold_is_compared() -> None:
    rows = [
        said("ours", "2026-01-08", "2026-Q1", 12, 10), said("ours", "2025-10-08", "2025-Q4", 50, 10),
        said("submitted", "2026-01-08", "2026-Q1", 14, 10),
    ]  # fmt: skip
    told = record_by_week(pd.DataFrame(rows)).set_index("method")
    assert told.loc["submitted", "skill"] == pytest.approx(0.5)
    assert np.isnan(told.loc["submitted", "skill_low"])


@given(seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = [
        said(method, f"2025-{month:02}-{day:02}", f"2025-Q{(month + 2) // 3}", random.uniform(5, 15), 10)
        for method in ("ours", "series")
        for month in (1, 4, 7, 10)
        for day in (1, 8, 15)
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    mixed = frame.sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(record_by_week(frame), record_by_week(mixed))


def test_a_replay_of_weeks_is_scored_as_the_summary_scores_it(company, scorer) -> None:
    origins = weekly_origins(as_of=END, settings=SETTINGS, quarters=1)[::4]
    record = backtest_revenue(company, scorer, origins=origins, settings=SETTINGS, as_of=END)
    weeks = record_by_week(record)
    assert weeks["week"].unique().tolist() == [1, 5, 9, 13]
    quarterly = record[(record["grain"] == "quarter") & (record["horizon"] == 0)]
    whole = backtest_summary(quarterly, by=("level", "origin", "method"))
    assert sorted(whole["wape"]) == pytest.approx(sorted(weeks["wape"]))
    parts = parts_by_week(record)
    assert parts[[*PARTS]].sum(axis=1).to_numpy() == pytest.approx(1.0)
    assert parts["closed"].is_monotonic_increasing
    assert parts["closed"].iloc[0] == 0.0


def test_weeks_begin_with_the_quarter_and_are_whole() -> None:
    settings = Settings.model_validate(
        {"company": {"time_zone": "America/New_York", "fiscal_year_starts": "february"}}
    )
    days = weekly_origins(as_of=datetime(2026, 8, 20), settings=settings, quarters=2)
    assert len(days) == 12 + 13
    assert days[0] == datetime(2026, 2, 1, 5)
    assert all(day < datetime(2026, 8, 1, 4) for day in days)
    rows = [said("ours", str(day), "2026-Q1", 1, 1) for day in days[:12]]
    shifted = pd.DataFrame(rows).assign(period_start=pd.Timestamp(2026, 2, 1))
    assert in_weeks(shifted)["week"].tolist() == list(range(1, 13))


@given(st.lists(st.integers(0, 400), min_size=1, max_size=30))
def test_a_model_is_never_fitted_after_the_day_that_it_scores(gaps: list[int]) -> None:
    origins = [datetime(2025, 1, 1) + timedelta(days=gap) for gap in gaps]
    fitted = fitting_days(origins)
    assert set(fitted) == set(origins)
    for origin, day in fitted.items():
        assert timedelta(0) <= origin - day < timedelta(days=28)
        assert day in fitted


def test_nothing_to_replay_is_named() -> None:
    with pytest.raises(UsageError, match="`quarters` is 0"):
        weekly_origins(as_of=END, settings=SETTINGS, quarters=0)
    with pytest.raises(UsageError, match="it can be: week, fortnight, month"):
        weekly_origins(as_of=END, settings=SETTINGS, quarters=1, every="day")
    assert record_by_week(pd.DataFrame([said("ours", "2026-01-08", "2026-Q1", 1, 1)]).head(0)).empty


def test_days_further_apart_are_some_of_the_weeks() -> None:
    weeks, fortnights, months = (
        weekly_origins(as_of=END, settings=SETTINGS, quarters=2, every=step)
        for step in ("week", "fortnight", "month")
    )
    first = [day for day in weeks if day < datetime(2026, 4, 1)]
    assert fortnights == [*first[::2], *weeks[len(first) :: 2]]
    assert set(months) < set(fortnights) < set(weeks)
