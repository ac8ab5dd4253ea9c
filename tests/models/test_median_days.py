"""Curves whose middle is moved: where it goes, what stays, and when it is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_ml.models.curves import Curves
from salesops_ml.models.median_days import moved

DAYS = np.arange(0.0, 91.0)


def drawn(seed: int, deals: int = 12) -> tuple[Curves, np.ndarray]:
    """Random rising curves, and days asked for."""
    random = np.random.default_rng(seed)
    steps = random.dirichlet(np.full(2 * 90 + 1, 0.3), size=deals)
    rising = np.pad(
        np.cumsum(steps[:, :180].reshape(deals, 2, 90), axis=2), ((0, 0), (0, 0), (1, 0))
    )
    return Curves(DAYS, rising[:, 0], rising[:, 1]), random.uniform(1, 89, size=deals)


@given(seed=st.integers(0, 9_999), share=st.floats(0, 1))
def test_curves_stay_curves_and_end_where_they_ended(seed: int, share: float) -> None:
    curves, asked = drawn(seed)
    told = moved(curves, asked, share)
    for before, after in ((curves.cif_won, told.cif_won), (curves.cif_lost, told.cif_lost)):
        assert (np.diff(after, axis=1) >= -1e-12).all()
        assert after[:, 0] == pytest.approx(before[:, 0])
        assert after[:, -1] == pytest.approx(before[:, -1])
    assert (told.cif_won + told.cif_lost <= 1 + 1e-9).all()


@given(share=st.floats(0, 1), asked=st.floats(2, 88), middle=st.floats(2, 88))
def test_the_middle_goes_the_share_of_the_way(share: float, asked: float, middle: float) -> None:
    power = np.log(0.5) / np.log(middle / 90)
    curve = 0.4 * (DAYS / 90)[None, :] ** power
    curves = Curves(DAYS, curve, 0.5 * curve)
    was = curves.quantiles(given="either")[0, 1]
    told = moved(curves, np.array([asked]), share).quantiles(given="either")[0, 1]
    assert told == pytest.approx((1 - share) * was + share * asked, abs=0.6)


def test_nothing_asked_nothing_moved() -> None:
    curves, asked = drawn(3)
    assert moved(curves, asked, 0.0) is curves
