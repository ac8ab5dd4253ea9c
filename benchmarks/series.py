"""The series engine's record beside its peers, on M3 or on any panel of series.

All methods forecast the same series in the same run on one core. MASE, sMAPE, OWA (against seasonal
naive) and MSIS are those of the M4 competition; MASE of seasonal naive on the whole of M3 must be the
published one before anything is printed. Intervals of the peer are pooled conformal ones: error over
the series' scale, by step ahead.

Run it as `python benchmarks/series.py [m3 | speed | panel FILE SEASON HORIZON] [--every N]
[--with-arima]`. FILE is a CSV with `unique_id, ds, y`; whole-number dates are made from the order of
rows and the last HORIZON periods are held out. `--every N` takes each N-th series: AutoARIMA alone
takes an hour on all of M3. Set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.forecasts import forecast_series
from salesops_ml.forecasts.batch import batch_of
from salesops_ml.forecasts.conformal import half_widths
from salesops_ml.forecasts.series_learner import learned_forecasts

ROOT = Path(__file__).resolve().parents[1]
M3 = ROOT.parent / "shared" / "data" / "m3"
RESULTS = ROOT / "benchmarks" / "results" / "series.json"
GRAINS = {"monthly": (12, 1.1461), "quarterly": (4, 1.4253)}
SPEED_SERIES, SPEED_PERIODS, SPEED_HORIZON = 10_000, 60, 12
Arrays = list[np.ndarray]


def judged(
    past: Arrays, actual: np.ndarray, season: int, ours: tuple[str, ...], with_arima: bool
) -> list[dict[str, Any]]:
    """One row per method: accuracy, intervals and CPU beside theta's."""
    horizon = actual.shape[1]
    scale = np.array([_naive_error(one, season) for one in past])
    told, spent = _peers(past, horizon, season, with_arima)
    lows: dict[str, dict[int, tuple[np.ndarray, np.ndarray]]] = {}
    cheap = _clocked(lambda: _cheap_widths(past, horizon, season))
    mean, widths = told["median of theta, snaive, learner"], cheap[0]
    lows["median of theta, snaive, learner"] = {
        level: (mean - width, mean + width) for level, width in widths.items()
    }
    for mode in ours:
        frame, spent[f"ours, {mode}"] = _clocked(
            lambda mode=mode: _ours(past, horizon, season, mode)
        )
        shape = (len(past), horizon)
        told[f"ours, {mode}"] = frame["mean"].to_numpy().reshape(shape)
        lows[f"ours, {mode}"] = {
            level: tuple(
                frame[f"{side}_{level}"].to_numpy().reshape(shape) for side in ("lo", "hi")
            )
            for level in (80, 95)
        }
    return [
        {"method": name, "series": len(past)}
        | _accuracy(point, told["seasonal naive"], actual, scale)
        | _coverage(lows.get(name), actual, scale)
        | {"cpu_ms_per_series": 1e3 * spent[name] / len(past),
           "cpu_times_theta": spent[name] / spent["theta"]}
        for name, point in told.items()
    ]  # fmt: skip


def _ours(past: Arrays, horizon: int, season: int, mode: str) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"unique_id": f"{place:06}", "ds": np.arange(len(one)), "y": one})
        for place, one in enumerate(past)
    ]
    return forecast_series(
        pd.concat(parts), horizon=horizon, season_length=season, freq=1, mode=mode
    )


