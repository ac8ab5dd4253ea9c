"""The chance of a quota, against distributions whose tails are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gamma, norm

from salesops_ml.errors import DataError
from salesops_ml.forecasts import quota_chance
from salesops_ml.forecasts.combine import LEVELS, QUANTILES


def told_of(quantiles: np.ndarray, *, mean: float, closed: float = 0.0) -> pd.DataFrame:
    row = {
        "node": "company",
        "grain": "quarter",
        "period": "2026-Q3",
        "mean": mean,
        "closed": closed,
    }
    return pd.DataFrame([row | dict(zip(QUANTILES, quantiles, strict=True))])


def chance(told: pd.DataFrame, quota: float) -> float:
    asked = pd.DataFrame([{"node": "company", "period": "2026-Q3", "quota": quota}])
    found = quota_chance(told, asked)
    assert len(found) == 1
    return float(found["p_reach"].iloc[0])


@given(st.floats(-4, 4))
def test_a_normal_forecast_gives_the_normal_tail(score: float) -> None:
    told = told_of(1_000 + 50 * norm.ppf(LEVELS), mean=1_000)
    assert chance(told, 1_000 + 50 * score) == pytest.approx(norm.sf(score), abs=1e-9)


@given(st.floats(0.02, 0.98))
def test_a_skewed_forecast_gives_nearly_its_own_tail(share: float) -> None:
    law = gamma(6, scale=100)
    told = told_of(law.ppf(LEVELS), mean=600)
    assert chance(told, law.ppf(share)) == pytest.approx(1 - share, abs=0.03)


@given(
    st.lists(st.floats(0, 1e6), min_size=7, max_size=7),
    st.lists(st.floats(0, 2e6), min_size=2, max_size=9),
)
def test_a_higher_quota_is_never_likelier(raw: list[float], quotas: list[float]) -> None:
    told = told_of(np.sort(raw), mean=float(np.median(raw)))
    found = [chance(told, quota) for quota in sorted(quotas)]
    assert all(0 <= p <= 1 for p in found)
    assert found == sorted(found, reverse=True)


def test_a_quota_that_is_booked_is_reached_and_what_is_missing_is_told() -> None:
    told = told_of(np.array([70, 70, 70, 80, 95, 99, 103.0]), mean=82, closed=70)
    asked = pd.DataFrame(
        {"node": "company", "period": ["2026-Q3", "2025-Q1"], "quota": [60.0, 1.0]}
    )
    row = quota_chance(told, asked)
    assert row[["to_go", "gap", "p_reach"]].to_numpy().tolist() == [[0.0, -22.0, 1.0]]
    assert 0.5 < chance(told, 71.0) < 1.0


@pytest.mark.parametrize("quotas", [[float("nan")], [5.0, 6.0]])
def test_a_quota_that_is_none_is_named(quotas: list[float]) -> None:
    told = told_of(norm.ppf(LEVELS), mean=0)
    asked = pd.DataFrame({"node": "company", "period": "2026-Q3", "quota": quotas})
    with pytest.raises(DataError, match="quota of `company` in 2026-Q3"):
        quota_chance(told, asked)
