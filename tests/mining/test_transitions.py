"""Transitions against pm4py's graph, against hand-worked numbers, and on every kind of input."""

from __future__ import annotations

from datetime import datetime, timedelta

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import DataError, SchemaError, UsageError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.discovery import directly_follows
from salesops_ml.mining.event_log import event_log
from salesops_ml.mining.transitions import COLUMNS, END, START, transitions
from salesops_ml.warehouse import Warehouse
from tests.mining.conftest import made_log

DAY = datetime(2026, 1, 1)


def graph(found: pd.DataFrame) -> tuple[dict[tuple[str, str], int], dict[str, int], dict[str, int]]:
    """Counts in the shape of pm4py's: pairs, starts, ends."""
    steps, starts, ends = (found[found.kind == kind] for kind in ("step", "start", "end"))
    pairs = {
        (row.source, row.target): row.number
        for row in steps.rename(columns={"count": "number"}).itertuples()
    }
    return (
        pairs,
        dict(zip(starts.target, starts["count"], strict=True)),
        dict(zip(ends.source, ends["count"], strict=True)),
    )


def test_counts_equal_pm4py_on_bpi_2012(bpi_2012: pd.DataFrame) -> None:
    assert len(bpi_2012) == 262_200
    assert graph(transitions(bpi_2012)) == directly_follows(bpi_2012)
    stages = bpi_2012[bpi_2012["concept:name"].str.startswith("A_")]
    assert graph(transitions(stages)) == directly_follows(stages)


def test_counts_equal_pm4py_on_helpdesk(helpdesk: pd.DataFrame) -> None:
    assert len(helpdesk) == 21_348
    assert graph(transitions(helpdesk)) == directly_follows(helpdesk)


@pytest.mark.parametrize("seed", range(5))
def test_counts_equal_pm4py_on_made_logs_with_equal_times(seed: int) -> None:
    log = made_log(40, seed)
    assert graph(transitions(log)) == directly_follows(log)


def test_open_deals_count_in_the_dwell_but_not_in_the_counts(company: Warehouse) -> None:
    found = transitions(event_log(company, as_of=DAY + timedelta(days=16)))
    edges = found.set_index(["source", "target"])
    assert edges.loc[("Offer", "Won"), "count"] == 1
    assert edges.loc[("Offer", "Lead"), "count"] == 1
    assert ("Offer", END) not in edges.index
    # Offer: left after 1 day (to Lead), after 6 (to Won), and one deal there for 10 days so far.
    assert edges.loc[("Offer", "Lead"), "dwell_p50_days"] == 1
    assert edges.loc[("Offer", "Won"), "dwell_p50_days"] == 6
    assert edges.loc[(START, "Lead"), "count"] == 4
    assert edges.loc[("Lead", "Offer"), "amount"] == 170
    assert edges.loc[("Lead", "Lost"), "win_rate_after"] == 0
    # Three deals made an offer: one won, one lost, one still open.
    assert edges.loc[("Lead", "Offer"), "win_rate_after"] == pytest.approx(0.5)


