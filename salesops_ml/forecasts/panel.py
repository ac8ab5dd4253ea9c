"""A panel of series, checked where it enters: one row per series and period, finite, on the calendar.

Columns: `unique_id`, `ds` (moments with a pandas frequency, or whole numbers with an integer step),
`y`; further columns of numbers are regressors (`series_regressors`), whose rows may go on after a
series' last value; further columns of words are left aside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.errors import DataError, UsageError
from salesops_ml.forecasts.batch import Floats

COLUMNS = ("unique_id", "ds", "y")
LARGEST = 1e150
"""Largest value that can be worked on."""


@dataclass(frozen=True)
class Series:
    """One series on its calendar: values from first to last period, gaps as NaN."""

    unique_id: str
    last: int
    values: Floats


@dataclass(frozen=True)
class Calendar:
    """The periods that a panel can hold: place 0 is its first, places go on past its last."""

    start: Any
    freq: str | int

    def stamps(self, place: int, count: int) -> pd.Index:
        """The `count` periods from `place` on."""
        if isinstance(self.freq, int):
            first = int(self.start) + place * self.freq
            return pd.RangeIndex(first, first + count * self.freq, self.freq)
        return pd.date_range(self.start, periods=place + count, freq=self.freq)[place:]


def read_panel(panel: pd.DataFrame, freq: str | int) -> tuple[list[Series], Calendar]:
    """The series of a panel, sorted by name.

    Raises:
        UsageError: `freq` is unknown, or does not fit the kind of `ds`.
        DataError: a column is missing, a name or date is empty, a value is not finite or beyond 1e150,
            a date stands twice or off the calendar.
    """
    missing = [name for name in COLUMNS if name not in panel.columns]
    if missing:
        raise DataError(f"panel lacks column `{missing[0]}`; it needs unique_id, ds and y")
    if panel.empty:
        raise DataError("panel holds no rows; give at least one value for each series")
    frame = with_stamps(panel.loc[:, list(COLUMNS)], freq)
    _check_names(frame)
    if not pd.api.types.is_numeric_dtype(frame["unique_id"].dtype):
        frame = frame.assign(unique_id=frame["unique_id"].astype(str))
    frame = frame.sort_values(["unique_id", "ds"], kind="stable")
    _check(frame)
    start = frame["ds"].min()
    calendar = Calendar(int(start) if isinstance(freq, int) else start, freq)
    frame = frame.assign(place=_places(frame, calendar))
    return [_series(str(name), rows) for name, rows in frame.groupby("unique_id")], calendar


def with_stamps(panel: pd.DataFrame, freq: str | int) -> pd.DataFrame:
    """The panel with `ds` as moments where `freq` is a frequency; text and dates are read.

    Raises:
        UsageError: `freq` is a whole number and `ds` are not, or the other way round.
        DataError: a `ds` is empty or no date.
    """
    _check_freq(freq)
    if "ds" not in panel.columns:
        return panel
    stamps = panel["ds"]
    whole, numbers = (
        test(stamps.dtype)
        for test in (pd.api.types.is_integer_dtype, pd.api.types.is_numeric_dtype)
    )
    if isinstance(freq, int):
        if not whole:
            raise UsageError(
                f"`freq` is {freq}, a step of whole numbers, and `ds` are {stamps.dtype};"
                ' give whole numbers, or a frequency such as "MS"'
            )
        return panel
    if numbers:
        raise UsageError(
            f"`freq` is {freq!r}, a frequency of dates, and `ds` are {stamps.dtype};"
            " give dates, or a whole number as `freq`"
        )
    read = pd.to_datetime(stamps, errors="coerce")
    if read.isna().any():
        row = panel.loc[read.isna().to_numpy()].iloc[0]
        name = row.get("unique_id", "?")
        raise DataError(
            f"series `{name}`: `ds` is {row.ds}, not a date; correct it or remove the row"
        )
    return panel.assign(ds=read)


def regressor_names(panel: pd.DataFrame) -> list[str]:
    """Columns of numbers beside those that every panel has."""
    return [
        str(name)
        for name in panel.columns
        if name not in COLUMNS and pd.api.types.is_numeric_dtype(panel[name].dtype)
    ]


def split_future(panel: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows up to each series' last value, and the rows after it that only give regressors.

    Rows without `y` are the future only where the panel has regressors and where no value follows;
    all others stay, to be refused by `read_panel`.
    """
    if not set(COLUMNS) <= set(panel.columns) or not regressor_names(panel):
        return panel, panel.iloc[:0]
    last = panel["ds"].where(panel["y"].notna()).groupby(panel["unique_id"]).transform("max")
    ahead = panel["y"].isna() & (panel["ds"] > last)
    return panel[~ahead], panel[ahead]


