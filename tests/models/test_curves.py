"""Curves: monotone, coherent, and quantiles that invert them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_ml.models import Curves, reporting_days, scores_from
from salesops_ml.models.hazards import incidence
from salesops_ml.models.periods_at_risk import interval_edges, rows_at_risk


@st.composite
def curves(draw: st.DrawFn) -> Curves:
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n, k = draw(st.integers(1, 12)), draw(st.integers(2, 20))
    ends, wins = rng.uniform(0, 0.6, (n, k)), rng.uniform(0, 1, (n, k))
    ends[rng.random((n, k)) < 0.2] = 0
    won, lost = incidence(ends * wins, ends * (1 - wins))
    days = np.concatenate([[0.0], np.cumsum(rng.uniform(0.5, 5, k))])
    return Curves(days, won, lost)


def coherent(told: Curves) -> bool:
    rising = (np.diff(told.cif_won) >= -1e-12).all() and (np.diff(told.cif_lost) >= -1e-12).all()
    total = told.cif_won + told.cif_lost
    return bool(rising and (total <= 1 + 1e-9).all() and (told.cif_won >= 0).all())


@given(curves(), st.integers(0, 1_000))
def test_curves_stay_coherent_whatever_is_done_to_them(told: Curves, seed: int) -> None:
    assert coherent(told)
    rng = np.random.default_rng(seed)
    p_won = rng.uniform(0, 1, len(told.cif_won))
    p_lost = (1 - p_won) * rng.uniform(0, 1, len(p_won))
    moved = told.with_mass(p_won, p_lost)
    assert coherent(moved)
    assert np.allclose(moved.cif_won[:, -1], p_won)
    assert np.allclose(moved.cif_lost[:, -1], p_lost)
    assert coherent(moved.at(np.sort(rng.uniform(0, told.horizon, 9))))


@given(curves())
def test_quantiles_invert_the_curve(told: Curves) -> None:
    for given_, curve in (("won", told.cif_won), ("either", told.cif_won + told.cif_lost)):
        days = told.quantiles(given=given_)
        assert (np.diff(days, axis=1) >= -1e-9).all()
        for i, row in enumerate(days):
            if curve[i, -1] > 1e-9:
                back = np.interp(row, told.days, curve[i])
                assert back == pytest.approx(np.array([0.1, 0.5, 0.9]) * curve[i, -1], abs=1e-9)


@given(curves())
def test_scores_say_what_the_curves_say(told: Curves) -> None:
    scores = scores_from(told, pd.RangeIndex(len(told.cif_won)), None)
    assert np.allclose(scores[["p_win", "p_lost", "p_open"]].sum(axis=1), 1)
    assert np.allclose(scores["p_win"], told.at([told.horizon]).cif_won[:, 0])


def test_incidence_is_the_sum_over_intervals_of_surviving_and_then_ending() -> None:
    won, lost = incidence(np.array([[0.1, 0.2, 0.3]]), np.array([[0.2, 0.1, 0.0]]))
    assert won[0].tolist() == pytest.approx([0, 0.1, 0.1 + 0.7 * 0.2, 0.24 + 0.7 * 0.7 * 0.3])
    assert lost[0].tolist() == pytest.approx([0, 0.2, 0.2 + 0.7 * 0.1, 0.27])


@pytest.mark.parametrize("horizon", [2, 7, 30, 60, 90, 365, 1_500])
def test_days_end_at_the_horizon(horizon: int) -> None:
    for days in (interval_edges(horizon), reporting_days(horizon)):
        assert days[0] == 0
        assert days[-1] == horizon
        assert (np.diff(days) > 0).all()


@given(st.integers(0, 2_000))
def test_rows_at_risk_equal_a_loop_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges = interval_edges(30)
    duration = np.round(rng.uniform(0, 45, 25), 2)
    event = rng.integers(0, 3, 25)
    found = rows_at_risk(event, duration, edges, most=10**9, seed=0)
    rows = sorted(
        zip(found.row.tolist(), found.interval.tolist(), found.event.tolist(), strict=True)
    )
    assert rows == sorted(by_hand(event, duration, edges))
    assert (found.weight == 1).all()


def by_hand(
    event: np.ndarray, duration: np.ndarray, edges: np.ndarray
) -> list[tuple[int, int, int]]:
    rows = []
    for i, (what, day) in enumerate(zip(event, np.maximum(duration, 1e-9), strict=True)):
        for j, (low, high) in enumerate(pairwise(edges)):
            if day > high:
                rows.append((i, j, 0))
            elif low < day <= high:
                if what:
                    rows.append((i, j, int(what)))
                elif day >= (low + high) / 2:
                    rows.append((i, j, 0))
    return rows


def test_thinning_keeps_every_event_and_the_total_at_risk() -> None:
    rng = np.random.default_rng(7)
    duration, event = rng.uniform(0, 100, 3_000), rng.integers(0, 3, 3_000)
    edges = interval_edges(90)
    whole = rows_at_risk(event, duration, edges, most=10**9, seed=1)
    thin = rows_at_risk(event, duration, edges, most=20_000, seed=1)
    assert len(thin.row) < 25_000 < len(whole.row)
    assert (thin.event > 0).sum() == (whole.event > 0).sum()
    assert thin.weight.sum() == pytest.approx(len(whole.row), rel=0.03)


@given(curves(), st.integers(0, 1_000))
def test_curves_taken_apart_and_joined_are_the_same(told: Curves, seed: int) -> None:
    rows = np.random.default_rng(seed).random(len(told.cif_won)) < 0.5
    again = Curves.joined(rows, told.take(rows), told.take(~rows))
    for name in ("days", "cif_won", "cif_lost"):
        np.testing.assert_array_equal(getattr(again, name), getattr(told, name))
