"""A planted bottleneck's delay and cost are those of the same world without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from salesops_ml.schema import CanonicalTables
from salesops_ml.synthetic import Bottleneck, WorldParameters, generate


def _won_by_month(world: CanonicalTables) -> pd.Series:
    """Won amount by month of the close, from the records alone."""
    won = world.tables["deals"].to_pandas().query("status == 'won'")
    amount = won["amount_base"].fillna(0).astype(float)
    return amount.groupby(won["closed_at"].dt.to_period("M").dt.start_time.dt.date).sum()


def _truth(world: CanonicalTables, table: str = "bottlenecks") -> pd.DataFrame:
    return world.truth[table].to_pandas()


def test_costs_are_those_of_the_world_made_without_it(
    world: CanonicalTables, parameters: WorldParameters
) -> None:
    months = _truth(world, "bottleneck_months")
    for bottleneck, name in zip(parameters.planted, _truth(world)["name"], strict=True):
        rest = tuple(other for other in parameters.planted if other != bottleneck)
        without = _won_by_month(generate(replace(parameters, planted=rest)))
        told = months[months["name"] == name].set_index("month")
        here, there = _won_by_month(world), without
        assert told["won_amount_with"].to_numpy() == pytest.approx(
            here.reindex(told.index).fillna(0).to_numpy()
        )
        assert told["won_amount_without"].to_numpy() == pytest.approx(
            there.reindex(told.index).fillna(0).to_numpy()
        )


def test_summary_adds_up(world: CanonicalTables) -> None:
    months = _truth(world, "bottleneck_months").groupby("name")
    rows = _truth(world).set_index("name")
    gap = (months["won_amount_without"].mean() - months["won_amount_with"].mean()).loc[rows.index]
    assert rows["cost_per_month"].to_numpy() == pytest.approx(gap.to_numpy())
    extra = rows["mean_days_with"] - rows["mean_days_without"]
    assert rows["extra_days"].to_numpy() == pytest.approx(extra.to_numpy())
    assert (rows["extra_days"] > 2 * rows["extra_days_error"]).all()
    assert (rows["visits"] > 20).all()


def test_delay_shows_in_the_records_where_the_cause_is(default_world: CanonicalTables) -> None:
    (row,) = default_world.truth["bottlenecks"].to_pylist()
    (cause,) = default_world.truth["causes"].to_pylist()
    events = default_world.tables["stage_events"].to_pandas()
    events["left_at"] = events.groupby("deal_id")["entered_at"].shift(-1)
    visits = events[events["stage"] == row["stage"]].dropna()
    days = (visits["left_at"] - visits["entered_at"]) / pd.Timedelta(days=1)
    quotes = default_world.tables["quotes"].to_pandas().drop_duplicates("deal_id", keep="first")
    discount = quotes.set_index("deal_id")["discount"].reindex(visits["deal_id"]).to_numpy()
    hit = discount > cause["above"]
    assert cause["column"] == "quotes.discount"
    assert days[hit].mean() == pytest.approx(row["mean_days_with"], rel=0.15)
    assert days[hit].mean() > 1.7 * days[~hit].mean()
    assert hit.mean() == pytest.approx(cause["share_of_deals"], abs=0.06)


def test_a_bottleneck_that_slows_nobody_costs_nothing() -> None:
    idle = Bottleneck("Contract", "discount", slowdown=1.0)
    (row,) = (
        generate(WorldParameters(deals=600, years=1.0, planted=(idle,)))
        .truth["bottlenecks"]
        .to_pylist()
    )
    assert row["visits"] > 5
    assert row["extra_days"] == row["lost_wins_per_month"] == 0.0
    assert row["cost_per_month"] == pytest.approx(0.0, abs=1e-6)


def test_without_planting_there_are_none() -> None:
    world = generate(WorldParameters(deals=300, years=1.0, planted=()))
    for table in ("bottlenecks", "bottleneck_months", "causes"):
        assert world.truth[table].num_rows == 0


def test_stronger_slowdown_waits_longer_and_costs_more() -> None:
    def row(slowdown: float) -> dict[str, float]:
        planted = (Bottleneck("Negotiation", "lead_source", "Inbound", slowdown=slowdown),)
        world = generate(WorldParameters(deals=3_000, years=1.5, planted=planted))
        return dict(world.truth["bottlenecks"].to_pylist()[0])

    mild, hard = row(0.7), row(0.2)
    assert hard["extra_days"] > mild["extra_days"] > 0
    assert hard["cost_per_month"] > max(mild["cost_per_month"], 0)


def test_common_random_numbers_spare_the_deals_that_are_not_touched() -> None:
    planted = (Bottleneck("Lead", "region", "APAC", slowdown=0.3),)
    base = WorldParameters(deals=800, years=1.0, planted=planted)
    here, there = generate(base), generate(replace(base, planted=()))
    region = (
        here.tables["accounts"].to_pandas().drop_duplicates("account_id").set_index("account_id")
    )
    ends = [world.tables["deals"].to_pandas() for world in (here, there)]
    elsewhere = region["region"].loc[ends[0]["account_id"]].to_numpy() != "APAC"
    pd.testing.assert_series_equal(ends[0]["closed_at"][elsewhere], ends[1]["closed_at"][elsewhere])
    assert not np.array_equal(
        ends[0]["closed_at"][~elsewhere].to_numpy(), ends[1]["closed_at"][~elsewhere].to_numpy()
    )