def _check_freq(freq: str | int) -> None:
    if isinstance(freq, int) and freq < 1:
        raise UsageError(f"`freq` is {freq}; give a step of at least 1")
    try:
        pd.tseries.frequencies.to_offset(str(freq) if not isinstance(freq, int) else "D")
    except ValueError as error:
        raise UsageError(
            f"`freq` is {freq!r}, which pandas does not know; give such as 'MS' for months,"
            " 'W-MON' for weeks, or a whole number"
        ) from error


def _check_names(frame: pd.DataFrame) -> None:
    nameless = frame["unique_id"].isna()
    if nameless.any():
        row = frame.loc[nameless].iloc[0]
        raise DataError(
            f"the row of {row.ds} with `y` {row.y} has no `unique_id`; name its series or remove it"
        )
    names = frame["unique_id"].drop_duplicates()
    twins = names[names.astype(str).duplicated()]
    if len(twins):
        raise DataError(
            f"two series are called `{twins.iloc[0]}`, one as a number and one as text;"
            " give all `unique_id` as text"
        )


def _check(frame: pd.DataFrame) -> None:
    values = pd.to_numeric(frame["y"], errors="coerce").to_numpy(dtype=np.float64)
    huge = np.isfinite(values) & (np.abs(values) > LARGEST)
    if huge.any():
        row = frame.iloc[int(np.argmax(huge))]
        raise DataError(
            f"series `{row.unique_id}`, {row.ds}: `y` is {row.y}, beyond {LARGEST:g}, where squares"
            " are no longer numbers; correct it or give the series in another unit"
        )
    wrong = ~np.isfinite(values)
    if wrong.any():
        row = frame.iloc[int(np.argmax(wrong))]
        raise DataError(
            f"series `{row.unique_id}`, {row.ds}: `y` is {row.y}, not a finite number;"
            " remove the row (a gap is filled by rule) or correct it"
        )
    twice = frame.duplicated(["unique_id", "ds"])
    if twice.any():
        row = frame.loc[twice].iloc[0]
        raise DataError(
            f"series `{row.unique_id}`: {row.ds} stands twice; add the rows up or keep one"
        )


def _places(frame: pd.DataFrame, calendar: Calendar) -> pd.Series[int]:
    """Each row's period on the calendar, counted from 0."""
    if isinstance(calendar.freq, int):
        distance = frame["ds"].astype("int64") - int(calendar.start)
        place, off = distance // calendar.freq, distance % calendar.freq != 0
    else:
        grid = pd.date_range(calendar.start, frame["ds"].max(), freq=calendar.freq)
        place = pd.Series(grid.get_indexer(pd.Index(frame["ds"])), index=frame.index)
        off = place < 0
    if off.any():
        row = frame.loc[off].iloc[0]
        raise DataError(
            f"series `{row.unique_id}`: {row.ds} is not on the calendar `{calendar.freq}` that"
            f" starts at {calendar.start}; give the matching `freq` or move the date"
        )
    return place


def _series(name: str, rows: pd.DataFrame) -> Series:
    place = rows["place"].to_numpy(dtype=np.int64)
    values = np.full(int(place[-1] - place[0] + 1), np.nan)
    values[place - place[0]] = rows["y"].to_numpy(dtype=np.float64)
    return Series(name, int(place[-1]), values)
