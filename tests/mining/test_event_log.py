"""The event log: order, outcomes and amounts as known, nothing from the future; logs from files."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import SchemaError, SourceError
from salesops_ml.mining.event_log import event_log, read_log
from salesops_ml.warehouse import Warehouse
from tests.mining.conftest import made_log, tables

DAY = datetime(2026, 1, 1)


def after(days: float) -> datetime:
    return DAY + timedelta(days=days)


def test_a_row_says_where_the_deal_went_next_and_when(company: Warehouse) -> None:
    log = event_log(company, as_of=after(30))
    assert isinstance(log, ir.Table)
    rows = log.execute()
    deal = rows[rows.case_id == "c"]
    assert deal.activity.tolist() == ["Lead", "Offer", "Lead", "Lost"]
    assert deal.position.tolist() == [0, 1, 2, 3]
    assert deal.next_activity.tolist()[:3] == ["Offer", "Lead", "Lost"]
    assert deal.left_at.tolist()[:3] == [after(2), after(3), after(9)]
    assert deal.left_at.isna().tolist() == [False, False, False, True]


def test_outcome_is_the_one_known_on_the_day(company: Warehouse) -> None:
    def outcomes(days: float) -> dict[str, str]:
        rows = event_log(company, as_of=after(days)).execute()
        return dict(zip(rows.case_id, rows.outcome, strict=True))

    assert outcomes(7) == {"a": "open", "b": "open", "c": "open", "d": "open"}
    assert outcomes(8) == {"a": "open", "b": "lost", "c": "open", "d": "open"}
    assert outcomes(30) == {"a": "won", "b": "lost", "c": "lost", "d": "open"}


def test_amount_is_the_last_one_recorded_by_the_day(company: Warehouse) -> None:
    for days, amount in ((6.5, 40.0), (7, 70.0)):
        rows = event_log(company, as_of=after(days)).execute()
        assert rows.amount[rows.case_id == "d"].unique().tolist() == [amount]
    assert rows.amount[rows.case_id == "b"].isna().all()


def test_an_event_recorded_late_is_seen_late() -> None:
    made = tables(
        [("a", "Lead", DAY), ("a", "Offer", after(2))],
        {"a": ("open", None)},
        recorded={1: after(5)},
    )
    with Warehouse.in_memory(made) as warehouse:
        assert event_log(warehouse, as_of=after(4)).count().execute() == 1
        assert event_log(warehouse, as_of=after(5)).count().execute() == 2


def test_a_closing_without_an_event_ends_the_last_stage() -> None:
    made = tables(
        [("a", "Lead", DAY), ("b", "Lead", DAY)],
        {"a": ("lost", after(3)), "b": ("won", after(9))},
    )
    with Warehouse.in_memory(made) as warehouse:
        rows = event_log(warehouse, as_of=after(5)).execute()
    assert rows.outcome.tolist() == ["lost", "open"]
    assert rows.left_at[0] == after(3)
    assert rows.left_at.isna()[1]


def test_several_closing_events_close_at_the_first() -> None:
    events = [("a", "Lead", DAY), ("a", "Won", after(3)), ("a", "Won", after(4))]
    with Warehouse.in_memory(tables(events, {"a": ("won", after(3))})) as warehouse:
        rows = event_log(warehouse, as_of=after(9)).execute()
    assert rows.closed_at.unique().tolist() == [pd.Timestamp(after(3))]


def test_events_of_one_moment_keep_the_order_of_seq() -> None:
    events = [("a", "Offer", DAY), ("a", "Lead", DAY), ("a", "Lost", DAY)]
    with Warehouse.in_memory(tables(events, {"a": ("lost", DAY)})) as warehouse:
        rows = event_log(warehouse, as_of=after(1)).execute()
    assert rows.activity.tolist() == ["Offer", "Lead", "Lost"]


def test_without_any_history_of_amounts_todays_stands_in() -> None:
    made = tables([("a", "Lead", DAY)], {"a": ("open", None)}, amounts={"a": "12.50"})
    with Warehouse.in_memory(made) as warehouse:
        assert event_log(warehouse, as_of=after(1)).execute().amount.tolist() == [12.5]


def test_only_the_pipeline_asked_for(company: Warehouse) -> None:
    assert event_log(company, as_of=after(30), pipeline="sales").count().execute() == 11
    assert event_log(company, as_of=after(30), pipeline="renewals").count().execute() == 0


@settings(max_examples=6, deadline=None)
@given(
    moves=st.lists(
        st.tuples(
            st.sampled_from("abc"), st.sampled_from(["Lead", "Offer", "Won", "Lost"]),
            st.integers(0, 20),
        ),
        min_size=1, max_size=25,
    ),
    cut=st.integers(0, 20),
)  # fmt: skip
def test_nothing_after_the_day_changes_the_log(moves: list[tuple[str, str, int]], cut: int) -> None:
    """Deleting what was recorded later, and turning today's values upside down, changes nothing."""
    events = [(deal, stage, after(day)) for deal, stage, day in sorted(moves, key=lambda m: m[2])]
    changes = [(deal, "amount_base", at, str(at.day)) for deal, _, at in events]
    early = [event for event in events if event[2] <= after(cut)]
    early_changes = [change for change in changes if change[2] <= after(cut)]
    today = dict.fromkeys("abc", ("open", None))
    other = dict.fromkeys("abc", ("won", after(cut + 1)))
    if not early:
        return
    whole = tables(events, today, changes, amounts=dict.fromkeys("abc", "1"))  # type: ignore[arg-type]
    part = tables(early, other, early_changes, amounts=dict.fromkeys("abc", "9"))  # type: ignore[arg-type]
    with Warehouse.in_memory(whole) as now, Warehouse.in_memory(part) as then:
        a = event_log(now, as_of=after(cut)).execute()
        b = event_log(then, as_of=after(cut)).execute()
    pd.testing.assert_frame_equal(a, b)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_reads_back_as_the_log_that_was_written(tmp_path: Path, kind: str) -> None:
    log = made_log(20, 3)
    path = tmp_path / f"log.{kind}"
    log.to_csv(path, index=False) if kind == "csv" else log.to_parquet(path)
    back = read_log(path)
    assert back["case:concept:name"].tolist() == log["case:concept:name"].tolist()
    assert back["concept:name"].tolist() == log["concept:name"].tolist()
    assert np.array_equal(
        back["time:timestamp"].astype("datetime64[us, UTC]"),
        log["time:timestamp"].astype("datetime64[us, UTC]"),
    )


def test_numeric_case_ids_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("case:concept:name,concept:name,time:timestamp\n007,Lead,2026-01-01T00:00:00\n")
    assert read_log(path)["case:concept:name"].tolist() == ["007"]


def test_what_is_wrong_with_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        read_log(tmp_path / "absent.csv")
    path = tmp_path / "log.csv"
    path.write_text("case,concept:name,time:timestamp\n1,Lead,2026-01-01\n")
    with pytest.raises(SchemaError, match="no column `case:concept:name`; it has: case"):
        read_log(path)
    path.write_text("case:concept:name,concept:name,time:timestamp\n1,A,2026-01-01\n1,B,soon\n")
    with pytest.raises(SourceError, match="row 2, column `time:timestamp`: 'soon' is no time"):
        read_log(path)
    path = tmp_path / "log.docx"
    path.write_text("x")
    with pytest.raises(SourceError, match=r"XES, XES\.gz, CSV or Parquet"):
        read_log(path)
    path = tmp_path / "log.parquet"
    path.write_text("not parquet")
    with pytest.raises(SourceError, match="cannot be read as a log"):
        read_log(path)
