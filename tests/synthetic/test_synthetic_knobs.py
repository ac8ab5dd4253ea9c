"""The default company looks like one, and every knob moves what it says it moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from salesops_ml.schema import CanonicalTables
from salesops_ml.synthetic import Bottleneck, WorldParameters, generate

BASE = WorldParameters(deals=2_500, seed=5, years=1.5, planted=())


def _deals(world: WorldParameters) -> pd.DataFrame:
    deals = generate(world).tables["deals"].to_pandas()
    deals["days"] = (deals["closed_at"] - deals["created_at"]) / pd.Timedelta(days=1)
    return deals


def _win_rate(deals: pd.DataFrame) -> float:
    return float((deals["status"] == "won").sum() / (deals["status"] != "open").sum())


@pytest.fixture(scope="module")
def base() -> pd.DataFrame:
    """The deals of the base world."""
    return _deals(BASE)


def test_default_company_has_plausible_figures(default_world: CanonicalTables) -> None:
    deals = default_world.tables["deals"].to_pandas()
    days = (deals["closed_at"] - deals["created_at"]) / pd.Timedelta(days=1)
    lived = days.fillna((pd.Timestamp("2026-07-01") - deals["created_at"]) / pd.Timedelta(days=1))
    assert 0.25 <= _win_rate(deals) <= 0.35
    assert 50 <= days[deals["status"] == "won"].median() <= 80
    assert 150_000 <= (lived / 7).sum() / len(deals) * 20_000 <= 250_000
    assert 0.01 < (deals["status"] == "open").mean() < 0.12
    beliefs = default_world.tables["stages"].to_pandas().set_index("stage")["probability"]
    events = default_world.tables["stage_events"].to_pandas().drop_duplicates(["deal_id", "stage"])
    won = set(deals.loc[deals["status"] == "won", "deal_id"])
    closed = set(deals.loc[deals["status"] != "open", "deal_id"])
    reached = events[(events["stage"] == "Proposal") & events["deal_id"].isin(closed)]
    assert beliefs["Proposal"] > reached["deal_id"].isin(won).mean()


def test_record_ends_where_it_should() -> None:
    world = generate(replace(BASE, deals=400, end=date(2025, 3, 31)))
    created = world.tables["deals"].to_pandas()["created_at"]
    assert pd.Timestamp("2025-03-25") < created.max() < pd.Timestamp("2025-04-01")
    assert created.min() >= pd.Timestamp("2025-04-01") - pd.Timedelta(days=BASE.days)


def test_pace_and_loss(base: pd.DataFrame) -> None:
    fast, hard = _deals(replace(BASE, pace=2.0)), _deals(replace(BASE, loss=1.8))
    assert fast["days"].median() < 0.75 * base["days"].median()
    assert _win_rate(hard) < _win_rate(base) - 0.08


def test_growth_and_seasonality(base: pd.DataFrame) -> None:
    def skew(deals: pd.DataFrame) -> float:
        return float((deals["created_at"] > base["created_at"].median()).mean())

    def wave(deals: pd.DataFrame) -> float:
        months = deals.groupby(deals["created_at"].dt.to_period("M")).size()
        return float(months.std() / months.mean())

    assert skew(_deals(replace(BASE, growth=2.0))) > skew(base) + 0.08
    assert wave(_deals(replace(BASE, seasonality=0.8))) > 1.5 * wave(base)


def test_signal_spreads_the_outcomes(base: pd.DataFrame) -> None:
    def spread(deals: pd.DataFrame) -> float:
        closed = deals[deals["status"] != "open"]
        rates = closed.groupby("lead_source")["status"].agg(lambda rows: (rows == "won").mean())
        return float(rates.max() - rates.min())

    assert spread(_deals(replace(BASE, signal=0.0))) < 0.1 < spread(base)


def test_latent_share_moves_influence_from_records_to_quality() -> None:
    def correlation(share: float) -> tuple[float, float]:
        deals = generate(replace(BASE, latent_share=share)).truth["deals"].to_pandas()
        own = deals["lp_won"]
        return abs(np.corrcoef(own, deals["quality"])[0, 1]), float(own.std())

    none, half, all_of_it = correlation(0.0), correlation(0.5), correlation(1.0)
    assert none[0] < 0.1
    assert half[0] == pytest.approx(np.sqrt(0.5), abs=0.08)
    assert all_of_it[0] == pytest.approx(1.0)
    assert none[1] == pytest.approx(half[1], rel=0.1)


def test_quarter_push_gathers_wins_at_quarter_ends() -> None:
    def rush(push: float) -> float:
        won = _deals(replace(BASE, quarter_push=push)).query("status == 'won'")["closed_at"]
        left = (won.dt.to_period("Q").dt.end_time - won) / pd.Timedelta(days=1)
        return float((left <= 10).mean())

    assert rush(2.0) > rush(0.0) + 0.06


def test_weekend_rests() -> None:
    def share(weekend: float) -> float:
        closed = _deals(replace(BASE, weekend=weekend))["closed_at"].dropna()
        return float((closed.dt.dayofweek >= 5).mean())

    assert share(0.0) == 0.0
    assert share(1.0) == pytest.approx(2 / 7, abs=0.05)


def test_engagement_effect_and_rates() -> None:
    def answers(world: WorldParameters) -> float:
        rows = generate(world).tables["activities"].to_pandas()
        outcome = rows["outcome"].dropna()
        return float(outcome.isin(["positive", "next_step"]).mean())

    eager, calm = replace(BASE, engage=0.4, silence=0.03), replace(BASE, engage=0.05, silence=0.3)
    assert answers(eager) > answers(calm) + 0.25


def test_deep_discounts_follow_their_share() -> None:
    for share in (0.0, 0.5, 1.0):
        quotes = generate(replace(BASE, deep_share=share)).tables["quotes"].to_pandas()
        first = quotes.drop_duplicates("deal_id")
        assert (first["discount"] > BASE.deep_discount).mean() == pytest.approx(share, abs=0.1)


def test_company_grows_with_its_deals_and_turnover() -> None:
    few = generate(replace(BASE, turnover=0.0)).tables["reps"].to_pandas()
    many = generate(replace(BASE, turnover=1.0)).tables["reps"].to_pandas()
    packed = generate(replace(BASE, deals_per_rep_year=20.0)).tables["reps"].to_pandas()
    assert few["active"].all()
    assert (~many["active"]).sum() > 3
    assert packed["rep_id"].nunique() > 2 * few["rep_id"].nunique()


def test_rep_skill_is_visible_in_win_rates() -> None:
    def spread(skill: float) -> float:
        world = generate(replace(BASE, rep_skill=skill, deals=4_000))
        deals, truth = world.tables["deals"].to_pandas(), world.truth["deals"].to_pandas()
        closed = deals["status"] != "open"
        won = (deals["status"] == "won")[closed]
        good = truth["rep_skill"][closed] > truth["rep_skill"].median()
        return float(won[good].mean() - won[~good].mean())

    assert spread(0.6) > spread(0.0) + 0.15


def test_optimism_pushes_more() -> None:
    def pushes(optimism: float) -> float:
        world = generate(replace(BASE, optimism=optimism))
        changes = world.tables["deal_changes"].to_pandas()
        moved = changes[(changes["field"] == "expected_close_date") & changes["old_value"].notna()]
        return float((moved["new_value"] > moved["old_value"]).sum())

    assert pushes(2.5) > 1.1 * pushes(0.0)


def test_activity_and_accounts_and_currency() -> None:
    quiet, loud = generate(replace(BASE, activity=0.2)), generate(replace(BASE, activity=2.0))
    assert loud.tables["activities"].num_rows > 2 * quiet.tables["activities"].num_rows
    loyal = generate(replace(BASE, deals_per_account=5.0)).tables["deals"].to_pandas()
    assert loyal["account_id"].nunique() <= 500
    dollars = generate(replace(BASE, base_currency="USD")).tables["exchange_rates"].to_pandas()
    assert (dollars.query("currency == 'USD'")["rate"] == 1.0).all()
    assert (dollars.query("currency == 'EUR'")["rate"] > 1.0).mean() > 0.5


def test_other_process_other_stages() -> None:
    short = (BASE.stages[0], replace(BASE.stages[3], skip=0.0), BASE.stages[5])
    first = replace(short[0], skip=0.0)
    world = replace(
        BASE, stages=(first, *short[1:]), planted=(Bottleneck("Lead", "lead_source", "Partner"),)
    )
    made = generate(world)
    assert set(made.tables["stage_events"].to_pandas()["stage"]) == {
        "Lead", "Proposal", "Contract", "Won", "Lost",
    }  # fmt: skip


def test_one_option_of_each_is_enough() -> None:
    single = {
        name: (getattr(BASE, name)[0],)
        for name in ("products", "regions", "lead_sources", "industries", "deal_types")
    }
    deals = generate(replace(BASE, deals=300, **single)).tables["deals"].to_pandas()
    assert deals["product"].nunique() == deals["deal_type"].nunique() == 1


@pytest.mark.parametrize("deals", [1, 20])
def test_tiny_worlds_are_worlds(deals: int) -> None:
    assert generate(replace(BASE, deals=deals)).tables["deals"].num_rows == deals
