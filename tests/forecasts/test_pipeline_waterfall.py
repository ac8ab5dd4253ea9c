"""Start plus what came less what went is the end, at every node; moves net out at the parent."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import UsageError
from salesops_ml.forecasts import pipeline_waterfall, read_history
from salesops_ml.forecasts.history import History
from salesops_ml.forecasts.photographs import without_removed
from salesops_ml.forecasts.waterfall import STEPS
from salesops_ml.periods import Period, period_of
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Warehouse
from tests.forecasts.companies import SETTINGS, Book

REPS = Settings.model_validate({"forecast": {"hierarchy": ["team", "rep"]}})
START, END = "2026-01-10", "2026-02-01"
JANUARY = period_of(date(2026, 1, 1), "month")
NETTED = [step for step in STEPS if not step.startswith("owner")]


def both(book: Book, start: str = START, end: str = END) -> tuple[History, History]:
    with Warehouse.in_memory(book.tables()) as warehouse:
        before, after = (
            read_history(warehouse, as_of=datetime.fromisoformat(moment), settings=REPS)
            for moment in (start, end)
        )
    return before, after


def moved(found: pd.DataFrame, node: str) -> dict[str, float]:
    """The steps at a node that are not zero."""
    row: dict[str, float] = found.set_index("node").loc[node].to_dict()
    return {step: value for step, value in row.items() if value}


def teams() -> Book:
    book = Book()
    for rep, team in (("r1", "A"), ("r2", "A"), ("r3", "B")):
        book.rep(rep, None, team=team)
    return book


def test_each_cause_by_hand() -> None:
    book = teams().deal("stays", "2026-01-01", amount=100)
    book.change("stays", "amount_base", "2026-01-20", "130")
    book.deal("moves", "2026-01-01", amount=40).change("moves", "rep_id", "2026-01-20", "r2")
    book.change("moves", "amount_base", "2026-01-21", "30")
    book.deal("wins", "2026-01-01", amount=70).change("wins", "amount_base", "2026-01-15", "60")
    book.move("wins", "Won", "2026-01-16")
    book.deal("fails", "2026-01-01", amount=20, rep="r2").move("fails", "Lost", "2026-01-25")
    book.change("fails", "amount_base", "2026-01-25", "0")
    book.deal("comes", "2026-01-12", amount=9)
    book.deal("passes", "2026-01-12", amount=5).move("passes", "Won", "2026-01-13")
    book.deal("fleeting", "2026-01-12", amount=4).move("fleeting", "Lost", "2026-01-13")
    book.deal("back", "2025-12-01", amount=8).move("back", "Lost", "2025-12-20")
    book.move("back", "Open", "2026-01-15")
    book.deal("leaves", "2026-01-01", amount=3).change("leaves", "rep_id", "2026-01-20", "r3")
    found = pipeline_waterfall(*both(book))
    came = {"created": 18, "re-opened": 8, "amount up": 30}
    assert moved(found, "company") == came | {
        "start": 233, "amount down": -20, "won": -65, "lost": -24, "end": 180,
    }  # fmt: skip
    assert moved(found, "company/A") == came | {
        "start": 233, "amount down": -20, "owner out": -3, "won": -65, "lost": -24, "end": 177,
    }  # fmt: skip
    assert moved(found, "company/A/r1") == came | {
        "start": 213, "amount down": -10, "owner out": -43, "won": -65, "lost": -4, "end": 147,
    }  # fmt: skip
    assert moved(found, "company/A/r2") == {
        "start": 20, "owner in": 40, "amount down": -10, "lost": -20, "end": 30,
    }  # fmt: skip
    assert moved(found, "company/B") == {"owner in": 3, "end": 3}


def test_what_is_due_in_a_period_by_hand() -> None:
    book = Book().deal("stays", "2026-01-01", amount=100)
    book.change("stays", "expected_close_date", "2026-01-01", "2026-01-31")
    book.deal("later", "2026-01-01", amount=50)
    book.change("later", "expected_close_date", "2026-01-01", "2026-01-20")
    book.change("later", "expected_close_date", "2026-01-15", "2026-02-01")
    book.deal("sooner", "2026-01-01", amount=30)
    book.change("sooner", "expected_close_date", "2026-01-01", "2026-02-15")
    book.change("sooner", "expected_close_date", "2026-01-15", "2026-01-30")
    book.change("sooner", "amount_base", "2026-01-16", "33")
    book.deal("surprise", "2026-01-01", amount=20)
    book.change("surprise", "expected_close_date", "2026-01-01", "2026-03-31")
    book.move("surprise", "Won", "2026-01-25")
    book.deal("never due", "2026-01-01", amount=7)
    book.deal("not due and lost", "2026-01-01", amount=6).move(
        "not due and lost", "Lost", "2026-01-20"
    )
    before, after = both(book)
    assert moved(pipeline_waterfall(before, after, period=JANUARY), "company") == {
        "start": 150, "pulled in": 50, "amount up": 3, "pushed out": -50, "won": -20, "end": 133,
    }  # fmt: skip
    nothing = pipeline_waterfall(before, after, period=period_of(date(2027, 1, 1), "month"))
    assert nothing.empty
    assert nothing.columns.tolist() == ["node", *STEPS]


def test_what_the_rate_did_is_told_apart_from_what_the_deal_did() -> None:
    book = Book().deal("dollars", "2026-01-01", amount=90)
    book.change("dollars", "amount", "2026-01-01", "100")
    book.change("dollars", "amount", "2026-01-20", "150")
    book.change("dollars", "amount_base", "2026-01-20", "150")
    book.deal("rounded", "2026-01-01", amount=91.37).change(
        "rounded", "amount", "2026-01-01", "100"
    )
    book.change("rounded", "amount", "2026-01-20", "250")
    book.change("rounded", "amount_base", "2026-01-20", "228.43")
    told = moved(pipeline_waterfall(*both(book)), "company")
    assert told == pytest.approx(
        {"start": 181.37, "amount up": 45 + 137.06, "currency": 15, "end": 378.43}
    )


def test_a_deal_that_is_gone_from_the_record_was_removed() -> None:
    book = Book().deal("stays", "2026-01-01", amount=100).deal("goes", "2026-01-01", amount=40)
    before, after = both(book)
    later = replace(after, deals=after.deals[after.deals["deal_id"] != "goes"])
    assert moved(pipeline_waterfall(before, later), "company") == {
        "start": 140, "removed": -40, "end": 100,
    }  # fmt: skip


def test_photographs_tell_which_open_deals_are_gone() -> None:
    book = Book().deal("stays", "2026-01-01", amount=100).deal("goes", "2026-01-01", amount=40)
    book.deal("new", "2026-01-20", amount=1).deal("back", "2026-01-01", amount=5)
    book.move("back", "Lost", "2026-01-12").move("back", "Open", "2026-01-21")
    tables = book.tables()
    days: dict[int, tuple[str, ...]] = {9: ("stays", "goes", "back"), 20: ("stays",)}
    photos = [
        {"deal_id": name, "observed_on": date(2026, 1, day)}
        for day, names in days.items()
        for name in names
    ]
    tables = replace(tables, tables=tables.tables | {"deal_daily": pa.Table.from_pylist(photos)})
    told: dict[int, set[str]] = {}
    with Warehouse.in_memory(tables) as warehouse:
        for day in (10, 20, 21, 25):
            history = read_history(warehouse, as_of=datetime(2026, 1, day), settings=REPS)
            told[day] = set(without_removed(history, warehouse).open["deal_id"])
    assert told[10] == {"stays", "goes", "back"}
    assert told[20] == {"stays", "goes", "new"}, "the photograph of the 20th is not taken yet"
    assert told[21] == told[25] == {"stays", "new", "back"}


Event = tuple[str, int, int, int]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["amount", "own", "date", "rep", "Won", "Lost", "Open"]),
        st.integers(0, 5),
        st.integers(2, 59),
        st.integers(0, 999),
    ),
    max_size=30,
)


def random_book(births: list[int], events: list[Event]) -> Book:
    book = teams()
    first = datetime(2026, 1, 1)
    for number, birth in enumerate(births):
        book.deal(f"d{number}", str(first + timedelta(days=birth)), amount=10.0 * number + 0.55)
        book.change(f"d{number}", "amount", str(first + timedelta(days=birth)), "13.01")
    for kind, number, day, size in sorted(events, key=lambda event: event[2]):
        name = f"d{number % len(births)}"
        at = str(first + timedelta(days=max(day, births[number % len(births)])))
        fields: dict[str, tuple[str, Any]] = {
            "amount": ("amount_base", size / 7),
            "own": ("amount", size / 3),
            "date": ("expected_close_date", date(2026, 1, 1) + timedelta(days=size % 90)),
            "rep": ("rep_id", f"r{1 + size % 3}"),
        }
        if kind in fields:
            book.change(name, fields[kind][0], at, str(fields[kind][1]))
        else:
            book.move(name, kind, at)
    return book


@given(
    births=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    events=EVENTS,
    gone=st.sets(st.integers(0, 5)),
    due=st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_law_6_whatever_happens(
    births: list[int], events: list[Event], gone: set[int], due: bool
) -> None:
    """At every node of every company, and parents are their children but for moves among them."""
    before, after = both(random_book([0, *births], events), "2026-01-15", "2026-02-20")
    kept = ~after.deals["deal_id"].isin([f"d{number}" for number in gone])
    after = replace(after, deals=after.deals[kept].reset_index(drop=True))
    period: Period | None = period_of(date(2026, 2, 1), "month") if due else None
    found = pipeline_waterfall(before, after, period=period).set_index("node")
    balance = found[[*STEPS[:-1]]].sum(axis=1) - found["end"]
    assert balance.abs().max() < 1e-6 or found.empty
    for node in found.index:
        below = found[found.index.str.match(f"{node}/[^/]+$")]
        if len(below):
            apart = below[NETTED].sum() - found.loc[node, NETTED]
            assert apart.abs().max() < 1e-6
            owners = found.loc[node, ["owner in", "owner out"]].sum()
            assert below[["owner in", "owner out"]].to_numpy().sum() == pytest.approx(owners)
    if not due and len(found):
        for history, end in ((before, "start"), (after, "end")):
            total = history.open["amount"].round(2).sum()
            assert found.loc["company", end] == pytest.approx(total, abs=0.05)


@given(data=st.tuples(st.integers(5, 300), st.integers(1, 300)))
@settings(max_examples=4, deadline=None)
def test_it_closes_in_a_synthetic_company(company, data) -> None:
    start = datetime(2025, 8, 1) + timedelta(days=data[0] // 2)
    before, after = (
        read_history(company, as_of=moment, settings=SETTINGS)
        for moment in (start, start + timedelta(days=data[1]))
    )
    found = pipeline_waterfall(before, after).set_index("node")
    balance = found[[*STEPS[:-1]]].sum(axis=1) - found["end"]
    assert balance.abs().max() < 1e-6
    assert found.loc["company", "start"] == pytest.approx(before.open.amount.sum())
    by_node = after.open.groupby("node").amount.sum()
    assert found.loc[by_node.index, "end"].to_numpy() == pytest.approx(by_node.to_numpy())


def test_time_must_run_forward(company) -> None:
    history = read_history(company, as_of=datetime(2026, 1, 1), settings=SETTINGS)
    with pytest.raises(UsageError, match="not after its start"):
        pipeline_waterfall(history, history)
