"""The curves equal lifelines', an independent implementation."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifelines import AalenJohansenFitter, KaplanMeierFitter

from salesops_ml.kpis.survival import exit_curve, exit_curves

CASES = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 2)), min_size=1, max_size=40)


def _arrays(cases: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    duration = np.array([case[0] for case in cases], dtype=float)
    return duration, np.array([case[1] for case in cases], dtype=np.int64)


@given(CASES)
def test_any_exit_is_kaplan_meier(cases: list[tuple[int, int]]) -> None:
    duration, door = _arrays(cases)
    curve = exit_curve(duration, door)
    oracle = KaplanMeierFitter().fit(duration, door > 0)
    expected = 1 - oracle.survival_function_at_times(curve.times).to_numpy()
    np.testing.assert_allclose(curve.left, expected, atol=1e-12)
    if (np.abs(curve.left - 0.5) > 1e-9).all():  # else rounding decides what "half" is
        half = oracle.median_survival_time_
        assert curve.quantile(0.5) == pytest.approx(
            half if np.isfinite(half) else np.nan, nan_ok=True
        )


@given(CASES)
def test_one_door_is_aalen_johansen(cases: list[tuple[int, int]]) -> None:
    duration, door = _arrays(cases)
    curve = exit_curve(duration, door)
    if not (door == 1).any() or len(np.unique(duration)) < len(duration):
        return  # lifelines shakes ties apart at random
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = AalenJohansenFitter(calculate_variance=False).fit(duration, door, 1)
    expected = oracle.cumulative_density_.iloc[:, 0]
    for time in curve.times:
        assert curve.share(time, 1) == pytest.approx(expected.loc[:time].iloc[-1])


@given(CASES)
def test_doors_add_up_and_nothing_falls(cases: list[tuple[int, int]]) -> None:
    curve = exit_curve(*_arrays(cases))
    doors = sum(curve.by_door.values(), np.zeros(len(curve.times)))
    np.testing.assert_allclose(doors, curve.left, atol=1e-12)
    assert (np.diff(curve.left) >= -1e-12).all()
    assert 0 <= curve.left[-1] <= 1 + 1e-12


def test_ties_by_hand() -> None:
    """Five: two leave at 1 (one by each door), one is last seen at 1, one leaves at 2, one stays to 3.

    At 1: 1/5 by each. Then two are left: 3/5 x 1/2 at 2.
    """
    curve = exit_curve(np.array([1.0, 1, 1, 2, 3]), np.array([1, 2, 0, 1, 0]))
    assert curve.share(1, 1) == curve.share(1, 2) == pytest.approx(0.2)
    assert curve.share(2, 1) == pytest.approx(0.5)
    assert curve.share(0.5) == 0
    assert curve.quantile_given(0.5, 1) == 2
    assert np.isnan(curve.quantile(0.8))
    assert curve.known_until == 3
    assert np.isnan(curve.quantile_given(0.5, 7))


def test_groups_are_independent_of_row_order() -> None:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "who": rng.choice(list("abc"), 60),
            "duration": rng.integers(1, 9, 60).astype(float),
            "door": rng.integers(0, 3, 60),
        }
    )
    told = dict(exit_curves(frame, ["who"]))
    mixed = dict(exit_curves(frame.sample(frac=1, random_state=1), ["who"]))
    assert list(told) == [("a",), ("b",), ("c",)]
    for who, curve in told.items():
        part = frame[frame["who"] == who[0]]
        alone = exit_curve(part["duration"].to_numpy(), part["door"].to_numpy())
        np.testing.assert_array_equal(curve.left, alone.left)
        np.testing.assert_array_equal(curve.left, mixed[who].left)
