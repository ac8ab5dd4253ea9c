"""Forecasts over trees from the configuration: cross products, and reps who join, leave and move."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from salesops_ml.forecasts import read_history
from salesops_ml.forecasts.model import learn_revenue_model
from salesops_ml.forecasts.projection import Projection
from salesops_ml.forecasts.revenue import placed
from salesops_ml.settings import Settings, merge, parse
from salesops_ml.warehouse import Warehouse
from tests.forecasts.companies import SETTINGS, TODAY, Book, flat_pipeline


def asked(*levels: str) -> Settings:
    return parse(merge(SETTINGS.model_dump(mode="json"), {"forecast": {"hierarchy": list(levels)}}))


def assert_coherent(projection: Projection) -> None:
    frame = projection.frame().set_index(["node", "period"])[["mean", "closed", "from_open"]]
    samples = dict(zip(projection.tree.nodes, projection.samples_at_nodes(), strict=True))
    parents = 0
    for node in projection.tree.nodes:
        children = [name for name in projection.tree.nodes if name.rpartition("/")[0] == node]
        if children:
            parents += 1
            together = sum(frame.loc[child] for child in children)
            assert np.abs(together.to_numpy() - frame.loc[node].to_numpy()).max() < 1e-6
            assert np.abs(sum(samples[child] for child in children) - samples[node]).max() < 1e-6
    assert parents > 1


@pytest.mark.parametrize(
    "levels",
    [("region", "product"), ("product", "region", "team"), ("industry",), ("deal_type", "manager")],
)
def test_any_tree_is_coherent_and_has_the_same_company_in_it(company, scorer, levels):
    settings = asked(*levels)
    history = read_history(company, as_of=TODAY, settings=settings)
    pipeline = scorer(TODAY)
    projection = learn_revenue_model(history, settings).project(placed(pipeline, history))
    if len(levels) > 1:
        assert_coherent(projection)
    usual = read_history(company, as_of=TODAY, settings=SETTINGS)
    other = learn_revenue_model(usual, SETTINGS).project(placed(pipeline, usual))
    assert projection.open_mean.sum() == pytest.approx(other.open_mean.sum(), rel=1e-9)
    assert projection.closed.quarter.sum() == pytest.approx(other.closed.quarter.sum())


def company_that_changes() -> Book:
    """Ann moves from North to South on 1 April, Bob leaves, Cy joins in May."""
    book = Book()
    book.rep("ann", "2025-01-01", region="North", active=True)
    book.rep("ann", "2026-04-01", region="South", active=True)
    book.rep("bob", "2025-01-01", region="North", active=True)
    book.rep("bob", "2026-04-15", region="North", active=False)
    book.rep("cy", "2026-05-01", region="South", active=True)
    for number in range(24):
        rep = ("ann", "bob")[number % 2]
        month = 1 + number % 3
        book.deal(f"d{number:02d}", f"2026-0{month}-{number % 20 + 1:02d}", rep=rep, amount=100.0)
        if number < 18:
            book.move(f"d{number:02d}", "Won" if number % 3 else "Lost", f"2026-0{month}-27")
    book.deal("cy-1", "2026-05-05", rep="cy", amount=70.0)
    return book


SETTINGS_BY_REP = asked("region", "rep")


def projected(warehouse: Warehouse, as_of: datetime) -> Projection:
    history = read_history(warehouse, as_of=as_of, settings=SETTINGS_BY_REP)
    names = history.open.deal_id.tolist()
    amounts = dict(zip(names, history.open.amount, strict=True))
    pipeline = flat_pipeline(as_of, dict.fromkeys(names, 0.4), amounts)
    return learn_revenue_model(history, SETTINGS_BY_REP).project(placed(pipeline, history))


def test_those_who_join_leave_and_move_keep_the_tree_coherent_and_history_follows_them():
    with Warehouse.in_memory(company_that_changes().tables()) as warehouse:
        before = projected(warehouse, datetime(2026, 3, 30))
        after = projected(warehouse, datetime(2026, 5, 10))
    for projection in (before, after):
        assert_coherent(projection)
    assert set(before.tree.leaves) == {"company/North/ann", "company/North/bob"}
    # her past and her open deals go with Ann; what Bob left behind stays under his name
    assert set(after.tree.leaves) == {
        "company/South/ann", "company/North/bob", "company/South/cy",
    }  # fmt: skip
    at = {leaf: row for row, leaf in enumerate(after.tree.leaves)}
    assert after.open_mean[at["company/South/ann"]].sum() > 0
    assert after.open_mean[at["company/North/bob"]].sum() > 0
    assert after.new_mean[at["company/North/bob"]].sum() == 0
    assert after.new_mean[at["company/South/cy"]].sum() > 0
    frame = before.frame().set_index(["node", "period"])
    assert frame.loc[("company/North/ann", "2026-Q1"), "closed"] > 0
