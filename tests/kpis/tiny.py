"""Companies small enough to be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa

from salesops_ml.kpis import Facts
from salesops_ml.periods import Period, period_of
from salesops_ml.schema import CanonicalTables, no_rejects
from salesops_ml.settings import Settings, parse
from salesops_ml.warehouse import Warehouse

Row = Mapping[str, Any]
Q1 = period_of(date(2026, 1, 1), "quarter")
Q2 = period_of(date(2026, 4, 1), "quarter")
MARCH = period_of(date(2026, 3, 1), "month")
AS_OF = datetime(2026, 5, 1)

STAGES = [
    {"stage": "Lead", "position": 0, "probability": 0.1, "expected_days": 5.0},
    {"stage": "Offer", "position": 1, "probability": 0.5, "expected_days": 10.0},
    {"stage": "Won", "position": 2, "probability": 1.0, "is_won": True, "is_closed": True},
    {"stage": "Lost", "position": 3, "probability": 0.0, "is_closed": True},
]
REPS = [
    {"rep_id": "ann", "region": "EMEA", "team": "North"},
    {"rep_id": "bob", "region": "EMEA", "team": "North"},
    {"rep_id": "cy", "region": "APAC", "team": "South"},
]


def deal(
    deal_id: str,
    rep_id: str,
    created: str,
    status: str = "open",
    closed: str | None = None,
    amount: str | None = "100",
    due: str | None = None,
) -> Row:
    """A deal without any history but its own row."""
    return {
        "deal_id": deal_id, "rep_id": rep_id, "pipeline": "new", "created_at": created,
        "status": status, "closed_at": closed, "amount_base": amount, "expected_close_date": due,
    }  # fmt: skip


def moves(deal_id: str, *steps: tuple[str, str]) -> list[Row]:
    """Stage events of one deal: (moment, stage) after (moment, stage)."""
    return [
        {"deal_id": deal_id, "entered_at": at, "seq": seq, "stage": stage}
        for seq, (at, stage) in enumerate(steps)
    ]


def changes(deal_id: str, field: str, *steps: tuple[str, str]) -> list[Row]:
    """The history of one field: (moment, value) after (moment, value)."""
    values = [None, *[value for _, value in steps]]
    return [
        {
            "deal_id": deal_id, "field": field, "changed_at": at, "seq": seq,
            "old_value": values[seq], "new_value": value,
        }
        for seq, (at, value) in enumerate(steps)
    ]  # fmt: skip


def quota(owner_id: str, amount: str, period: Period = Q1) -> Row:
    """What an owner, a rep or a node, is to win in a period."""
    days = {"period_start": period.start, "period_end": period.end - timedelta(days=1)}
    return {"owner_id": owner_id, "amount": amount, **days}


def unchanged(deals: Sequence[Row]) -> list[Row]:
    """Histories that say: amount and expected close have been the same since creation."""
    told: list[Row] = []
    for row in deals:
        for field in ("amount_base", "expected_close_date"):
            if row[field] is not None:
                told += changes(row["deal_id"], field, (row["created_at"], row[field]))
    return told


@contextmanager
def company(**tables: Sequence[Row]) -> Iterator[Warehouse]:
    """A warehouse of these tables; stages and reps are the ones above unless given."""
    given: dict[str, Sequence[Row]] = {"stages": STAGES, "reps": REPS} | tables
    if "stages" in given:
        defaults = {"pipeline": "new", "is_won": False, "is_closed": False}
        given["stages"] = [defaults | row for row in given["stages"]]
    arrow = {name: _arrow(rows) for name, rows in given.items() if rows}
    with Warehouse.in_memory(CanonicalTables(arrow, no_rejects())) as warehouse:
        yield warehouse


def _arrow(rows: Sequence[Row]) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])


def rows_of(
    metric: Callable[[Facts], pd.DataFrame],
    warehouse: Warehouse,
    *periods: Period,
    as_of: datetime = AS_OF,
    settings: Settings | None = None,
) -> dict[tuple[str, str, str], float]:
    """What a metric tells: (metric, period, node) -> value."""
    settings = settings or parse({})
    with Facts.known(warehouse, as_of=as_of, settings=settings, periods=periods) as facts:
        rows = metric(facts)
    keys = zip(rows["metric"], rows["period"], rows["node"], strict=True)
    return dict(zip(keys, rows["value"], strict=True))


def counts_of(
    metric: Callable[[Facts], pd.DataFrame], warehouse: Warehouse, *periods: Period
) -> dict[tuple[str, str, str], int]:
    """How many cases stand behind each value: (metric, period, node) -> n."""
    with Facts.known(warehouse, as_of=AS_OF, settings=parse({}), periods=periods) as facts:
        rows = metric(facts)
    keys = zip(rows["metric"], rows["period"], rows["node"], strict=True)
    return dict(zip(keys, rows["n"], strict=True))
