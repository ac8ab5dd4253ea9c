"""A log as integer columns: the shape in which steps are counted and timed.

Whatever a log comes as - the warehouse's event log, or a pandas, Arrow or Ibis table with pm4py's
columns - it becomes one `Steps`: a row per event, sorted by case and time, cases and activities
being codes. Counting 100,000 or 10 million events is then arithmetic on whole columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.errors import SchemaError, UsageError
from salesops_ml.mining.codes import stable_order
from salesops_ml.mining.log_columns import ACTIVITY, CASE, TIMESTAMP
from salesops_ml.mining.log_rows import rows_of
from salesops_ml.mining.text_codes import refuse_empty, text_codes

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

OPEN, WON, LOST, ENDED = 0, 1, 2, 3
"""What became of a case: still open, won, lost, or just over (a log that knows no outcomes)."""
NEVER = np.iinfo(np.int64).min
"""The moment that has not come, as NaT is in NumPy."""
_OWN_COLUMNS = ("case_id", "activity", "entered_at")
_OWN_MORE = ("position", "amount", "outcome", "closed_at", "as_of", "is_closed", "is_won",
             "stage_position")  # fmt: skip
_DAY = 86_400_000_000


@dataclass(frozen=True)
class Steps:
    """Events in order, one row each, and what is known of their cases.

    Moments are microseconds since the epoch, UTC. `case` numbers the cases in the order of their
    ids, so that equal logs give equal numbers whatever their order of rows.

    Attributes:
        case, activity, at: (n,) case code, activity code and moment of each event.
        case_ids: (m,) ids of the cases, sorted.
        activities: names of the activities, sorted.
        outcome: (m,) `OPEN`, `WON`, `LOST` or `ENDED`.
        closed: (m,) moment of winning or losing; `NEVER` while open; the last event where `ENDED`.
        amount: (m,) amount in company currency; NaN where not known.
        closing: (a,) whether the activity ends a deal; `winning`: whether it wins it.
        place: (a,) the activity's agreed place in the process; NaN where none is agreed.
        as_of: up to when open cases are followed; `NEVER` where every case has ended.
    """

    case: Ints
    activity: Ints
    at: Ints
    case_ids: npt.NDArray[Any]
    activities: tuple[str, ...]
    outcome: Ints
    closed: Ints
    amount: Floats
    closing: Mask
    winning: Mask
    place: Floats
    as_of: int

    @property
    def first(self) -> Mask:
        """(n,) whether the event is its case's first."""
        return np.concatenate([[True], self.case[1:] != self.case[:-1]])[: len(self.case)]

    @property
    def last(self) -> Mask:
        """(n,) whether the event is its case's last."""
        return np.concatenate([self.case[1:] != self.case[:-1], [True]])[: len(self.case)]

    @property
    def left(self) -> Ints:
        """(n,) when the step was left: at the next event, or by closing; `NEVER` where it was not."""
        following = np.full(len(self.at), NEVER)
        following[:-1] = self.at[1:]
        ended = np.where(self.closing[self.activity], NEVER, self.closed[self.case])
        ended = np.where(np.isin(self.outcome[self.case], (WON, LOST)), ended, NEVER)
        ended = np.where(ended < self.at, NEVER, ended)
        return np.where(self.last, ended, following)

    @property
    def waiting(self) -> Mask:
        """(n,) whether the case stands in this step at `as_of`, neither won nor lost."""
        return np.asarray(self.last & (self.outcome[self.case] == OPEN))


