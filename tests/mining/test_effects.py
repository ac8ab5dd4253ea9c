"""Effects against lifelines and statsmodels, and factors whose sides are counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from lifelines import CoxPHFitter
from lifelines.utils import restricted_mean_survival_time

from salesops_ml.mining.effects import (
    extra_days,
    outcome_weights,
    pace_effects,
    usual_exits,
    win_effects,
)
from salesops_ml.mining.factors import factors, other_side
from salesops_ml.mining.questions import LOST, SLOW, Question


def question(seed: int, rows: int = 1200, *, outcome: str = SLOW) -> tuple[Question, np.ndarray]:
    """Rows in two stages with two properties; the first halves the pace and the chance to win."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, (rows, 2)).astype(float)
    stage = rng.integers(0, 2, rows)
    good = rng.exponential(1 / (0.1 * np.exp(-0.7 * kind[:, 0] + 0.3 * kind[:, 1]) * (1 + stage)))
    bad, seen = rng.exponential(25, rows), rng.uniform(2, 60, rows)
    days = np.minimum(np.minimum(good, bad), seen)
    told = Question(
        outcome, "Offer", np.arange(rows), np.arange(rows), days, days == good, days < seen, stage
    )
    return told, kind


def test_paces_are_those_of_lifelines_with_robust_errors() -> None:
    told, kind = question(1)
    ours = pace_effects(told, kind, np.zeros(len(kind)))
    frame = pd.DataFrame({"days": told.days, "good": told.good, "stage": told.stratum,
                          "first": kind[:, 0], "second": kind[:, 1]})  # fmt: skip
    theirs = CoxPHFitter().fit(frame, "days", "good", strata=["stage"], robust=True)
    assert np.allclose(ours.level, theirs.params_[["first", "second"]], atol=5e-3)
    robust = theirs.standard_errors_[["first", "second"]]
    assert np.allclose(np.sqrt((ours.influence**2).sum(axis=0)), robust, rtol=0.1)


def test_what_is_given_is_taken_as_given() -> None:
    told, kind = question(2)
    first = pace_effects(told, kind[:, :1], np.zeros(len(kind)))
    second = pace_effects(told, kind[:, 1:], first.fitted)
    both = pace_effects(told, kind, np.zeros(len(kind)))
    assert second.level[0] == pytest.approx(both.level[1], abs=0.05)
    assert np.allclose(second.fitted - first.fitted, kind[:, 1] * second.level[0])


def test_win_rates_are_those_of_weighted_least_squares() -> None:
    told, kind = question(3, outcome=LOST)
    ours = win_effects(told, kind, np.zeros(len(kind)))
    weight = outcome_weights(told.days, told.ended)
    theirs = sm.WLS(told.good.astype(float), sm.add_constant(kind), weights=weight).fit()
    assert np.allclose(ours.level, theirs.params[1:], atol=2e-3)
    robust = theirs.get_robustcov_results("HC0").bse[1:]
    assert np.allclose(np.sqrt((ours.influence**2).sum(axis=0)), robust, rtol=0.02)


def test_censoring_does_not_bend_the_win_rate() -> None:
    """The same deals, followed to the end and followed for a while: the same effect, about."""
    rng = np.random.default_rng(4)
    kind = rng.integers(0, 2, 8000).astype(float)
    won, lost = rng.exponential(1 / (0.1 - 0.05 * kind)), rng.exponential(20, 8000)
    end, row = np.minimum(won, lost), np.arange(8000)
    for seen in (np.full(8000, np.inf), rng.uniform(0, 80, 8000)):
        told = Question(LOST, "Offer", row, row, np.minimum(end, seen), (won < lost) & (end < seen),
                        end < seen, np.zeros(8000, dtype=np.int64))  # fmt: skip
        effect = win_effects(told, kind[:, None], np.zeros(8000)).level[0]
        assert effect == pytest.approx(0.5 - 2 / 3, abs=0.04)


def test_usual_exits_sum_to_those_seen_in_each_stage() -> None:
    told, _ = question(5)
    usual = usual_exits(told)
    for stage in (0, 1):
        here = told.stratum == stage
        assert usual[here].sum() == pytest.approx(told.good[here].sum())


def test_extra_days_are_a_difference_of_mean_stays() -> None:
    """Against lifelines' restricted mean, and against an exponential stay worked out by hand."""
    told, _ = question(6)
    from lifelines import KaplanMeierFitter

    long = told.days.max()
    stay = KaplanMeierFitter().fit(told.days, told.ended)
    now = restricted_mean_survival_time(stay, t=long)
    gone = extra_days(told.days, told.good, told.ended, [-30.0, 0.0])
    assert gone[1] == 0
    assert 0 < gone[0] < now
    rng = np.random.default_rng(6)
    days = rng.exponential(20, 40_000)
    yes = np.ones(len(days), dtype=bool)
    assert extra_days(days, yes, yes, [np.log(0.5)])[0] == pytest.approx(10, rel=0.03)


def test_sides_of_a_factor_hold_one_level_against_all_others() -> None:
    known = pd.DataFrame({
        "product": ["A"] * 100 + ["B"] * 60 + ["rare"] * 5 + [None] * 35,
        "amount": np.arange(200.0),
    })  # fmt: skip
    product, amount = factors(known, ["product", "amount", "absent"])
    value = np.array([3.0, 7.0])
    for condition, weights in product.sides():
        rest = np.where(product.level >= 0, value[np.maximum(product.level, 0)], 0.0)
        mean = rest[condition.rows].mean() - rest[~condition.rows].mean()
        assert weights @ value == pytest.approx(mean)
    cuts = [str(condition) for condition, _ in amount.sides()]
    assert cuts == ["amount > 79", "amount > 119"]
    first = next(iter(amount.sides()))[0]
    assert str(other_side(first)) == "amount <= 79"
    assert (other_side(first).rows == ~first.rows).all()