def test_a_quantile_given_the_exit_is_not_a_kaplan_meier_per_transition() -> None:
    """Two doors with the same times: treating the other door as "still waiting" would double them."""
    rows = []
    for case in range(100):
        door = "Won" if case % 2 else "Lost"
        rows += [(f"{case}", "Offer", DAY), (f"{case}", door, DAY + timedelta(days=1 + case // 2))]
    log = pd.DataFrame(rows, columns=["case:concept:name", "concept:name", "time:timestamp"])
    found = transitions(log).set_index(["source", "target"])
    assert found.loc[("Offer", "Won"), "dwell_p50_days"] == 25
    assert found.loc[("Offer", "Lost"), "dwell_p90_days"] == 45
    assert found.loc[("Offer", "Won"), "dwell_mean_days"] == pytest.approx(25.5)


def test_working_days_leave_out_the_weekend() -> None:
    friday = datetime(2026, 11, 20, 12)
    log = pd.DataFrame({
        "case:concept:name": ["a", "a"],
        "concept:name": ["Lead", "Offer"],
        "time:timestamp": [friday, friday + timedelta(days=3)],
    })  # fmt: skip
    plain = transitions(log)
    working = transitions(log, clock=Clock(working=True))
    assert plain.loc[plain.kind == "step", "dwell_p50_days"].tolist() == [3.0]
    assert working.loc[working.kind == "step", "dwell_p50_days"].tolist() == [1.0]


def test_the_company_day_begins_in_its_own_zone() -> None:
    """Sunday 23:30 UTC is Monday 08:30 in Tokyo: the half hour is working time there."""
    start, end = np.array([datetime(2026, 11, 22, 23, 30)] * 2, dtype="datetime64[us]").astype(int)
    tokyo = Clock(working=True, time_zone="Asia/Tokyo")
    later = end + 1_800_000_000
    assert tokyo.days(np.array([start]), np.array([later])).tolist() == [pytest.approx(1 / 48)]
    assert Clock(working=True).days(np.array([start]), np.array([later])).tolist() == [0.0]


@pytest.mark.parametrize("kind", ["arrow", "ibis", "naive", "string ids"])
def test_every_kind_of_table_gives_the_same_answer(kind: str) -> None:
    log = made_log(30, 5)
    other: object = {
        "arrow": lambda: pa.Table.from_pandas(log),
        "ibis": lambda: ibis.memtable(log),
        "naive": lambda: log.assign(
            **{"time:timestamp": log["time:timestamp"].dt.tz_localize(None)}
        ),
        "string ids": lambda: log.astype({"concept:name": "category"}),
    }[kind]()
    pd.testing.assert_frame_equal(transitions(other), transitions(log))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), cases=st.integers(1, 12))
def test_what_flows_in_flows_out(seed: int, cases: int) -> None:
    log = made_log(cases, seed)
    found = transitions(log)
    assert list(found.columns) == list(COLUMNS)
    entered = found.groupby("target")["count"].sum()
    left = found.groupby("source")["count"].sum()
    for stage in log["concept:name"].unique():
        assert entered[stage] == left[stage]
    assert entered[END] == left[START] == cases
    assert np.allclose(found.groupby("source")["share"].sum(), 1)
    shuffled = log.sample(frac=1, random_state=seed).sort_index(kind="stable")
    pd.testing.assert_frame_equal(transitions(shuffled), found)


def test_rows_of_cases_may_be_interleaved() -> None:
    log = made_log(25, 8)
    mixed = log.sort_values("time:timestamp", kind="stable")
    pd.testing.assert_frame_equal(transitions(mixed), transitions(log))


def test_as_of_cuts_the_log_and_follows_open_cases() -> None:
    log = pd.DataFrame({
        "case:concept:name": ["a", "a", "b"],
        "concept:name": ["Lead", "Won", "Lead"],
        "time:timestamp": [DAY, DAY + timedelta(days=9), DAY],
    })  # fmt: skip
    found = transitions(log, won=["Won"], as_of=DAY + timedelta(days=5))
    assert found.kind.tolist() == ["start"]
    later = transitions(log, won=["Won"], as_of=DAY + timedelta(days=12))
    assert set(later.kind) == {"start", "step", "end"}
    assert later.set_index("kind").loc["step", "win_rate_after"] == 1


def test_what_is_wrong_with_a_log_is_named(company: Warehouse) -> None:
    log = made_log(3, 1)
    with pytest.raises(SchemaError, match="no column `concept:name`"):
        transitions(log.rename(columns={"concept:name": "stage"}))
    empty = log.astype({"concept:name": object})
    empty.loc[2, "concept:name"] = None
    with pytest.raises(DataError, match=r"row 3: `concept:name` is empty \(1 rows\)"):
        transitions(empty)
    with pytest.raises(SchemaError, match="`time:timestamp` of the log holds string"):
        transitions(log.astype({"time:timestamp": str}))
    with pytest.raises(UsageError, match="`as_of`: give the moment"):
        transitions(log, won=["S1"])
    with pytest.raises(UsageError, match="list is no pandas, Arrow or Ibis table"):
        transitions([1, 2])
    with pytest.raises(UsageError, match="differs from the log's own"):
        transitions(event_log(company, as_of=DAY), as_of=DAY + timedelta(days=1))


def test_an_empty_log_gives_an_empty_frame(company: Warehouse) -> None:
    found = transitions(event_log(company, as_of=DAY - timedelta(days=1)))
    assert found.empty
    assert list(found.columns) == list(COLUMNS)
