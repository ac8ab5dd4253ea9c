"""Probabilities that keep their promise: the maps, the choice among them, and the timing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from salesops_ml.evaluation.proper_scores import calibration_line, log_loss
from salesops_ml.models.calibration import KINDS, Calibration
from salesops_ml.models.curves import Curves
from salesops_ml.models.timing_calibration import LEVELS, TimingMap


def drawn(rows: int, seed: int, *, stretch: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores whose log-odds are `stretch` times the true ones, outcomes, and deals of two rows."""
    random = np.random.default_rng(seed)
    odds = np.repeat(random.normal(0, 1.5, rows // 2), 2)
    won = random.random(rows) < 1 / (1 + np.exp(-odds))
    deals = np.repeat(np.arange(rows // 2), 2).astype(object)
    return 1 / (1 + np.exp(-stretch * odds)), won, deals


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(seed=st.integers(0, 50), stretch=st.sampled_from([0.4, 1.0, 2.5]))
def test_every_map_rises_and_stays_within_nought_and_one(
    kind: str, seed: int, stretch: float
) -> None:
    p, won, deals = drawn(200, seed, stretch=stretch)
    told = Calibration.fit(kind, p, won, np.ones(len(p)), deals)
    mapped = told.apply(np.linspace(0, 1, 101))
    assert (np.diff(mapped) >= -1e-12).all()
    assert (mapped >= 0).all()
    assert (mapped <= 1).all()
    assert Calibration.from_dict(told.to_dict()) == told


@pytest.mark.parametrize("kind", ["beta", "venn_abers"])
def test_a_bold_score_is_made_right_and_none_leaves_it(kind: str) -> None:
    p, won, deals = drawn(6_000, 1, stretch=2.0)
    fresh, happened, _ = drawn(6_000, 2, stretch=2.0)
    told = Calibration.fit(kind, p, won, np.ones(len(p)), deals).apply(fresh)
    assert log_loss(happened, told) < log_loss(happened, fresh) - 0.02
    assert calibration_line(happened, told)[1] == pytest.approx(1.0, abs=0.12)
    assert (Calibration.fit("none", p, won, np.ones(len(p)), deals).apply(fresh) == fresh).all()


def test_venn_abers_equals_two_isotonic_fits_by_hand() -> None:
    p, won, _ = drawn(120, 3, stretch=1.0)
    p = p + np.arange(len(p)) * 1e-6  # no ties, so that bins are single rows
    deals = np.arange(len(p)).astype(object)
    told = Calibration.fit("venn_abers", p, won, np.ones(len(p)), deals)
    for score in np.array(told.grid)[[5, 50, 95]]:
        ends = [
            IsotonicRegression(y_min=0, y_max=1)
            .fit([*p, score], [*won.astype(float), outcome])
            .predict([score])[0]
            for outcome in (0.0, 1.0)
        ]
        by_hand = ends[1] / (1 - ends[0] + ends[1])
        assert told.apply(np.array([score]))[0] == pytest.approx(by_hand, abs=0.02)


def late_curves(rows: int, seed: int) -> tuple[Curves, pd.DataFrame, np.ndarray, np.ndarray]:
    """Curves that promise an even pace, and deals that really close in the second half of it."""
    random = np.random.default_rng(seed)
    days = np.linspace(0, 90, 31)
    won = np.tile(0.6 * days / 90, (rows, 1))
    lost = np.tile(0.3 * days / 90, (rows, 1))
    frame = pd.DataFrame(
        {"deal_id": [f"d{i}" for i in range(rows)], "stage": random.choice(["A", "B"], rows)}
    )
    event = random.choice([0, 1, 2], rows, p=[0.1, 0.6, 0.3])
    when = np.where(event == 0, 90.0, random.uniform(45, 90, rows))
    return Curves(days, won, lost), frame, event, when


def test_bent_timing_covers_what_it_promises_and_keeps_the_ends() -> None:
    curves, frame, event, when = late_curves(4_000, 1)
    bend = TimingMap.fit(curves, frame, event, when, np.ones(len(when)))
    again, looks, happened, days = late_curves(4_000, 2)
    bent = bend.apply(again, looks)
    assert bent.cif_won[:, -1] == pytest.approx(again.cif_won[:, -1])
    assert (np.diff(bent.cif_won, axis=1) >= -1e-12).all()
    assert (bent.cif_won + bent.cif_lost <= 1 + 1e-12).all()
    won = happened == 1
    low, _, high = bent.quantiles(given="won").T
    inside = (days >= low) & (days <= high)
    assert inside[won].mean() == pytest.approx(0.8, abs=0.03)
    straight = again.quantiles(given="won")
    assert (high - low).mean() < 0.6 * (straight[:, 2] - straight[:, 0]).mean()


def test_wins_after_the_horizon_do_not_bend_the_curve() -> None:
    curves, frame, event, when = late_curves(500, 3)
    later = np.where(event == 1, when + 90, when)
    bend = TimingMap.fit(curves, frame, event, later, np.ones(len(when)))
    assert bend.won[""] == pytest.approx(LEVELS)


def test_a_stage_with_few_wins_is_bent_as_the_company_is() -> None:
    curves, frame, event, when = late_curves(2_000, 4)
    frame.loc[:20, "stage"] = "rare"
    bend = TimingMap.fit(curves, frame, event, when, np.ones(len(when)))
    assert "rare" not in bend.won
    assert {"A", "B", ""} <= set(bend.won)
    assert TimingMap.from_dict(bend.to_dict()).won["A"] == pytest.approx(bend.won["A"])
