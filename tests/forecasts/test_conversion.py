"""Forecasts by what earlier pipelines came to: worked by hand, and held against a slow loop."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from salesops_ml.forecasts import backtest_revenue, read_history
from salesops_ml.forecasts.conversion import Day, by_category, by_stage, existing_plus_new
from salesops_ml.forecasts.evidence import Evidence
from salesops_ml.forecasts.model import learn_revenue_model
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Warehouse
from tests.forecasts.companies import SETTINGS, Book, flat_pipeline

ORIGIN = datetime(2026, 2, 11)


def seen(warehouse: Warehouse, origin: datetime, settings: Settings = SETTINGS) -> Day:
    history = read_history(warehouse, as_of=origin, settings=settings)
    model = learn_revenue_model(history, settings)
    return Day(history, Evidence.read(warehouse).known(origin), model)


def said(book: Book, origin: datetime, method: str, until: datetime) -> pd.Series:
    settings = Settings.model_validate({"forecast": {"hierarchy": ["rep"], "months": 1}})
    with Warehouse.in_memory(book.tables()) as warehouse:
        found = backtest_revenue(
            warehouse,
            lambda as_of: flat_pipeline(as_of, {}, {}),
            origins=[origin],
            settings=settings,
            as_of=until,
        )
    rows = found[(found.node == "company") & (found.method == method)]
    return rows.set_index("period")["mean"]


def test_half_of_the_pipeline_and_one_new_deal_of_eighty() -> None:
    """On the 11th of February 200 stood open, 100 of it was won that month, and 80 came and closed."""
    book = Book().deal("old", "2026-01-05", amount=1).move("old", "Lost", "2026-02-02")
    book.deal("a", "2026-02-01", amount=100).move("a", "Won", "2026-02-20")
    book.deal("b", "2026-02-01", amount=100).move("b", "Lost", "2026-02-21")
    book.deal("c", "2026-02-15", amount=80).move("c", "Won", "2026-02-25")
    book.deal("d", "2026-03-01", amount=7).move("d", "Won", "2026-03-05")
    book.deal("e", "2026-03-02", amount=60)
    told = said(book, datetime(2026, 3, 11), "existing_plus_new", datetime(2026, 4, 1))
    january = 0.0  # one deal of 1 stood open on the 11th of January, and was lost later
    rate = (january + 100) / (1 + 200)
    assert told["2026-03"] == pytest.approx(7 + rate * 60 + 80 / 2)


def test_each_category_at_what_used_to_come_of_it() -> None:
    """Of 300 in commit due in February 200 was won, of 100 in best case nothing."""
    book = Book()
    for name, amount, category, fate in (
        ("a", 200, "commit", "Won"), ("b", 100, "commit", "Lost"), ("c", 100, "best_case", "Lost"),
    ):  # fmt: skip
        book.deal(name, "2026-02-01", amount=amount)
        book.change(name, "forecast_category", "2026-02-01", category)
        book.change(name, "expected_close_date", "2026-02-01", "2026-02-27")
        book.move(name, fate, "2026-02-26")
    for name, amount, category, due in (
        ("x", 90, "commit", "2026-03-30"), ("y", 50, "best_case", "2026-03-30"),
        ("z", 70, "commit", "2026-04-30"),
    ):  # fmt: skip
        book.deal(name, "2026-03-01", amount=amount)
        book.change(name, "forecast_category", "2026-03-01", category)
        book.change(name, "expected_close_date", "2026-03-01", due)
    told = said(book, datetime(2026, 3, 11), "by_category", datetime(2026, 4, 1))
    assert told["2026-03"] == pytest.approx(90 * 200 / 300)


def test_a_stage_is_worth_what_its_deals_came_to() -> None:
    book = Book()
    for place in range(30):
        book.deal(f"d{place:02}", "2026-01-03", amount=10)
        book.move(f"d{place:02}", "Won" if place < 12 else "Lost", "2026-02-03")
    book.deal("x", "2026-03-01", amount=100)
    book.change("x", "expected_close_date", "2026-03-01", "2026-03-28")
    told = said(book, datetime(2026, 3, 11), "by_stage", datetime(2026, 4, 1))
    assert told["2026-03"] == pytest.approx(100 * 0.4)


def slow_existing_plus_new(day: Day, place: int) -> float:
    """The company's quarter `place` ahead, deal by deal."""
    deals, amounts = day.history.deals, day.history.amounts
    first = day.model.view.quarters[0]
    gone = day.history.as_of - first.bounds("UTC")[0]
    came, stood, fresh, seen = 0.0, 0.0, 0.0, 0
    for back in range(1, 9):
        begin = (pd.Timestamp(first.start) - pd.DateOffset(months=3 * back)).to_pydatetime()
        end = (pd.Timestamp(begin) + pd.DateOffset(months=3)).to_pydatetime()
        moment = min(begin + gone, end)
        if moment <= deals.created_at.min() or place >= back:
            continue
        start = (pd.Timestamp(begin) + pd.DateOffset(months=3 * place)).to_pydatetime()
        stop = (pd.Timestamp(start) + pd.DateOffset(months=3)).to_pydatetime()
        seen += 1
        for row in deals.itertuples():
            won = row.status == "won" and max(start, moment) <= row.closed_at < stop
            worth = row.amount if won and not np.isnan(row.amount) else 0.0
            if row.created_at > moment:
                fresh += worth
            elif pd.isna(row.closed_at) or row.closed_at > moment:
                came += worth
                told = amounts[(amounts.deal_id == row.deal_id) & (amounts.changed_at <= moment)]
                stood += told["value"].iloc[-1] if len(told) else 0.0
    now = day.history.open["amount"].fillna(0.0).sum()
    return came / stood * now + fresh / seen


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 1])
def test_conversion_equals_a_loop_by_hand(small: Warehouse, place: int) -> None:
    day = seen(small, ORIGIN)
    found = existing_plus_new(day, day.model.view.quarters, day.model.closed.quarter)
    assert found is not None
    expected = slow_existing_plus_new(day, place)
    expected += day.model.closed.quarter.sum() if place == 0 else 0.0
    assert found[:, place].sum() == pytest.approx(expected)


def test_what_was_never_seen_is_not_said(company: Warehouse) -> None:
    first = read_history(company, as_of=datetime(2026, 7, 1), settings=SETTINGS).deals
    soon = first["created_at"].min().to_pydatetime() + timedelta(days=20)
    day = seen(company, soon)
    for way in (existing_plus_new, by_category):
        found = way(day, day.model.view.quarters, day.model.closed.quarter)
        assert found is None or np.isnan(found[:, 1:]).all()


def test_without_categories_dates_or_stages_a_way_is_silent() -> None:
    book = Book().deal("a", "2025-11-01").move("a", "Won", "2025-12-02").deal("b", "2026-01-15")
    settings = Settings.model_validate({"forecast": {"hierarchy": ["rep"]}})
    with Warehouse.in_memory(book.tables()) as warehouse:
        day = seen(warehouse, ORIGIN, settings)
    quarters, closed = day.model.view.quarters, day.model.closed.quarter
    assert by_category(day, quarters, closed) is None
    assert by_stage(day, quarters, closed) is None


def test_only_what_was_recorded_by_the_day_is_known(company: Warehouse) -> None:
    evidence: Any = Evidence.read(company).known(ORIGIN)
    for rows in (evidence.fields, evidence.visits, evidence.submissions):
        assert len(rows) > 0
        assert (rows["recorded_at"] <= ORIGIN).all()
