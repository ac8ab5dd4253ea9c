"""Filters against slow loops by hand, against each other, and against what they promise."""

from __future__ import annotations

from datetime import datetime, timedelta

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import SchemaError, UsageError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.filters import (
    PERIOD_KEEPS,
    filter_outcome,
    filter_performance,
    filter_period,
    filter_segment,
    filter_until,
    filter_variants,
)
from salesops_ml.mining.variants import variants
from tests.mining.conftest import made_log

CASE, ACTIVITY, TIMESTAMP = "case:concept:name", "concept:name", "time:timestamp"
START = datetime(2026, 1, 1)

seeds = st.integers(0, 10_000)
hours = st.integers(0, 700)


def lives(log: pd.DataFrame) -> dict[str, tuple[datetime, datetime]]:
    """First and last moment of each case, naive UTC, by a plain loop."""
    found: dict[str, tuple[datetime, datetime]] = {}
    for case, at in zip(log[CASE], log[TIMESTAMP], strict=True):
        moment = at.to_pydatetime().replace(tzinfo=None)
        low, high = found.get(case, (moment, moment))
        found[case] = (min(low, moment), max(high, moment))
    return found


def whole(log: pd.DataFrame, cases: set[str]) -> pd.DataFrame:
    return log[log[CASE].isin(cases)].reset_index(drop=True)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, a=hours, b=hours)
@pytest.mark.parametrize("keep", PERIOD_KEEPS)
def test_a_period_keeps_what_a_loop_keeps(seed: int, a: int, b: int, keep: str) -> None:
    log = made_log(12, seed)
    start, end = (START + timedelta(hours=hour) for hour in sorted((a, b)))
    found = filter_period(log, start, end, keep=keep)
    if keep == "events":
        inside = [start <= at.to_pydatetime().replace(tzinfo=None) < end for at in log[TIMESTAMP]]
        wanted = log[inside].reset_index(drop=True)
    else:
        rule = {
            "contained": lambda low, high: start <= low and high < end,
            "touching": lambda low, high: low < end and high >= start,
            "started": lambda low, high: start <= low < end,
            "ended": lambda low, high: start <= high < end,
        }[keep]
        wanted = whole(log, {case for case, life in lives(log).items() if rule(*life)})
    pd.testing.assert_frame_equal(found, wanted)


def test_periods_end_to_end_share_no_event_and_lose_none() -> None:
    log = made_log(30, 4)
    middle = START + timedelta(hours=250)
    parts = [filter_period(log, None, middle, keep="events"),
             filter_period(log, middle, None, keep="events")]  # fmt: skip
    assert sum(map(len, parts)) == len(log)
    started = [filter_period(log, None, middle, keep="started"),
               filter_period(log, middle, keep="started")]  # fmt: skip
    assert not set(started[0][CASE]) & set(started[1][CASE])
    assert sum(map(len, started)) == len(log)


def test_a_segment_is_of_cases_unless_events_are_asked_for() -> None:
    log = made_log(20, 2)
    log["case:region"] = np.where(log[CASE].str[-1].astype(int) < 5, "north", "south")
    log["org:resource"] = [f"r{row % 3}" if row % 7 else None for row in range(len(log))]
    north = filter_segment(log, "case:region", ["north"])
    assert set(north[CASE]) == {case for case in log[CASE] if int(case[-1]) < 5}
    touched = filter_segment(log, "org:resource", ["r1"])
    assert set(touched[CASE]) == set(log[CASE][log["org:resource"] == "r1"])
    assert len(touched) == log[CASE].isin(set(touched[CASE])).sum()
    events = filter_segment(log, "org:resource", ["r1", None], keep="events")
    assert len(events) == ((log["org:resource"] == "r1") | log["org:resource"].isna()).sum()
    other = filter_segment(log, "org:resource", ["r1"], inverted=True)
    assert len(other) + len(touched) == len(log)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, top=st.integers(0, 6), share=st.floats(0, 1))
def test_variants_kept_are_the_most_frequent(seed: int, top: int, share: float) -> None:
    log = made_log(25, seed, length=3, names=2)
    every = variants(log)
    found = variants(filter_variants(log, top=top)) if top else pd.DataFrame()
    assert len(found) == min(top, len(every))
    if top:
        assert found["count"].sum() == every["count"].head(top).sum()
    kept = filter_variants(log, covering=share)
    rest = filter_variants(log, covering=share, inverted=True)
    assert len(kept) + len(rest) == len(log)
    covered = kept[CASE].nunique() / log[CASE].nunique()
    assert covered >= share - 1e-9
    if len(kept):
        fewer = variants(kept)["count"].iloc[:-1].sum() / log[CASE].nunique()
        assert fewer < share


