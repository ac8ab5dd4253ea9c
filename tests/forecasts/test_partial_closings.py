"""Deals that close in parts: each part is a deal of its own, the parent goes on with what remains.

At the moment a part is signed, the parent's amount falls by it and a deal of that amount is won.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from salesops_ml.forecasts import read_history
from salesops_ml.forecasts.closing_amounts import learn_closing_amounts
from salesops_ml.forecasts.model import learn_revenue_model
from salesops_ml.forecasts.revenue import placed
from salesops_ml.warehouse import Warehouse
from tests.forecasts.companies import SETTINGS, Book, flat_pipeline

START = datetime(2026, 1, 5)


def signed_in_parts(
    book: Book, name: str, start: datetime, asked: float, part: float, *, rest: str | None
) -> None:
    """Asked for `asked`; `part` is signed after ten days, and the rest ends as `rest` after twenty."""
    split, end = start + timedelta(days=10), start + timedelta(days=20)
    book.deal(name, start.isoformat(), amount=asked)
    book.deal(f"{name}-part", split.isoformat(), amount=part)
    book.change(name, "amount_base", split.isoformat(), str(asked - part))
    book.move(f"{name}-part", "Won", split.isoformat())
    if rest is not None:
        book.move(name, rest, end.isoformat())


@pytest.mark.parametrize(
    ("after", "closed", "still_open"), [(9, 0.0, 100.0), (11, 40.0, 60.0), (21, 100.0, 0.0)]
)
def test_what_is_signed_is_booked_and_the_rest_stays_in_the_pipeline(after, closed, still_open):
    book = Book()
    signed_in_parts(book, "a", START, 100.0, 40.0, rest="Won")
    with Warehouse.in_memory(book.tables()) as warehouse:
        history = read_history(warehouse, as_of=START + timedelta(days=after), settings=SETTINGS)
    assert history.won["amount"].sum() == closed
    assert history.open["amount"].sum() == still_open
    assert closed + still_open == 100.0


def test_the_ratio_at_close_and_its_spread_are_learned_from_parts_too():
    book = Book()
    for number in range(200):
        start = START + timedelta(hours=number)
        if number % 2:
            signed_in_parts(book, f"p{number:03d}", start, 100.0, 40.0, rest="Won")
        else:
            book.deal(f"w{number:03d}", start.isoformat(), amount=100.0)
            book.move(f"w{number:03d}", "Won", (start + timedelta(days=20)).isoformat())
    with Warehouse.in_memory(book.tables()) as warehouse:
        history = read_history(warehouse, as_of=datetime(2026, 3, 1), settings=SETTINGS)
    found = learn_closing_amounts(history.won, history.amounts, since=datetime(2025, 1, 1))
    # By days x money that stood: 100 for 20 days at ratio 1; 100 for 10 at .6, then 60 for 10 at 1
    weight, ratio = np.array([2000.0, 1000.0, 600.0]), np.array([1.0, 0.6, 1.0])
    learned = float(np.average(ratio, weights=weight))
    kept = 200 / (200 + 20)
    assert found.mean_ratio == pytest.approx(1 + kept * (learned - 1), abs=0.002)
    spread = kept**2 * float(np.average((ratio - learned) ** 2, weights=weight))
    assert found.ratios.var() == pytest.approx(spread, rel=0.05)


def test_a_rest_that_is_lost_takes_nothing_from_what_was_signed():
    book = Book()
    signed_in_parts(book, "a", START, 100.0, 40.0, rest="Lost")
    signed_in_parts(book, "b", START, 50.0, 10.0, rest=None)
    with Warehouse.in_memory(book.tables()) as warehouse:
        history = read_history(warehouse, as_of=START + timedelta(days=21), settings=SETTINGS)
    model = learn_revenue_model(history, SETTINGS)
    assert model.closed.month.sum() == 50.0
    pipeline = flat_pipeline(history.as_of, {"b": 0.5}, {"b": 40.0})
    projection = model.project(placed(pipeline, history))
    most = 40.0 * model.amounts.ratios.max()
    assert 0 < projection.open_mean.sum() <= most
