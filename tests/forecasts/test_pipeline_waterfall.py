"""Start plus what came less what went is the end, at every node; moves net out at the parent."""

from __future__ import annotations

from datetime import datetime

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import UsageError
from salesops_ml.forecasts import pipeline_waterfall, read_history
from salesops_ml.forecasts.hierarchy import Tree
from salesops_ml.forecasts.waterfall import STEPS
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Warehouse
from tests.forecasts.companies import SETTINGS, Book

REPS = Settings.model_validate({"forecast": {"hierarchy": ["rep"]}})


def told(book: Book, start: str, end: str) -> pd.DataFrame:
    with Warehouse.in_memory(book.tables()) as warehouse:
        before, after = (
            read_history(warehouse, as_of=datetime.fromisoformat(moment), settings=REPS)
            for moment in (start, end)
        )
    return pipeline_waterfall(before, after).set_index("node")


def test_each_cause_by_hand():
    book = Book().deal("stays", "2026-01-01", amount=100)
    book.change("stays", "amount_base", "2026-01-20", "130")
    book.deal("moves", "2026-01-01", amount=40).change("moves", "rep_id", "2026-01-20", "r2")
    book.change("moves", "amount_base", "2026-01-21", "30")
    book.deal("wins", "2026-01-01", amount=70).change("wins", "amount_base", "2026-01-15", "60")
    book.move("wins", "Won", "2026-01-16")
    book.deal("fails", "2026-01-01", amount=20, rep="r2").move("fails", "Lost", "2026-01-25")
    book.deal("comes", "2026-01-12", amount=9)
    book.deal("passes", "2026-01-12", amount=5).move("passes", "Won", "2026-01-13")
    book.deal("back", "2025-12-01", amount=8).move("back", "Lost", "2025-12-20")
    book.move("back", "Open", "2026-01-15")
    found = told(book, "2026-01-10", "2026-02-01")
    expected = {
        "company": [230, 14, 8, 0, 30, -20, 0, -65, -20, 177],
        "company/r1": [210, 14, 8, 0, 30, -10, -40, -65, 0, 147],
        "company/r2": [20, 0, 0, 40, 0, -10, 0, 0, -20, 30],
    }
    for node, steps in expected.items():
        assert found.loc[node, [*STEPS]].tolist() == steps, node


@given(data=st.tuples(st.integers(5, 300), st.integers(1, 300)))
@settings(max_examples=4, deadline=None)
def test_it_closes_at_every_node_and_children_sum_to_parents(company, data):
    start = datetime(2025, 8, 1) + pd.Timedelta(days=data[0] // 2)
    end = start + pd.Timedelta(days=data[1])
    before, after = (
        read_history(company, as_of=moment.to_pydatetime(), settings=SETTINGS)
        for moment in (pd.Timestamp(start), pd.Timestamp(end))
    )
    found = pipeline_waterfall(before, after).set_index("node")
    balance = found[[*STEPS[:-1]]].sum(axis=1) - found["end"]
    assert balance.abs().max() < 1e-6
    assert found.loc["company", "start"] == pytest.approx(before.open.amount.sum())
    assert found.loc["company", "end"] == pytest.approx(after.open.amount.sum())
    by_node = after.open.groupby("node").amount.sum()
    assert found.loc[by_node.index, "end"].to_numpy() == pytest.approx(by_node.to_numpy())
    tree = Tree.over([node for node in found.index if node.count("/") == 3])
    children = found[found.index.str.count("/") == 1]
    netted = [step for step in STEPS if not step.startswith("owner")]
    assert children[netted].sum().to_numpy() == pytest.approx(
        found.loc["company", netted].to_numpy(dtype=float)
    )
    assert set(tree.nodes) == set(found.index)


def test_time_must_run_forward(company):
    history = read_history(company, as_of=datetime(2026, 1, 1), settings=SETTINGS)
    with pytest.raises(UsageError, match="not after its start"):
        pipeline_waterfall(history, history)