def test_variants_by_name() -> None:
    log = made_log(40, 9, length=2, names=2)
    paths = [["S0"], ["S1", "S0"]]
    found = variants(filter_variants(log, paths))
    assert {tuple(path) for path in found["steps"]} <= {("S0",), ("S1", "S0")}
    plain = log.groupby(CASE)[ACTIVITY].agg(tuple)
    assert found["count"].sum() == plain.isin([("S0",), ("S1", "S0")]).sum()


@settings(max_examples=40, deadline=None)
@given(seed=seeds, hour=hours)
def test_outcomes_are_those_known_at_the_day(seed: int, hour: int) -> None:
    log = made_log(15, seed)
    as_of = START + timedelta(hours=hour)
    known = filter_until(log, as_of=as_of)
    told = {}
    for case, rows in known.groupby(CASE):
        ends = [name for name in rows[ACTIVITY] if name in ("S0", "S1")]
        told[case] = {"S0": "won", "S1": "lost"}[ends[0]] if ends else "open"
    parts = []
    for outcome in ("open", "won", "lost"):
        kept = filter_outcome(log, [outcome], as_of=as_of, won=["S0"], lost=["S1"])
        wanted = {case for case, one in told.items() if one == outcome}
        pd.testing.assert_frame_equal(kept, whole(known, wanted))
        parts.append(len(kept))
    assert sum(parts) == len(known)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, low=st.integers(0, 200), high=st.integers(0, 200))
def test_performance_is_the_time_between_first_and_last(seed: int, low: int, high: int) -> None:
    log = made_log(15, seed)
    found = filter_performance(log, at_least=low / 24, at_most=high / 24)
    lasted = {case: (b - a) / timedelta(days=1) for case, (a, b) in lives(log).items()}
    wanted = {case for case, days in lasted.items() if low / 24 <= days <= high / 24}
    pd.testing.assert_frame_equal(found, whole(log, wanted))


def test_an_open_case_is_followed_to_the_day_and_never_called_quick() -> None:
    log = pd.DataFrame({
        CASE: ["a", "a", "b"], ACTIVITY: ["Lead", "Won", "Lead"],
        TIMESTAMP: [START, START + timedelta(days=9), START],
    })  # fmt: skip
    told = {"as_of": START + timedelta(days=20), "won": ["Won"]}
    assert set(filter_performance(log, at_least=10, **told)[CASE]) == {"b"}
    assert set(filter_performance(log, at_most=30, **told)[CASE]) == {"a"}
    working = filter_performance(log, at_most=8, clock=Clock(working=True), **told)
    assert set(working[CASE]) == {"a"}


def test_filters_compose_in_any_order_and_leave_the_log_alone() -> None:
    log = made_log(40, 11, length=3, names=2)
    log["case:region"] = np.where(log[CASE].str[-1].astype(int) < 5, "north", "south")
    before = log.copy(deep=True)
    one = filter_segment(filter_performance(log, at_least=0.2), "case:region", ["north"])
    other = filter_performance(filter_segment(log, "case:region", ["north"]), at_least=0.2)
    pd.testing.assert_frame_equal(one, other)
    pd.testing.assert_frame_equal(log, before)
    for table in (pa.Table.from_pandas(log), ibis.memtable(log)):
        pd.testing.assert_frame_equal(
            filter_segment(table, "case:region", ["north"])[[CASE, ACTIVITY]],
            filter_segment(log, "case:region", ["north"])[[CASE, ACTIVITY]],
        )


def test_numbers_as_case_ids_are_filtered_too() -> None:
    log = pd.DataFrame({CASE: [1, 1, 2], ACTIVITY: ["A", "B", "A"], TIMESTAMP: [START] * 3})
    assert filter_variants(log, [["A"]])[CASE].tolist() == [2]


def test_what_is_wrong_is_named() -> None:
    log = made_log(3, 1)
    with pytest.raises(UsageError, match="`keep`: 'half' is unknown"):
        filter_period(log, keep="half")
    with pytest.raises(UsageError, match="lies before `start`"):
        filter_period(log, START, START - timedelta(days=1))
    with pytest.raises(UsageError, match="`keep`: 'rows' is unknown"):
        filter_segment(log, CASE, [], keep="rows")
    with pytest.raises(SchemaError, match="no column `case:region`"):
        filter_segment(log, "case:region", [])
    with pytest.raises(UsageError, match="give one of `paths`, `top` and `covering`"):
        filter_variants(log)
    with pytest.raises(UsageError, match="`covering` goes from 0 to 1"):
        filter_variants(log, covering=2)
    with pytest.raises(UsageError, match="`outcomes`: 'gone' is unknown"):
        filter_outcome(log, ["gone"], as_of=START, won=["S0"])
    with pytest.raises(UsageError, match="list is no pandas"):
        filter_until([1], as_of=START)
    with pytest.raises(SchemaError, match="no column `concept:name`"):
        filter_until(log.drop(columns=ACTIVITY), as_of=START)
    with pytest.raises(SchemaError, match="holds object, not times"):
        filter_until(log.astype({TIMESTAMP: str}), as_of=START)
