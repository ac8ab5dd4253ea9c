"""The time machine: honest about time, right about actuals, better than the baselines."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from salesops_ml.errors import UsageError
from salesops_ml.forecasts import (
    ScoredPipeline,
    backtest_revenue,
    backtest_summary,
    default_origins,
    learn_weights,
    read_history,
)
from salesops_ml.forecasts.backtest import COLUMNS
from salesops_ml.forecasts.backtest_scores import pinball
from salesops_ml.forecasts.combine import LEVELS, QUANTILES
from salesops_ml.schema import CanonicalTables, no_rejects
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Warehouse
from tests.forecasts.companies import (
    END,
    SETTINGS,
    Book,
    corrupted,
    flat_pipeline,
    truth_scorer,
)

METHODS = {
    "ours", "bottom_up", "series", "crm_weighted_pipeline", "run_rate", "run_rate_3",
    "existing_plus_new", "by_stage", "by_category", "submitted",
}  # fmt: skip
ORIGINS = [datetime(2026, month, 1) for month in (1, 2, 3, 4)]


@pytest.fixture(scope="module")
def record(company, scorer) -> pd.DataFrame:
    return backtest_revenue(company, scorer, origins=ORIGINS, settings=SETTINGS, as_of=END)


def test_every_method_speaks_of_every_node_and_finished_period(record):
    assert record.columns.tolist() == list(COLUMNS)
    assert set(record.method) == METHODS
    told = record[record.method != "submitted"]
    counts = told.groupby(["origin", "method"]).size().unstack()
    assert (counts.nunique(axis=1) == 1).all()
    assert record[["mean", "actual"]].notna().all(axis=None)
    assert set(record.level) == {"company", "region", "team", "rep"}
    first = record[(record.origin == "2026-01-01") & (record.node == "company")]
    months = first[(first.grain == "month") & (first.method == "ours")]
    assert months.period.tolist() == ["2026-01", "2026-02", "2026-03", "2026-04"]
    assert months.horizon.tolist() == [0, 1, 2, 3]
    assert months.days_to_end.iloc[0] == 31
    last = record[record.origin == "2026-04-01"]
    assert set(last.period) == {"2026-04", "2026-05", "2026-06", "2026-Q2"}


def test_actuals_are_what_was_won(company, record):
    won = read_history(company, as_of=END, settings=SETTINGS).won
    ours = record[(record.method == "ours") & (record.grain == "month")]
    for row in ours[ours.node == "company"].itertuples():
        inside = won[won.closed_at.dt.strftime("%Y-%m") == row.period]
        assert row.actual == pytest.approx(inside.amount.sum())
    for _, rows in ours.groupby(["origin", "period"]):
        sums = rows.groupby("level")["actual"].sum()
        assert sums["region"] == pytest.approx(sums["company"])
        assert sums["team"] == pytest.approx(sums["company"])


def test_no_origin_sees_what_came_after_it(world, record):
    """With everything after the second origin's day altered, the first two speak as before."""
    border = ORIGINS[1]
    with Warehouse.in_memory(corrupted(world, border, seed=5)) as warehouse:
        scorer = truth_scorer(world, warehouse)
        found = backtest_revenue(
            warehouse, scorer, origins=ORIGINS[:2], settings=SETTINGS, as_of=END
        )
    said = [name for name in COLUMNS if name != "actual"]
    honest = record[record.origin <= border].reset_index(drop=True)
    pd.testing.assert_frame_equal(honest[said], found[said])


def test_lessons_come_from_earlier_origins_alone(company, scorer, record):
    alone = backtest_revenue(company, scorer, origins=ORIGINS[:1], settings=SETTINGS, as_of=END)
    first = record[record.origin == ORIGINS[0]].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, first, check_dtype=False)
    means = first[first.node == "company"].pivot_table("mean", ["grain", "period"], "method")
    assert means["ours"].to_numpy() == pytest.approx(means["bottom_up"].to_numpy())