def as_steps(
    log: Any,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    case_id_key: str = CASE,
    activity_key: str = ACTIVITY,
    timestamp_key: str = TIMESTAMP,
    amount_key: str | None = None,
) -> Steps:
    """`log` as integer columns.

    Args:
        log: what `event_log` returns (or its rows), or a table with pm4py's columns: pandas, Arrow,
            Ibis, a `pyarrow.dataset.Dataset`. Events of one moment keep the order of their rows. A
            log that is `Steps` already comes back as it is.
        as_of: for a log with pm4py's columns, events after it are left out and open cases are
            followed up to it. An `event_log` carries its own.
        won, lost: for a log with pm4py's columns, activities that win or lose a case; a case with
            neither is open. Where both are empty, every case ends with its last event.
        case_id_key, activity_key, timestamp_key: the columns' names, where they are not pm4py's.
        amount_key: the column that holds the case's amount, such as `case:amount`; of several
            values the last.

    Raises:
        SchemaError: a column is missing, or of the wrong kind.
        DataError: a case, activity or time is empty.
        UsageError: `as_of` is missing where cases can be open, or differs from the log's own.

    Example:
        >>> rows = pa.table({"deal": ["a", "b"], "stage": ["Lead", "Lead"],
        ...     "day": pa.array([datetime(2026, 1, 5), datetime(2026, 1, 2)]), "worth": [100, 70]})
        >>> steps = as_steps(rows, case_id_key="deal", activity_key="stage", timestamp_key="day",
        ...     amount_key="worth")
        >>> steps.activities, steps.amount.tolist()
        (('Lead',), [100.0, 70.0])
    """
    if isinstance(log, Steps):
        return log
    keys = (case_id_key, activity_key, timestamp_key)
    named = (*keys, *([amount_key] if amount_key else []))
    wanted = list(dict.fromkeys((*named, *_OWN_COLUMNS, *_OWN_MORE)))
    rows = rows_of(log, wanted, [case_id_key, activity_key, "case_id", "activity"])
    if keys == (CASE, ACTIVITY, TIMESTAMP) and _is_own(rows):
        return _from_event_log(rows, as_of)
    for name in named:
        if name not in rows.column_names:
            raise SchemaError(
                f"the log has no column `{name}`; it has: {', '.join(map(str, _names(log)))}. Give "
                f"{', '.join(keys)}, name yours by `case_id_key`, `activity_key` and "
                "`timestamp_key`, or give what `event_log` returns"
            )
    if (won or lost) and as_of is None:
        raise UsageError("`as_of`: give the moment up to which open cases are followed")
    return _from_pm4py(rows, named, as_of, tuple(won), tuple(lost))


def _is_own(rows: pa.Table) -> bool:
    return all(name in rows.column_names for name in _OWN_COLUMNS)


def _names(log: Any) -> Sequence[Any]:
    names = getattr(log, "column_names", None)
    if names is None:
        names = log.schema.names if hasattr(log, "schema") else log.columns
    return list(names)


def micros(moment: datetime) -> int:
    """Microseconds since the epoch of a naive UTC moment."""
    return int(np.datetime64(moment, "us").astype(np.int64))


def days(duration: npt.NDArray[Any]) -> Floats:
    """Microseconds as days."""
    return duration.astype(np.float64) / _DAY


def _from_event_log(rows: pa.Table, as_of: datetime | None) -> Steps:
    """Steps of an `event_log`, whose rows say how each deal stands at its `as_of`."""
    looked = pc.max(rows["as_of"]).as_py() if rows.num_rows else as_of
    if as_of is not None and looked is not None and looked != as_of:
        raise UsageError(f"`as_of`: {as_of} differs from the log's own, {looked}; leave it out")
    case, case_ids = text_codes(rows["case_id"], "case_id")
    activity, names = text_codes(rows["activity"], "activity")
    at = _moments(rows, "entered_at")
    turn = _numbers(rows, "position")
    order = np.lexsort((turn, case))
    case, activity, at = case[order], activity[order], at[order]
    first_row = order[np.concatenate([[True], case[1:] != case[:-1]])[: len(case)]]
    told = {"open": OPEN, "won": WON, "lost": LOST}
    outcome = np.array([told[text] for text in rows["outcome"].take(first_row).to_pylist()])
    flags = {
        name: _by_activity(pc.fill_null(rows[name], False).to_numpy().astype(float)[order],
                           activity, len(names)) > 0
        for name in ("is_closed", "is_won")
    }  # fmt: skip
    place = _by_activity(_numbers(rows, "stage_position")[order], activity, len(names))
    return Steps(
        case, activity, at, case_ids, tuple(names),
        outcome=outcome.astype(np.int64),
        closed=_moments(rows.take(first_row), "closed_at", empty=True),
        amount=_numbers(rows.take(first_row), "amount"),
        closing=flags["is_closed"],
        winning=flags["is_won"],
        place=place,
        as_of=micros(looked) if looked is not None else NEVER,
    )  # fmt: skip


