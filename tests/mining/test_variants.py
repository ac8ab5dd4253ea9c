"""Variants against pm4py's, and on a hand-worked company."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.mining.discovery import variant_counts
from salesops_ml.mining.event_log import event_log
from salesops_ml.mining.variants import COLUMNS, variants
from salesops_ml.warehouse import Warehouse
from tests.mining.conftest import made_log


def counts(found: pd.DataFrame) -> dict[tuple[str, ...], int]:
    return {tuple(path): n for path, n in zip(found.steps, found["count"], strict=True)}


def test_variants_equal_pm4py_on_bpi_2012(bpi_2012: pd.DataFrame) -> None:
    ours = variants(bpi_2012)
    assert len(ours) == 4366
    assert counts(ours) == variant_counts(bpi_2012)


def test_variants_equal_pm4py_on_helpdesk(helpdesk: pd.DataFrame) -> None:
    assert counts(variants(helpdesk)) == variant_counts(helpdesk)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), cases=st.integers(1, 60))
def test_variants_equal_a_plain_count(seed: int, cases: int) -> None:
    log = made_log(cases, seed, names=2)
    plain: dict[tuple[str, ...], int] = {}
    for _, rows in log.groupby("case:concept:name"):
        path = tuple(rows["concept:name"])
        plain[path] = plain.get(path, 0) + 1
    found = variants(log)
    assert counts(found) == plain
    assert found.cumulative_share.iloc[-1] == pytest.approx(1)
    assert (np.diff(found["count"]) <= 0).all()
    assert found.variant.tolist() == list(range(1, len(plain) + 1))


def test_what_a_variant_is_worth(company: Warehouse) -> None:
    found = variants(event_log(company, as_of=datetime(2026, 1, 20))).set_index("path")
    won = found.loc["Lead → Offer → Won"]
    assert (won["count"], won.win_rate, won.amount, won.duration_p50_days) == (1, 1, 100, 10)
    standing = found.loc["Lead → Offer"]
    assert (standing.open, standing.amount) == (1, 70)
    assert np.isnan(standing.win_rate)
    assert np.isnan(standing.duration_p50_days)


def test_a_limit_keeps_shares_of_all(company: Warehouse) -> None:
    log = event_log(company, as_of=datetime(2026, 1, 20))
    first = variants(log, limit=1)
    assert (len(first), first.share[0]) == (1, 0.25)


def test_an_empty_log_has_no_variants(company: Warehouse) -> None:
    found = variants(event_log(company, as_of=datetime(2026, 1, 1) - timedelta(days=1)))
    assert found.empty
    assert list(found.columns) == list(COLUMNS)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), limit=st.integers(0, 30))
def test_a_limit_is_the_head_of_all(seed: int, limit: int) -> None:
    log = made_log(40, seed, length=3, names=3)
    pd.testing.assert_frame_equal(variants(log, limit=limit), variants(log).head(limit))
