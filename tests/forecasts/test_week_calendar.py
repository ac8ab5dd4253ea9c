"""A company that counts 4-4-5: its forecast, KPIs, features and baselines on that calendar."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from salesops_ml.forecasts import forecast_revenue, read_history
from salesops_ml.forecasts.monthly import MonthlyTotals, monthly_series, next_months
from salesops_ml.forecasts.outlook import outlook
from salesops_ml.kpis import Facts, recent_periods
from salesops_ml.settings import Company, Settings, merge, parse
from salesops_ml.snapshots.dataset import snapshot
from salesops_ml.snapshots.feature_spec import learn_spec
from tests.forecasts.companies import SETTINGS, TODAY

WEEKS = {
    "fiscal_calendar": "4-4-5", "fiscal_year_starts": "february", "week_ends": "sat",
    "year_end": "nearest",
}  # fmt: skip
BY_WEEKS: Settings = parse(merge(SETTINGS.model_dump(mode="json"), {"company": WEEKS}))
COMPANY = Company.model_validate(WEEKS)
# Fiscal 2027 runs from Sunday 1 February 2026 to Saturday 30 January 2027
MONTHS = [
    date(2026, 2, 1),
    date(2026, 3, 1),
    date(2026, 3, 29),
    date(2026, 5, 3),
    date(2026, 5, 31),
]


@pytest.fixture(scope="module")
def forecast(company, scorer) -> pd.DataFrame:
    return forecast_revenue(company, scorer(TODAY), as_of=TODAY, settings=BY_WEEKS)


def test_the_forecast_speaks_of_fiscal_months_and_quarters(forecast):
    root = forecast[forecast.node == "company"]
    months, quarters = (root[root.grain == grain] for grain in ("month", "quarter"))
    assert months.period.tolist() == ["2027-P01", "2027-P02", "2027-P03", "2027-P04"]
    assert [stamp.date() for stamp in months.period_start] == MONTHS[:4]
    assert quarters.period.tolist() == ["2027-Q1", "2027-Q2"]
    first = months["mean"].iloc[:3].sum()
    assert first == pytest.approx(quarters["mean"].iloc[0])


def test_what_is_closed_is_what_was_won_since_the_fiscal_month_began(company, forecast):
    won = read_history(company, as_of=TODAY, settings=BY_WEEKS).won
    since = won[won.closed_at >= datetime(2026, 2, 1)]["amount"].sum()
    root = forecast[(forecast.node == "company") & (forecast.period == "2027-P01")]
    assert root["closed"].iloc[0] == pytest.approx(since)
    assert since > 0


def test_kpis_count_what_was_won_in_the_fiscal_month(company):
    asked = BY_WEEKS.model_copy(
        update={"kpis": BY_WEEKS.kpis.model_copy(update={"quarters": 2, "months": 3})}
    )
    periods = recent_periods(TODAY, asked)
    assert [period.label for period in periods] == [
        "2026-Q4", "2027-Q1", "2026-P11", "2026-P12", "2027-P01"
    ]  # fmt: skip
    with Facts.known(company, as_of=TODAY, settings=asked, periods=periods) as facts:
        rows = facts.won.filter(facts.won.node == "company").group_by("period")
        told = rows.agg(amount=lambda t: t.amount.sum()).to_pandas().set_index("period")["amount"]
    won = read_history(company, as_of=TODAY, settings=BY_WEEKS).won
    for period in periods:
        begin, end = period.bounds()
        inside = (won.closed_at >= begin) & (won.closed_at < end)
        assert float(told[period.label]) == pytest.approx(won.loc[inside, "amount"].sum())


def test_a_month_of_five_weeks_is_forecast_a_quarter_longer_than_one_of_four():
    start, end = COMPANY.calendar.period_of(date(2024, 3, 1), "year").start, datetime(2026, 2, 1)
    moments = pd.Series(pd.date_range(start, end - timedelta(hours=12), freq="D"))
    view = outlook(end, months=2, company=COMPANY)
    past = monthly_series(moments, np.ones(len(moments)), view)
    assert past.values.tolist() == [28.0, 35.0, *([28.0, 28.0, 35.0] * 7)][: len(past.values)]
    mean, deviation = next_months(past, 3, season=12)
    assert mean == pytest.approx([28.0, 28.0, 35.0], rel=1e-6)
    assert (deviation >= 0).all()


def test_without_a_whole_month_the_pace_goes_on_by_length():
    past = MonthlyTotals(
        date(2026, 2, 1), np.empty(0), 30.0, 1.0, np.empty(0), np.array([12, 12, 15]) / 13
    )
    mean, _ = next_months(past, 3, season=12)
    assert mean == pytest.approx(30.0 * np.array([12, 12, 15]) / 13)


def test_features_know_the_end_of_the_fiscal_quarter(small):
    spec = learn_spec(small, BY_WEEKS, as_of=TODAY)
    assert spec.from_json(spec.to_json()) == spec
    deals = read_history(small, as_of=TODAY, settings=BY_WEEKS).open.head(20)
    moments = [datetime(2026, 1, 31, 12), datetime(2026, 2, 1), datetime(2026, 4, 20, 6)]
    looks = pd.DataFrame(
        {"deal_id": np.tile(deals.deal_id, 3), "as_of": np.repeat(moments, len(deals))}
    )
    found = snapshot(small, spec, looks).groupby("as_of")
    left = found["f_days_to_quarter_end"].first().tolist()
    assert left == pytest.approx([0.5, 91.0, 12.75])
    assert found["f_quarter_month"].first().tolist() == [3.0, 1.0, 3.0]
