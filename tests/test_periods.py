"""Fiscal periods tile time; working days agree with a slow loop; as-of texts mean what people mean."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
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
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@settings(deadline=None)
@given(days, grains, months)
def test_a_day_lies_in_its_period_and_every_day_of_it_names_the_same(day, grain, month) -> None:
    period = period_of(day, grain, fiscal_start_month=month)
    assert period.start <= day < period.end
    last = period.end - timedelta(days=1)
    for other in (period.start, last):
        assert period_of(other, grain, fiscal_start_month=month) == period


@settings(deadline=None)
@given(days, st.integers(0, 1500), grains, months)
def test_periods_between_two_days_tile_the_time(first, length, grain, month) -> None:
    last = first + timedelta(days=length)
    found = periods_between(first, last, grain, fiscal_start_month=month)
    assert found[0].start <= first
    assert found[-1].start <= last < found[-1].end
    assert all(one.end == other.start for one, other in pairwise(found))
    assert len({period.label for period in found}) == len(found)
    assert found == periods_from(first, grain, len(found), fiscal_start_month=month)


@settings(deadline=None)
@given(days, months)
def test_a_fiscal_year_is_four_quarters_and_twelve_months(day, month) -> None:
    year = period_of(day, "year", fiscal_start_month=month)
    last = year.end - timedelta(days=1)
    assert year.start.month == month
    assert year.label == str(last.year)
    quarters = periods_between(year.start, last, "quarter", fiscal_start_month=month)
    assert [q.label for q in quarters] == [f"{year.label}-Q{n}" for n in (1, 2, 3, 4)]
    assert len(periods_between(year.start, last, "month", fiscal_start_month=month)) == 12


@pytest.mark.parametrize(
    ("day", "first_month", "start", "label"),
    [
        (date(2026, 3, 31), "january", date(2026, 1, 1), "2026-Q1"),
        (date(2026, 4, 5), "april", date(2026, 4, 1), "2027-Q1"),
        (date(2026, 3, 31), "april", date(2026, 1, 1), "2026-Q4"),
        (date(2026, 1, 15), "february", date(2025, 11, 1), "2026-Q4"),
        (date(2026, 12, 31), "december", date(2026, 12, 1), "2027-Q1"),
    ],
)
def test_fiscal_quarters_worked_by_hand(day, first_month, start, label) -> None:
    period = period_of(day, "quarter", fiscal_start_month=fiscal_month(first_month))
    assert (period.start, period.label) == (start, label)


def test_a_period_begins_at_the_companys_midnight() -> None:
    """Amsterdam's July begins at 22:00 UTC, its year at 23:00."""
    july = period_of(date(2026, 7, 9), "month")
    assert july.bounds("Europe/Amsterdam") == (
        datetime(2026, 6, 30, 22), datetime(2026, 7, 31, 22)
    )  # fmt: skip
    assert utc_midnight(date(2026, 1, 1), "Europe/Amsterdam") == datetime(2025, 12, 31, 23)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-31", datetime(2026, 4, 1)),
        ("20260331", datetime(2026, 4, 1)),
        ("2026-03-31T00:00", datetime(2026, 3, 31)),
        ("2026-03-31T12:00Z", datetime(2026, 3, 31, 12)),
        ("2026-03-31 01:30+02:00", datetime(2026, 3, 30, 23, 30)),
    ],
)
def test_a_bare_date_is_its_end_and_an_offset_counts(text, moment) -> None:
    assert parse_moment(text) == moment


@pytest.mark.parametrize("text", ["", "soon", "2026-02-30", "31-03-2026", "2026-03", "9999-12-31"])
def test_what_is_no_date_is_refused_with_the_name_of_the_setting(text) -> None:
    with pytest.raises(UsageError, match=r"`--as-of`: .* is no date; write one such as"):
        parse_moment(text, what="--as-of")


moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1))


@settings(deadline=None)
@given(
    moments, st.integers(0, 40 * 24 * 60), st.sets(st.sampled_from(WEEK), min_size=1),
    st.sets(st.integers(-5, 45)),
)  # fmt: skip
def test_working_days_agree_with_a_slow_loop(start, minutes, week, off) -> None:
    start = start.replace(second=0, microsecond=0)
    end = start + timedelta(minutes=minutes)
    holidays = [(start.date() + timedelta(days=number)).isoformat() for number in sorted(off)]
    expected, moment = 0.0, start
    while moment < end:
        midnight = datetime.combine(moment.date() + timedelta(days=1), datetime.min.time())
        stop = min(midnight, end)
        works = WEEK[moment.weekday()] in week and moment.date().isoformat() not in holidays
        expected += (stop - moment) / timedelta(days=1) if works else 0.0
        moment = stop
    found = working_days([start], [end], week=sorted(week), holidays=holidays)
    assert found[0] == pytest.approx(expected, abs=1e-9)


def test_working_days_of_what_is_unknown_or_backwards() -> None:
    start = np.array(["2026-03-02", "NaT", "2026-03-06"], dtype="datetime64[us]")
    end = np.array(["NaT", "2026-03-03", "2026-03-02"], dtype="datetime64[us]")
    found = working_days(start, end)
    assert np.isnan(found).tolist() == [True, True, False]
    assert found[2] == 0.0


@settings(deadline=None)
@given(moments, st.sampled_from(["Europe/Amsterdam", "America/New_York", "Asia/Kolkata", "UTC"]))
def test_local_moments_come_back_from_utc_where_the_clock_showed_them_once(moment, zone) -> None:
    stored = pa.chunked_array([[moment]], pa.timestamp("us"))
    aware = moment.replace(tzinfo=UTC).astimezone(ZoneInfo(zone))
    local = to_local(stored, zone)
    assert local[0].as_py() == aware.replace(tzinfo=None)
    there_and_back = from_local(local, zone)[0].as_py()
    repeated = aware.replace(fold=0).utcoffset() != aware.replace(fold=1).utcoffset()
    assert there_and_back == moment or repeated


def test_texts_without_offset_are_local_and_with_offset_are_not() -> None:
    texts = pa.chunked_array([["2026-07-01T12:00", "2026-07-01T12:00+00:00", None, "noon"]])
    found = moments_from_iso(texts, "Europe/Amsterdam").to_pylist()
    assert found == [datetime(2026, 7, 1, 10), datetime(2026, 7, 1, 12), None, None]
