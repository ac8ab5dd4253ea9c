"""Commit, best case and pipeline, gap deals and pacing: by hand, as known on the day, adding up."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import UsageError
from salesops_ml.forecasts import read_history
from salesops_ml.forecasts.calls import calls
from salesops_ml.forecasts.evidence import Evidence
from salesops_ml.forecasts.gap_deals import gap_deals, quantile
from salesops_ml.forecasts.model import RevenueModel, learn_revenue_model
from salesops_ml.forecasts.pacing import pacing, usual_finish
from salesops_ml.forecasts.revenue import placed
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Warehouse
from tests.forecasts.companies import SETTINGS, TODAY, Book, corrupted, flat_pipeline

BY_REP = Settings.model_validate({"forecast": {"hierarchy": ["rep"], "months": 3}})
ORIGIN = datetime(2026, 2, 11)


def booked() -> Book:
    """One deal won this quarter, three open: commit and best case due, one due later."""
    book = Book().deal("w", "2026-01-02", amount=40).move("w", "Won", "2026-01-20")
    for name, rep, amount, category, due in (
        ("a", "r1", 100, "commit", "2026-03-01"), ("b", "r2", 60, "best_case", "2026-03-30"),
        ("c", "r2", 30, "pipeline", "2026-03-30"), ("d", "r1", 500, "commit", "2026-05-02"),
    ):  # fmt: skip
        book.deal(name, "2026-01-05", rep=rep, amount=amount)
        book.change(name, "forecast_category", "2026-01-05", category)
        book.change(name, "expected_close_date", "2026-01-05", due)
    book.change("c", "forecast_category", "2026-02-20", "commit")
    return book


def test_what_reps_hold_in_each_category_adds_up_by_node() -> None:
    with Warehouse.in_memory(booked().tables()) as warehouse:
        history = read_history(warehouse, as_of=ORIGIN, settings=BY_REP)
        model = learn_revenue_model(history, BY_REP)
        forecast = model.project(
            placed(flat_pipeline(ORIGIN, dict.fromkeys("abcd", 0.5), {"a": 100.0, "b": 60.0,
                                 "c": 30.0, "d": 500.0}), history)
        ).frame()  # fmt: skip
        told = calls(forecast, history, Evidence.read(warehouse), model.view.quarters[:1])
    rows = told.set_index("node")
    columns = ["closed", "reps_commit", "reps_best", "reps_pipeline"]
    assert rows.loc["company", columns].tolist() == [40, 140, 200, 230]
    assert rows.loc["company/r1", columns].tolist() == [40, 140, 140, 140]
    assert rows.loc["company/r2", columns].tolist() == [0, 0, 60, 90]
    assert (rows["model_commit"] <= rows["model_best"]).all()
    assert rows["submitted"].isna().all()


def test_the_last_submission_of_the_day_stands_beside(company: Warehouse, scorer) -> None:
    history = read_history(company, as_of=TODAY, settings=SETTINGS)
    model = learn_revenue_model(history, SETTINGS)
    forecast = model.project(placed(scorer(TODAY), history)).frame()
    evidence = Evidence.read(company)
    told = calls(forecast, history, evidence, model.view.quarters[:1])
    said = evidence.known(TODAY).submissions
    said = said[(said["node"] == "company") & (said["period"] == "2026-Q1")]
    row = told[told["node"] == "company"].iloc[0]
    assert row["submitted"] == said["amount"].iloc[-1]
    assert row["submitted_at"] <= pd.Timestamp(TODAY)
    level = told["node"].str.count("/")
    for name in ("closed", "reps_commit", "reps_best", "reps_pipeline", "model_expected"):
        sums = told.groupby(level)[name].sum()
        assert sums.to_numpy() == pytest.approx(sums[0])


@pytest.fixture(scope="module")
def quarter(company, scorer) -> tuple[RevenueModel, pd.DataFrame, pd.DataFrame]:
    history = read_history(company, as_of=TODAY, settings=SETTINGS)
    model = learn_revenue_model(history, SETTINGS)
    forecast = model.project(placed(scorer(TODAY), history)).frame()
    reached = forecast[forecast["period"] == "2026-Q1"].set_index("node")["mean"]
    nodes = ["company", next(node for node in reached.index if node.count("/") == 1)]
    quotas = pd.DataFrame({"node": nodes, "period": "2026-Q1", "quota": 1.15 * reached[nodes]})
    return model, forecast, quotas.reset_index(drop=True)


def test_deals_fill_the_gap_and_no_more(company, scorer, quarter) -> None:
    model, forecast, quotas = quarter
    history = read_history(company, as_of=TODAY, settings=SETTINGS)
    found = gap_deals(model, scorer(TODAY), history, forecast, quotas, most=500)
    assert set(found["node"]) == set(quotas["node"])
    pipeline = placed(scorer(TODAY), history)
    nodes = pipeline.deals.set_index("deal_id")["node"]
    for node, rows in found.groupby("node"):
        assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
        assert rows["could_add"].is_monotonic_decreasing
        gap = rows["gap"].iloc[0]
        assert (rows["filled"].iloc[:-1] < gap).all()
        whole = nodes.str.startswith(str(node)).sum()
        assert rows["filled"].iloc[-1] >= gap or len(rows) == whole
        assert nodes[rows["deal_id"]].str.startswith(str(node)).all()
    total = found["expected"] + found["could_add"]
    assert total.to_numpy() == pytest.approx(found["amount"].to_numpy())
    assert found["p_in_period"].between(0, 1).all()
    assert (found["p_in_period"] + found["p_later"] <= 1 + 1e-9).all()


def test_to_be_surer_takes_more(company, scorer, quarter) -> None:
    model, forecast, quotas = quarter
    history = read_history(company, as_of=TODAY, settings=SETTINGS)
    gaps = [
        gap_deals(model, scorer(TODAY), history, forecast, quotas, chance=chance)["gap"].max()
        for chance in (0.3, 0.5, 0.9)
    ]
    assert gaps == sorted(gaps)
    assert gaps[0] < gaps[2]
    with pytest.raises(UsageError, match="`chance` is 80"):
        gap_deals(model, scorer(TODAY), history, forecast, quotas, chance=80)


def test_without_a_gap_there_is_nothing_to_fill(company, scorer, quarter) -> None:
    model, forecast, quotas = quarter
    history = read_history(company, as_of=TODAY, settings=SETTINGS)
    low = quotas.assign(quota=1.0)
    assert gap_deals(model, scorer(TODAY), history, forecast, low).empty
    assert quantile(np.arange(7.0), 0.5) == pytest.approx(3.0)


def test_pacing_by_hand() -> None:
    """On the 41st day: 40 booked and 690 open now; a quarter ago 70 booked, 20 open, 95 in the end."""
    book = booked()
    book.deal("x", "2025-10-03", amount=70).move("x", "Won", "2025-10-20")
    book.deal("y", "2025-10-04", amount=25).move("y", "Won", "2025-12-20")
    book.change("y", "amount_base", "2025-10-04", "20").change(
        "y", "amount_base", "2025-12-01", "25"
    )
    with Warehouse.in_memory(book.tables()) as warehouse:
        history = read_history(warehouse, as_of=ORIGIN, settings=BY_REP)
        told = pacing(warehouse, history, BY_REP, quarters=3)
    rows = told[told["node"] == "company"].set_index("period")
    assert rows.index.tolist() == ["2026-Q1", "2025-Q4"]
    assert rows.loc["2026-Q1", ["day", "closed", "open", "due"]].tolist() == [41, 40, 690, 190]
    assert rows.loc["2025-Q4", ["closed", "open", "final"]].tolist() == [70, 20, 95]
    assert rows.loc["2026-Q1", ["created", "created_deals"]].tolist() == [730, 5]
    finish = usual_finish(told, ["company"]).iloc[0]
    assert finish["finish"] == pytest.approx(40 + 25)


def test_earlier_quarters_are_read_as_they_were_known(world, company: Warehouse) -> None:
    """What was recorded after an earlier day cannot change how that day stood."""
    history = read_history(company, as_of=TODAY, settings=SETTINGS)
    honest = pacing(company, history, SETTINGS, quarters=2)
    border = honest["as_of"].unique()[1]
    with Warehouse.in_memory(corrupted(world, border, seed=4)) as altered:
        found = pacing(altered, history, SETTINGS, quarters=2)
    said = ["node", "period", "closed", "open", "due", "created", "created_deals"]
    then = honest["as_of"] <= border
    pd.testing.assert_frame_equal(
        honest.loc[then, said].reset_index(drop=True),
        found.loc[found["as_of"] <= border, said].reset_index(drop=True),
    )
    level = honest["node"].str.count("/")
    sums = honest.groupby(["period", level])[["closed", "open", "created"]].sum()
    assert sums.xs(0, level=1).to_numpy() == pytest.approx(sums.xs(1, level=1).to_numpy())
