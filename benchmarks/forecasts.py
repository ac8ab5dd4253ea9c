"""The forecasts' record: M3 beside theta, and what a forecast of revenue costs.

M3: MASE, coverage and CPU time a series, on all monthly and quarterly series; statsmodels' theta runs
on a sample for the CPU. Before anything is printed seasonal naive must give its published MASE.

Run it as `python benchmarks/forecasts.py [series | speed]`.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.forecasts import (
    ScoredPipeline,
    backtest_revenue,
    default_origins,
    forecast_revenue,
    forecast_series,
    read_history,
)
from salesops_ml.settings import Settings
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.synthetic.truth import true_curves
from salesops_ml.warehouse import Warehouse

ROOT = Path(__file__).resolve().parents[1]
M3 = ROOT.parent / "shared" / "data" / "m3"
RESULTS = ROOT / "benchmarks" / "results" / "forecasts.json"
GRAINS = {"monthly": (12, 1.1461), "quarterly": (4, 1.4253)}
THETA_SAMPLE = 100
PARTS = ("series", "speed")
END = datetime(2026, 7, 1)
Scorer = Callable[[datetime], ScoredPipeline]


def series_record() -> Iterator[dict[str, Any]]:
    """One row per grain of M3."""
    for grain, (season, published) in GRAINS.items():
        frame = pd.read_csv(M3 / f"M3_{grain}_long.csv.gz").rename(columns={"t": "ds"})
        frame = frame.sort_values(["unique_id", "ds"])
        train, test = frame[frame.split == "train"], frame[frame.split == "test"]
        change = train["y"] - train.groupby("unique_id")["y"].shift(season)
        scale = change.abs().groupby(train["unique_id"]).mean()
        horizon = len(test) // test.unique_id.nunique()
        naive = _mase(test, _seasonal_naive(train, test, season), scale)
        if abs(naive - published) > 5e-4:
            raise SystemExit(f"{grain}: seasonal naive has MASE {naive}, published is {published}")
        began = time.process_time()
        told = forecast_series(train, horizon=horizon, season_length=season, freq=1)
        spent = time.process_time() - began
        joined = test.merge(told, on=["unique_id", "ds"])
        yield {
            "grain": grain, "series": len(scale), "mase": _mase(joined, joined["mean"], scale),
            "mase_seasonal_naive": naive,
            "coverage_80": float(joined.y.between(joined.lo_80, joined.hi_80).mean()),
            "coverage_95": float(joined.y.between(joined.lo_95, joined.hi_95).mean()),
            "cpu_ms_per_series": 1e3 * spent / len(scale),
            "cpu_ms_per_series_theta": 1e3 * _theta_seconds(train, season, horizon),
        }  # fmt: skip


def speed_record() -> dict[str, float]:
    """Wall and CPU seconds of one forecast, and of six replayed ones, the scorer's time left out."""
    world = generate(WorldParameters(deals=20_000))
    with Warehouse.in_memory(world) as warehouse:
        settings = Settings()
        origins = default_origins(as_of=END, settings=settings)
        scorer = _truth_scorer(world, warehouse)
        scored = {origin: scorer(origin) for origin in origins}
        last = origins[-1]
        forecast_revenue(warehouse, scored[last], as_of=last, settings=settings)
        wall, cpu = _clocks()
        forecast_revenue(warehouse, scored[last], as_of=last, settings=settings)
        once_wall, once_cpu = _clocks()
        backtest_revenue(
            warehouse, scored.__getitem__, origins=origins, settings=settings, as_of=END
        )
        many_wall, many_cpu = _clocks()
    return {
        "open_deals": len(scored[last].deals),
        "forecast_seconds": once_wall - wall, "forecast_cpu_seconds": once_cpu - cpu,
        "backtest_6_origins_seconds": many_wall - once_wall,
        "backtest_6_origins_cpu_seconds": many_cpu - once_cpu,
    }  # fmt: skip


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _truth_scorer(world: Any, warehouse: Warehouse) -> Scorer:
    """Scores open deals by the world's true curves."""
    settings = Settings()

    def truth(as_of: datetime) -> ScoredPipeline:
        deals = read_history(warehouse, as_of=as_of, settings=settings).open
        looks = pd.DataFrame({"deal_id": deals["deal_id"], "as_of": as_of})
        found = true_curves(world.truth, looks, horizon_days=settings.models.horizon_days)
        days = found.days.astype(np.float64)
        return ScoredPipeline(
            as_of, deals[["deal_id", "amount"]], days, found.cif_won, found.cif_lost
        )

    return truth


def _seasonal_naive(train: pd.DataFrame, test: pd.DataFrame, season: int) -> pd.Series:
    past = {name: rows.y.to_numpy()[-season:] for name, rows in train.groupby("unique_id")}
    step = test.groupby("unique_id").cumcount()
    values = [past[name][k % season] for name, k in zip(test.unique_id, step, strict=True)]
    return pd.Series(values, index=test.index)


def _mase(test: pd.DataFrame, forecast: pd.Series, scale: pd.Series) -> float:
    error = (test.y - forecast).abs() / test.unique_id.map(scale)
    return float(error.groupby(test.unique_id).mean().mean())


def _theta_seconds(train: pd.DataFrame, season: int, horizon: int) -> float:
    """CPU seconds a series that statsmodels' theta takes."""
    from statsmodels.tsa.forecasting.theta import ThetaModel

    chosen = train.unique_id.drop_duplicates()[::7][:THETA_SAMPLE]
    began = time.process_time()
    for name in chosen:
        values = train.loc[train.unique_id == name, "y"].to_numpy()
        ThetaModel(values, period=season, method="mul").fit().forecast(horizon)
    return (time.process_time() - began) / len(chosen)


def main(arguments: list[str]) -> None:
    """Print the tables and write them as JSON; a part that was not run keeps its last result."""
    parts = [word for word in arguments if word in PARTS] or [*PARTS]
    done = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    done["machine"] = {"cores": os.cpu_count(), "python": platform.python_version()}
    if "series" in parts:
        done["series"] = list(series_record())
        print(pd.DataFrame(done["series"]).round(3).to_string(index=False))
    if "speed" in parts:
        done["speed"] = speed_record()
        print(pd.Series(done["speed"]).round(2).to_string())
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(done, indent=1, default=float) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
