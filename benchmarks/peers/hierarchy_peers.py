"""A hierarchy by the peers: AutoETS at every node, then four ways of making the sums hold.

Run in the peers' environment as `hierarchy_peers.py FOLDER`: reads `panel.parquet` (unique_id, ds, y of
every node), `summing.parquet` and `task.json`, writes `peers.parquet` with mean and spread by node,
step and method. `base` stands before reconciliation and does not add up.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from hierarchicalforecast.core import HierarchicalReconciliation
from hierarchicalforecast.methods import BottomUp, MinTrace
from statsforecast import StatsForecast
from statsforecast.models import AutoETS

NORMAL_90 = 1.2815515655446004
METHODS = {
    "AutoETS": "base",
    "AutoETS/BottomUp": "bottom_up",
    "AutoETS/MinTrace_method-ols": "ols",
    "AutoETS/MinTrace_method-wls_struct": "wls_struct",
    "AutoETS/MinTrace_method-mint_shrink": "mint_shrink",
}


def main(folder: Path) -> None:
    """Forecast, reconcile and write."""
    task = json.loads((folder / "task.json").read_text())
    panel = pd.read_parquet(folder / "panel.parquet")
    summing = pd.read_parquet(folder / "summing.parquet")
    engine = StatsForecast([AutoETS(season_length=task["season"])], freq=task["freq"], n_jobs=1)
    base = engine.forecast(df=panel, h=task["horizon"], level=[80], fitted=True)
    ways = [BottomUp(), *(MinTrace(method) for method in ("ols", "wls_struct", "mint_shrink"))]
    told = HierarchicalReconciliation(ways).reconcile(
        base,
        tags={name: np.array(nodes) for name, nodes in task["tags"].items()},
        S_df=summing,
        Y_df=engine.forecast_fitted_values(),
        level=[80],
    )
    parts = []
    for column, name in METHODS.items():
        spread = (told[f"{column}-hi-80"] - told[f"{column}-lo-80"]) / (2 * NORMAL_90)
        rows = told[["unique_id", "ds"]].assign(method=name, mean=told[column], spread=spread)
        parts.append(rows)
    pd.concat(parts).to_parquet(folder / "peers.parquet", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
