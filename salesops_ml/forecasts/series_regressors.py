"""What known causes explain: a month with 23 working days books more than one with 19.

The effect of each cause is estimated series by series from changes from period to period, beside the
season; it is taken out of the past, what is left is forecast by any model, and the effect of the
coming periods' causes is put back. Series above zero are worked on in per cent (logarithms), others in
their unit. An effect that is not at least two standard errors from zero is taken as zero: a cause
that does not matter must not add noise.

Source: regression with ARIMA errors in its differenced form (Box and Tiao 1975; Hyndman and
Athanasopoulos 2021, chapter 10), calendar effects as in X-13 (trading days, moving holidays).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from salesops_ml.errors import DataError, UsageError
from salesops_ml.forecasts.batch import Floats
from salesops_ml.forecasts.panel import Calendar, Series, regressor_names

CALENDAR = ("working_days", "quarter_end", "holidays")
_SIGNIFICANT = 2.0
_FREEDOM = 8
"""Changes beyond the estimated numbers that a series needs before effects are estimated."""


@dataclass(frozen=True)
class Effect:
    """What the causes did to one series: by period of its past, and by period ahead.

    `logs` tells whether they are logarithms of factors, or amounts.
    """

    past: Floats
    ahead: Floats
    logs: bool

    def taken_out(self, values: Floats) -> Floats:
        """The series as if every period had had average causes."""
        return values / np.exp(self.past) if self.logs else values - self.past


def put_back(effects: Sequence[Effect], told: Floats) -> Floats:
    """Forecasts (series, horizon) with the coming causes' effects."""
    return np.stack(
        [
            row * np.exp(effect.ahead) if effect.logs else row + effect.ahead
            for effect, row in zip(effects, told, strict=True)
        ]
    )


def read_regressors(
    known: pd.DataFrame,
    ahead: pd.DataFrame,
    series: Sequence[Series],
    periods: Calendar,
    horizon: int,
    calendar: Sequence[str],
    holidays: Sequence[date],
) -> list[Floats]:
    """Causes of each series, (periods of its past + horizon, causes), own columns first.

    A period missing inside a series takes its regressors in a straight line, as its value.

    Raises:
        UsageError: an unknown calendar regressor, or one without dates to work on.
        DataError: a regressor is not a finite number, or missing for a period ahead.
    """
    _check_calendar(periods, calendar, holidays)
    names = regressor_names(known)
    spans = [
        periods.stamps(one.last + 1 - len(one.values), len(one.values) + horizon) for one in series
    ]
    blocks = [_calendar_values(span, periods, calendar, holidays) for span in spans]
    if not names:
        return blocks
    rows = pd.concat([known, ahead]).drop_duplicates(["unique_id", "ds"]).assign(
        unique_id=lambda frame: frame["unique_id"].astype(str)
    )  # fmt: skip
    _check_numbers(rows, names)
    by_series = {name: part.set_index("ds")[names] for name, part in rows.groupby("unique_id")}
    own = [
        _own_values(by_series[one.unique_id], span, one, horizon)
        for one, span in zip(series, spans, strict=True)
    ]
    return [np.hstack(pair) for pair in zip(own, blocks, strict=True)]


def fitted_effects(values: Sequence[Floats], causes: Sequence[Floats], season: int) -> list[Effect]:
    """Each series' effects; zero where it is too short or the causes do not matter."""
    return [_effect(one, block, season) for one, block in zip(values, causes, strict=True)]


def _effect(values: Floats, causes: Floats, season: int) -> Effect:
    length = len(values)
    none = Effect(np.zeros(length), np.zeros(len(causes) - length), logs=False)
    logs = bool((values > 0).all())
    beside = _beside(length, season)
    change = np.diff(np.log(values) if logs else values)
    moved = np.diff(causes[:length], axis=0)
    freedom = len(change) - beside.shape[1] - causes.shape[1]
    if causes.shape[1] == 0 or freedom < _FREEDOM or np.ptp(values) == 0:
        return none
    own, rest = _without(beside, moved), _without(beside, change[:, None])[:, 0]
    used = np.abs(own).max(axis=0) > 1e-8 * np.maximum(np.abs(moved).max(axis=0), 1e-300)
    kept = np.flatnonzero(used)
    while len(kept):
        inverse = np.linalg.pinv(own[:, kept].T @ own[:, kept])
        size = inverse @ own[:, kept].T @ rest
        left = rest - own[:, kept] @ size
        error = np.sqrt(np.maximum(np.diag(inverse), 0) * (left @ left) / freedom)
        strength = np.abs(size) / np.maximum(error, 1e-300)
        if strength.min() >= _SIGNIFICANT:
            centred = causes[:, kept] - causes[:length, kept].mean(axis=0)
            effect = centred @ size
            return Effect(effect[:length], effect[length:], logs)
        kept = np.delete(kept, int(strength.argmin()))
    return none


