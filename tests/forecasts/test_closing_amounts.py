"""Amounts at close beside the amounts before."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from salesops_ml.forecasts.closing_amounts import learn_closing_amounts

SINCE = datetime(2025, 1, 1)


def deals(count: int, closing: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "deal_id": [f"d{i}" for i in range(count)],
            "created_at": pd.Timestamp("2025-03-01"),
            "closed_at": pd.Timestamp("2025-03-31"),
            "amount": closing,
        }
    )


def history(count: int, *values: tuple[str, float]) -> pd.DataFrame:
    rows = [
        (f"d{i}", pd.Timestamp(moment), value) for i in range(count) for moment, value in values
    ]
    return pd.DataFrame(rows, columns=["deal_id", "changed_at", "value"])


def test_a_value_weighs_as_long_as_it_stood():
    # 100 stood for 20 days and 80 for 10, and all closed for 80
    count = 20_000
    past = history(count, ("2025-03-01", 100.0), ("2025-03-21", 80.0))
    found = learn_closing_amounts(deals(count, 80.0), past, since=SINCE)
    closing, standing = 80 * 20 + 80 * 10, 100 * 20 + 80 * 10
    assert found.mean_ratio == pytest.approx(closing / standing, rel=1e-3)


def test_few_deals_are_drawn_to_no_change():
    few, many = (
        learn_closing_amounts(deals(n, 50.0), history(n, ("2025-03-01", 100.0)), since=SINCE)
        for n in (2, 2_000)
    )
    assert few.mean_ratio == pytest.approx(1 - 0.5 * 2 / 22)
    assert many.mean_ratio == pytest.approx(0.5, abs=0.01)


def test_blanks_are_worth_what_blanks_closed_for():
    priced, blank = deals(500, 100.0), deals(500, 900.0)
    blank["deal_id"] = [f"b{i}" for i in range(500)]
    past = pd.concat(
        [
            history(500, ("2025-03-01", 100.0)),
            pd.DataFrame(
                {"deal_id": blank.deal_id, "changed_at": pd.Timestamp("2025-03-01"), "value": 0.0}
            ),
        ]
    )
    found = learn_closing_amounts(pd.concat([priced, blank]), past, since=SINCE)
    assert found.unpriced == pytest.approx(900.0, rel=0.02)
    assert found.mean_ratio == pytest.approx(1.0)
    assert found.base(np.array([np.nan, 0.0, 40.0])) == pytest.approx([found.unpriced] * 2 + [40.0])


def test_changes_after_the_close_and_older_deals_do_not_count():
    past = history(50, ("2025-03-01", 100.0), ("2025-04-15", 10.0))
    assert learn_closing_amounts(deals(50, 100.0), past, since=SINCE).mean_ratio == 1.0
    later = learn_closing_amounts(deals(50, 50.0), past, since=datetime(2025, 6, 1))
    assert (later.mean_ratio, later.unpriced) == (1.0, 0.0)
