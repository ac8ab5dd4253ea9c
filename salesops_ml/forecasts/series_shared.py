"""Two more models that all series of a panel share: boosted trees that forecast step upon step.

One looks at changes from season to season, the other at changes from period to period of the logarithm,
both in units of the series' own spread. Alone they are no match for smoothing; they err in other places
than it does, and that is what the middle of a pool lives on.

Source: mlforecast (lags and differences as features, forecasts fed back), the usual form of the winners
of the M5 competition (Makridakis et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.forecasts.batch import Floats
from salesops_ml.forecasts.series_learner import FEWEST_SERIES

NAMES = ("seasons", "steps")
_SEED = 7


def shared_forecasts(values: Sequence[Floats], horizon: int, season: int) -> Floats:
    """Forecasts of both for series without gaps; (series, 2, horizon).

    NaN for series shorter than two seasons and four periods or constant ones, and for all where fewer
    than 30 can teach.
    """
    found = np.full((len(values), len(NAMES), horizon), np.nan)
    least = 2 * season + 4
    rows = [row for row, one in enumerate(values) if len(one) >= least and np.ptp(one) > 0]
    if len(rows) < FEWEST_SERIES:
        return found
    panel = _panel([values[row] for row in rows])
    for place, name in enumerate(NAMES):
        found[rows, place] = _told(panel, name, horizon, season).reshape(len(rows), horizon)
    return np.where(np.isfinite(found), found, np.nan)


def _panel(values: Sequence[Floats]) -> pd.DataFrame:
    lengths = [len(one) for one in values]
    return pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(len(values)), lengths),
            "ds": np.concatenate([np.arange(length) for length in lengths]),
            "y": np.concatenate(list(values)),
        }
    )


def _told(panel: pd.DataFrame, name: str, horizon: int, season: int) -> Floats:
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import ExpandingMean, RollingMean
    from mlforecast.target_transforms import Differences, LocalStandardScaler

    seasons = name == "seasons" and season > 1
    logs = not seasons
    engine = MLForecast(
        models={"trees": _trees(seasons)},
        freq=1,
        lags=list(range(1, max(season, 4) + 1)),
        lag_transforms={1: [RollingMean(3), RollingMean(max(season, 4)), ExpandingMean()]},
        target_transforms=[Differences([season if seasons else 1]), LocalStandardScaler()],
        num_threads=1,
    )
    frame = panel.assign(y=_signed_log(panel["y"].to_numpy()) if logs else panel["y"])
    engine.fit(frame, static_features=[])
    told = engine.predict(horizon).sort_values(["unique_id", "ds"])["trees"].to_numpy(float)
    return np.asarray(_from_signed_log(told) if logs else told)


def _trees(seasons: bool) -> Any:
    from lightgbm import LGBMRegressor

    size: dict[str, Any] = {"n_estimators": 200, "learning_rate": 0.05, "num_leaves": 16}
    if not seasons:
        size = {"n_estimators": 300, "learning_rate": 0.03, "num_leaves": 12}
    return LGBMRegressor(
        objective="l1", min_child_samples=40, subsample=0.8, subsample_freq=1,
        colsample_bytree=0.8, n_jobs=1, random_state=_SEED, deterministic=True,
        force_row_wise=True, verbose=-1, **size,
    )  # fmt: skip


def _signed_log(values: Floats) -> Floats:
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


def _from_signed_log(values: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return np.asarray(np.sign(values) * np.expm1(np.abs(values)))
