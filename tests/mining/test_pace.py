"""The pace model against lifelines' Cox model, and on worlds whose paces are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter

from salesops_ml.mining.conditions import Condition
from salesops_ml.mining.pace import fit_pace, score_groups
from salesops_ml.mining.permutation import q_values
from salesops_ml.mining.slow_kinds import find_slow_kinds
from salesops_ml.mining.visits import Stays, Visits


def world(
    deals: int, seed: int, *, stages: int = 3, slow: float = 1.0, rep_sd: float = 0.0
) -> tuple[Stays, np.ndarray, np.ndarray]:
    """Deals with two kinds that pass `stages` stages at exponential rates; kind 1 is `slow` in stage 1.

    Returns the stays, (n, 2) kinds and (n,) reps.
    """
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, (deals, 2))
    rep = rng.integers(0, 20, deals)
    rep_pace = np.exp(rep_sd * rng.standard_normal(20))
    rows: list[tuple[int, int, float, int]] = []
    alive = np.arange(deals)
    for stage in range(stages):
        rate = 0.1 * np.exp(0.4 * kind[alive, 0] - 0.3 * kind[alive, 1]) * rep_pace[rep[alive]]
        rate = rate * np.where((stage == 1) & (kind[alive, 1] == 1), slow, 1.0)
        on = rng.exponential(1 / rate)
        lost = rng.exponential(1 / 0.03, len(alive))
        seen = rng.uniform(5, 80, len(alive))
        time = np.minimum(np.minimum(on, lost), seen)
        door = np.where(time == on, 0, np.where(time == lost, 1, 2))
        rows += zip(alive.tolist(), [stage] * len(alive), time.tolist(), door.tolist(), strict=True)
        alive = alive[door == 0]
    case, stage, days, door = (np.array(column) for column in zip(*rows, strict=True))
    visits = Visits(np.arange(len(case)), case, stage, stage + 1, days, door < 2)
    won = (door == 0) & (stage == stages - 1)
    nothing = np.zeros(len(case), dtype=bool)
    stays = Stays(visits, (door == 0) & ~won, won, nothing, door == 1)
    return stays, kind[case].astype(float), rep[case]


def test_a_pace_is_that_of_lifelines_stratified_cox() -> None:
    stays, kinds, _ = world(1500, 1, slow=0.5)
    group = (stays.visits.stage == 1) & (kinds[:, 1] == 1)
    rest = (stays.visits.stage == 1) & (kinds[:, 0] == 1)
    nobody = np.zeros(len(group), dtype=bool)
    only = Stays(stays.visits, stays.onward | stays.won, nobody, nobody, stays.lost)
    ours = fit_pace(only, np.zeros((len(group), 0)), None, [group, rest])
    frame = pd.DataFrame({
        "days": stays.visits.days, "on": stays.onward | stays.won, "stage": stays.visits.stage,
        "group": group.astype(float), "rest": rest.astype(float),
    })  # fmt: skip
    theirs = CoxPHFitter().fit(frame, "days", "on", strata=["stage"])
    assert np.allclose(ours.slow, theirs.params_[["group", "rest"]], atol=2e-3)


def test_the_pace_of_a_slow_kind_is_recovered() -> None:
    stays, kinds, rep = world(6000, 2, slow=0.5, rep_sd=0.3)
    group = (stays.visits.stage == 1) & (kinds[:, 1] == 1)
    mix = np.hstack([kinds, 1 - kinds])
    fit = fit_pace(stays, mix, rep, [group])
    assert abs(fit.slow[0] - np.log(0.5)) < 3 * fit.slow_se[0]
    assert fit.slow_se[0] < 0.08
    total = (stays.onward | stays.won).sum()
    assert fit.expected.sum() == pytest.approx(total, rel=1e-6)
    assert np.abs(fit.slow_influence.sum()) < 0.01


def test_the_score_of_a_group_is_near_its_fitted_pace() -> None:
    stays, kinds, _ = world(6000, 3, slow=0.8)
    mix = np.hstack([kinds, 1 - kinds])
    group = (stays.visits.stage == 1) & (kinds[:, 1] == 1)
    one_step, error, alone = score_groups(fit_pace(stays, mix, None, []), stays, 1, [group])
    fitted = fit_pace(stays, mix, None, [group])
    assert abs(one_step[0] - fitted.slow[0]) < 0.5 * error[0]
    assert error[0] == pytest.approx(fitted.slow_se[0], rel=0.15)
    assert error[0] >= alone[0]


def conditions_of(kinds: np.ndarray, noise: int, seed: int) -> list[Condition]:
    rng = np.random.default_rng(seed)
    found = [
        Condition("first", "yes", kinds[:, 0] == 1),
        Condition("second", "yes", kinds[:, 1] == 1),
    ]
    blanks = rng.integers(0, 2, (len(kinds), noise)) == 1
    return found + [Condition("noise", str(k), blanks[:, k]) for k in range(noise)]


def test_only_the_planted_kind_is_found() -> None:
    stays, kinds, rep = world(3000, 4, slow=0.5)
    found, fit = find_slow_kinds(
        stays, np.hstack([kinds, 1 - kinds]), rep, conditions_of(kinds, 15, 4)
    )
    assert [(one.stage, str(one.condition)) for one in found] == [(1, "second yes")]
    assert found[0].found
    assert found[0].q_value < 1e-6
    assert fit.slow[0] == found[0].log_pace


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_found_where_nothing_is_planted(seed: int) -> None:
    stays, kinds, rep = world(2000, 100 + seed)
    found, _ = find_slow_kinds(
        stays, np.hstack([kinds, 1 - kinds]), rep, conditions_of(kinds, 15, seed)
    )
    assert found == []


def test_q_values_are_those_of_benjamini_and_hochberg() -> None:
    p_values = np.array([0.01, np.nan, 0.04, 0.03, 0.9])
    assert q_values(p_values).tolist()[0] == pytest.approx(0.04)
    expected = [0.04, np.nan, 0.16 / 3, 0.16 / 3, 0.9]
    assert np.allclose(q_values(p_values), expected, equal_nan=True)


def test_errors_by_rep_hold_where_reps_differ_in_a_stage() -> None:
    """Groups of whole reps, drawn by lot: one in twenty is 1.96 errors away, not one in three."""
    rng = np.random.default_rng(9)
    reps, deals = 30, 1500
    own, rep = np.exp(0.4 * rng.standard_normal(reps)), rng.integers(0, reps, deals)
    time, seen = rng.exponential(10 / own[rep]), rng.uniform(5, 60, deals)
    gone = time < seen
    place = np.zeros(deals, dtype=np.int64)
    visits = Visits(
        np.arange(deals), np.arange(deals), place, place + 1, np.minimum(time, seen), gone
    )
    nothing = np.zeros(deals, dtype=bool)
    stays = Stays(visits, gone, nothing, nothing, nothing)
    fit = fit_pace(stays, np.zeros((deals, 0)), None, [])
    groups = [(rng.random(reps) < 0.5)[rep] for _ in range(200)]
    pace, together, alone = score_groups(fit, stays, 0, groups, rep)
    assert (np.abs(pace / alone) > 1.96).mean() > 0.25
    assert (np.abs(pace / together) > 1.96).mean() < 0.12
    assert (together >= alone).all()
