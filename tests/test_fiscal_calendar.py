"""Fiscal calendars of months and of weeks, against published ones and against the day line."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_ml.fiscal_calendar import FiscalCalendar
from salesops_ml.periods import WEEKDAYS, period_of
from salesops_ml.settings import Company

days = st.dates(date(1990, 1, 1), date(2060, 12, 31))
grains = st.sampled_from(["month", "quarter", "year"])
patterns = st.sampled_from(["4-4-5", "4-5-4", "5-4-4"])
calendars = st.builds(
    FiscalCalendar,
    starts=st.integers(1, 12),
    pattern=st.sampled_from(["months", "4-4-5", "4-5-4", "5-4-4"]),
    week_ends=st.sampled_from(WEEKDAYS),
    year_end=st.sampled_from(["nearest", "last"]),
    named_for=st.sampled_from(["end", "start"]),
)
DAY = timedelta(days=1)
RETAIL = FiscalCalendar(2, "4-5-4", "sat", "nearest", "start")


@given(days, grains, calendars)
def test_periods_tile_the_days_and_have_names_of_their_own(day, grain, calendar):
    period = calendar.period_of(day, grain)
    assert period.start <= day < period.end
    assert calendar.period_of(period.start, grain) == period
    assert calendar.period_of(period.end - DAY, grain) == period
    following = calendar.period_of(period.end, grain)
    assert (following.start, calendar.before(following, grain)) == (period.end, period)
    assert following.label != period.label


@given(days, calendars)
def test_months_fill_quarters_and_quarters_fill_years(day, calendar):
    year = calendar.period_of(day, "year")
    inside = {
        grain: calendar.periods_between(year.start, year.end - DAY, grain)
        for grain in ("quarter", "month")
    }
    assert (len(inside["quarter"]), len(inside["month"])) == (4, 12)
    for parts in inside.values():
        assert (parts[0].start, parts[-1].end) == (year.start, year.end)
    assert [month.start for month in inside["month"][::3]] == [q.start for q in inside["quarter"]]
    places = [calendar.month_of_quarter(month.start) for month in inside["month"]]
    assert places == [0, 1, 2] * 4
    assert all(quarter.label.startswith(f"{year.label}-Q") for quarter in inside["quarter"])


@given(days, st.integers(1, 12), patterns, st.sampled_from(WEEKDAYS), st.data())
def test_years_of_weeks_end_on_their_weekday_and_keep_their_pattern(
    day, starts, pattern, ends, data
):
    form = data.draw(st.sampled_from(["nearest", "last"]))
    calendar = FiscalCalendar(starts, pattern, ends, form)
    year = calendar.period_of(day, "year")
    final = year.end - DAY
    weeks, rest = divmod((year.end - year.start).days, 7)
    assert WEEKDAYS[final.weekday()] == ends
    assert rest == 0
    assert weeks in (52, 53)
    months = calendar.periods_between(year.start, final, "month")
    lengths = [(month.end - month.start).days // 7 for month in months]
    asked = [int(count) for count in pattern.split("-")] * 4
    assert lengths == [*asked[:-1], asked[-1] + weeks - 52]
    nominal = date(int(year.label) + (starts == 1), starts, 1) - DAY
    away = (final - nominal).days
    assert -3 <= away <= 3 if form == "nearest" else -6 <= away <= 0


# The National Retail Federation's published 4-5-4 calendars
@pytest.mark.parametrize(
    ("name", "first", "last", "weeks"),
    [
        ("2012", date(2012, 1, 29), date(2013, 2, 2), 53),
        ("2017", date(2017, 1, 29), date(2018, 2, 3), 53),
        ("2018", date(2018, 2, 4), date(2019, 2, 2), 52),
        ("2022", date(2022, 1, 30), date(2023, 1, 28), 52),
        ("2023", date(2023, 1, 29), date(2024, 2, 3), 53),
        ("2024", date(2024, 2, 4), date(2025, 2, 1), 52),
        ("2025", date(2025, 2, 2), date(2026, 1, 31), 52),
    ],
)
def test_the_retail_calendar_is_the_published_one(name, first, last, weeks):
    year = RETAIL.period_of(first, "year")
    assert (year.label, year.start, year.end - DAY) == (name, first, last)
    assert (year.end - year.start).days == weeks * 7


def test_retail_months_of_2023_and_its_53rd_week():
    months = RETAIL.periods_between(date(2023, 1, 29), date(2024, 2, 3), "month")
    assert months[0].end == date(2023, 2, 26)
    assert months[1].end == date(2023, 4, 2)
    assert (months[-1].label, months[-1].start) == ("2023-P12", date(2023, 12, 31))
    assert (months[-1].end - months[-1].start).days == 35


# Years that filers with the SEC reported: a last Saturday of September, July, and December
@pytest.mark.parametrize(
    ("starts", "final", "weeks"),
    [
        (10, date(2023, 9, 30), 53), (10, date(2022, 9, 24), 52), (10, date(2017, 9, 30), 53),
        (8, date(2021, 7, 31), 53), (8, date(2019, 7, 27), 52), (8, date(2016, 7, 30), 53),
        (1, date(2022, 12, 31), 53), (1, date(2016, 12, 31), 53), (1, date(2021, 12, 25), 52),
    ],
)  # fmt: skip
def test_years_of_filers_that_end_on_a_last_saturday(starts, final, weeks):
    year = FiscalCalendar(starts, "4-4-5", "sat", "last").period_of(final, "year")
    assert (year.end - DAY, (year.end - year.start).days) == (final, weeks * 7)
    assert year.label == str(final.year)


@given(days, grains, st.integers(1, 12))
def test_calendar_months_are_those_of_always(day, grain, starts):
    found = FiscalCalendar(starts).period_of(day, grain)
    assert found == period_of(day, grain, fiscal_start_month=starts)


def test_a_year_may_be_named_for_the_one_it_starts_in():
    calendar = Company(fiscal_year_starts="july", fiscal_year_named="start").calendar
    assert calendar.period_of(date(2026, 8, 1), "quarter").label == "2026-Q1"
    assert calendar.period_of(date(2026, 6, 1), "year").label == "2025"
    assert calendar.period_of(date(2026, 8, 1), "month").label == "2026-08"


@given(days, calendars, st.integers(1, 5))
def test_so_many_periods_from_a_day(day, calendar, count):
    found = calendar.periods_from(day, "month", count)
    assert found == calendar.periods_between(day, found[-1].end - DAY, "month")
    assert len(found) == count
