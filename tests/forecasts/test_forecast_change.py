"""Why the forecast changed: causes by hand, and they sum to the change at every node."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import UsageError
from salesops_ml.forecasts.combine import Weights
from salesops_ml.forecasts.forecast_change import CAUSES, OF_DEALS, ForecastDay, forecast_change
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Warehouse
from tests.forecasts.companies import SETTINGS, TODAY, Book, Scorer, flat_pipeline

WEIGHTS = Weights(shock=0.1, lift=(1.1,), series=(0.3,))
REPS = Settings.model_validate({"forecast": {"hierarchy": ["rep"], "samples": 100, "months": 3}})
CHANGED = [*CAUSES[1:-1]]


def made(warehouse: Warehouse, scorer: Scorer, as_of: datetime) -> ForecastDay:
    return ForecastDay.made(
        warehouse, scorer(as_of), as_of=as_of, settings=SETTINGS, weights=WEIGHTS
    )


@pytest.mark.parametrize(("start", "length"), [(0, 7), (70, 45)])
def test_causes_sum_to_the_change_at_every_node(
    company: Warehouse, scorer: Scorer, start: int, length: int
) -> None:
    first = datetime(2025, 9, 3, 9) + timedelta(days=start)
    before = made(company, scorer, first)
    after = made(company, scorer, first + timedelta(days=length))
    told = forecast_change(before, after)
    assert set(told["period"]) == set(before.forecast["period"])
    gap = told["start"] + told[CHANGED].sum(axis=1) - told["end"]
    assert gap.abs().max() < 1e-6
    key = ["node", "period"]
    for day, column in ((before, "start"), (after, "end")):
        pairs = told.merge(day.forecast, on=key)
        assert pairs[column].to_numpy() == pytest.approx(pairs["mean"].to_numpy())
    parts = told.merge(before.forecast, on=key).merge(after.forecast, on=key)
    adjusted = parts["adjustment"] - parts["adjustment_y"]
    assert parts["adjustment_x"].to_numpy() == pytest.approx(adjusted.to_numpy(), abs=1e-5)
    for _, rows in told.groupby("period"):
        below = rows[rows["node"].str.count("/") == 1][[*OF_DEALS, "new business"]].sum()
        root = rows[rows["node"] == "company"].iloc[0]
        assert below.to_numpy() == pytest.approx(root[below.index].to_numpy(dtype=float), abs=1e-5)


def test_a_period_that_ended_meanwhile_ends_with_what_was_booked(
    company: Warehouse, scorer: Scorer
) -> None:
    before = made(company, scorer, TODAY)
    after = made(company, scorer, datetime(2026, 4, 20))
    told = forecast_change(before, after, ["2026-Q1"]).set_index("node")
    won = after.history.won
    inside = (won["closed_at"] >= datetime(2026, 1, 1)) & (won["closed_at"] < datetime(2026, 4, 1))
    booked = won[inside].groupby("node")["amount"].sum()
    assert told.loc["company", "end"] == pytest.approx(booked.sum())
    assert told.loc[booked.index, "end"].to_numpy() == pytest.approx(booked.to_numpy())
    assert told.loc["company", "won"] > 0 > told.loc["company", "lost"]


def by_hand() -> tuple[ForecastDay, ForecastDay]:
    """Two days of a company of two reps, whose deals win by chances that are set here."""
    book = Book()
    for name, amount in {"wins": 50, "loses": 40, "moves": 30, "grows": 20, "dated": 10}.items():
        book.deal(name, "2026-01-01", amount=amount)
    book.deal("staged", "2026-01-01", amount=60).deal("silent", "2026-01-01", amount=80)
    book.move("wins", "Won", "2026-01-12").change("wins", "amount_base", "2026-01-12", "45")
    book.move("loses", "Lost", "2026-01-13").change("moves", "rep_id", "2026-01-13", "r2")
    book.change("grows", "amount_base", "2026-01-14", "25")
    book.change("dated", "expected_close_date", "2026-01-14", "2026-03-01")
    book.deal("comes", "2026-01-14", amount=7).move("staged", "Late", "2026-01-15")
    tables = book.tables()
    stages = tables.tables["stages"].to_pylist()
    late = stages[0] | {"stage": "Late", "position": 3}
    rows = tables.tables | {"stages": tables.tables["stages"].from_pylist([*stages, late])}
    open_then = {
        "wins": 0.5, "loses": 0.5, "moves": 0.5, "grows": 0.5, "dated": 0.5, "staged": 0.5,
        "silent": 0.5,
    }  # fmt: skip
    open_now = {
        "moves": 0.4, "grows": 0.6, "dated": 0.1, "comes": 1.0, "staged": 0.8, "silent": 0.3,
    }  # fmt: skip
    days = []
    with Warehouse.in_memory(replace(tables, tables=rows)) as warehouse:
        for moment, chances in (("2026-01-10", open_then), ("2026-01-20", open_now)):
            as_of = datetime.fromisoformat(moment)
            amounts = {
                "wins": 50.0, "loses": 40.0, "moves": 30.0, "grows": 20.0, "dated": 10.0,
                "comes": 7.0, "staged": 60.0, "silent": 80.0,
            } | ({"grows": 25.0} if moment == "2026-01-20" else {})  # fmt: skip
            pipeline = flat_pipeline(as_of, chances, amounts, days=11.0)
            lost = np.column_stack([np.zeros(len(chances)), 1.0 - pipeline.cif_won[:, -1]])
            pipeline = replace(pipeline, cif_lost=lost)
            days.append(
                ForecastDay.made(
                    warehouse, pipeline, as_of=as_of, settings=REPS, weights=Weights(shock=0.1)
                )
            )
    return days[0], days[1]


def test_each_cause_by_hand() -> None:
    """Every deal has ended within the month, so its chance in it is the chance that was set."""
    before, after = by_hand()
    then, now = (day.model.amounts.mean_ratio for day in (before, after))
    told = forecast_change(before, after, ["2026-01"]).set_index("node")
    company, ann, bob = (told.loc[node] for node in ("company", "company/r1", "company/r2"))
    assert company["won"] == pytest.approx(45 - 25 * then)
    assert company["lost"] == pytest.approx(-20 * then)
    assert company["created"] == pytest.approx(7 * now)
    assert company["amount"] == pytest.approx(2.5 * then)
    assert company["date moved"] == pytest.approx(1 * now - 5 * then)
    assert company["stage moved"] == pytest.approx(48 * now - 30 * then)
    silent = 24 * now - 40 * then
    grows = 15 * now - 12.5 * then
    assert company["re-scored"] == pytest.approx(silent + grows + 12 * now - 15 * then)
    assert company[["owner in", "owner out", "removed", "re-opened"]].eq(0).all()
    assert ann["owner out"] == pytest.approx(-15 * then)
    assert bob["owner in"] == pytest.approx(15 * then)
    assert bob["re-scored"] == pytest.approx(12 * now - 15 * then)
    fresh = [
        day.forecast.query("node == 'company' and period == '2026-01'")["from_new"].iloc[0]
        for day in (before, after)
    ]
    assert company["new business"] == pytest.approx(fresh[1] - fresh[0])
    assert np.abs(told["adjustment"]).max() < 1e-9


def test_a_rate_that_moved_and_a_deal_that_is_gone(company: Warehouse, scorer: Scorer) -> None:
    before = made(company, scorer, TODAY)
    after = made(company, scorer, TODAY + timedelta(days=1))
    both = set(before.history.open["deal_id"]) & set(after.history.open["deal_id"])
    deal = sorted(both)[0]
    told = forecast_change(before, with_rate(after, deal, 1.2), ["2026-Q1"])
    row = told[told["node"] == "company"].iloc[0]
    plain = forecast_change(before, after, ["2026-Q1"])
    assert row["currency"] != plain[plain["node"] == "company"].iloc[0]["currency"]
    kept = after.history.deals[after.history.deals["deal_id"] != deal].reset_index(drop=True)
    gone = replace(after, history=replace(after.history, deals=kept))
    row = forecast_change(before, gone, ["2026-Q1"]).set_index("node").loc["company"]
    assert row["removed"] <= 0
    assert row["start"] + row[CHANGED].sum() == pytest.approx(row["end"])


def with_rate(day: ForecastDay, deal: str, factor: float) -> ForecastDay:
    deals = day.history.deals.copy()
    deals.loc[deals["deal_id"] == deal, "amount"] *= factor
    return replace(day, history=replace(day.history, deals=deals))


def test_what_cannot_be_compared_is_said(company: Warehouse, scorer: Scorer) -> None:
    before = made(company, scorer, TODAY)
    after = made(company, scorer, TODAY + timedelta(days=3))
    with pytest.raises(UsageError, match="swap them"):
        forecast_change(after, before)
    with pytest.raises(UsageError, match="`2031-Q1` was not forecast on 2026-02-10"):
        forecast_change(before, after, ["2031-Q1"])
    assert isinstance(forecast_change(before, after, []), pd.DataFrame)