def test_better_than_the_crm_and_the_run_rate(record):
    scores = backtest_summary(record).set_index(["method", "grain", "level"])
    for grain in ("month", "quarter"):
        company = scores.loc[(slice(None), grain, "company"), "wape"].droplevel([1, 2])
        assert company["ours"] < 0.6 * company["crm_weighted_pipeline"]
        assert company["ours"] < company["run_rate"]
        region = scores.loc[(slice(None), grain, "region"), "wape"].droplevel([1, 2])
        assert region["ours"] < 0.7 * region["crm_weighted_pipeline"]
    covered = scores.loc[("ours", "month", "rep"), ["coverage_80", "coverage_95"]]
    assert covered.tolist() == [pytest.approx(0.8, abs=0.12), pytest.approx(0.95, abs=0.05)]


def test_lessons_of_the_record(record):
    lessons = learn_weights(record, shock=0.1)
    assert lessons.origins == 4
    assert lessons.distances == (0.25, 0.5, 0.75, 1.0, 2.0, 3.0, 4.0)
    assert len(lessons.lift) == len(lessons.series) == 7
    assert {"month/0", "month/3", "quarter/2"} <= set(lessons.widths)
    assert 0.02 <= lessons.shock <= 0.6


def test_baselines_by_hand():
    """Two months of 100 and 300, one open deal of 50 at 40 % due in March."""
    book = Book().deal("x", "2025-12-05", amount=1).move("x", "Won", "2025-12-20")
    book.deal("a", "2026-01-01", amount=100).move("a", "Won", "2026-01-20")
    book.deal("b", "2026-01-01", amount=300).move("b", "Won", "2026-02-10")
    book.deal("c", "2026-02-20", amount=50)
    book.change("c", "expected_close_date", "2026-02-20", "2026-03-25")
    book.deal("d", "2026-02-25", amount=7).move("d", "Won", "2026-03-02")
    settings = Settings.model_validate({"forecast": {"hierarchy": ["rep"], "months": 1}})
    origin = datetime(2026, 3, 11)
    with Warehouse.in_memory(book.tables()) as warehouse:
        found = backtest_revenue(
            warehouse,
            lambda as_of: flat_pipeline(as_of, {"c": 0.3}, {"c": 50.0}),
            origins=[origin],
            settings=settings,
            as_of=datetime(2026, 4, 1),
        )
    rows = found[found.node == "company"].pivot_table("mean", "period", "method")
    ahead = 21 / 31
    assert rows.loc["2026-03", "run_rate"] == pytest.approx(7 + 200 * ahead)
    assert rows.loc["2026-03", "crm_weighted_pipeline"] == pytest.approx(7 + 0.4 * 50)
    assert rows.loc["2026-Q1", "crm_weighted_pipeline"] == pytest.approx(407 + 0.4 * 50)
    assert rows.loc["2026-Q1", "run_rate"] == pytest.approx(407 + 200 * ahead)
    assert (found[found.period == "2026-03"].actual == 7).all()


def test_a_future_origin_is_named(company, scorer):
    with pytest.raises(UsageError, match="not before `as_of`"):
        backtest_revenue(company, scorer, origins=[END], settings=SETTINGS, as_of=END)


def test_no_origins_give_an_empty_record(company, scorer):
    found = backtest_revenue(company, scorer, origins=[], settings=SETTINGS, as_of=END)
    assert found.empty
    assert found.columns.tolist() == list(COLUMNS)


def test_origins_are_days_whose_period_has_ended():
    asked = SETTINGS.model_copy(
        update={"forecast": SETTINGS.forecast.model_copy(update={"backtest_origins": 2})}
    )
    months = default_origins(as_of=datetime(2026, 5, 15), settings=asked)
    assert months == [datetime(2026, 3, 1), datetime(2026, 4, 1)]
    quarters = default_origins(as_of=datetime(2026, 7, 1), settings=asked, at="mid_quarter")
    assert quarters == [datetime(2026, 1, 29), datetime(2026, 4, 29)]


