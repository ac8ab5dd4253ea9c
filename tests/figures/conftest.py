"""Frames as runs leave them, small enough to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from salesops_ml.figures.forecast_fan import draw_forecast_fan
from salesops_ml.figures.forecast_record import draw_forecast_record
from salesops_ml.figures.kpi_tiles import draw_kpi_tiles, draw_sparkline
from salesops_ml.figures.reliability import draw_reliability
from salesops_ml.figures.score_bands import draw_score_bands
from salesops_ml.figures.score_comparison import draw_score_comparison
from salesops_ml.figures.style import NARROW, WIDE
from salesops_ml.figures.waterfall import draw_waterfall
from salesops_ml.figures.win_curve import draw_win_curve
from tests.figures.mined import pictures

QUANTILES = ("p025", "p05", "p10", "p50", "p90", "p95", "p975")
STEPS = {
    "start": 5.2e6, "created": 1.1e6, "pulled in": 4e5, "amount up": 2.2e5, "amount down": -3e5,
    "currency": 0.0, "pushed out": -1.6e6, "won": -2.1e6, "lost": -9e5, "end": 2.02e6,
}  # fmt: skip


def forecast(months: int = 6) -> pd.DataFrame:
    """Months and their quarters; the trend takes off first and adds later."""
    rows = []
    for grain, count, starts in (("month", months, "MS"), ("quarter", months // 2, "QS")):
        for at, start in enumerate(pd.date_range("2026-10-01", periods=count, freq=starts)):
            parts = {
                "closed": 4e5 * (at == 0), "from_open": max(9e5 - 1.2e5 * at, 0.0),
                "from_new": 1.5e5 * at, "adjustment": -8e4 if at < 2 else 5e4,
            }  # fmt: skip
            mean = sum(parts.values())
            spread = zip(QUANTILES, (-2, -1.6, -1.3, 0, 1.3, 1.6, 2), strict=True)
            told = {name: mean * (1 + 0.12 * width) for name, width in spread}
            label = f"{start:%Y-%m}" if grain == "month" else f"{start.year}-Q{start.quarter}"
            rows.append(
                {"node": "company", "grain": grain, "period": label, "period_start": start}
                | {"mean": mean, **told, **parts, "method": "combined"}
            )
    return pd.DataFrame(rows)


def backtest() -> pd.DataFrame:
    """Four origins and three methods; ours is nearest."""
    random = np.random.default_rng(3)
    months = pd.date_range("2026-03-01", periods=7, freq="MS")
    rows = []
    for method, noise in (("ours", 0.05), ("crm_weighted_pipeline", 0.4), ("run_rate", 0.2)):
        for start in range(4):
            for month in months[start:]:
                actual = 1e6 + 1e5 * month.month
                mean = actual * (1 + noise * random.standard_normal())
                bounds = (0.85 * mean, 1.15 * mean) if method == "ours" else (np.nan, np.nan)
                rows.append({
                    "origin": months[start], "node": "company", "grain": "month", "method": method,
                    "period": f"{month:%Y-%m}", "period_start": month, "mean": mean,
                    "p10": bounds[0], "p90": bounds[1], "actual": actual,
                })  # fmt: skip
    return pd.DataFrame(rows)


def scores() -> pd.DataFrame:
    """Twelve open deals in all four bands."""
    chance = np.linspace(0.04, 0.96, 12)
    bands = np.array(["very low", "low", "medium", "high"], dtype=object)
    place = np.searchsorted([0.2, 0.5, 0.8], chance, side="right")
    return pd.DataFrame({"band": bands[place], "p_win": chance, "amount": 1e5 + 1e4 * place})


def judged() -> dict[str, Any]:
    """Log-loss by model."""
    values = {"base_rate": 0.58, "deal_scores": 0.421, "stage_age": 0.478, "logistic": 0.439}
    return {
        name: {"log_loss": value, "log_loss_interval": [value - 0.01, value + 0.012]}
        for name, value in values.items()
    }


def kpis() -> pd.DataFrame:
    """Two KPIs over four quarters; one has a target."""
    told = {"win_rate": ("%", 26.0, 25.0, "met"), "deal_size_mean": ("EUR", 23e3, np.nan, "")}
    rows = [
        {"metric": metric, "period": f"2026-Q{quarter}", "node": "company", "unit": unit}
        | {"value": value * (1 + 0.02 * (quarter - 4)), "target": target, "status": status}
        for metric, (unit, value, target, status) in told.items()
        for quarter in range(1, 5)
    ]
    return pd.DataFrame(rows)


RELIABILITY = [[0.05, 0.04, 900.0], [0.2, 0.24, 1100.0], [0.55, 0.5, 1000.0]]
_DAYS = np.arange(1.0, 91.0)

PICTURES: dict[str, Callable[[], Any]] = {
    "fan": lambda: draw_forecast_fan(forecast()),
    "fan-narrow": lambda: draw_forecast_fan(forecast(), width=NARROW),
    "fan-of-a-year": lambda: draw_forecast_fan(forecast(12)),
    "fan-of-two-years-narrow": lambda: draw_forecast_fan(forecast(24), width=NARROW),
    "record": lambda: draw_forecast_record(backtest()),
    "record-narrow": lambda: draw_forecast_record(backtest(), width=NARROW),
    "reliability": lambda: draw_reliability(RELIABILITY),
    "comparison": lambda: draw_score_comparison(judged()),
    "comparison-narrow": lambda: draw_score_comparison(judged(), width=NARROW),
    "bands": lambda: draw_score_bands(scores()),
    "bands-narrow": lambda: draw_score_bands(scores(), width=NARROW),
    "waterfall": lambda: draw_waterfall(STEPS),
    "waterfall-narrow": lambda: draw_waterfall(STEPS, width=NARROW),
    "tiles": lambda: draw_kpi_tiles(kpis(), width=WIDE),
    "tiles-narrow": lambda: draw_kpi_tiles(kpis(), width=NARROW),
    "sparkline": lambda: draw_sparkline([3.0, 4.0, 2.0], target=3.5, status="missed"),
    "curve": lambda: draw_win_curve(
        _DAYS, 0.5 * (1 - np.exp(-_DAYS / 30)), 0.3 * (1 - np.exp(-_DAYS / 40)),
        as_of=pd.Timestamp("2026-11-20").to_pydatetime(),
    ),
} | pictures()  # fmt: skip


@pytest.fixture(params=sorted(PICTURES))
def picture(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Each picture in turn, as a function that draws it anew."""
    return PICTURES[request.param]