def _beside(length: int, season: int) -> Floats:
    """What else moves a series from period to period: its trend, and its season where it has three."""
    trend = np.ones((length - 1, 1)) if length > 1 else np.empty((0, 1))
    if season < 2 or length < 3 * season:
        return trend
    dummies = np.eye(season)[np.arange(length) % season]
    return np.hstack([trend, np.diff(dummies, axis=0)[:, 1:]])


def _without(beside: Floats, columns: Floats) -> Floats:
    """The columns less what `beside` explains of them."""
    return np.asarray(columns - beside @ (np.linalg.pinv(beside) @ columns))


def _own_values(frame: pd.DataFrame, span: pd.Index, one: Series, horizon: int) -> Floats:
    block = frame.reindex(span)
    future = block.iloc[-horizon:]
    if future.isna().any(axis=None):
        name, stamp = str(future.columns[future.isna().any()][0]), future.index[-1]
        absent = future.index[future[name].isna()]
        stamp = absent[0]
        raise DataError(
            f"series `{one.unique_id}`, {stamp}: regressor `{name}` is not given for this period to be"
            " forecast; add a row with it and an empty `y`"
        )
    filled = block.reset_index(drop=True).interpolate(limit_direction="both")
    return filled.to_numpy(dtype=np.float64)


def _check_numbers(rows: pd.DataFrame, names: Sequence[str]) -> None:
    for name in names:
        numbers = pd.to_numeric(rows[name], errors="coerce").to_numpy(dtype=np.float64)
        wrong = ~np.isfinite(numbers)
        if wrong.any():
            row = rows.iloc[int(np.argmax(wrong))]
            raise DataError(
                f"series `{row.unique_id}`, {row.ds}: regressor `{name}` is {row[name]}, not a finite"
                " number; correct it or leave the column out"
            )


def _check_calendar(periods: Calendar, calendar: Sequence[str], holidays: Sequence[date]) -> None:
    unknown = [name for name in calendar if name not in CALENDAR]
    if unknown:
        raise UsageError(f"`calendar` holds {unknown[0]!r}; give some of {', '.join(CALENDAR)}")
    if calendar and isinstance(periods.freq, int):
        raise UsageError("`calendar` needs dates; the panel's `ds` are whole numbers")
    if "holidays" in calendar and not holidays:
        raise UsageError("`calendar` asks for holidays, and `holidays` is empty; give their dates")


def _calendar_values(
    span: pd.Index, periods: Calendar, calendar: Sequence[str], holidays: Sequence[date]
) -> Floats:
    """Built-in causes by period. A period starts on its date, or ends on it (frequencies like "ME")."""
    if not calendar:
        return np.empty((len(span), 0))
    step, days = pd.tseries.frequencies.to_offset(str(periods.freq)), pd.DatetimeIndex(span)
    first, after = days, days + step
    if step.name.split("-")[0].endswith("E"):
        first, after = days - step + pd.Timedelta(days=1), days + pd.Timedelta(days=1)
    start, stop = (edge.to_numpy().astype("datetime64[D]") for edge in (first, after))
    off = np.array(sorted(holidays), dtype="datetime64[D]")
    columns = {
        "working_days": np.busday_count(start, stop, holidays=off),
        "quarter_end": after.to_period("Q") != first.to_period("Q"),
        "holidays": np.searchsorted(off, stop) - np.searchsorted(off, start),
    }
    return np.stack([np.asarray(columns[name], dtype=np.float64) for name in calendar], axis=1)
