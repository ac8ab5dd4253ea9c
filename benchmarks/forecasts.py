"""What a forecast of revenue costs: wall and CPU seconds, once and replayed.

Run it as `python benchmarks/forecasts.py`; `series.py`, `hierarchies.py` and `company_forecasts.py`
judge how near the forecasts come.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
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
    read_history,
)
from salesops_ml.settings import Settings
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.synthetic.truth import true_curves
from salesops_ml.warehouse import Warehouse

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "forecasts.json"
END = datetime(2026, 7, 1)
Scorer = Callable[[datetime], ScoredPipeline]


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


def main() -> None:
    """Print the table and write it as JSON."""
    done = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    done["machine"] = {"cores": os.cpu_count(), "python": platform.python_version()}
    done["speed"] = speed_record()
    print(pd.Series(done["speed"]).round(2).to_string())
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(done, indent=1, default=float) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
