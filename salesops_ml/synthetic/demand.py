"""What comes in: accounts, and the deals that arrive from them, day by day, to the reps."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from salesops_ml.synthetic.clock import Clock, Days
from salesops_ml.synthetic.draws import Floats, choose, stream
from salesops_ml.synthetic.parameters import Option, WorldParameters
from salesops_ml.synthetic.people import Reps

LOG_EMPLOYEES = (4.8, 1.3)
"""Mean and standard deviation of the natural logarithm of an account's head count."""
LOOK_BACK = 28
"""Days over which a rep's load is counted."""


@dataclass(frozen=True)
class Accounts:
    """One entry per account; `employees_known` is false where the CRM has no head count."""

    region: Days
    industry: Days
    industry_known: npt.NDArray[np.bool_]
    employees: Days
    revenue: Floats
    parent: Days


@dataclass(frozen=True)
class Deals:
    """One entry per deal, in order of creation: what is fixed on the day it is created.

    `amount` is the first amount, company currency; `size` and `amount_z` are standardised logs.
    `rescope` and `later` multiply the amount at the first quote and at the first move after it;
    `deep` says whether the quote, once made, will carry a deep discount of `discount`.
    """

    created: Days
    created_share: Floats
    account: Days
    region: Days
    industry: Days
    product: Days
    source: Days
    deal_type: Days
    rep: Days
    ramp: Floats
    load: Floats
    size: Floats
    amount: Floats
    amount_known: npt.NDArray[np.bool_]
    amount_z: Floats
    p_deep: Floats
    deep: npt.NDArray[np.bool_]
    discount: Floats
    rescope: Floats
    later: Floats
    quality: Floats

    @property
    def count(self) -> int:
        """How many deals there are."""
        return len(self.created)


def open_accounts(world: WorldParameters) -> Accounts:
    """The accounts of the market that the company sells into."""
    rng = stream(world.seed, "accounts")
    count = max(len(world.regions), round(world.deals / world.deals_per_account))
    mean, spread = LOG_EMPLOYEES
    employees = np.maximum(1, np.exp(rng.normal(mean, spread, count))).astype(np.int64)
    revenue: Floats = np.round(employees * np.exp(rng.normal(11.9, 0.5, count)), -3)
    region = choose(rng, _shares(world.regions), count)
    region[: len(world.regions)] = np.arange(len(world.regions))[:count]
    parent = rng.integers(0, count, count)
    has_parent = (rng.random(count) < 0.08) & (employees[parent] > 2 * employees)
    return Accounts(
        region=region,
        industry=choose(rng, _shares(world.industries), count),
        industry_known=rng.random(count) >= world.faults.missing_industry,
        employees=employees,
        revenue=revenue,
        parent=np.where(has_parent, parent, -1),
    )


def arrive(world: WorldParameters, clock: Clock, accounts: Accounts, reps: Reps) -> Deals:
    """All deals of the record, in order of creation."""
    rng = stream(world.seed, "deals")
    count = world.deals
    created = _arrival_days(world, clock, rng)
    account = rng.integers(0, len(accounts.region), count)
    region = accounts.region[account]
    deal_type = _deal_types(world, rng, account)
    product = choose(rng, _shares(world.products), count)
    mean, spread = LOG_EMPLOYEES
    size = (np.log(accounts.employees[account]) - mean) / spread
    amount, amount_z = _amounts(world, rng, product, deal_type, size)
    known = rng.random(count) >= world.faults.missing_amount
    rep = assign(world, stream(world.seed, "assignment"), created, region, reps)
    p_deep = _deep_chance(world, reps.discounting[rep], amount_z * known)
    deep = rng.random(count) < p_deep
    return Deals(
        created=created,
        created_share=rng.random(count),
        account=account,
        region=region,
        industry=accounts.industry[account],
        product=product,
        source=_sources(world, rng, count),
        deal_type=deal_type,
        rep=rep,
        ramp=reps.ramp(rep, created, world.ramp_months),
        load=_loads(world, created, rep),
        size=size,
        amount=amount,
        amount_known=known,
        amount_z=amount_z,
        p_deep=p_deep,
        deep=deep,
        discount=_discounts(world, rng, deep),
        rescope=np.exp(rng.normal(0.0, 0.08, count)),
        later=np.where(rng.random(count) < 0.3, rng.uniform(0.92, 1.05, count), 1.0),
        quality=rng.standard_normal(count),
    )


def _shares(options: tuple[Option, ...] | tuple[object, ...]) -> list[float]:
    return [option.share for option in options if isinstance(option, Option)]


def _sources(world: WorldParameters, rng: np.random.Generator, count: int) -> Days:
    return choose(rng, _shares(world.lead_sources), count)


