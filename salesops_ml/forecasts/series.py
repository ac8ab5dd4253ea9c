"""Forecasts of any series by its own past: revenue a month, deals created a week.

Two modes. `fast` is the median of theta and damped Holt-Winters on two scales (`smoothing`), for ten
thousand series in a minute; `best` is the weighted median of a pool of models (`series_pool`), for a
hundred times the work. Intervals come from replayed errors (`conformal`). What the calendar or other
known causes explain is taken out before and put back after (`series_regressors`). Series that no
model can help are handled by a named rule in both modes:

| rule | when | forecast |
|---|---|---|
| all_zero | every value is 0 | 0, no width |
| constant | every value is the same | that value, no width |
| short | fewer than 3 periods | mean of what there is |
| intermittent | 40 % of the periods or more are 0 | exponentially smoothed level |
| young | fewer than 12 periods | fast forecast and smoothed level, half each |
| regular | all others | the mode's own |

Where a series stepped onto another level for good, the models of one series see its past moved onto
that level (`series_breaks`). A trend seen over a handful of periods counts half. Missing periods inside
a series are filled in a straight line (`gaps` counts them). A series that never went below zero is never
forecast below zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import partial
from typing import Literal, TypeVar, cast, get_args

import numpy as np
import pandas as pd

from salesops_ml.errors import UsageError
from salesops_ml.forecasts.batch import Batch, Bools, Floats, Ints, batch_of
from salesops_ml.forecasts.conformal import Forecaster, half_widths
from salesops_ml.forecasts.panel import Series, read_panel, split_future, with_stamps
from salesops_ml.forecasts.series_breaks import unbroken
from salesops_ml.forecasts.series_members import Fitter, fitter
from salesops_ml.forecasts.series_pool import pooled_forecast, pooled_mean
from salesops_ml.forecasts.series_regressors import fitted_effects, put_back, read_regressors
from salesops_ml.forecasts.series_spark import is_spark, on_spark
from salesops_ml.forecasts.smoothing import combined, smoothed_level

SHORT, YOUNG = 3, 12
INTERMITTENT_SHARE = 0.4
_CHUNK = 512

Frame = TypeVar("Frame")
"""A DataFrame of pandas, or of Spark."""
Mode = Literal["best", "fast"]
MODES: tuple[str, ...] = get_args(Mode)
Engine = Callable[[Batch, int, Sequence[int]], tuple[Floats, dict[int, Floats]]]


def forecast_series(
    panel: Frame,
    *,
    horizon: int,
    season_length: int,
    freq: str | int,
    levels: Sequence[int] = (80, 95),
    mode: Mode = "best",
    calendar: Sequence[str] = (),
    holidays: Sequence[date] = (),
    processes: int = 1,
) -> Frame:
    """Forecast every series of a panel.

    Args:
        panel: long frame `unique_id`, `ds`, `y`, of pandas or of Spark, which then fits the models of
            each series (`series_spark`); any unit, which the forecast keeps. Further columns are
            regressors, numbers known for every row; rows after a series' last value, with `y` empty,
            give them for the periods to be forecast.
        horizon: periods ahead.
        season_length: periods in a season, such as 12 for months; 1 for none.
        freq: pandas frequency of `ds`, such as "MS"; or the whole-number step of an integer `ds`.
        levels: interval levels in per cent.
        mode: "best" for the pool of models, "fast" for two smoothers over all series at once.
        calendar: built-in regressors: "working_days", "quarter_end", "holidays".
        holidays: days without business, for "working_days" and "holidays".
        processes: how many processes fit the pool; the numbers do not depend on it. Spark has its own.

    Returns:
        `unique_id`, `ds`, `mean` and `lo_L`, `hi_L` for each level, one row per series and step,
        sorted; a frame of the panel's kind.

    Raises:
        UsageError: an argument is out of range or unknown.
        DataError: the panel has duplicate or off-calendar dates, values that are not finite, or
            regressors that are missing for a period.

    Example:
        >>> import pandas as pd
        >>> months = pd.date_range("2025-01-01", periods=24, freq="MS")
        >>> panel = pd.DataFrame({"unique_id": "won", "ds": months, "y": 50.0})
        >>> forecast_series(panel, horizon=2, season_length=12, freq="MS")["mean"].tolist()
        [50.0, 50.0]
    """
    check_arguments(horizon, season_length, levels)
    if mode not in MODES:
        raise UsageError(f"`mode` is {mode!r}; give one of {', '.join(MODES)}")
    if processes < 1:
        raise UsageError(f"`processes` is {processes}; give at least 1")

    def asked(rows: pd.DataFrame, fit: Fitter) -> pd.DataFrame:
        engine = partial(pooled_forecast, fit=fit) if mode == "best" else _fast
        return _forecast_rows(
            rows, horizon, season_length, freq, levels, engine, calendar, holidays
        )

    if is_spark(panel):
        return cast(Frame, on_spark(panel, asked))
    if not isinstance(panel, pd.DataFrame):
        raise UsageError(
            f"`panel` is a {type(panel).__name__}; give a DataFrame of pandas or of Spark"
        )
    return cast(Frame, asked(panel, fitter(processes)))


def _forecast_rows(
    panel: pd.DataFrame,
    horizon: int,
    season: int,
    freq: str | int,
    levels: Sequence[int],
    engine: Engine,
    calendar: Sequence[str],
    holidays: Sequence[date],
) -> pd.DataFrame:
    known, ahead = split_future(with_stamps(panel, freq))
    series, periods = read_panel(known, freq)
    values = [filled(one) for one in series]
    causes = read_regressors(known, ahead, series, periods, horizon, calendar, holidays)
    effects = fitted_effects(values, causes, season)
    adjusted = [one.taken_out(past) for one, past in zip(effects, values, strict=True)]
    mean, width = _forecast(adjusted, horizon, season, levels, engine)
    stamps = [periods.stamps(one.last + 1, horizon) for one in series]
    floor = np.array([0.0 if past.min() >= 0 else -np.inf for past in values])[:, None]
    bounds = {"mean": mean}
    for level in levels:
        bounds |= {f"lo_{level}": mean - width[level], f"hi_{level}": mean + width[level]}
    return pd.DataFrame(
        {
            "unique_id": np.repeat([one.unique_id for one in series], horizon),
            "ds": np.concatenate([np.asarray(stamp) for stamp in stamps]),
        }
        | {
            name: np.maximum(put_back(effects, told), floor).ravel()
            for name, told in bounds.items()
        }
    )


def series_rules(
    panel: pd.DataFrame, *, freq: str | int, horizon: int | None = None
) -> pd.DataFrame:
    """Which rule each series falls under: `unique_id`, `rule`, `gaps` (periods filled in).

    With a `horizon` also `long_horizon`: more periods are asked for than the series has, so that its
    forecast rests on little and its interval on other series.

    Example:
        >>> panel = pd.DataFrame({"unique_id": "a", "ds": [1, 2, 4], "y": [3.0, 5.0, 4.0]})
        >>> series_rules(panel, freq=1).to_dict("records")
        [{'unique_id': 'a', 'rule': 'young', 'gaps': 1}]
    """
    series, _ = read_panel(panel, freq)
    rules = pd.DataFrame(
        {
            "unique_id": [one.unique_id for one in series],
            "rule": [_rule(filled(one)) for one in series],
            "gaps": [int(np.isnan(one.values).sum()) for one in series],
        }
    )
    if horizon is None:
        return rules
    return rules.assign(long_horizon=[horizon > len(one.values) for one in series])


def check_arguments(horizon: int, season_length: int, levels: Sequence[int]) -> None:
    """Raise `UsageError` where what is asked for is out of range."""
    for name, given in (("horizon", horizon), ("season_length", season_length)):
        if isinstance(given, bool) or not isinstance(given, (int, np.integer)):
            raise UsageError(f"`{name}` is {given!r}; give a whole number of periods")
    if horizon < 1:
        raise UsageError(f"`horizon` is {horizon}; ask for at least 1 period ahead")
    if season_length < 1:
        raise UsageError(f"`season_length` is {season_length}; give 1 where there is no season")
    wrong = [level for level in levels if not 0 < level < 100]
    if wrong:
        raise UsageError(f"`levels` holds {wrong[0]}; give per cents between 0 and 100")


def filled(series: Series) -> Floats:
    """The values with gaps inside drawn straight from neighbour to neighbour."""
    seen = ~np.isnan(series.values)
    places = np.arange(len(series.values))
    return np.interp(places, places[seen], series.values[seen])


def _rule(values: Floats) -> str:
    if not values.any():
        return "all_zero"
    if (values == values[0]).all() and len(values) >= SHORT:
        return "constant"
    if len(values) < SHORT:
        return "short"
    if (values == 0).mean() >= INTERMITTENT_SHARE:
        return "intermittent"
    return "young" if len(values) < YOUNG else "regular"


def point_forecast(
    values: Sequence[Floats], horizon: int, season: int, *, mode: Mode = "fast"
) -> Floats:
    """The forecast alone of series without gaps, each under its rule. Shape (series, horizon)."""
    mean = np.repeat(np.array([one.mean() for one in values])[:, None], horizon, axis=1)
    for rows, forecaster in _by_rule(values):
        if mode == "best" and forecaster is _median:
            forecaster = pooled_mean
        mean[rows] = forecaster(batch_of([values[row] for row in rows], season), horizon)
    return mean


def _forecast(
    values: Sequence[Floats], horizon: int, season: int, levels: Sequence[int], regular: Engine
) -> tuple[Floats, dict[int, Floats]]:
    """Mean and half-widths, (series, horizon), series by series under their rules."""
    width = {level: np.zeros((len(values), horizon)) for level in levels}
    mean = np.repeat(np.array([one.mean() for one in values])[:, None], horizon, axis=1)
    for rows, forecaster in _by_rule(values):
        batch = batch_of([values[row] for row in rows], season)
        engine = regular if forecaster is _median else partial(_replayed, forecaster)
        mean[rows], found = engine(batch, horizon, levels)
        for level in levels:
            width[level][rows] = found[level]
    return mean, width


def _replayed(
    forecaster: Forecaster, batch: Batch, horizon: int, levels: Sequence[int]
) -> tuple[Floats, dict[int, Floats]]:
    return forecaster(batch, horizon), half_widths(batch, forecaster, horizon, levels)


def _fast(batch: Batch, horizon: int, levels: Sequence[int]) -> tuple[Floats, dict[int, Floats]]:
    return _replayed(_median, batch, horizon, levels)


def _by_rule(values: Sequence[Floats]) -> Iterator[tuple[Ints, Forecaster]]:
    """Places of the series that a rule with a forecaster of its own handles, and that forecaster."""
    rules = np.array([_rule(one) for one in values])
    for rule, forecaster in _FORECASTERS.items():
        rows = np.flatnonzero(rules == rule)
        if len(rows):
            yield rows, forecaster


def _mean(batch: Batch, horizon: int) -> Floats:
    average, _ = batch.first(batch.length)
    return np.repeat(average[:, None], horizon, axis=1)


def _level(batch: Batch, horizon: int) -> Floats:
    return np.repeat(smoothed_level(batch)[:, None], horizon, axis=1)


def _median(batch: Batch, horizon: int) -> Floats:
    """The combination in chunks, so that memory stays bounded; floored at 0 where the past was."""
    parts = []
    for rows in _chunks(len(batch.length)):
        some = batch.take(rows)
        least = np.where(some.known, some.values, np.inf).min(axis=1)
        floor = np.where(least >= 0, 0.0, -np.inf)
        parts.append(np.maximum(combined(unbroken(some), horizon), floor[:, None]))
    return np.concatenate(parts)


def _half_trend(batch: Batch, horizon: int) -> Floats:
    return (_median(batch, horizon) + _level(batch, horizon)) / 2


_FORECASTERS: dict[str, Forecaster] = {
    "short": _mean, "intermittent": _level, "young": _half_trend, "regular": _median,
}  # fmt: skip


def _chunks(count: int) -> list[Bools]:
    place = np.arange(count)
    return [(place >= start) & (place < start + _CHUNK) for start in range(0, count, _CHUNK)]
