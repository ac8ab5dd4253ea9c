"""Logs and small warehouses for the mining tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from salesops_ml.mining.event_log import read_log
from salesops_ml.schema import CanonicalTables, no_rejects
from salesops_ml.warehouse import Warehouse
from tests.needs import shared_data

STAGES = [
    ("Lead", 0, False, False),
    ("Offer", 1, False, False),
    ("Won", 2, True, True),
    ("Lost", 3, True, False),
]


@pytest.fixture(scope="session")
def bpi_2012() -> pd.DataFrame:
    """The full BPI 2012 log, with pm4py's columns."""
    return read_log(shared_data("bpic2012", "BPI_Challenge_2012.xes.gz"))


@pytest.fixture(scope="session")
def helpdesk() -> pd.DataFrame:
    """The Helpdesk log, with pm4py's columns."""
    return read_log(shared_data("helpdesk", "Helpdesk.xes.gz"))


def made_log(cases: int, seed: int, *, length: int = 6, names: int = 4) -> pd.DataFrame:
    """A random log with pm4py's columns: cases in order, times that may be equal."""
    rng = np.random.default_rng(seed)
    rows = []
    for case in range(cases):
        moment = datetime(2026, 1, 1) + timedelta(hours=int(rng.integers(0, 500)))
        for _ in range(int(rng.integers(1, length + 1))):
            rows.append((f"c{case:04d}", f"S{rng.integers(0, names)}", moment))
            moment += timedelta(hours=int(rng.integers(0, 40)))
    frame = pd.DataFrame(rows, columns=["case:concept:name", "concept:name", "time:timestamp"])
    return frame.assign(**{"time:timestamp": pd.to_datetime(frame["time:timestamp"], utc=True)})


def tables(
    events: list[tuple[str, str, datetime]],
    deals: dict[str, tuple[str, datetime | None]],
    changes: list[tuple[str, str, datetime, str]] = (),  # type: ignore[assignment]
    amounts: dict[str, str] | None = None,
    recorded: dict[int, datetime] | None = None,
) -> CanonicalTables:
    """A small company: events (deal, stage, when), deals (status, closed_at), amount changes."""
    rows = [
        {"deal_id": deal, "entered_at": at, "seq": turn, "stage": stage, "rep_id": "r1",
         "recorded_at": (recorded or {}).get(turn, at)}
        for turn, (deal, stage, at) in enumerate(events)
    ]  # fmt: skip
    deal_rows = [
        {"deal_id": deal, "status": status, "closed_at": closed, "pipeline": "sales",
         "amount_base": (amounts or {}).get(deal)}
        for deal, (status, closed) in deals.items()
    ]  # fmt: skip
    stages = [
        {"pipeline": "sales", "stage": name, "position": place, "is_won": won, "is_closed": closed}
        for name, place, closed, won in STAGES
    ]
    change_rows = [
        {"deal_id": deal, "field": field, "changed_at": at, "seq": turn, "new_value": value}
        for turn, (deal, field, at, value) in enumerate(changes)
    ]
    made = {
        "deals": pa.Table.from_pylist(deal_rows),
        "stages": pa.Table.from_pylist(stages),
        "stage_events": pa.Table.from_pylist(rows),
    }
    if change_rows:
        made["deal_changes"] = pa.Table.from_pylist(change_rows)
    return CanonicalTables(made, no_rejects())


@pytest.fixture
def company() -> Iterator[Warehouse]:
    """Four deals: won, lost, lost after a return, and one still open."""
    day = datetime(2026, 1, 1)
    events = [
        ("a", "Lead", day), ("a", "Offer", day + timedelta(days=4)),
        ("a", "Won", day + timedelta(days=10)),
        ("b", "Lead", day), ("b", "Lost", day + timedelta(days=8)),
        ("c", "Lead", day), ("c", "Offer", day + timedelta(days=2)),
        ("c", "Lead", day + timedelta(days=3)), ("c", "Lost", day + timedelta(days=9)),
        ("d", "Lead", day), ("d", "Offer", day + timedelta(days=6)),
    ]  # fmt: skip
    deals = {
        "a": ("won", day + timedelta(days=10)),
        "b": ("lost", day + timedelta(days=8)),
        "c": ("lost", day + timedelta(days=9)),
        "d": ("open", None),
    }
    changes = [("a", "amount_base", day, "100"), ("d", "amount_base", day, "40"),
               ("d", "amount_base", day + timedelta(days=7), "70")]  # fmt: skip
    with Warehouse.in_memory(tables(events, deals, changes)) as warehouse:
        yield warehouse
