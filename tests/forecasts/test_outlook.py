"""Months and quarters ahead, on the company's own calendar."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_ml.forecasts.outlook import outlook
from salesops_ml.settings import Company


def test_the_day_is_the_companys_own():
    # 23:30 UTC on 30 June is 1 July in Amsterdam: the third quarter has begun there
    amsterdam = Company(time_zone="Europe/Amsterdam")
    view = outlook(datetime(2026, 6, 30, 23, 30), months=0, company=amsterdam)
    assert [month.label for month in view.months] == ["2026-07", "2026-08", "2026-09"]
    assert view.published == 1
    assert view.month_opened == datetime(2026, 6, 30, 22)


def test_fiscal_quarters_start_where_the_year_does():
    company = Company(fiscal_year_starts="february")
    view = outlook(datetime(2026, 4, 10), months=1, company=company)
    assert [quarter.label for quarter in view.quarters] == ["2027-Q1", "2027-Q2"]
    assert view.quarter_opened == datetime(2026, 2, 1)
    assert view.months_of_quarters.tolist() == [[1, 0, 0, 0], [0, 1, 1, 1]]


@given(
    as_of=st.datetimes(datetime(2024, 1, 1), datetime(2027, 1, 1)),
    months=st.integers(0, 8),
    starts=st.sampled_from(["january", "february", "july"]),
)
def test_months_fill_whole_quarters_and_time_runs_forward(as_of, months, starts):
    view = outlook(as_of, months=months, company=Company(fiscal_year_starts=starts))
    assert view.published == months + 1 <= len(view.months)
    assert 0 < view.ahead <= 1
    assert (view.ends > view.starts).all()
    assert view.months_of_quarters.sum() == len(view.months)
    assert view.months[-1].end == view.quarters[-1].end
    begin, end = view.months[0].bounds()
    assert begin <= as_of < end
    assert view.ahead == pytest.approx((end - as_of) / (end - begin))
