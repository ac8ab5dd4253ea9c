"""The rush at quarter ends, seen on looks and put into curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from salesops_ml.app.win_corrections import RUSH, SPANS, corrected, learn_corrections, rush_factors
from salesops_ml.models.curves import Curves

DAYS = np.arange(0.0, 29.0)
USUAL, RUSHED, LAST_DAYS = 0.01, 0.018, 7.0


def company(deals: int, seed: int) -> tuple[Curves, pd.DataFrame, pd.DataFrame]:
    """Deals that win at 1 % a day, 1.8 % in the last seven days of a quarter, and models blind to it."""
    rng = np.random.default_rng(seed)
    left = rng.uniform(0, 91.3125, deals)
    middle = (DAYS[:-1] + DAYS[1:]) / 2
    then = np.mod(left[:, None] - middle, 91.3125)
    rate = np.where(then <= LAST_DAYS, RUSHED, USUAL)
    wins = rng.random((deals, len(middle))) < rate
    day = np.where(wins.any(axis=1), wins.argmax(axis=1) + 0.5, DAYS[-1])
    cif = 1 - np.cumprod(np.hstack([np.ones((deals, 1)), np.full(rate.shape, 1 - USUAL)]), axis=1)
    looks = pd.DataFrame({"f_days_to_quarter_end": left, "amount": 100.0})
    labels = pd.DataFrame({"event": wins.any(axis=1).astype(int), "duration": day})
    return Curves(DAYS, cif, np.zeros_like(cif)), looks, labels


def test_the_rush_is_found_where_it_is_and_nowhere_else() -> None:
    factors = rush_factors(*company(80_000, seed=1))
    rushed = np.array([0.0, *RUSH]) < LAST_DAYS
    usual = factors[-1]
    assert factors[rushed] / usual == pytest.approx(np.full(rushed.sum(), 1.8), rel=0.2)
    assert factors[~rushed] / usual == pytest.approx(np.ones((~rushed).sum()), rel=0.2)


def test_corrected_curves_promise_what_comes_before_a_quarter_end() -> None:
    """The last week of a quarter, on deals that the correction has not seen."""
    factors = learn_corrections(*company(40_000, seed=1))
    curves, looks, labels = company(40_000, seed=2)
    left = looks["f_days_to_quarter_end"].to_numpy()
    ends = (left > 6.0) & (left < 7.5)
    came = ((labels["event"] == 1) & (labels["duration"] <= 7)).to_numpy()[ends].sum()
    blind = curves.cif_won[ends, 7].sum()
    told = corrected(curves, factors, left).cif_won[ends, 7].sum()
    assert blind < 0.7 * came
    assert told == pytest.approx(came, rel=0.15)


def test_few_looks_move_little_and_unknown_quarters_nothing() -> None:
    few = rush_factors(*company(40, seed=3))
    assert np.abs(few - 1).max() < 0.2
    curves, looks, labels = company(2_000, seed=4)
    assert rush_factors(curves, looks[["amount"]], labels).tolist() == [1.0] * (len(RUSH) + 1)
    spans = learn_corrections(curves, looks[["amount"]], labels)
    assert len(spans) == len(SPANS) + 1 + len(RUSH) + 1
    unknown = np.full(len(looks), np.nan)
    factors = np.concatenate([np.ones(len(SPANS) + 1), np.full(len(RUSH) + 1, 2.0)])
    np.testing.assert_allclose(corrected(curves, factors, unknown).cif_won, curves.cif_won)


def test_chances_stay_chances() -> None:
    curves, looks, _ = company(500, seed=5)
    factors = np.concatenate([np.full(len(SPANS) + 1, 1.5), np.full(len(RUSH) + 1, 2.0)])
    done = corrected(curves, factors, looks["f_days_to_quarter_end"].to_numpy())
    assert (np.diff(done.cif_won, axis=1) >= 0).all()
    assert done.cif_won.max() <= 1
