"""The small parts: chance, clock, columns, hazards by hand, people, and parameters."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import ConfigError
from salesops_ml.settings import SyntheticSource
from salesops_ml.synthetic import Bottleneck, FaultRates, WorldParameters, columns, parameters_from
from salesops_ml.synthetic.clock import Clock
from salesops_ml.synthetic.draws import deal_keys, fate
from salesops_ml.synthetic.hazards import Hazards, deal_laws
from salesops_ml.synthetic.world import simulate_facts


def test_fate_is_uniform_and_belongs_to_the_deal_alone() -> None:
    keys = deal_keys(7, "move", 20_000)
    moves, age = np.full(20_000, 2), np.arange(20_000) % 50
    luck = fate(keys, moves, age)
    counts = np.histogram(luck, bins=20, range=(0, 1))[0]
    assert ((counts - 1_000) ** 2 / 1_000).sum() < 45
    assert abs(np.corrcoef(luck[1:], luck[:-1])[0, 1]) < 0.03
    assert np.array_equal(fate(keys[5:9], moves[5:9], age[5:9]), luck[5:9])
    assert np.array_equal(deal_keys(7, "move", 10), keys[:10])
    assert not np.isclose(fate(keys, moves + 1, age), luck).any()


@given(st.integers(0, 1_500), st.floats(0, 0.9999))
def test_clock_goes_there_and_back(day: int, share: float) -> None:
    clock = Clock(date(2024, 1, 1), 800, 10)
    moment = clock.moments(np.array([day]), np.array([share]))
    back, part = clock.position(moment)
    assert back[0] == day
    assert part[0] == pytest.approx(share, abs=1 / 43_200)


@given(st.integers(0, 2_000))
def test_kind_of_day_by_the_calendar(day: int) -> None:
    clock = Clock(date(2023, 7, 1), 800, 10)
    today = clock.dates(day).astype("datetime64[D]").item()
    month = 3 * ((today.month - 1) // 3) + 1
    start = date(today.year, month, 1)
    stop = date(today.year + (month == 10), (month + 2) % 12 + 1, 1)
    phase = 2 if (stop - today).days <= 10 else 1 if (today - start).days < 10 else 0
    assert clock.kind(np.array([day]))[0] == 3 * (today.weekday() >= 5) + phase


@given(st.lists(st.integers(-(10**14), 10**14), max_size=20))
def test_money_keeps_cents(cents: list[int]) -> None:
    values = np.array(cents, dtype=np.float64) / 100
    expected = [Decimal(int(np.rint(value * 100))).scaleb(-2) for value in values]
    assert columns.money(values).to_pylist() == expected


def test_hazards_by_hand() -> None:
    """A deep-discounted, engaged, ripe deal in Contract in the last week of a quarter."""
    world = WorldParameters(
        deals=50, years=0.5, planted=(Bottleneck("Contract", "discount", slowdown=0.2),)
    )
    facts = simulate_facts(world)
    hazards, laws = Hazards(world, facts.laws), facts.laws
    day = (date(2026, 6, 29) - Clock.of(world).first).days
    kind = Clock.of(world).kind(np.array([day]))
    who, one = np.array([4]), np.array([1])
    found = hazards.moves(who, np.array([5]), hazards.phase(np.array([9])), one, one, kind)[:, 0]
    stage = world.stages[5]
    back = stage.back * np.exp(laws.back[4] - 0.1)
    won = stage.won * np.exp(laws.won[4] + 0.25 + 0.9 + 0.6 + world.deep_won) * 0.2
    lost = stage.lost * np.exp(laws.lost[4] - 0.85 + 0.25 + world.deep_lost)
    total = 1 + back + won + lost
    assert found == pytest.approx([0.0, 0.0, back / total, won / total, lost / total])
    silence = world.silence * np.exp(laws.silence[4])
    assert hazards.switches(who, one, kind)[0] == pytest.approx(silence / (1 + silence))


def test_laws_are_sums_of_effects() -> None:
    world = WorldParameters(deals=200, years=0.5, latent_share=0.0)
    facts = simulate_facts(world)
    deals, laws = facts.deals, deal_laws(world, facts.deals, facts.reps)
    for row in (0, 77, 199):
        options = (
            world.products[deals.product[row]], world.lead_sources[deals.source[row]],
            world.deal_types[deals.deal_type[row]], world.industries[deals.industry[row]],
            world.regions[deals.region[row]],
        )  # fmt: skip
        rep = (
            world.rep_skill * facts.reps.skill[deals.rep[row]]
            + world.ramp_effect * (deals.ramp[row] - 1)
            - world.load_effect * (deals.load[row] - 0.5)
        )
        size = world.size_effect * deals.size[row]
        amount = world.amount_effect * deals.amount_z[row] * deals.amount_known[row]
        lost = sum(option.lost for option in options) - rep - size + 0.5 * amount
        assert laws.lost[row] == pytest.approx(lost)


def test_reps_get_deals_of_their_region_within_their_limit() -> None:
    world = WorldParameters(deals=6_000, years=1.0, load_limit=5.0, deals_per_rep_year=100.0)
    facts = simulate_facts(world)
    deals, reps = facts.deals, facts.reps
    assert (reps.region[deals.rep] == deals.region).mean() > 0.99
    assert (reps.hired[deals.rep] <= deals.created).all()
    assert (reps.left[deals.rep] > deals.created).all()
    week = deals.rep * 1_000 + deals.created // 7
    assert np.unique(week, return_counts=True)[1].max() <= 8
    tight = simulate_facts(replace(world, load_limit=2.0)).deals
    spread = [np.bincount(made.rep).std() for made in (deals, tight)]
    assert spread[1] < spread[0]


def test_new_reps_ramp_up_and_some_change_team() -> None:
    world = WorldParameters(deals=6_000, turnover=0.6, team_moves=1.0, deals_per_rep_year=40.0)
    reps = simulate_facts(world).reps
    rookies = np.flatnonzero(reps.hired > 0)
    assert (reps.ramp(rookies, reps.hired[rookies], 6.0) == 0).all()
    assert (reps.ramp(rookies, reps.hired[rookies] + 200, 6.0) == 1).all()
    moved = reps.moves_on < world.days
    assert moved.mean() > 0.3
    assert (reps.team != reps.next_team)[moved].all()


@settings(max_examples=25)
@given(st.integers(1, 10**6), st.floats(0, 1), st.booleans(), st.sampled_from(["Core", "Plus"]))
def test_parameters_survive_json(deals: int, share: float, leak: bool, product: str) -> None:
    planted = (Bottleneck("Proposal", "product", product, 0.4),)
    world = WorldParameters(deals=deals, latent_share=share, plant_leak=leak, planted=planted)
    assert WorldParameters.from_json(world.to_json()) == world


def test_overrides_reach_every_depth() -> None:
    source = SyntheticSource(
        deals=500, seed=9, latent_share=0.2,
        overrides={
            "end": "2025-12-31", "faults": {"missing_amount": 0.2}, "phase_days": [5, 15],
            "planted": [{"stage": "Lead", "cause": "region", "value": "APAC", "slowdown": 0.5}],
        },
    )  # fmt: skip
    assert parameters_from(source) == WorldParameters(
        deals=500, seed=9, latent_share=0.2, end=date(2025, 12, 31), phase_days=(5, 15),
        planted=(Bottleneck("Lead", "region", "APAC", 0.5),),
        faults=FaultRates(missing_amount=0.2),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"grwth": 0.2}, r"overrides\.grwth.*not a setting.*growth"),
        ({"deals": 5}, r"set `source\.deals` instead"),
        ({"faults": {"missing": 0.1}}, r"overrides\.faults\.missing.*spelling"),
        ({"pace": "quick"}, r"overrides\.pace.*number.*'quick'"),
        ({"years": 0.1}, r"`years` must be at least"),
        ({"deep_share": 1.5}, r"`deep_share` is a share"),
        ({"faults": {"late_activity": -1}}, r"`late_activity` is a share"),
        ({"phase_days": [9, 4]}, r"`phase_days`"),
        ({"quote_stage": "Lead"}, r"`quote_stage`"),
        ({"products": []}, r"every product needs a share"),
        ({"regions": [{"name": "A", "share": -1}]}, r"every region needs a share"),
        ({"industries": [{"name": "A", "share": 1}] * 2}, r"industry share one name"),
        ({"products": [{"name": "A", "share": 1, "list_price": 0}]}, r"`list_price` of `A`"),
        ({"planted": [{"stage": "Leads", "cause": "region"}]}, r"no stage `Leads`"),
        ({"planted": [{"stage": "Lead", "cause": "region", "value": "Mars"}]}, r"Mars.*APAC"),
        ({"stages": [{"name": "A"}, {"name": "Proposal", "advance": 1}]}, r"last stage can"),
    ],
)
def test_wrong_overrides_are_named(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parameters_from(SyntheticSource(overrides=overrides))
