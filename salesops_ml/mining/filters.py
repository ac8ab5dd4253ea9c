"""Filters of a log: by period, segment, variant, outcome and performance.

Each takes a log with pm4py's columns - pandas, Arrow or Ibis - or an `event_log`, and returns its
rows that are meant, in their order, as a pandas frame with pm4py's columns; the log itself stays as
it was. A filter keeps whole cases unless
it is told otherwise: half a case has transitions that never were. Filters are put one after
another, in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from salesops_ml.errors import SchemaError, UsageError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.log_columns import CASE, TIMESTAMP
from salesops_ml.mining.log_frames import frame_of, utc_micros
from salesops_ml.mining.steps import LOST, NEVER, OPEN, WON, Steps, as_steps, micros
from salesops_ml.mining.variants import group_paths

if TYPE_CHECKING:
    import pandas as pd

Mask = npt.NDArray[np.bool_]

PERIOD_KEEPS = {
    "contained": "cases whose events all lie in the period",
    "touching": "cases that were under way at some moment of it",
    "started": "cases whose first event lies in it",
    "ended": "cases whose last event lies in it",
    "events": "the events that lie in it, be their cases whole or not",
}
OUTCOMES = {"open": OPEN, "won": WON, "lost": LOST}


def filter_period(
    log: Any,
    start: datetime | None = None,
    end: datetime | None = None,
    *,
    keep: str = "contained",
) -> pd.DataFrame:
    """Cases, or events, of the time from `start` on and before `end`.

    Args:
        start, end: naive UTC; None leaves that side open. The end itself lies outside, so that
            quarters laid end to end share no event.
        keep: one of `PERIOD_KEEPS`.

    Raises:
        UsageError: `keep` is unknown, or the period ends before it starts.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame({"case:concept:name": ["a", "a", "b"],
        ...     "concept:name": ["Lead", "Offer", "Lead"],
        ...     "time:timestamp": pd.to_datetime(["2026-01-01", "2026-04-05", "2026-01-02"])})
        >>> first_quarter = {"start": datetime(2026, 1, 1), "end": datetime(2026, 4, 1)}
        >>> filter_period(log, **first_quarter)["case:concept:name"].tolist()
        ['b']
        >>> filter_period(log, **first_quarter, keep="events")["case:concept:name"].tolist()
        ['a', 'b']
    """
    if keep not in PERIOD_KEEPS:
        raise UsageError(f"`keep`: {keep!r} is unknown; give one of {', '.join(PERIOD_KEEPS)}")
    if start is not None and end is not None and end < start:
        raise UsageError(f"`end`: {end} lies before `start`, {start}")
    frame = frame_of(log)
    at = utc_micros(frame[TIMESTAMP])
    low = micros(start) if start is not None else np.iinfo(np.int64).min
    high = micros(end) if end is not None else np.iinfo(np.int64).max
    inside = (at >= low) & (at < high)
    if keep == "events":
        return _rows(frame, inside)
    case, count = _cases(frame)
    first, last = _first_and_last(case, at, count)
    chosen = {
        "contained": (first >= low) & (last < high),
        "touching": (first < high) & (last >= low),
        "started": (first >= low) & (first < high),
        "ended": (last >= low) & (last < high),
    }[keep]
    return _rows(frame, chosen[case])


def filter_segment(
    log: Any, column: str, values: Iterable[Any], *, keep: str = "cases", inverted: bool = False
) -> pd.DataFrame:
    """Cases in which `column` has one of `values` at some event, or only those events.

    Args:
        column: an attribute of cases or events, such as `case:region` or `org:resource`.
        values: those that are meant; None means a missing value.
        keep: `cases` or `events`.
        inverted: all others instead.

    Raises:
        SchemaError: the log lacks the column. UsageError: `keep` is unknown.
    """
    if keep not in ("cases", "events"):
        raise UsageError(f"`keep`: {keep!r} is unknown; give cases or events")
    frame = frame_of(log)
    if column not in frame.columns:
        raise SchemaError(
            f"the log has no column `{column}`; it has: {', '.join(map(str, frame.columns))}"
        )
    wanted = list(values)
    hit = frame[column].isin([value for value in wanted if value is not None]).to_numpy(dtype=bool)
    if None in wanted:
        hit = hit | frame[column].isna().to_numpy()
    if keep == "cases":
        hit = _any_of_case(frame, hit)
    return _rows(frame, hit ^ inverted)


def filter_variants(
    log: Any,
    paths: Sequence[Sequence[str]] | None = None,
    *,
    top: int | None = None,
    covering: float | None = None,
    inverted: bool = False,
) -> pd.DataFrame:
    """Cases that took certain paths: named ones, the most frequent, or as many as cover a share.

    Args:
        paths: paths by their activities, in order.
        top: so many of the most frequent.
        covering: the fewest that hold this share of the cases together, 0..1.
        inverted: all others instead.

    Raises:
        UsageError: not exactly one of the three is given, or it is out of its range.
    """
    given = [name for name, value in (("paths", paths), ("top", top), ("covering", covering))
             if value is not None]  # fmt: skip
    if len(given) != 1:
        raise UsageError("give one of `paths`, `top` and `covering`" + (
            f", not {' and '.join(given)}" if given else ""))  # fmt: skip
    if (top is not None and top < 0) or (covering is not None and not 0 <= covering <= 1):
        raise UsageError("`top` counts from 0, `covering` goes from 0 to 1")
    frame = frame_of(log)
    steps = as_steps(frame)
    variant, example = group_paths(steps)
    taken = [_path(steps, case) for case in example.tolist()]
    if paths is not None:
        wanted = {tuple(path) for path in paths}
        chosen = np.array([path in wanted for path in taken], dtype=bool)
    else:
        chosen = _most_frequent(np.bincount(variant, minlength=len(taken)), taken, top, covering)
    return _of_cases(frame, steps, chosen[variant] ^ inverted)


def filter_outcome(
    log: Any,
    outcomes: Sequence[str],
    *,
    as_of: datetime,
    won: Sequence[str],
    lost: Sequence[str] = (),
) -> pd.DataFrame:
    """Cases that are `open`, `won` or `lost`, as known at `as_of`; later events are left out.

    Args:
        outcomes: which of the three.
        as_of: naive UTC.
        won, lost: activities that win or lose a case; the first of them decides.

    Raises:
        UsageError: an outcome is unknown.
    """
    unknown = [name for name in outcomes if name not in OUTCOMES]
    if unknown:
        raise UsageError(f"`outcomes`: {unknown[0]!r} is unknown; give {', '.join(OUTCOMES)}")
    frame = filter_until(log, as_of=as_of)
    steps = as_steps(frame, as_of=as_of, won=won, lost=lost)
    return _of_cases(frame, steps, np.isin(steps.outcome, [OUTCOMES[name] for name in outcomes]))


def filter_performance(
    log: Any,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    clock: Clock | None = None,
) -> pd.DataFrame:
    """Cases that lasted so long, in days from the first event to the outcome, else the last event.

    An open case has lasted until `as_of`. It passes `at_least` when that is long enough; it never
    passes `at_most`, since nobody knows yet how long it will last.

    Args:
        at_least, at_most: days, both ends included; None leaves that side open.
        as_of, won, lost: see `as_steps`; without them every case ends with its last event.
        clock: calendar days (default) or working days.
    """
    frame = filter_until(log, as_of=as_of) if as_of is not None else frame_of(log)
    steps = as_steps(frame, as_of=as_of, won=won, lost=lost)
    is_open = steps.outcome == OPEN
    first, last = steps.at[steps.first], steps.at[steps.last]
    end = np.where(steps.closed == NEVER, last, steps.closed)
    end = np.where(is_open, steps.as_of, end)
    lasted = (clock or Clock()).days(first, np.maximum(end, first))
    chosen = np.ones(len(lasted), dtype=bool)
    if at_least is not None:
        chosen &= lasted >= at_least
    if at_most is not None:
        chosen &= (lasted <= at_most) & ~is_open
    return _of_cases(frame, steps, chosen)


def filter_until(log: Any, *, as_of: datetime) -> pd.DataFrame:
    """The events up to `as_of`, naive UTC: the log as it stood then."""
    frame = frame_of(log)
    return _rows(frame, utc_micros(frame[TIMESTAMP]) <= micros(as_of))


def _cases(frame: pd.DataFrame) -> tuple[npt.NDArray[np.int64], int]:
    """(n,) code of each row's case, and how many there are; rows without a case are one."""
    import pandas as pd

    code, ids = pd.factorize(frame[CASE], use_na_sentinel=False)
    return code.astype(np.int64), len(ids)


