"""The cost of a delay in a world where it can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from salesops_ml.mining.clock import Clock
from salesops_ml.mining.conditions import Condition
from salesops_ml.mining.delay_cost import delay_cost, gain_at_target
from salesops_ml.mining.slow_kinds import SlowKind
from salesops_ml.mining.steps import LOST, NEVER, OPEN, WON, Steps
from salesops_ml.mining.visits import Stays, stays_of

DAY = 86_400_000_000
RATE, LOSS, SLOW = 0.10, 0.05, 0.4
LENGTH = 600.0


def one_stage(deals: int, seed: int) -> tuple[Steps, Stays]:
    """Deals that arrive over `LENGTH` days, are won at RATE * SLOW and lost at LOSS; worth 10 each."""
    rng = np.random.default_rng(seed)
    start = np.sort(rng.uniform(0, LENGTH, deals))
    won, lost = rng.exponential(1 / (RATE * SLOW), deals), rng.exponential(1 / LOSS, deals)
    end = start + np.minimum(won, lost)
    closed = end < LENGTH
    outcome = np.where(~closed, OPEN, np.where(won < lost, WON, LOST))
    case = np.repeat(np.arange(deals), 1 + closed)
    first = np.concatenate([[True], case[1:] != case[:-1]])
    activity = np.where(first, 0, np.where(outcome[case] == WON, 1, 2))
    at = (np.where(first, start[case], end[case]) * DAY).astype(np.int64)
    steps = Steps(
        case, activity, at, np.arange(deals).astype(str).astype(object), ("Offer", "Won", "Lost"),
        outcome=outcome,
        closed=np.where(closed, (end * DAY).astype(np.int64), NEVER),
        amount=np.full(deals, 10.0),
        closing=np.array([False, True, True]),
        winning=np.array([False, True, False]),
        place=np.arange(3.0),
        as_of=int(LENGTH * DAY),
    )  # fmt: skip
    return steps, stays_of(steps, np.arange(3), Clock())


def slow_kind(stays: Stays, error: float = 1e-6) -> SlowKind:
    rows = np.ones(len(stays.lost), dtype=bool)
    nothing = np.zeros(len(rows))
    return SlowKind(0, Condition("product", "A", rows), rows, float(np.log(SLOW)), error, 0.0, 0.0,
                    nothing)  # fmt: skip


def won_by(rate: float, horizon: np.ndarray) -> np.ndarray:
    """Chance that a deal is won within `horizon` days, at that rate of winning."""
    return rate / (rate + LOSS) * (1 - np.exp(-(rate + LOSS) * horizon))


def test_the_cost_is_the_one_worked_out_by_hand() -> None:
    steps, stays = one_stage(40_000, 5)
    cost = delay_cost(
        steps, stays, slow_kind(stays), np.zeros(len(stays.lost)), bootstrap=20, seed=1
    )
    horizon = LENGTH - np.linspace(0, LENGTH, 4001)
    gain = (won_by(RATE, horizon) - won_by(RATE * SLOW, horizon)).mean() * 40_000
    months = LENGTH / (365.25 / 12)
    assert cost.wins == pytest.approx(gain / months, rel=0.03)
    assert cost.amount == pytest.approx(10 * cost.wins)
    assert cost.low < cost.amount < cost.high
    stay = 1 / (RATE * SLOW + LOSS) - 1 / (RATE + LOSS)
    assert cost.delay_days == pytest.approx(stay, rel=0.1)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    horizon = LENGTH - np.linspace(0, LENGTH, 4001)
    truth = (won_by(RATE, horizon) - won_by(RATE * SLOW, horizon)).mean() * 600 * 10
    truth /= LENGTH / (365.25 / 12)
    inside = 0
    for seed in range(30):
        steps, stays = one_stage(600, seed)
        cost = delay_cost(
            steps, stays, slow_kind(stays), np.zeros(len(stays.lost)), bootstrap=60, seed=seed
        )
        inside += cost.low <= truth <= cost.high
    assert 22 <= inside <= 30


def test_the_same_seed_gives_the_same_interval() -> None:
    steps, stays = one_stage(500, 1)
    args = (steps, stays, slow_kind(stays, error=0.05), np.zeros(len(stays.lost)))
    assert delay_cost(*args, bootstrap=20, seed=3) == delay_cost(*args, bootstrap=20, seed=3)
    assert delay_cost(*args, bootstrap=20, seed=3) != delay_cost(*args, bootstrap=20, seed=4)


def test_the_what_if_moves_half_of_the_deals_out_by_the_target() -> None:
    steps, stays = one_stage(40_000, 6)
    rows, outlook = np.ones(len(stays.lost), dtype=bool), np.zeros(len(stays.lost))
    target = 5.0
    rate = np.log(2) / target - LOSS
    horizon = LENGTH - np.linspace(0, LENGTH, 4001)
    gain = (won_by(rate, horizon) - won_by(RATE * SLOW, horizon)).mean() * 40_000 * 10
    found = gain_at_target(steps, stays, rows, outlook, target)
    assert found == pytest.approx(gain / (LENGTH / (365.25 / 12)), rel=0.05)
    assert gain_at_target(steps, stays, rows, outlook, 1e6) == 0
    assert np.isnan(gain_at_target(steps, stays, rows, outlook, np.nan))
