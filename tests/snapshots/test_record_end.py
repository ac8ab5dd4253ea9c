"""The end of the record is where the history ends, and a few mistyped dates do not move it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from salesops_ml.app import commands
from salesops_ml.quality.checks import run_checks
from salesops_ml.schema import CanonicalTables, no_rejects
from salesops_ml.settings import parse
from salesops_ml.snapshots import later_than_the_end, record_end
from salesops_ml.snapshots.record_end import beyond
from salesops_ml.warehouse import Warehouse, publish

START = datetime(2024, 1, 1)
Rows = dict[str, list[dict[str, Any]]]


def record(gaps: list[int], touches: int = 2) -> Rows:
    """A deal begun after each gap of days, and touched daily for a while."""
    deals, activities, day = [], [], START
    for number, gap in enumerate(gaps):
        day += timedelta(days=gap)
        deal = {"deal_id": f"d{number}", "status": "open", "created_at": day, "closed_at": None}
        deals.append(deal)
        activities += [
            {"activity_id": f"a{number}-{n}", "deal_id": f"d{number}", "kind": "call",
             "at": day + timedelta(days=n, hours=3)}
            for n in range(1, touches + 1)
        ]  # fmt: skip
    return {"deals": deals, "activities": activities}


def tables(rows: Rows) -> CanonicalTables:
    return CanonicalTables(
        {name: pa.Table.from_pylist(found) for name, found in rows.items()}, no_rejects()
    )


def end_of(rows: Rows) -> datetime:
    with Warehouse.in_memory(tables(rows)) as warehouse:
        return record_end(warehouse)


def last(rows: Rows) -> datetime:
    moments = [row["created_at"] for row in rows["deals"]]
    return max([*moments, *(row["at"] for row in rows["activities"])])


def far(number: int, at: datetime, kind: str) -> Rows:
    """A row that says `at`: a deal's beginning or end, or an activity of a deal or of none."""
    deal = {"deal_id": f"far{number}", "status": "won", "created_at": START}
    if kind == "created":
        return {"deals": [deal | {"status": "open", "created_at": at}], "activities": []}
    if kind == "closed":
        return {"deals": [deal | {"closed_at": at}], "activities": []}
    of = None if kind == "nobody's activity" else "d1"
    act = {"activity_id": f"far{number}", "deal_id": of, "kind": "call", "at": at}
    return {"deals": [], "activities": [act]}


def joined(*many: Rows) -> Rows:
    return {name: [row for rows in many for row in rows[name]] for name in many[0]}


KINDS = ("created", "closed", "activity", "nobody's activity")
records = st.lists(st.integers(0, 20), min_size=12, max_size=30).map(record)


@given(rows=records, kind=st.sampled_from(KINDS), days=st.integers(201, 30_000))
@settings(max_examples=40)
def test_one_far_row_never_moves_the_end(rows: Rows, kind: str, days: int) -> None:
    more = joined(rows, far(0, last(rows) + timedelta(days=days), kind))
    assert end_of(rows) == last(rows)
    assert end_of(more) == last(rows)


@given(rows=records, days=st.integers(0, 60), kind=st.sampled_from(KINDS))
@settings(max_examples=20)
def test_what_came_soon_after_the_rest_is_believed(rows: Rows, days: int, kind: str) -> None:
    late = last(rows) + timedelta(days=days)
    assert end_of(joined(rows, far(0, late, kind))) == late


@given(rows=records, years=st.lists(st.integers(2, 90), min_size=1, max_size=4))
@settings(max_examples=20)
def test_early_mistakes_do_not_hide_late_ones(rows: Rows, years: list[int]) -> None:
    assume(len(rows["deals"]) >= 20)
    early = far(1, datetime(1900, 1, 1), "created")
    end = last(rows)
    many = [far(2 + n, end + timedelta(days=366 * year), "closed") for n, year in enumerate(years)]
    more = joined(rows, early, *many[: (len(rows["deals"]) + 1) // 10])
    assert end_of(more) == end


def test_business_that_pauses_and_goes_on_is_no_mistake() -> None:
    rows = joined(record([10] * 30), {"deals": [], "activities": []})
    again = last(rows) + timedelta(days=400)
    new = [far(n, again + timedelta(days=n), "created") for n in range(10)]
    assert end_of(joined(rows, *new)) == again + timedelta(days=9)


def test_a_record_of_rare_deals_has_long_pauses() -> None:
    rows = record([100] * 15)
    assert end_of(rows) == last(rows)


def test_a_few_deals_are_taken_as_they_are() -> None:
    rows = joined(record([3] * 5), far(0, datetime(2092, 1, 1), "created"))
    assert end_of(rows) == datetime(2092, 1, 1)


def test_the_check_names_what_is_left_out() -> None:
    rows = joined(
        record([3] * 40),
        far(0, datetime(2092, 1, 1), "created"),
        far(1, datetime(2050, 1, 1), "closed"),
        far(2, datetime(2092, 5, 1), "nobody's activity"),
    )
    with Warehouse.in_memory(tables(rows)) as warehouse:
        end = record_end(warehouse)
        named = sorted(beyond(end, warehouse).execute()["deal_id"])
        findings = {one["check"]: one for one in run_checks(warehouse, as_of=end)}
    assert end == last(record([3] * 40))
    assert named == ["far0", "far1", "far2"]
    found = findings["dates far beyond all others"]
    assert (found["count"], found["examples"], found["verdict"]) == (3, named, "fail")
    assert findings["dates in the future"]["examples"] == ["far1"]


@pytest.mark.parametrize("days", [-100, 0, 1])
def test_a_day_of_the_record_is_no_reason_to_warn(days: int) -> None:
    rows = record([3] * 20)
    with Warehouse.in_memory(tables(rows)) as warehouse:
        assert later_than_the_end(warehouse, as_of=last(rows) + timedelta(days=days)) is None


def test_a_later_day_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = record([3] * 20)
    url = f"duckdb:///{tmp_path}/w.duckdb"
    publish(url, tables(rows), ingested_at=datetime(2026, 1, 1))
    late = (last(rows) + timedelta(days=40)).isoformat()
    commands.kpis(parse({"warehouse": url, "as_of": late}))
    warned = capsys.readouterr().err
    assert "warning: `as_of`" in warned
    assert "40 days after the end of the record" in warned
    commands.kpis(parse({"warehouse": url}))
    assert capsys.readouterr().err == ""
