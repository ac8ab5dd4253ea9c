"""Curves whose middle is moved: where it goes, what stays, and when it is left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_ml.evaluation.splits import labels_at
from salesops_ml.models import DealScores, fit_deal_scores
from salesops_ml.models.curves import Curves
from salesops_ml.models.hazard_table import HazardTable
from salesops_ml.models.median_days import SHARES, MedianDays, choose_share, moved

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


def planted(company: Any, rows: pd.Series[bool]) -> pd.DataFrame:
    """Looks of deals whose end is written into one of their features, give or take a day."""
    data = company.data[rows].copy()
    random = np.random.default_rng(8)
    told = data["days_to_outcome"].fillna(0) + random.normal(0, 1, len(data))
    return data.assign(f_account_closed=told.astype(float))


def test_held_out_deals_ask_for_what_the_table_cannot_know(company: Any) -> None:
    learn, late = (planted(company, company.block == name) for name in ("train", "calibration"))
    labels, late_labels = labels_at(learn, None), labels_at(late, None)
    told = MedianDays.fit(learn, labels, company.settings, share=0.0)
    assert told is not None
    flat = np.linspace(0, 0.5, len(DAYS))
    curves = Curves(DAYS, np.tile(flat, (len(late), 1)), np.tile(flat, (len(late), 1)))
    share, missed = choose_share(
        told, late, late_labels, curves, company.settings, shares=SHARES["table"]
    )
    assert share == max(SHARES["table"])
    assert missed[str(share)] < missed["0.0"]


def test_an_answer_of_chance_moves_nothing(company: Any) -> None:
    late = company.data[company.block == "calibration"]
    labels = labels_at(late, None)
    told = company.model.median or MedianDays.fit(late, labels, company.settings, share=0.0)
    wild = replace(told, booster=_Dice())
    curves = company.model.curves(late)
    share, _ = choose_share(wild, late, labels, curves, company.settings, shares=SHARES["table"])
    assert share == 0.0


class _Dice:
    """Says any square root of days, whatever the deal."""

    def predict(self, rows: np.ndarray, **_: Any) -> np.ndarray:
        return np.random.default_rng(2).uniform(0, 9, len(rows))


def test_few_lost_deals_leave_the_table_with_days_of_its_own(company: Any, tmp_path: Path) -> None:
    data = company.data
    lost = data.loc[data["outcome"] == "lost", "deal_id"].unique()
    few = data[~data["deal_id"].isin(lost[20:])]
    few = few.assign(
        f_account_closed=planted(company, data.index.isin(few.index))["f_account_closed"]
    )
    model = fit_deal_scores(
        few, company.block[few.index], company.borders, spec=company.spec, settings=company.settings
    )
    assert isinstance(model.timing, HazardTable)
    assert model.median is not None
    assert model.median.share == max(SHARES["table"])
    rows = few[company.block[few.index] == "test"]
    ended = (rows["days_to_outcome"] <= 90).to_numpy()
    days = rows["days_to_outcome"].to_numpy()[ended]
    plain = replace(model, median=None).predict(rows)["outcome_p50"].to_numpy()[ended]
    ours = model.predict(rows)["outcome_p50"].to_numpy()[ended]
    assert np.abs(ours - days).mean() < 0.6 * np.abs(plain - days).mean()
    model.save(tmp_path)
    again = DealScores.load(tmp_path, threads=1).predict(rows)
    pd.testing.assert_frame_equal(again, model.predict(rows))