def _first_and_last(
    case: npt.NDArray[np.int64], at: npt.NDArray[np.int64], count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    first = np.full(count, np.iinfo(np.int64).max)
    last = np.full(count, np.iinfo(np.int64).min)
    np.minimum.at(first, case, at)
    np.maximum.at(last, case, at)
    return first, last


def _any_of_case(frame: pd.DataFrame, hit: Mask) -> Mask:
    case, count = _cases(frame)
    found = np.zeros(count, dtype=bool)
    found[case[hit]] = True
    return np.asarray(found[case])


def _of_cases(frame: pd.DataFrame, steps: Steps, chosen: Mask) -> pd.DataFrame:
    """The rows of the chosen cases of `steps`, which were made of `frame`."""
    kept = {str(case) for case in steps.case_ids[chosen]}
    return _rows(frame, frame[CASE].astype(str).isin(kept).to_numpy(dtype=bool))


def _rows(frame: pd.DataFrame, chosen: Mask) -> pd.DataFrame:
    kept: pd.DataFrame = frame[chosen].reset_index(drop=True)
    return kept


def _path(steps: Steps, case: int) -> tuple[str, ...]:
    rows = slice(*np.searchsorted(steps.case, [case, case + 1]))
    return tuple(steps.activities[code] for code in steps.activity[rows])


def _most_frequent(
    count: npt.NDArray[np.int64],
    paths: Sequence[tuple[str, ...]],
    top: int | None,
    covering: float | None,
) -> Mask:
    """Which variants are the most frequent; equal counts are ordered by path."""
    turn = sorted(range(len(paths)), key=lambda one: (-count[one], paths[one]))
    if covering is not None:
        covered = np.cumsum(count[turn]) / max(int(count.sum()), 1)
        top = int(np.searchsorted(covered, covering - 1e-12)) + 1 if covering > 0 else 0
    chosen = np.zeros(len(paths), dtype=bool)
    chosen[turn[:top]] = True
    return chosen
