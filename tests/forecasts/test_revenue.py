"""The whole forecast: sums, exact means, order of quantiles, time travel and row order."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from salesops_ml.errors import DataError, ModelError
from salesops_ml.forecasts import ScoredPipeline, Weights, forecast_revenue, read_history
from salesops_ml.forecasts.combine import QUANTILES
from salesops_ml.forecasts.model import learn_revenue_model
from salesops_ml.forecasts.projection import COLUMNS, Projection
from salesops_ml.forecasts.revenue import placed
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Warehouse
from tests.forecasts.companies import SETTINGS, TODAY, Book, corrupted, flat_pipeline

LESSONS = Weights(
    shock=0.15, lift=(1.0, 1.1), series=(0.0, 0.3, 0.5),
    widths={"month/0": (1.3, 1.5), "quarter/1": (0.8, 0.9)}, origins=6,
)  # fmt: skip


@pytest.fixture(scope="module")
def projection(company, scorer) -> Projection:
    history = read_history(company, as_of=TODAY, settings=SETTINGS)
    return learn_revenue_model(history, SETTINGS, LESSONS).project(placed(scorer(TODAY), history))


@pytest.fixture(scope="module", params=["bottom_up", "combined"])
def forecast(request, projection) -> pd.DataFrame:
    return projection.frame(LESSONS if request.param == "combined" else None)


def test_columns_periods_and_parts(forecast):
    assert forecast.columns.tolist() == list(COLUMNS)
    labels = forecast[forecast.node == "company"].groupby("grain")["period"].apply(list)
    assert labels["month"] == ["2026-02", "2026-03", "2026-04", "2026-05"]
    assert labels["quarter"] == ["2026-Q1", "2026-Q2"]
    parts = forecast[["closed", "from_open", "from_new", "adjustment"]].sum(axis=1)
    assert parts.to_numpy() == pytest.approx(forecast["mean"].to_numpy(), abs=1e-6)
    assert (forecast.closed >= 0).all()
    later = forecast[(forecast.grain == "month") & (forecast.period > "2026-02")]
    assert (later.closed == 0).all()


def test_quantiles_are_ordered_and_not_below_what_is_booked(forecast):
    assert (np.diff(forecast[[*QUANTILES]].to_numpy(), axis=1) >= 0).all()
    assert (forecast.p025 >= forecast.closed - 1e-9).all()


def test_parents_are_the_sum_of_their_children(forecast, projection):
    means = forecast.set_index(["node", "period"])[["mean", "closed", "from_open", "adjustment"]]
    samples = dict(zip(projection.tree.nodes, projection.samples_at_nodes(LESSONS), strict=True))
    for node in projection.tree.nodes:
        children = [n for n in projection.tree.nodes if n.rpartition("/")[0] == node]
        if not children:
            continue
        together = sum(means.loc[child] for child in children)
        assert together.to_numpy() == pytest.approx(means.loc[node].to_numpy(), abs=1e-6)
        assert sum(samples[child] for child in children) == pytest.approx(samples[node], abs=1e-6)


def test_months_add_up_to_their_quarter(projection):
    frame = projection.frame(LESSONS)
    company = frame[frame.node == "company"].set_index("period")
    parts = ["from_open", "from_new", "adjustment"]
    # March is the last month of the first quarter; January lies behind, in `closed`
    together = company.loc[["2026-02", "2026-03"], parts].sum()
    assert together.to_numpy() == pytest.approx(company.loc["2026-Q1", parts].to_numpy(dtype=float))
    assert company.loc["2026-Q1", "closed"] > company.loc["2026-02", "closed"]


def test_closed_is_what_is_in_the_books(company, projection):
    won = read_history(company, as_of=TODAY, settings=SETTINGS).won
    frame = projection.frame().set_index(["node", "period"])
    for period, start in (("2026-02", "2026-02-01"), ("2026-Q1", "2026-01-01")):
        inside = won[won.closed_at >= start]
        assert frame.loc[("company", period), "closed"] == pytest.approx(inside.amount.sum())
        by_region = inside.groupby(inside.node.str.split("/").str[1]).amount.sum()
        for region, amount in by_region.items():
            assert frame.loc[(f"company/{region}", period), "closed"] == pytest.approx(amount)


def test_from_open_is_the_curves_mean(company, scorer, projection):
    """Law of one distribution: expected wins by the curves times expected amounts, nothing else."""
    pipeline = scorer(TODAY)
    model = learn_revenue_model(
        read_history(company, as_of=TODAY, settings=SETTINGS), SETTINGS, LESSONS
    )
    amount = model.amounts.base(pipeline.amounts) * model.amounts.mean_ratio
    end_of_february = (datetime(2026, 3, 1) - TODAY) / pd.Timedelta(days=1)
    low, high = int(end_of_february) - 1, int(end_of_february)
    share = end_of_february - int(end_of_february)
    won = pipeline.cif_won[:, low] * (1 - share) + pipeline.cif_won[:, high] * share
    frame = projection.frame(LESSONS).set_index(["node", "period"])
    assert frame.loc[("company", "2026-02"), "from_open"] == pytest.approx(float(won @ amount))


def test_nothing_recorded_later_changes_the_forecast(world, company, scorer):
    pipeline = scorer(TODAY)
    honest = forecast_revenue(company, pipeline, as_of=TODAY, settings=SETTINGS, weights=LESSONS)
    with Warehouse.in_memory(corrupted(world, TODAY, seed=3)) as warehouse:
        found = forecast_revenue(
            warehouse, pipeline, as_of=TODAY, settings=SETTINGS, weights=LESSONS
        )
    pd.testing.assert_frame_equal(honest, found)


def test_row_order_and_repetition_change_nothing_but_the_seed_does(world, company, scorer):
    pipeline = scorer(TODAY)
    order = np.random.default_rng(0).permutation(len(pipeline.deals))
    shuffled = ScoredPipeline(
        TODAY, pipeline.deals.iloc[order], pipeline.days, pipeline.cif_won[order],
        pipeline.cif_lost[order],
    )  # fmt: skip
    tables = {
        name: table.take(pa.array(np.random.default_rng(1).permutation(table.num_rows)))
        for name, table in world.tables.items()
    }
    plain = forecast_revenue(company, pipeline, as_of=TODAY, settings=SETTINGS)
    with Warehouse.in_memory(replace(world, tables=tables)) as warehouse:
        again = forecast_revenue(warehouse, shuffled, as_of=TODAY, settings=SETTINGS)
    pd.testing.assert_frame_equal(plain, again)
    other = SETTINGS.model_copy(update={"seed": 8})
    reseeded = forecast_revenue(company, pipeline, as_of=TODAY, settings=other)
    assert reseeded["mean"].to_numpy() == pytest.approx(plain["mean"].to_numpy())
    assert not np.array_equal(reseeded["p10"], plain["p10"])


def test_a_company_without_levels_and_with_one_deal():
    settings = Settings.model_validate({"forecast": {"hierarchy": [], "months": 1}})
    as_of = datetime(2026, 1, 15)
    book = Book().deal("a", "2026-01-10", amount=200).deal("b", "2025-12-20", amount=50)
    book.move("b", "Won", "2026-01-12")
    pipeline = flat_pipeline(as_of, {"a": 0.5}, {"a": 200.0}, days=17.0)
    with Warehouse.in_memory(book.tables()) as warehouse:
        frame = forecast_revenue(warehouse, pipeline, as_of=as_of, settings=settings)
    month = frame[frame.grain == "month"].iloc[0]
    assert frame.node.unique().tolist() == ["company"]
    assert (month.closed, month.from_open) == (50.0, pytest.approx(100.0))
    assert month.method == "bottom_up"


def test_a_deal_that_is_not_open_is_named():
    as_of = datetime(2026, 1, 15)
    book = Book().deal("a", "2026-01-10").move("a", "Lost", "2026-01-12")
    with Warehouse.in_memory(book.tables()) as warehouse:
        pipeline = flat_pipeline(as_of, {"a": 0.5}, {"a": 1.0})
        with pytest.raises(DataError, match=r"deal `a` .* is not open at 2026-01-15"):
            forecast_revenue(warehouse, pipeline, as_of=as_of, settings=SETTINGS)


def test_another_days_pipeline_is_refused(company, scorer):
    stale = replace(scorer(TODAY), as_of=datetime(2026, 2, 9))
    with pytest.raises(ModelError, match="use one day for both"):
        forecast_revenue(company, stale, as_of=TODAY, settings=SETTINGS)
