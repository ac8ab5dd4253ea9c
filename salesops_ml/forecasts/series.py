"""Forecasts of any series by its own past: revenue a month, deals created a week.

The forecast is the median of theta and damped Holt-Winters on two scales (`smoothing`), its interval
comes from replayed errors (`conformal`). Series that no model can help are handled by a named rule:

| rule | when | forecast |
|---|---|---|
| all_zero | every value is 0 | 0, no width |
| constant | every value is the same | that value, no width |
| short | fewer than 3 periods | mean of what there is |
| intermittent | 40 % of the periods or more are 0 | exponentially smoothed level |
| young | fewer than 12 periods | combination and smoothed level, half each |
| regular | all others | the combination |

A trend seen over a handful of periods thus counts half. Missing periods inside a series are filled
in a straight line (`gaps` counts them). A series that never went below zero is never forecast below
zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from salesops_ml.errors import UsageError
from salesops_ml.forecasts.batch import Batch, Bools, Floats, Ints, batch_of
from salesops_ml.forecasts.conformal import Forecaster, half_widths
from salesops_ml.forecasts.panel import Series, read_panel
from salesops_ml.forecasts.smoothing import combined, smoothed_level

SHORT, YOUNG = 3, 12
INTERMITTENT_SHARE = 0.4
_CHUNK = 512


def forecast_series(
    panel: pd.DataFrame,
    *,
    horizon: int,
    season_length: int,
    freq: str | int,
    levels: Sequence[int] = (80, 95),
) -> pd.DataFrame:
    """Forecast every series of a panel.

    Args:
        panel: long frame `unique_id`, `ds`, `y`; any unit, which the forecast keeps.
        horizon: periods ahead.
        season_length: periods in a season, such as 12 for months; 1 for none.
        freq: pandas frequency of `ds`, such as "MS"; or the whole-number step of an integer `ds`.
        levels: interval levels in per cent.

    Returns:
        `unique_id`, `ds`, `mean` and `lo_L`, `hi_L` for each level, one row per series and step,
        sorted.

    Raises:
        UsageError: `horizon`, `season_length` or a level is out of range.
        DataError: the panel has duplicate or off-calendar dates, or values that are not finite.

    Example:
        >>> import pandas as pd
        >>> months = pd.date_range("2025-01-01", periods=24, freq="MS")
        >>> panel = pd.DataFrame({"unique_id": "won", "ds": months, "y": 50.0})
        >>> forecast_series(panel, horizon=2, season_length=12, freq="MS")["mean"].tolist()
        [50.0, 50.0]
    """
    check_arguments(horizon, season_length, levels)
    series, calendar = read_panel(panel, freq)
    mean, width = _forecast(series, horizon, season_length, levels)
    stamps = [calendar.stamps(one.last + 1, horizon) for one in series]
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat([one.unique_id for one in series], horizon),
            "ds": np.concatenate([np.asarray(stamp) for stamp in stamps]),
            "mean": mean.ravel(),
        }
    )
    floor = np.array([0.0 if np.nanmin(one.values) >= 0 else -np.inf for one in series])
    for level in levels:
        low = np.maximum(mean - width[level], floor[:, None])
        frame[f"lo_{level}"] = low.ravel()
        frame[f"hi_{level}"] = (mean + width[level]).ravel()
    return frame


def series_rules(panel: pd.DataFrame, *, freq: str | int) -> pd.DataFrame:
    """Which rule each series falls under: `unique_id`, `rule`, `gaps` (periods filled in).

    Example:
        >>> panel = pd.DataFrame({"unique_id": "a", "ds": [1, 2, 4], "y": [3.0, 5.0, 4.0]})
        >>> series_rules(panel, freq=1).to_dict("records")
        [{'unique_id': 'a', 'rule': 'young', 'gaps': 1}]
    """
    series, _ = read_panel(panel, freq)
    return pd.DataFrame(
        {
            "unique_id": [one.unique_id for one in series],
            "rule": [_rule(filled(one)) for one in series],
            "gaps": [int(np.isnan(one.values).sum()) for one in series],
        }
    )


def check_arguments(horizon: int, season_length: int, levels: Sequence[int]) -> None:
    """Raise `UsageError` where what is asked for is out of range."""
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


def point_forecast(values: Sequence[Floats], horizon: int, season: int) -> Floats:
    """The forecast alone of series without gaps, each under its rule. Shape (series, horizon)."""
    mean = np.repeat(np.array([one.mean() for one in values])[:, None], horizon, axis=1)
    for rows, forecaster in _by_rule(values):
        mean[rows] = forecaster(batch_of([values[row] for row in rows], season), horizon)
    return mean


def _forecast(
    series: list[Series], horizon: int, season: int, levels: Sequence[int]
) -> tuple[Floats, dict[int, Floats]]:
    """Mean and half-widths, (series, horizon), series by series under their rules."""
    values = [filled(one) for one in series]
    width = {level: np.zeros((len(series), horizon)) for level in levels}
    for rows, forecaster in _by_rule(values):
        batch = batch_of([values[row] for row in rows], season)
        for level, found in half_widths(batch, forecaster, horizon, levels).items():
            width[level][rows] = found
    return point_forecast(values, horizon, season), width


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
        parts.append(np.maximum(combined(some, horizon), floor[:, None]))
    return np.concatenate(parts)


def _half_trend(batch: Batch, horizon: int) -> Floats:
    return (_median(batch, horizon) + _level(batch, horizon)) / 2


_FORECASTERS: dict[str, Forecaster] = {
    "short": _mean, "intermittent": _level, "young": _half_trend, "regular": _median,
}  # fmt: skip


def _chunks(count: int) -> list[Bools]:
    place = np.arange(count)
    return [(place >= start) & (place < start + _CHUNK) for start in range(0, count, _CHUNK)]
