"""Working time by a slow loop over the company's days, with zones, summer time and holidays."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.mining.clock import Clock
from salesops_ml.mining.log_mapping import map_activities
from salesops_ml.mining.transitions import transitions
from tests.mining.conftest import made_log

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Tokyo",
    "Asia/Kolkata",
    "Pacific/Auckland",
]
WEEKS = [("mon", "tue", "wed", "thu", "fri"), ("sun", "mon", "tue", "wed", "thu"), ("sat",)]
NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

moments = st.datetimes(datetime(2025, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))


def by_hand(
    start: datetime, end: datetime, zone: str, week: tuple[str, ...], off: set[date]
) -> float:
    """Each local day's share that lies between the two local times, where the day is worked."""
    low, high = (part.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for part in (start, end))
    total, day = timedelta(0), low.date()
    while day <= high.date():
        midnight = datetime.combine(day, time())
        if NAMES[day.weekday()] in week and day not in off:
            total += max(min(high, midnight + timedelta(days=1)) - max(low, midnight), timedelta(0))
        day += timedelta(days=1)
    return total / timedelta(days=1)


def micros(moment: datetime) -> np.ndarray:
    return np.array([(moment - EPOCH) // timedelta(microseconds=1)])


@settings(max_examples=150, deadline=None)
@given(
    start=moments,
    hours=st.integers(0, 24 * 40),
    zone=st.sampled_from(ZONES),
    week=st.sampled_from(WEEKS),
    off=st.sets(st.dates(date(2025, 1, 1), date(2026, 12, 31)), max_size=40),
)
def test_working_days_are_those_of_a_loop(start, hours, zone, week, off) -> None:
    end = start + timedelta(hours=hours)
    holidays = tuple(day.isoformat() for day in sorted(off))
    clock = Clock(working=True, time_zone=zone, week=week, holidays=holidays)
    found = clock.days(micros(start), micros(end))[0]
    assert found == pytest.approx(by_hand(start, end, zone, week, off), abs=1e-9)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_the_days_of_the_time_change_are_days(day: str, hours: int) -> None:
    """From midnight to midnight is one day of the company, though the clock ran 23 or 25 hours."""
    begin = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    start, end = begin.astimezone(UTC), begin.astimezone(UTC) + timedelta(hours=hours)
    clock = Clock(working=True, time_zone="Europe/Berlin", week=("sun",))
    assert clock.days(micros(start), micros(end)).tolist() == [1.0]


def test_transitions_in_working_time_are_never_longer_than_in_calendar_time() -> None:
    log = map_activities(made_log(60, 3), {"S0": "Lead"})
    calendar = transitions(log).set_index(["source", "target"])
    holidays = ("2026-01-06", "2026-01-14")
    worked = transitions(log, clock=Clock(working=True, holidays=holidays))
    worked = worked.set_index(["source", "target"]).loc[calendar.index]
    for column in ("dwell_p50_days", "dwell_p90_days", "dwell_mean_days"):
        known = calendar[column].notna()
        assert (worked[column][known] <= calendar[column][known] + 1e-9).all()
    assert worked["count"].tolist() == calendar["count"].tolist()
