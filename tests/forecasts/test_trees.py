"""Further trees over the same revenue: they add up to the company, and to the nodes both trees know."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import ConfigError
from salesops_ml.forecasts import read_history
from salesops_ml.forecasts.backtest import replay_revenue
from salesops_ml.forecasts.combine import learn_weights
from salesops_ml.forecasts.model import RevenueModel, learn_revenue_model
from salesops_ml.forecasts.revenue import forecast_trees, placed
from salesops_ml.settings import merge, parse
from tests.forecasts.companies import END, SETTINGS, TODAY

TREES = {"products": ["product"], "crossed": ["product", "region"], "regions": ["region"]}
ASKED = parse(merge(SETTINGS.model_dump(mode="json"), {"forecast": {"trees": TREES}}))
ORIGINS = [pd.Timestamp(f"2026-0{month}-01").to_pydatetime() for month in (2, 3, 4, 5)]


@pytest.fixture(scope="module")
def learned(company, scorer):
    history = read_history(company, as_of=TODAY, settings=ASKED)
    model = learn_revenue_model(history, ASKED)
    pipeline = placed(scorer(TODAY), history)
    return history, model, pipeline


def test_every_tree_has_the_same_company_in_every_future(learned):
    _, model, pipeline = learned
    main = model.project(pipeline)
    for projection in model.project_trees(pipeline).values():
        for told, other in (
            (main.samples, projection.samples),
            (main.open_mean, projection.open_mean),
            (main.new_mean, projection.new_mean),
            (main.closed.quarter, projection.closed.quarter),
        ):
            assert np.allclose(told.sum(axis=0), other.sum(axis=0), rtol=1e-9)
        assert np.abs(projection.samples).min() >= 0


def test_a_node_that_both_trees_know_is_the_same_in_both(learned):
    _, model, pipeline = learned
    main = model.project(pipeline)
    trees = model.project_trees(pipeline)
    usual = dict(zip(main.tree.nodes, main.samples_at_nodes(), strict=True))
    regions = dict(
        zip(trees["regions"].tree.nodes, trees["regions"].samples_at_nodes(), strict=True)
    )
    crossed = trees["crossed"]
    by_node = dict(zip(crossed.tree.nodes, crossed.samples_at_nodes(), strict=True))
    named = {node for node in regions if node != "company"}
    assert len(named) >= 2
    for node in named:
        region = node.rpartition("/")[2]
        assert np.allclose(regions[node], usual[node], rtol=1e-9)
        both = [draws for path, draws in by_node.items() if path.split("/")[2:] == [region]]
        assert np.allclose(sum(both), usual[node], rtol=1e-9)


def test_open_deals_stand_where_their_own_product_places_them(learned):
    history, model, pipeline = learned
    projection = model.project_trees(pipeline)["products"]
    worth = pipeline.won_by(model.view.ends[-1:], np.ones(1), model.late)[:, 0]
    worth = worth * model.amounts.base(pipeline.amounts) * model.amounts.mean_ratio
    product = pipeline.deals["deal_id"].map(history.open.set_index("deal_id")["product"])
    by_hand = pd.Series(worth).groupby(product.to_numpy()).sum()
    for leaf, row in zip(projection.tree.leaves, projection.open_mean, strict=True):
        assert row.sum() == pytest.approx(by_hand.get(leaf.rpartition("/")[2], 0.0), rel=0.02)


def test_shares_are_those_of_the_past_and_lean_on_the_node_above(learned):
    history, model, _ = learned
    tree = next(one for one in model.trees if one.name == "products")
    assert np.allclose(np.bincount(tree.source, weights=tree.share), 1.0)
    won = history.won[history.won["closed_at"] >= pd.Timestamp(TODAY) - pd.Timedelta(days=365.25)]
    told = won.groupby("product")["amount"].sum() / won["amount"].sum()
    mean = tree.mean(np.ones((len(model.leaves), 1)))[:, 0] / len(model.leaves)
    for leaf, share in zip(tree.leaves, mean, strict=True):
        assert share == pytest.approx(told.get(leaf.rpartition("/")[2], 0.0), abs=0.1)


def test_a_saved_model_says_the_same(learned, tmp_path):
    _, model, pipeline = learned
    model.save(tmp_path)
    again = RevenueModel.load(tmp_path).project_trees(pipeline)
    for name, projection in model.project_trees(pipeline).items():
        assert np.array_equal(again[name].samples, projection.samples)


def test_published_means_add_up_after_lessons_too(company, scorer, learned):
    history, _, _ = learned
    record = replay_revenue(company, scorer, origins=ORIGINS, settings=ASKED, as_of=END)
    assert set(record.trees["tree"]) == set(TREES)
    assert not (record.trees["node"] == "company").any()
    weights = learn_weights(record.main, shock=0.1, trees=record.trees)
    assert any(key.split("/")[1:2] == ["products"] for key in weights.widths)
    model = learn_revenue_model(history, ASKED, weights)
    rows = forecast_trees(model, scorer(TODAY), history)
    main = model.project(placed(scorer(TODAY), history)).frame(weights)
    company_mean = main[main["node"] == "company"].set_index("period")["mean"]
    for _, tree in rows[rows["node"].str.count("/") == 1].groupby("tree"):
        summed = tree.groupby("period")["mean"].sum()
        assert np.allclose(summed, company_mean[summed.index])
    assert (rows["p10"] <= rows["p50"]).all()
    assert (rows["p50"] <= rows["p90"]).all()


def test_actuals_of_a_tree_add_up_to_the_company(company, scorer):
    record = replay_revenue(company, scorer, origins=ORIGINS[:1], settings=ASKED, as_of=END)
    main = record.main[(record.main["method"] == "ours") & (record.main["node"] == "company")]
    actual = main.set_index("period")["actual"]
    told = record.trees[record.trees["method"] == "ours"]
    for _, tree in told[told["node"].str.count("/") == 1].groupby("tree"):
        summed = tree.groupby("period")["actual"].sum()
        assert np.allclose(summed, actual[summed.index])


def test_a_level_that_is_none_is_named(company):
    wrong = parse(merge(ASKED.model_dump(mode="json"), {"forecast": {"trees": {"x": ["sizes"]}}}))
    with pytest.raises(ConfigError, match=r"forecast.trees. names `sizes`, which is no level"):
        read_history(company, as_of=TODAY, settings=wrong)
