"""Activities and life cycles mapped, against plain loops and pm4py."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import SchemaError, UsageError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.log_mapping import keep_complete, map_activities, service_times
from tests.mining.conftest import made_log

CASE, ACTIVITY, TIMESTAMP = "case:concept:name", "concept:name", "time:timestamp"
PHASE = "lifecycle:transition"


def with_phases(log: pd.DataFrame, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return log.assign(**{PHASE: rng.choice(["START", "complete", "Schedule"], len(log))})


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_names_are_changed_and_no_event_is_lost(seed: int) -> None:
    log = made_log(10, seed)
    known = set(log[ACTIVITY])
    names = {"S0": "A", "S1": "A"} if known >= {"S0", "S1"} else {}
    mapped = map_activities(log, names)
    assert mapped[ACTIVITY].tolist() == [names.get(name, name) for name in log[ACTIVITY]]
    assert mapped.drop(columns=ACTIVITY).equals(log.drop(columns=ACTIVITY))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_repeats_are_merged_into_their_first(seed: int) -> None:
    log = made_log(10, seed, names=2).sample(frac=1, random_state=seed, ignore_index=True)
    found = map_activities(log, merge_repeats=True)
    wanted = []
    for _, rows in log.groupby(CASE):
        before = None
        for row in rows.sort_values(TIMESTAMP, kind="stable").itertuples():
            if row[2] != before:
                wanted.append(row[0])
            before = row[2]
    pd.testing.assert_frame_equal(found, log.loc[sorted(wanted)].reset_index(drop=True))


def test_what_cannot_be_mapped_is_named() -> None:
    log = made_log(5, 1)
    with pytest.raises(UsageError, match="`names`: no activity 'Lead' in the log; it has: S0"):
        map_activities(log, {"Lead": "L"})
    with pytest.raises(UsageError, match="`drop`: no activity 'Lead'"):
        map_activities(log, drop=["Lead"])
    with pytest.raises(UsageError, match="`drop`: 'S0' is renamed"):
        map_activities(log, {"S0": "A"}, drop=["S0"])
    with pytest.raises(SchemaError, match="no column `lifecycle:transition`"):
        keep_complete(log)


def test_completions_are_kept_in_whatever_letters() -> None:
    log = with_phases(made_log(20, 3), 3)
    log.loc[0, PHASE] = None
    kept = keep_complete(log)
    assert len(kept) == (log[PHASE] == "complete").sum() + (log.loc[0, PHASE] is None)
    assert set(kept[PHASE].dropna()) == {"complete"}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_starts_and_completions_are_paired_first_in_first_out(seed: int) -> None:
    log = with_phases(made_log(12, seed, length=12, names=2), seed)
    log = log.sample(frac=1, random_state=seed, ignore_index=True)
    waiting, begun = defaultdict(list), {}
    for row in log.sort_values(TIMESTAMP, kind="stable").itertuples():
        queue = waiting[row[1], row[2]]
        if row[4] == "START":
            queue.append(row[3])
        elif row[4] == "complete":
            begun[row[0]] = queue.pop(0) if queue else None
    found = service_times(log)
    assert len(found) == len(begun)
    for start, days, at, row in zip(
        found["start_timestamp"],
        found["service_days"],
        found[TIMESTAMP],
        sorted(begun),
        strict=True,
    ):
        if begun[row] is None:
            assert pd.isna(start)
            assert np.isnan(days)
        else:
            assert start == begun[row]
            assert days == pytest.approx((at - start) / timedelta(days=1))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_service_times_equal_those_of_pm4py(seed: int) -> None:
    """pm4py gives a completion without a start its own moment, where ours is missing."""
    import pm4py
    from pm4py.objects.log.util import interval_lifecycle

    log = with_phases(made_log(8, seed, length=8, names=2), seed)
    log = log[log[PHASE] != "Schedule"].reset_index(drop=True)
    if not (log[PHASE] == "complete").any():
        return
    log[PHASE] = log[PHASE].str.lower()
    theirs = pm4py.convert_to_dataframe(
        interval_lifecycle.to_interval(pm4py.convert_to_event_log(log))
    )
    ours = service_times(log)
    filled = ours["start_timestamp"].fillna(ours[TIMESTAMP])

    def intervals(frame: pd.DataFrame, start: pd.Series) -> list[tuple[str, str, int, int]]:
        ends = frame[TIMESTAMP].astype("datetime64[us, UTC]").astype("int64")
        begins = start.astype("datetime64[us, UTC]").astype("int64")
        return sorted(zip(frame[CASE], frame[ACTIVITY], begins, ends, strict=True))

    assert intervals(ours, filled) == intervals(theirs, theirs["start_timestamp"])


def test_service_in_working_days() -> None:
    friday = datetime(2026, 11, 20, 12)
    log = pd.DataFrame({
        CASE: ["a", "a"], ACTIVITY: ["Call", "Call"], PHASE: ["start", "complete"],
        TIMESTAMP: [friday, friday + timedelta(days=3)],
    })  # fmt: skip
    assert service_times(log)["service_days"].tolist() == [3.0]
    assert service_times(log, clock=Clock(working=True))["service_days"].tolist() == [1.0]
