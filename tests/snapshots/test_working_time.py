"""Working time between two moments, against the day-by-day count of `periods`."""

from __future__ import annotations

from datetime import datetime, timedelta

import ibis
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.periods import to_local, working_days
from salesops_ml.snapshots.working_time import with_working_time, working_calendar

ZONES = ("UTC", "Europe/Amsterdam", "Europe/London", "America/New_York", "Asia/Kolkata")
HOLIDAYS = ("2025-12-25", "2026-01-01")
WEEK = ("mon", "tue", "wed", "thu", "fri")


def positions(moments: list[datetime], zone: str) -> pd.DataFrame:
    """Working seconds up to each moment, and the shift of local clocks."""
    rows = ibis.memtable(
        pa.table({"place": range(len(moments)), "at": pa.array(moments, pa.timestamp("us"))})
    )
    calendar = ibis.memtable(working_calendar(WEEK, HOLIDAYS, zone))
    told = with_working_time(rows, calendar, at="at", name="worked", shift="shift")
    return ibis.duckdb.connect().execute(told).sort_values("place").reset_index(drop=True)


MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2027, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0)
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(MOMENTS, st.floats(0, 200), st.sampled_from(ZONES))
def test_working_time_is_that_of_the_company_calendar(
    start: datetime, days: float, zone: str
) -> None:
    moments = [start, (start + timedelta(days=days)).replace(microsecond=0)]
    told = positions(moments, zone)["worked"].diff().iloc[-1] / 86_400
    local = to_local(pa.chunked_array([pa.array(moments, pa.timestamp("us"))]), zone).to_numpy()
    known = working_days(local[:1], local[1:], week=WEEK, holidays=HOLIDAYS)[0]
    assert told == pytest.approx(known, abs=1e-6)


def test_a_weekend_and_a_holiday_do_not_count_and_clocks_are_local() -> None:
    friday, monday = (
        datetime(2026, 11, 20, 17),
        datetime(2026, 11, 23, 5),
    )  # noon in New York, midnight
    told = positions([friday, monday, datetime(2025, 12, 25, 6), datetime(2025, 12, 26, 4)],
                     "America/New_York")  # fmt: skip
    worked = told["worked"]
    assert worked[1] - worked[0] == 12 * 3600
    assert worked[3] == worked[2]
    assert set(told["shift"]) == {-5 * 3600}


def test_a_moment_outside_the_calendar_is_not_told() -> None:
    told = positions([datetime(2026, 1, 2), datetime(2150, 1, 1)], "UTC")
    assert told["worked"].notna().tolist() == [True, False]