def _arrival_days(world: WorldParameters, clock: Clock, rng: np.random.Generator) -> Days:
    """Arrivals by growth, the season (a peak in spring and autumn, a hole in summer) and weekday."""
    day = np.arange(clock.days)
    of_year = (clock.dates(day) - clock.dates(day).astype("datetime64[Y]")).astype(np.int64)
    wave = np.cos(4 * np.pi * (of_year - 80) / 365.25)
    weight = (1 + world.growth) ** (day / 365.25) * (1 + world.seasonality * wave)
    weight = weight * np.where(clock.is_weekend(day), 0.05, 1.0)
    counts = rng.multinomial(world.deals, weight / weight.sum())
    return np.repeat(day, counts).astype(np.int64)


def _deal_types(world: WorldParameters, rng: np.random.Generator, account: Days) -> Days:
    """An account's first deal is of the first type; later ones by the shares of the others."""
    _, first = np.unique(account, return_index=True)
    shares = _shares(world.deal_types)
    rest = max(0.0, 1 - sum(shares[1:]))
    drawn = choose(rng, [rest, *shares[1:]], len(account))
    drawn[first] = 0
    return drawn


def _amounts(
    world: WorldParameters, rng: np.random.Generator, product: Days, deal_type: Days, size: Floats
) -> tuple[Floats, Floats]:
    """First amounts, rounded to hundreds, and the standardised logarithm that drives the hazards."""
    price = np.array([option.list_price for option in world.products])
    log = np.log(price[product]) + 0.35 * size + rng.normal(0.0, 0.45, len(product))
    log = log - 0.25 * (deal_type > 0)
    amount = np.maximum(100.0, np.round(np.exp(log), -2))
    shares = np.array(_shares(world.products))
    centre = float(np.average(np.log(price), weights=shares))
    return amount, (np.log(amount) - centre) / 0.9


def _deep_chance(world: WorldParameters, habit: Floats, amount_z: Floats) -> Floats:
    """Chance that a quote carries a deep discount: a habit of the rep, more so for large deals."""
    if world.deep_share in (0.0, 1.0):
        return np.full(len(habit), world.deep_share)
    base = np.log(world.deep_share / (1 - world.deep_share))
    chance: Floats = 1 / (1 + np.exp(-(base + 0.7 * habit + 0.3 * amount_z)))
    return chance


def _discounts(
    world: WorldParameters, rng: np.random.Generator, deep: npt.NDArray[np.bool_]
) -> Floats:
    """The discount itself, whole percents: above `deep_discount` for deep ones, else up to it."""
    ceiling = min(1.0, world.deep_discount + 0.15)
    draw = rng.random(len(deep))
    high = world.deep_discount + 0.01 + draw * max(ceiling - world.deep_discount - 0.01, 0.0)
    low = draw**1.5 * world.deep_discount
    return np.where(deep, np.ceil(high * 100) / 100, np.floor(low * 100) / 100)


def assign(
    world: WorldParameters, rng: np.random.Generator, created: Days, region: Days, reps: Reps
) -> Days:
    """Give each deal a rep of its region: new reps get fewer, nobody more than the limit a week.

    A week's deals are dealt onto the free slots of the reps at work; where slots run out the limit
    gives way, and everybody gets one more.
    """
    owner = np.zeros(len(created), dtype=np.int64)
    group = created // 7 * len(world.regions) + region
    order = np.argsort(group, kind="stable")
    edges = np.flatnonzero(np.diff(group[order], prepend=-1, append=-1))
    for begin, stop in pairwise(edges):
        rows = order[begin:stop]
        week = int(created[rows[0]] // 7)
        owner[rows] = _week_owners(world, rng, week, int(region[rows[0]]), len(rows), reps)
    return owner


def _week_owners(
    world: WorldParameters, rng: np.random.Generator, week: int, region: int, count: int, reps: Reps
) -> Days:
    at_work = (reps.hired <= week * 7) & (reps.left > week * 7 + 6)
    here = np.flatnonzero(at_work & (reps.region == region))
    if not len(here):
        here = np.flatnonzero(at_work)
    if not len(here):
        here = np.arange(reps.count)
    ramp = reps.ramp(here, np.full(len(here), week * 7), world.ramp_months)
    weight = 0.4 + 0.6 * ramp
    limit = max(int(np.ceil(world.load_limit)), -(-count // len(here)))
    slots = np.repeat(np.arange(len(here)), limit)
    wait = rng.exponential(1.0, len(slots)) / weight[slots]
    taken = slots[np.argsort(wait, kind="stable")[:count]]
    return np.asarray(here[rng.permutation(taken)])


def _loads(world: WorldParameters, created: Days, rep: Days) -> Floats:
    """Deals given to the same rep in the four weeks before, as a share of the limit."""
    big = int(created.max()) + 2 * LOOK_BACK + 1 if len(created) else 1
    place = rep * big + created + LOOK_BACK
    ordered = np.sort(place)
    before = np.searchsorted(ordered, place, side="left")
    earlier = np.searchsorted(ordered, place - LOOK_BACK, side="left")
    return (before - earlier) / (world.load_limit * LOOK_BACK / 7)