def _from_pm4py(
    rows: pa.Table,
    keys: tuple[str, ...],
    as_of: datetime | None,
    won: tuple[str, ...],
    lost: tuple[str, ...],
) -> Steps:
    """Steps of a log that knows cases, activities and times, and no more."""
    at = _moments(rows, keys[2])
    if as_of is not None and len(at) and int(at.max()) > micros(as_of):
        seen = at <= micros(as_of)
        rows, at = rows.filter(pa.array(seen)), at[seen]
    amount = _numbers(rows, keys[3]) if len(keys) > 3 else None
    case, case_ids = text_codes(rows[keys[0]], keys[0])
    activity, names = text_codes(rows[keys[1]], keys[1])
    del rows
    order = _order(case, at, len(case_ids))
    if order is not None:
        case, activity, at = case[order], activity[order], at[order]
        amount = amount[order] if amount is not None else None
    winning, losing = np.isin(names, won), np.isin(names, lost)
    outcome, closed = _last_moments(case, at, len(case_ids))
    if won or lost:
        outcome, closed = _outcomes(case, activity, at, len(case_ids), winning, losing)
    return Steps(
        case, activity, at, case_ids, tuple(names),
        outcome=outcome,
        closed=closed,
        amount=_last_known(case, amount, len(case_ids)),
        closing=winning | losing,
        winning=winning,
        place=np.full(len(names), np.nan),
        as_of=micros(as_of) if as_of is not None else NEVER,
    )  # fmt: skip


def _last_known(case: Ints, amount: Floats | None, cases: int) -> Floats:
    """(cases,) each case's last amount; NaN where none is known."""
    last = np.full(cases, np.nan)
    if amount is not None:
        known = ~np.isnan(amount)
        last[case[known]] = amount[known]  # the last is written last
    return last


def _last_moments(case: Ints, at: Ints, cases: int) -> tuple[Ints, Ints]:
    """Every case is over with its last event."""
    last = np.flatnonzero(np.concatenate([case[1:] != case[:-1], [True]])[: len(case)])
    return np.full(cases, ENDED, dtype=np.int64), at[last]


def _outcomes(
    case: Ints, activity: Ints, at: Ints, cases: int, winning: Mask, losing: Mask
) -> tuple[Ints, Ints]:
    """Outcome and moment of each case, from the first activity that wins or loses it."""
    outcome, closed = np.full(cases, OPEN, dtype=np.int64), np.full(cases, NEVER)
    hits = np.flatnonzero((winning | losing)[activity])[::-1]  # the first is written last
    outcome[case[hits]] = np.where(winning[activity[hits]], WON, LOST)
    closed[case[hits]] = at[hits]
    return outcome, closed


def _order(case: Ints, at: Ints, cases: int) -> Ints | None:
    """The order by case, time and row; None where the rows stand in it."""
    if len(case) < 2:
        return None
    new = case[1:] != case[:-1]
    starts = np.concatenate([[0], np.flatnonzero(new) + 1])
    if len(starts) != cases or not bool((new | (at[1:] >= at[:-1])).all()):
        by_time = np.arange(len(at)) if _rising(at) else np.argsort(at, kind="stable")
        return np.asarray(by_time[stable_order(case[by_time], cases)])
    if _rising(case[starts]):
        return None
    by_case = np.argsort(case[starts])  # the rows of a case stand together: cases are moved whole
    lengths = np.diff(np.append(starts, len(case)))[by_case]
    shift = starts[by_case] - np.cumsum(lengths) + lengths
    return np.asarray(np.arange(len(case)) + np.repeat(shift, lengths))


def _rising(values: Ints) -> bool:
    return bool((values[1:] >= values[:-1]).all())


def _moments(rows: pa.Table, name: str, *, empty: bool = False) -> Ints:
    """A column of moments as microseconds; `NEVER` for empty ones where these are allowed."""
    values = rows[name]
    if not empty:
        refuse_empty(values, name)
    if not (pa.types.is_timestamp(values.type) or pa.types.is_null(values.type)):
        raise SchemaError(
            f"column `{name}` of the log holds {values.type}, not times; convert it first, "
            "with pandas.to_datetime(..., utc=True)"
        )
    zone = getattr(values.type, "tz", None)
    whole = pc.cast(values, pa.timestamp("us", zone), safe=False).cast(pa.int64())
    if whole.null_count:
        whole = pc.fill_null(whole, NEVER)
    return np.asarray(whole.to_numpy())


def _numbers(rows: pa.Table, name: str) -> Floats:
    if name not in rows.column_names:
        return np.full(rows.num_rows, np.nan)
    return np.asarray(rows[name].cast(pa.float64()).to_numpy(zero_copy_only=False))


def _by_activity(values: Floats, activity: Ints, count: int) -> Floats:
    """One value an activity: the largest seen; NaN where none is."""
    done = np.full(count, -np.inf)
    known = ~np.isnan(values)
    np.maximum.at(done, activity[known], values[known])
    return np.where(np.isinf(done), np.nan, done)