def _peers(
    past: Arrays, horizon: int, season: int, with_arima: bool
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    from statsforecast.models import AutoARIMA, AutoCES, AutoETS, AutoTheta, SeasonalNaive, Theta

    models = {
        "seasonal naive": SeasonalNaive(season), "theta": Theta(season),
        "AutoTheta": AutoTheta(season), "AutoETS": AutoETS(season), "AutoCES": AutoCES(season),
    }  # fmt: skip
    if with_arima:
        models["AutoARIMA"] = AutoARIMA(season_length=season)
    told, spent = {}, {}
    for name, model in models.items():
        told[name], spent[name] = _clocked(
            lambda model=model: np.array([model.forecast(one, horizon)["mean"] for one in past])
        )
    learned, spent["global LightGBM"] = _clocked(lambda: learned_forecasts(past, horizon, season))
    told["global LightGBM"] = np.where(np.isnan(learned), told["seasonal naive"], learned)
    groups = {
        "median of theta, snaive, learner": ("theta", "seasonal naive", "global LightGBM"),
        "mean of theta, AutoETS": ("theta", "AutoETS"),
    }
    if with_arima:
        groups["median of four"] = ("AutoETS", "AutoARIMA", "theta", "AutoCES")
    for name, members in groups.items():
        told[name] = np.median([told[member] for member in members], axis=0)
        spent[name] = sum(spent[member] for member in members)
    return told, spent


def _cheap_widths(past: Arrays, horizon: int, season: int) -> dict[int, np.ndarray]:
    """Pooled conformal half-widths of the cheap median."""
    from statsforecast.models import SeasonalNaive, Theta

    def forecaster(batch: Any, steps: int) -> np.ndarray:
        rows = [batch.values[row, start:] for row, start in enumerate(batch.start)]
        points = [
            np.array([model.forecast(one, steps)["mean"] for one in rows])
            for model in (Theta(season), SeasonalNaive(season))
        ]
        learned = learned_forecasts(rows, steps, season)
        return np.median([*points, np.where(np.isnan(learned), points[1], learned)], axis=0)

    return half_widths(batch_of(past, season), forecaster, horizon, (80, 95))


def _accuracy(
    point: np.ndarray, naive: np.ndarray, actual: np.ndarray, scale: np.ndarray
) -> dict[str, float]:
    def figures(told: np.ndarray) -> tuple[float, float]:
        error = np.abs(told - actual)
        size = np.maximum(np.abs(told) + np.abs(actual), 1e-300)
        return float((error / scale[:, None]).mean()), float(200 * (error / size).mean())

    (mase, smape), (base_mase, base_smape) = figures(point), figures(naive)
    return {"mase": mase, "smape": smape, "owa": (mase / base_mase + smape / base_smape) / 2}


def _coverage(bounds: Any, actual: np.ndarray, scale: np.ndarray) -> dict[str, float]:
    if bounds is None:
        return {}
    found: dict[str, float] = {}
    for level, (low, high) in bounds.items():
        inside = (low <= actual) & (actual <= high)
        found[f"coverage_{level}"] = float(inside.mean())
        for third, part in enumerate(np.array_split(inside, 3, axis=1), start=1):
            found[f"coverage_{level}_third_{third}"] = float(part.mean())
        missed = np.maximum(low - actual, 0) + np.maximum(actual - high, 0)
        score = high - low + 2 / (1 - level / 100) * missed
        found[f"msis_{level}"] = float((score / scale[:, None]).mean())
    return found


def _naive_error(values: np.ndarray, season: int) -> float:
    return float(np.abs(values[season:] - values[:-season]).mean())


def _clocked(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    return work(), time.process_time() - began


def m3(grain: str, every: int) -> tuple[Arrays, np.ndarray]:
    """Past and held-out values of each `every`-th series, once seasonal naive gives what it must."""
    season, published = GRAINS[grain]
    frame = pd.read_csv(M3 / f"M3_{grain}_long.csv.gz").sort_values(["unique_id", "t"])
    parts = [
        [
            part["y"].to_numpy(dtype=float)
            for _, part in frame[frame.split == split].groupby("unique_id")
        ]
        for split in ("train", "test")
    ]
    past, actual = parts[0], np.array(parts[1])
    horizon = actual.shape[1]
    naive = np.array([np.resize(one[-season:], horizon) for one in past])
    scale = np.array([_naive_error(one, season) for one in past])
    mase = float((np.abs(naive - actual) / scale[:, None]).mean())
    if abs(mase - published) > 5e-4:
        raise SystemExit(f"{grain}: seasonal naive has MASE {mase}, published is {published}")
    return past[::every], actual[::every]


def held_out(file: str, season: int, horizon: int, every: int) -> tuple[Arrays, np.ndarray]:
    """Series of a CSV without their last periods; those too short for a season are left out."""
    frame = pd.read_csv(file).sort_values(["unique_id", "ds"], kind="stable")
    series = [part["y"].to_numpy(dtype=float) for _, part in frame.groupby("unique_id")]
    long = [one for one in series if len(one) > horizon + season + 1]
    kept = [one for one in long if _naive_error(one[:-horizon], season) > 0][::every]
    return [one[:-horizon] for one in kept], np.array([one[-horizon:] for one in kept])


def speed() -> dict[str, float]:
    """Seconds and memory of `fast` on ten thousand monthly series of five years."""
    rng = np.random.default_rng(7)
    shape = 10 * np.sin(np.arange(SPEED_PERIODS) * np.pi / 6)
    walks = 100 + np.cumsum(rng.normal(0, 2, size=(SPEED_SERIES, SPEED_PERIODS)), axis=1) + shape
    began, spent = time.perf_counter(), time.process_time()
    told = _ours(list(walks), SPEED_HORIZON, 12, "fast")
    if len(told) != SPEED_SERIES * SPEED_HORIZON or told["mean"].isna().any():
        raise SystemExit("not every series was forecast")
    return {
        "series": SPEED_SERIES, "wall_seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - spent,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }  # fmt: skip


def main() -> None:
    """Print the tables and write them as JSON; a part that was not run keeps its last result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", nargs="*", default=["m3"])
    parser.add_argument("--every", type=int, default=6)
    parser.add_argument("--with-arima", action="store_true")
    parser.add_argument("--fast-only", action="store_true")
    asked = parser.parse_args()
    ours = ("fast",) if asked.fast_only else ("fast", "best")
    done = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    done["machine"] = {"cores": os.cpu_count(), "python": platform.python_version()}
    name, jobs = asked.part[0], {}
    if name == "speed":
        done["speed"] = speed()
        print(pd.Series(done["speed"]).round(2).to_string())
    elif name == "panel":
        file, season, horizon = asked.part[1], int(asked.part[2]), int(asked.part[3])
        jobs[Path(file).name] = (held_out(file, season, horizon, asked.every), season)
    else:
        jobs = {f"m3 {grain}": (m3(grain, asked.every), GRAINS[grain][0]) for grain in GRAINS}
    for job, ((past, actual), season) in jobs.items():
        done[job] = {
            "every": asked.every,
            "methods": judged(past, actual, season, ours, asked.with_arima),
        }
        print(
            job,
            pd.DataFrame(done[job]["methods"]).round(3).to_string(index=False),
            sep="\n",
            flush=True,
        )
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(done, indent=1, default=float) + "\n", encoding="utf-8")
    RESULTS.write_text(json.dumps(done, indent=1, default=float) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
