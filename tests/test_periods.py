"""Fiscal periods, working days and moments, against the calendar and against simple counting."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import UsageError
from salesops_ml.periods import (
    fiscal_month,
    from_local,
    moments_from_iso,
    parse_moment,
    period_of,
    periods_between,
    periods_from,
    to_local,
    utc_midnight,
    working_days,
)

days = st.dates(date(1990, 1, 1), date(2060, 12, 31))
grains = st.sampled_from(["month", "quarter", "year"])
months = st.integers(1, 12)
zones = st.sampled_from(["UTC", "Europe/Amsterdam", "America/New_York", "Asia/Kolkata"])


@given(days, grains, months)
def test_a_day_lies_in_its_period_and_periods_touch(day: date, grain, start: int) -> None:
    period = period_of(day, grain, fiscal_start_month=start)
    assert period.start <= day < period.end
    assert period_of(period.start, grain, fiscal_start_month=start) == period
    assert period_of(period.end - timedelta(1), grain, fiscal_start_month=start) == period
    following = period_of(period.end, grain, fiscal_start_month=start)
    assert following.start == period.end
    assert following.label != period.label


@given(days, months)
def test_four_quarters_or_twelve_months_make_the_fiscal_year(day: date, start: int) -> None:
    year = period_of(day, "year", fiscal_start_month=start)
    assert year.start.month == start
    for grain, count in (("quarter", 4), ("month", 12)):
        parts = periods_between(
            year.start, year.end - timedelta(1), grain, fiscal_start_month=start
        )
        assert len(parts) == count
        assert (parts[0].start, parts[-1].end) == (year.start, year.end)


@pytest.mark.parametrize(
    ("day", "start", "quarter", "year"),
    [
        (date(2026, 1, 31), 1, "2026-Q1", "2026"),
        (date(2026, 1, 31), 2, "2026-Q4", "2026"),
        (date(2026, 2, 1), 2, "2027-Q1", "2027"),
        (date(2026, 6, 30), 7, "2026-Q4", "2026"),
        (date(2026, 7, 1), 7, "2027-Q1", "2027"),
        (date(2026, 12, 31), 4, "2027-Q3", "2027"),
    ],
)
def test_a_fiscal_year_is_named_for_the_year_it_ends_in(day, start, quarter, year) -> None:
    assert period_of(day, "quarter", fiscal_start_month=start).label == quarter
    assert period_of(day, "year", fiscal_start_month=start).label == year


@given(days, grains, st.integers(1, 9))
def test_so_many_periods_from_a_day(day: date, grain, count: int) -> None:
    found = periods_from(day, grain, count)
    assert len(found) == count
    assert found == periods_between(day, found[-1].end - timedelta(1), grain)


@given(days, grains, zones)
def test_bounds_are_local_midnights(day: date, grain, zone: str) -> None:
    period = period_of(day, grain)
    for local, moment in zip((period.start, period.end), period.bounds(zone), strict=True):
        there = moment.replace(tzinfo=UTC).astimezone(ZoneInfo(zone))
        assert there.date() == local
        assert there.time().hour == 0
        assert utc_midnight(local, zone) == moment


def test_months_have_names() -> None:
    assert (fiscal_month("January"), fiscal_month("december")) == (1, 12)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-31", datetime(2026, 4, 1)),
        ("20260331", datetime(2026, 4, 1)),
        ("2026-03-31T12:00", datetime(2026, 3, 31, 12)),
        ("2026-03-31T12:00:00Z", datetime(2026, 3, 31, 12)),
        ("2026-03-31T00:30+02:00", datetime(2026, 3, 30, 22, 30)),
    ],
)
def test_a_moment_is_read_from_iso_text(text: str, moment: datetime) -> None:
    assert parse_moment(text) == moment


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-02-30", "31-03-2026", "9999-12-31"])
def test_what_is_no_moment_is_told_with_the_option(text: str) -> None:
    with pytest.raises(UsageError, match=r"`--as-of`.*is no date"):
        parse_moment(text, what="--as-of")


@settings(deadline=None)
@given(st.lists(st.datetimes(datetime(1980, 1, 1), datetime(2036, 1, 1)), max_size=5), zones)
def test_local_time_and_back(moments: list[datetime], zone: str) -> None:
    column = pa.chunked_array([pa.array(moments, pa.timestamp("us"))])
    local = to_local(column, zone).to_pylist()
    expected = [
        m.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) for m in moments
    ]
    assert local == expected
    back = from_local(to_local(column, zone), zone).to_pylist()
    twice = timedelta(hours=1)
    assert all(a == b or a - b == twice for a, b in zip(moments, back, strict=True))


@settings(deadline=None)
@given(st.lists(st.one_of(st.datetimes(datetime(1980, 1, 1), datetime(2036, 1, 1)), st.none())))
def test_iso_texts_of_all_forms_read_alike(moments: list[datetime | None]) -> None:
    naive = [m and m.isoformat() for m in moments]
    zoned = [m and m.isoformat() + "Z" for m in moments]
    mixed = [
        text if n % 2 else other for n, (text, other) in enumerate(zip(naive, zoned, strict=True))
    ]
    for texts in (naive, zoned, mixed):
        column = pa.chunked_array([pa.array(texts, pa.string())])
        assert moments_from_iso(column).to_pylist() == moments


def by_the_hour(start: datetime, end: datetime, week: tuple[str, ...], off: set[date]) -> float:
    """Working hours between two full hours, counted one by one."""
    names = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    hours, moment = 0, start
    while moment < end:
        hours += names[moment.weekday()] in week and moment.date() not in off
        moment += timedelta(hours=1)
    return hours / 24


hours = st.integers(0, 24 * 60).map(lambda n: datetime(2026, 1, 1) + timedelta(hours=n))
weeks = st.sampled_from([("mon", "tue", "wed", "thu", "fri"), ("sun", "mon", "tue"), ("sat",)])


@given(hours, hours, weeks, st.sets(st.dates(date(2026, 1, 1), date(2026, 3, 1)), max_size=3))
def test_working_days_are_the_working_hours_counted_one_by_one(start, end, week, off) -> None:
    found = working_days([start], [end], week=week, holidays=[str(day) for day in off])
    assert found[0] == pytest.approx(by_the_hour(start, end, week, off), abs=1e-9)


def test_no_start_or_end_is_no_duration_and_backwards_is_none() -> None:
    found = working_days(
        np.array(["NaT", "2026-01-05", "2026-01-09"], dtype="datetime64[us]"),
        np.array(["2026-01-05", "NaT", "2026-01-05"], dtype="datetime64[us]"),
    )
    assert np.isnan(found).tolist() == [True, True, False]
    assert found[2] == 0
