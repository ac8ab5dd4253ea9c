"""Forecast accuracy and bias, by hand."""

from __future__ import annotations

import pytest

from salesops_ml.kpis.forecast_accuracy import forecast_accuracy
from tests.kpis.tiny import Q1, Q2, Row, company, counts_of, deal, rows_of

DEALS = [deal("a", "ann", "2026-01-01", "won", "2026-02-01", "400")]


def _said(
    at: str,
    amount: str,
    author: str = "eve",
    category: str | None = "commit",
    period: str = "2026-Q1",
) -> Row:
    return {
        "node": "company", "period": period, "submitted_at": at, "author": author,
        "amount": amount, "category": category,
    }  # fmt: skip


def test_accuracy_and_bias() -> None:
    """Won 400. Eve said 500 in January (corrected from 900 the day before) and 360 in March; Dan 400.

    Eve: misses 100 and 40 of 2 x 400. All: 140 of 1,200. Bias: (100 - 40 + 0) / 1,200.
    """
    said = [
        _said("2026-01-09", "900"),
        _said("2026-01-10", "500"),
        _said("2026-03-10", "360"),
        _said("2026-03-10", "400", author="dan", category=None),
        _said("2026-03-11", "5000", category="best_case"),
        _said("2026-04-02", "400"),  # the period is over
        _said("2026-04-02", "400", period="2026-Q2"),  # not over yet
    ]
    with company(deals=DEALS, forecast_submissions=said) as warehouse:
        told = rows_of(forecast_accuracy, warehouse, Q1, Q2)
        counts = counts_of(forecast_accuracy, warehouse, Q1)
    here = {metric: value for (metric, _, _), value in told.items()}
    assert {period for _, period, _ in told} == {"2026-Q1"}
    assert here["forecast_accuracy"] == pytest.approx(100 * (1 - 140 / 1200))
    assert here["forecast_bias"] == pytest.approx(100 * 60 / 1200)
    assert here["forecast_accuracy:by eve"] == pytest.approx(100 * (1 - 140 / 800))
    assert here["forecast_accuracy:by dan"] == 100
    assert here["forecast_accuracy:3 months ahead"] == 75
    assert here["forecast_accuracy:1 month ahead"] == 95
    assert here["forecast_bias:1 month ahead"] == -5
    assert counts["forecast_accuracy", "2026-Q1", "company"] == 3


def test_a_period_in_which_nothing_was_won_has_no_accuracy() -> None:
    with company(
        deals=[deal("a", "ann", "2026-01-01")], forecast_submissions=[_said("2026-01-10", "500")]
    ) as warehouse:
        assert rows_of(forecast_accuracy, warehouse, Q1) == {}
