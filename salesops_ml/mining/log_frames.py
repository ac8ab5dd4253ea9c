"""A log as a pandas frame with pm4py's columns, whatever it came as."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from salesops_ml.errors import SchemaError, UsageError
from salesops_ml.mining.log_columns import ACTIVITY, CASE, PM4PY_COLUMNS, TIMESTAMP

if TYPE_CHECKING:
    import pandas as pd

OWN_NAMES = {
    "case_id": CASE,
    "activity": ACTIVITY,
    "entered_at": TIMESTAMP,
    "rep_id": "org:resource",
    "amount": "case:amount",
    "outcome": "case:outcome",
    "closed_at": "case:closed_at",
    "pipeline": "case:pipeline",
}
"""The columns of an `event_log`, and what they are called in a log for others to read."""


def frame_of(log: Any) -> pd.DataFrame:
    """A log as a pandas frame with pm4py's columns.

    Args:
        log: a pandas, Arrow or Ibis table with these columns, or what `event_log` returns: then the
            columns of `OWN_NAMES` are taken, its rows in order and its times as UTC.

    Raises:
        SchemaError: one of the three columns is missing. UsageError: `log` is no table.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame({"case_id": ["a"], "activity": ["Lead"], "amount": [9.5],
        ...     "entered_at": pd.to_datetime(["2026-01-01"])})
        >>> list(frame_of(log))
        ['case:concept:name', 'concept:name', 'time:timestamp', 'case:amount']
    """
    import pandas as pd

    frame = log if isinstance(log, pd.DataFrame) else None
    for way in ("to_pandas", "execute"):
        if frame is None and hasattr(log, way):
            frame = getattr(log, way)()
    if frame is None:
        raise UsageError(f"`log`: {type(log).__name__} is no pandas, Arrow or Ibis table")
    if {"case_id", "activity", "entered_at"} <= set(frame.columns):
        frame = _of_own(frame)
    for name in PM4PY_COLUMNS:
        if name not in frame.columns:
            raise SchemaError(
                f"the log has no column `{name}`; it has: {', '.join(map(str, frame.columns))}"
            )
    return frame


def _of_own(log: pd.DataFrame) -> pd.DataFrame:
    """An `event_log` under the names that others know."""
    if "position" in log.columns:
        log = log.sort_values(["case_id", "position"], ignore_index=True)
    kept = [name for name in OWN_NAMES if name in log.columns]
    frame = log[kept].rename(columns=OWN_NAMES)
    for name in (TIMESTAMP, "case:closed_at"):
        if name in frame.columns and hasattr(frame[name], "dt") and frame[name].dt.tz is None:
            frame[name] = frame[name].dt.tz_localize("UTC")
    return frame


def utc_micros(times: pd.Series[Any]) -> npt.NDArray[np.int64]:
    """(n,) microseconds since the epoch, UTC, of a column of moments; NaT is the least integer.

    Raises:
        SchemaError: the column holds no moments.
    """
    import pandas as pd

    if not pd.api.types.is_datetime64_any_dtype(times.dtype):
        raise SchemaError(
            f"column `{times.name}` of the log holds {times.dtype}, not times; convert it first, "
            "with pandas.to_datetime(..., utc=True)"
        )
    if times.dt.tz is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    return times.to_numpy().astype("datetime64[us]").astype(np.int64)
