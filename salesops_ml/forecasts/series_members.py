"""Classic models of one series each, fitted in bulk: exponential smoothing, ARIMA, theta and kin.

None is the best for every series, and which one is cannot be told from the series itself; together
they are hard to beat. What each is worth alone is screened, not guessed:

| a series | gets |
|---|---|
| shorter than two seasons and one period | models without a season |
| shorter than 24 periods | no ARIMA: too many numbers to estimate |
| shorter than three seasons or 24 periods, or with a tenth of zeros or more | no state space model |
| with a season of up to 24 periods | seasonal models |
| with a longer season, such as weeks in a year | season taken out first (STL), models for the rest; \
no state space model, whose states are as many as the season's periods |
| longer than ten seasons (120 periods at least) | its latest ten seasons (120 periods) only |

Source of the models: statsforecast (AutoETS after Hyndman and Khandakar 2008, AutoARIMA likewise,
complex exponential smoothing after Svetunkov 2022, dynamic optimised theta after Fiorucci 2016,
STL after Cleveland 1990) and statsmodels (`series_state_space`).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.forecasts.batch import Floats, Ints
from salesops_ml.forecasts.series_state_space import Airline, Components

Fitter = Callable[[Sequence[Floats], int, int, Sequence[str]], Floats]
"""Series, horizon, season and members' names in; (series, members, horizon) out."""

LONGEST_SEASON = 24
"""Periods in a season above which seasonal states are too many: the season is then taken out."""
_SEASONS_KEPT, _PERIODS_KEPT = 10, 120
_WORTH_A_PROCESS = 16
"""Series from which a second process pays for its start."""

NAMES = ("ets", "arima", "ces", "theta", "sarimax", "components")
STATE_SPACE = ("sarimax", "components")
_LEAST_FOR_ARIMA = 24
_SEASONS_FOR_STATE_SPACE, _MOST_ZEROS = 3, 0.1


def member_forecasts(
    values: Sequence[Floats],
    horizon: int,
    season: int,
    *,
    names: Sequence[str] = NAMES,
    fit: Fitter | None = None,
) -> Floats:
    """Forecasts of `names` for series without gaps; (series, members, horizon).

    A member that cannot fit a series repeats its last season instead; one that runs off to infinity
    is NaN. The numbers do not depend on where `fit` runs; None runs it here, in one process.
    """
    fit = fit or fitter(1)
    found = np.full((len(values), len(names), horizon), np.nan)
    kept = max(_SEASONS_KEPT * season, _PERIODS_KEPT)
    alike: dict[tuple[int, tuple[str, ...]], list[int]] = {}
    for row, one in enumerate(values):
        period = season if len(one) > 2 * season else 1
        suited = tuple(name for name in names if _suits(name, one, season))
        alike.setdefault((period, suited), []).append(row)
    for (period, suited), rows in alike.items():
        if not suited:
            continue
        told = fit([values[row][-kept:] for row in rows], horizon, period, suited)
        found[np.ix_(rows, [list(names).index(name) for name in suited])] = told
    found[~np.isfinite(found)] = np.nan
    return found


def _suits(name: str, values: Floats, season: int) -> bool:
    """Whether the member may be fitted to the series, by the table above."""
    if name == "arima":
        return len(values) >= _LEAST_FOR_ARIMA
    if name in STATE_SPACE:
        least = max(_SEASONS_FOR_STATE_SPACE * season, _LEAST_FOR_ARIMA)
        few_zeros = float((values == 0).mean()) < _MOST_ZEROS
        return season <= LONGEST_SEASON and len(values) >= least and few_zeros
    return True


def fitter(processes: int) -> Fitter:
    """Fits members on this machine, in so many processes."""

    def fit(values: Sequence[Floats], horizon: int, season: int, names: Sequence[str]) -> Floats:
        if processes == 1 or len(values) < _WORTH_A_PROCESS:
            return _fitted(values, horizon, season, names)
        from joblib import Parallel, delayed

        bounds = np.linspace(0, len(values), 4 * processes + 1).astype(int)
        parts = Parallel(n_jobs=processes)(
            delayed(_fitted)(values[start:stop], horizon, season, names)
            for start, stop in pairwise(bounds.tolist())
            if stop > start
        )
        return np.concatenate(parts)

    return fit


def _fitted(values: Sequence[Floats], horizon: int, season: int, names: Sequence[str]) -> Floats:
    logging.getLogger("statsforecast").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = engine_of(season, names).forecast(df=long_frame(values), h=horizon)
    return stacked(told, len(values), horizon, names)


def engine_of(season: int, names: Sequence[str]) -> Any:
    """statsforecast's engine for these members; a seasonal naive forecast where one cannot fit."""
    from statsforecast import StatsForecast
    from statsforecast.models import SeasonalNaive

    return StatsForecast(
        models=[model for model in _models(season) if model.alias in names],
        freq=1,
        n_jobs=1,
        fallback_model=SeasonalNaive(season),
    )


def stacked(told: pd.DataFrame, count: int, horizon: int, names: Sequence[str]) -> Floats:
    """The engine's frame as (series, members, horizon), in the order of the series."""
    told = told.sort_values(["unique_id", "ds"], kind="stable")
    return np.stack(
        [told[name].to_numpy(dtype=np.float64).reshape(count, horizon) for name in names], axis=1
    )


def _models(season: int) -> list[Any]:
    """The members, named as in `NAMES`."""
    from statsforecast.models import MSTL, AutoARIMA, AutoCES, AutoETS, DynamicOptimizedTheta

    plain: dict[str, Any] = {"approximation": True, "max_order": 4, "nmodels": 40}
    if season > LONGEST_SEASON:
        without = {
            "ets": AutoETS(season_length=1, model="ZZN"),
            "arima": AutoARIMA(season_length=1, **plain),
            "ces": AutoCES(season_length=1),
        }
        return [
            *(MSTL(season, trend_forecaster=model, alias=name) for name, model in without.items()),
            DynamicOptimizedTheta(season_length=season, alias="theta"),
        ]
    return [
        AutoETS(season_length=season, alias="ets"),
        AutoARIMA(season_length=season, max_P=1, max_Q=1, alias="arima", **plain),
        AutoCES(season_length=season, alias="ces"),
        DynamicOptimizedTheta(season_length=season, alias="theta"),
        Airline("sarimax", season),
        Components("components", season),
    ]


def long_frame(values: Sequence[Floats]) -> pd.DataFrame:
    """Series as the rows that statsforecast reads, named by their place."""
    lengths: Ints = np.array([len(one) for one in values], dtype=np.int64)
    return pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(len(values)), lengths),
            "ds": np.concatenate([np.arange(length) for length in lengths]),
            "y": np.concatenate(list(values)),
        }
    )
