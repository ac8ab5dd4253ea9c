"""What deals that were not won would have been worth."""

from __future__ import annotations

import numpy as np

from salesops_ml.mining.clock import Clock
from salesops_ml.mining.steps import LOST, OPEN, WON, Steps
from salesops_ml.mining.visits import Stays, stays_of
from salesops_ml.mining.worth import FEWEST_WON, worth_if_won

DAY = 86_400_000_000


def log(won: int, lost: int, amounts: list[float]) -> tuple[Steps, Stays]:
    """Deals that were in Offer for a day and then won or lost; the last is open."""
    cases = won + lost + 1
    outcome = np.array([WON] * won + [LOST] * lost + [OPEN])
    return (steps := Steps(
        np.arange(cases), np.zeros(cases, dtype=np.int64), np.full(cases, DAY),
        np.arange(cases).astype(str).astype(object), ("Offer",),
        outcome=outcome, closed=np.where(outcome == OPEN, np.iinfo(np.int64).min, 2 * DAY),
        amount=np.array(amounts), closing=np.array([False]), winning=np.array([False]),
        place=np.zeros(1), as_of=3 * DAY,
    )), stays_of(steps, np.zeros(1, dtype=np.int64), Clock())  # fmt: skip


def test_what_is_not_won_shrinks_as_the_won_deals_did() -> None:
    steps, stays = log(FEWEST_WON, 2, [80.0] * FEWEST_WON + [100.0, 300.0, np.nan])
    rows = np.ones(len(stays.lost), dtype=bool)
    at_entry = np.array([100.0] * FEWEST_WON + [100.0, 200.0, 50.0])
    worth = worth_if_won(steps, stays, rows, at_entry)
    assert np.allclose(worth[:FEWEST_WON], 80)
    assert np.allclose(worth[FEWEST_WON:-1], [80, 160])
    known = [80.0] * FEWEST_WON + [100.0, 300.0]
    assert worth[-1] == np.mean(known)  # its amount is not on record


def test_with_few_won_deals_or_no_history_the_amounts_stay() -> None:
    steps, stays = log(3, 2, [80.0] * 3 + [100.0, 300.0, 10.0])
    rows = np.ones(len(stays.lost), dtype=bool)
    assert np.array_equal(worth_if_won(steps, stays, rows, None), steps.amount)
    assert np.array_equal(worth_if_won(steps, stays, rows, np.full(6, 100.0)), steps.amount)


def test_without_amounts_a_deal_is_a_deal() -> None:
    steps, stays = log(1, 1, [np.nan] * 3)
    assert worth_if_won(steps, stays, np.ones(3, dtype=bool), None).tolist() == [1, 1, 1]
