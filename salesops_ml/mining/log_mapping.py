"""Mapping a log: activities renamed, merged or dropped, and life cycles turned into service time.

Each function takes a log with pm4py's columns - pandas, Arrow or Ibis - or an `event_log`, and
returns a pandas frame with pm4py's columns; the log itself stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from salesops_ml.errors import SchemaError, UsageError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.log_columns import ACTIVITY, CASE, LIFECYCLE, SERVICE_START, TIMESTAMP
from salesops_ml.mining.log_frames import frame_of, utc_micros

if TYPE_CHECKING:
    import pandas as pd

SERVICE_COLUMNS = {
    SERVICE_START: "when work on the activity began; null where no start was recorded",
    "service_days": "days from the start to the completion; null where no start was recorded",
}


def map_activities(
    log: Any,
    names: Mapping[str, str] | None = None,
    *,
    drop: Iterable[str] = (),
    merge_repeats: bool = False,
) -> pd.DataFrame:
    """Activities under other names; several under one name are merged.

    Args:
        names: new name by old; what is not named keeps its name.
        drop: activities, by their old names, whose events are left out.
        merge_repeats: of events of one activity that follow each other in a case, in the order of
            time, keep the first; else a merge leaves steps from an activity to itself.

    Raises:
        UsageError: an activity is not in the log, or is both renamed and dropped.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame({"case:concept:name": ["a"] * 4,
        ...     "concept:name": ["Call", "Mail", "Note", "Offer"],
        ...     "time:timestamp": pd.date_range("2026-01-01", periods=4)})
        >>> mapped = map_activities(log, {"Call": "Contact", "Mail": "Contact"}, drop=["Note"],
        ...     merge_repeats=True)
        >>> mapped["concept:name"].tolist()
        ['Contact', 'Offer']
    """
    frame, names, dropped = frame_of(log), dict(names or {}), set(drop)
    known = set(frame[ACTIVITY].unique())
    for argument, given in (("names", set(names)), ("drop", dropped)):
        if given - known:
            raise UsageError(
                f"`{argument}`: no activity {min(given - known)!r} in the log; it has: "
                f"{', '.join(sorted(map(str, known))[:20])}"
            )
    if dropped & set(names):
        raise UsageError(f"`drop`: {min(dropped & set(names))!r} is renamed by `names` too")
    kept = frame[~frame[ACTIVITY].isin(dropped).to_numpy(dtype=bool)]
    new = kept[ACTIVITY].astype(object).map(lambda name: names.get(name, name))
    kept = kept.assign(**{ACTIVITY: new}).reset_index(drop=True)
    return _without_repeats(kept) if merge_repeats else kept


def _without_repeats(frame: pd.DataFrame) -> pd.DataFrame:
    case, _ = _codes(frame[CASE])
    activity, _ = _codes(frame[ACTIVITY])
    order = np.lexsort((np.arange(len(frame)), frame[TIMESTAMP].to_numpy(), case))
    repeats = np.zeros(len(frame), dtype=bool)
    before, after = order[:-1], order[1:]
    repeats[after] = (case[before] == case[after]) & (activity[before] == activity[after])
    kept: pd.DataFrame = frame[~repeats].reset_index(drop=True)
    return kept


def keep_complete(log: Any) -> pd.DataFrame:
    """The events that complete an activity: `lifecycle:transition` says so, or says nothing.

    Raises:
        SchemaError: the log has no column `lifecycle:transition`.
    """
    frame = frame_of(log)
    phase = _phases(frame)
    kept: pd.DataFrame = frame[(phase == "complete") | (phase == "")].reset_index(drop=True)
    return kept


def service_times(log: Any, *, clock: Clock | None = None) -> pd.DataFrame:
    """One row per completed activity, with when work on it began and how long it took.

    A completion is paired with the earliest start of the same activity in the same case that has no
    completion yet (first in, first out); events are taken in the order of time, those of one moment
    in the order of their rows. A start that was never completed has no row: work on it goes on.

    Args:
        clock: calendar days (default) or working days.

    Returns:
        The completing events, in their order, with the columns of `SERVICE_COLUMNS`.

    Raises:
        SchemaError: the log has no column `lifecycle:transition`.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame({"case:concept:name": ["a", "a"], "concept:name": ["Call", "Call"],
        ...     "lifecycle:transition": ["start", "complete"],
        ...     "time:timestamp": pd.to_datetime(["2026-01-01", "2026-01-03"], utc=True)})
        >>> service_times(log)["service_days"].tolist()
        [2.0]
    """
    import pandas as pd

    frame = frame_of(log)
    phase = _phases(frame)
    done = np.flatnonzero((phase == "complete") | (phase == ""))
    begun = _paired(frame, phase)[done]
    times = frame[TIMESTAMP]
    start = times.iloc[np.maximum(begun, 0)].where(begun >= 0).reset_index(drop=True)
    rows = frame.iloc[done].reset_index(drop=True)
    moments = [utc_micros(column) for column in (start, rows[TIMESTAMP])]
    days = (clock or Clock()).days(*(np.where(begun >= 0, part, 0) for part in moments))
    return rows.assign(**{
        SERVICE_START: start,
        "service_days": pd.Series(np.where(begun >= 0, days, np.nan), index=rows.index),
    })  # fmt: skip


def _paired(frame: pd.DataFrame, phase: npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
    """(n,) row of the start that each completion ends; -1 where there is none, or no completion.

    The k-th completion ends the k-th start, except that a completion without a start waiting for it
    ends none; so both are counted among the events that matter.
    """
    case, _ = _codes(frame[CASE])
    activity, names = _codes(frame[ACTIVITY])
    group = case * max(names, 1) + activity
    matters = np.flatnonzero((phase == "start") | (phase == "complete"))
    moments = frame[TIMESTAMP].to_numpy()
    order = matters[np.lexsort((matters, moments[matters], group[matters]))]
    found = np.full(len(frame), -1, dtype=np.int64)
    waiting: list[int] = []
    last = -1
    starts = (phase == "start").tolist()
    for row, of_group in zip(order.tolist(), group[order].tolist(), strict=True):
        if of_group != last:
            waiting, last = [], of_group
        if starts[row]:
            waiting.append(row)
        elif waiting:
            found[row] = waiting.pop(0)
    return found


def _phases(frame: pd.DataFrame) -> npt.NDArray[np.object_]:
    """(n,) life-cycle phase in small letters; empty where none is told."""
    if LIFECYCLE not in frame.columns:
        raise SchemaError(
            f"the log has no column `{LIFECYCLE}`; it has: {', '.join(map(str, frame.columns))}"
        )
    phase = frame[LIFECYCLE].astype(object).where(frame[LIFECYCLE].notna(), "")
    return phase.astype(str).str.lower().to_numpy(dtype=object)


def _codes(column: pd.Series[Any]) -> tuple[npt.NDArray[np.int64], int]:
    import pandas as pd

    code, values = pd.factorize(column, use_na_sentinel=False)
    return code.astype(np.int64), len(values)