def test_scores_by_hand():
    rows = pd.DataFrame(
        {
            "method": "ours", "grain": "month", "level": "company", "origin": [1, 1, 2, 2],
            "period": ["a", "b", "b", "c"], "mean": [10.0, 20.0, 30.0, 40.0],
            "actual": [12.0, 20.0, 20.0, 40.0],
        }
    )  # fmt: skip
    for name, offset in zip(QUANTILES, (-4, -3, -2, 0, 2, 3, 4), strict=True):
        rows[name] = rows["mean"] + offset
    found = backtest_summary(rows).iloc[0]
    assert found.wape == pytest.approx(12 / 92)
    assert found.bias == pytest.approx(8 / 92)
    assert (found.coverage_80, found.coverage_95) == (0.75, 0.75)
    # deviations from .75 by origin: (+.5, -.5); by period: (.25, -.5, .25); the larger error counts
    by_origin = np.sqrt(0.5 * 2 / 1) / 4
    by_period = np.sqrt(0.375 * 3 / 2) / 4
    assert found.coverage_80_se == pytest.approx(max(by_origin, by_period))
    losses = [
        np.mean([max(q * (y - x), (q - 1) * (y - x)) for q, x in zip(LEVELS, told, strict=True)])
        for y, told in zip(rows.actual, rows[[*QUANTILES]].to_numpy(), strict=True)
    ]
    assert found.scrps == pytest.approx(2 * np.sum(losses) / 92)
    assert pinball(np.array([3.0]), np.full((1, 7), 3.0)).tolist() == [0.0]


def test_methods_without_quantiles_have_no_coverage():
    rows = pd.DataFrame(
        {"method": "run_rate", "grain": "month", "level": "company", "origin": [1, 2],
         "period": ["a", "b"], "mean": [9.0, 11.0], "actual": [10.0, 10.0]}
    )  # fmt: skip
    rows = rows.assign(**dict.fromkeys(QUANTILES, np.nan))
    found = backtest_summary(rows).iloc[0]
    assert np.isnan(found.coverage_80)
    assert found.scrps == pytest.approx(2 * 0.5 * found.wape)


def test_without_stage_probabilities_there_is_no_crm_weighted_pipeline():
    """Deals with dates alone: no stages, no histories, no tree; everything else is told."""
    rows = [
        {"deal_id": f"d{i}", "created_at": datetime(2025, 1 + i % 12, 1), "status": "won",
         "closed_at": datetime(2025 + (i % 12 == 11), (i + 1) % 12 + 1, 9), "amount_base": "10"}
        for i in range(48)
    ]  # fmt: skip
    tables = CanonicalTables({"deals": pa.Table.from_pylist(rows)}, no_rejects())
    origin = datetime(2025, 10, 1)

    def scorer(as_of: datetime) -> ScoredPipeline:
        deals = read_history(warehouse, as_of=as_of, settings=SETTINGS).open
        amounts = dict(zip(deals.deal_id, deals.amount, strict=True))
        return flat_pipeline(as_of, dict.fromkeys(amounts, 0.9), amounts)

    with Warehouse.in_memory(tables) as warehouse:
        found = backtest_revenue(
            warehouse, scorer, origins=[origin], settings=SETTINGS, as_of=datetime(2026, 2, 1)
        )
    simple = {"ours", "bottom_up", "series", "run_rate", "run_rate_3"}
    assert set(found.method) == simple
    assert set(found.node) >= {"company", "company/unknown/unknown/unknown"}
    ours = found[(found.method == "ours") & (found.node == "company") & (found.grain == "month")]
    assert ours.actual.tolist() == [40.0, 40.0, 40.0, 40.0]
    assert (ours["mean"] > 10).all()
