"""What was known of each deal on a day: by hand, against the snapshots, and under time travel."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import DataError
from salesops_ml.forecasts import read_history
from salesops_ml.schema import CanonicalTables, no_rejects
from salesops_ml.settings import Settings
from salesops_ml.snapshots import FeatureSpec, open_spine
from salesops_ml.snapshots.features import deal_states
from salesops_ml.warehouse import Warehouse
from tests.forecasts.companies import END, SETTINGS, TODAY, Book, corrupted

COMPANY = Settings.model_validate({"forecast": {"hierarchy": ["rep"]}})


def known(book: Book, as_of: str) -> pd.DataFrame:
    with Warehouse.in_memory(book.tables()) as warehouse:
        found = read_history(warehouse, as_of=datetime.fromisoformat(as_of), settings=COMPANY)
    return found.deals.set_index("deal_id")


def test_a_deal_is_what_was_recorded_by_the_day():
    book = Book().deal("a", "2026-01-05", amount=100).change("a", "rep_id", "2026-01-20", "r2")
    book.change("a", "amount_base", "2026-01-10", "80", recorded="2026-02-15")
    book.move("a", "Won", "2026-02-01", recorded="2026-02-03")
    before = known(book, "2026-02-02").loc["a"]
    assert (before.status, before.amount, before.node) == ("open", 100.0, "company/r2")
    assert pd.isna(before.closed_at)
    after = known(book, "2026-02-20").loc["a"]
    assert (after.status, after.amount) == ("won", 80.0)
    assert after.closed_at == pd.Timestamp("2026-02-01")


def test_a_reopened_deal_is_open_and_its_last_closing_counts():
    book = Book().deal("a", "2026-01-05").move("a", "Lost", "2026-01-10")
    book.move("a", "Open", "2026-01-20").move("a", "Won", "2026-02-01")
    states = [known(book, moment).loc["a"].status for moment in ("2026-01-15", "2026-01-25")]
    assert states == ["lost", "open"]
    assert known(book, "2026-03-01").loc["a"].closed_at == pd.Timestamp("2026-02-01")


def test_without_histories_closed_deals_speak_for_themselves():
    rows = [
        {"deal_id": "w", "status": "won", "created_at": datetime(2026, 1, 1),
         "closed_at": datetime(2026, 2, 1), "amount_base": "50"},
        {"deal_id": "o", "status": "open", "created_at": datetime(2026, 1, 1), "closed_at": None,
         "amount_base": "70"},
        {"deal_id": "u", "status": "lost", "created_at": None,
         "closed_at": datetime(2026, 1, 15), "amount_base": "30"},
    ]  # fmt: skip
    tables = CanonicalTables({"deals": pa.Table.from_pylist(rows)}, no_rejects())
    with Warehouse.in_memory(tables) as warehouse:
        early, late = (
            read_history(warehouse, as_of=datetime(2026, month, 20), settings=COMPANY).deals
            for month in (1, 2)
        )
    assert dict(zip(early.deal_id, early.status, strict=True)) == {
        "w": "open", "o": "open", "u": "lost",
    }  # fmt: skip
    assert late.set_index("deal_id").amount.fillna(-1).to_dict() == {"w": 50, "o": -1, "u": 30}


def test_an_empty_past_is_named():
    with pytest.raises(DataError, match="no deal had begun by 2020-01-01"):
        known(Book().deal("a", "2026-01-05"), "2020-01-01")


def test_agrees_with_the_snapshots(company):
    found = read_history(company, as_of=TODAY, settings=SETTINGS)
    spine = open_spine(company, as_of=TODAY)
    spec = FeatureSpec(blocks=(), fixed=SETTINGS.snapshots.known_at_creation)
    states = deal_states(company, spine, spec).to_pyarrow().to_pandas().sort_values("deal_id")
    ours = found.open
    assert len(ours) > 100
    for column in ("deal_id", "rep_id", "stage", "product"):
        assert ours[column].tolist() == states[column].tolist()
    assert np.array_equal(ours["amount"], states["amount"], equal_nan=True)
    assert ours["probability"].between(0, 1).all()


@given(days_ago=st.integers(20, 600), seed=st.integers(0, 999))
@settings(max_examples=3, deadline=None)
def test_nothing_recorded_later_changes_what_was_known(world, company, days_ago, seed):
    as_of = END - timedelta(days=days_ago)
    honest = read_history(company, as_of=as_of, settings=SETTINGS)
    with Warehouse.in_memory(corrupted(world, as_of, seed)) as warehouse:
        found = read_history(warehouse, as_of=as_of, settings=SETTINGS)
    pd.testing.assert_frame_equal(honest.deals, found.deals)
    pd.testing.assert_frame_equal(honest.amounts, found.amounts)
    assert honest.organisation.left == found.organisation.left
