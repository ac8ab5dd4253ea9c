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
from pandas import factorize

from salesops_ml.errors import DataError, SchemaError, UsageError
from salesops_ml.mining.codes import recoded
from salesops_ml.mining.event_log import ACTIVITY, CASE, PM4PY_COLUMNS, TIMESTAMP

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

OPEN, WON, LOST, ENDED = 0, 1, 2, 3
"""What became of a case: still open, won, lost, or just over (a log that knows no outcomes)."""
NEVER = np.iinfo(np.int64).min
"""The moment that has not come, as NaT is in NumPy."""
_OWN_COLUMNS = ("case_id", "activity", "entered_at")
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
) -> Steps:
    """`log` as integer columns.

    Args:
        log: what `event_log` returns (or its rows), or a pandas, Arrow or Ibis table with pm4py's
            columns. Events of one moment keep the order of their rows.
        as_of: for a log with pm4py's columns, events after it are left out and open cases are
            followed up to it. An `event_log` carries its own.
        won, lost: for a log with pm4py's columns, activities that win or lose a case; a case with
            neither is open. Where both are empty, every case ends with its last event.

    Raises:
        SchemaError: a column is missing. DataError: a case, activity or time is empty.
        UsageError: `as_of` is missing where cases can be open, or differs from the log's own.
    """
    if isinstance(log, Steps):
        return log
    rows = _rows(log)
    if all(name in rows.column_names for name in _OWN_COLUMNS):
        return _from_event_log(rows, as_of)
    for name in PM4PY_COLUMNS:
        if name not in rows.column_names:
            raise SchemaError(
                f"the log has no column `{name}`; it has: {', '.join(rows.column_names)}. Give "
                f"{', '.join(PM4PY_COLUMNS)}, as pm4py names them, or what `event_log` returns"
            )
    if (won or lost) and as_of is None:
        raise UsageError("`as_of`: give the moment up to which open cases are followed")
    return _from_pm4py(rows, as_of, tuple(won), tuple(lost))


def micros(moment: datetime) -> int:
    """Microseconds since the epoch of a naive UTC moment."""
    return int(np.datetime64(moment, "us").astype(np.int64))


def days(duration: npt.NDArray[Any]) -> Floats:
    """Microseconds as days."""
    return duration.astype(np.float64) / _DAY


def _rows(log: Any) -> pa.Table:
    """The log's rows in Arrow, only the columns that mining reads."""
    wanted = [*PM4PY_COLUMNS, *_OWN_COLUMNS, "position", "amount", "outcome", "closed_at", "as_of",
              "is_closed", "is_won", "stage_position"]  # fmt: skip
    if isinstance(log, pa.Table):
        return log.select([name for name in wanted if name in log.column_names])
    if hasattr(log, "to_pyarrow"):
        return log.select([name for name in wanted if name in log.columns]).to_pyarrow()
    if hasattr(log, "columns") and hasattr(log, "iloc"):
        texts = (CASE, ACTIVITY, "case_id", "activity")
        return pa.table(
            {
                name: _coded(log[name]) if name in texts else pa.array(log[name], from_pandas=True)
                for name in wanted
                if name in log.columns
            }
        )
    raise UsageError(f"`log`: {type(log).__name__} is no pandas, Arrow or Ibis table")


def _coded(column: Any) -> pa.Array | pa.ChunkedArray:
    """A pandas column of texts as codes; those of one case, which stand together, are looked up once."""
    if column.dtype != object or column.empty or column.isna().any():
        return pa.array(column, from_pandas=True)
    values = column.to_numpy()
    new = np.ones(len(values), dtype=bool)
    new[1:] = values[1:] != values[:-1]
    starts = np.flatnonzero(new)
    codes, texts = factorize(values[starts])
    code = np.repeat(codes.astype(np.int32), np.diff(np.append(starts, len(values))))
    return pa.DictionaryArray.from_arrays(pa.array(code), pa.array(texts))


def _from_event_log(rows: pa.Table, as_of: datetime | None) -> Steps:
    """Steps of an `event_log`, whose rows say how each deal stands at its `as_of`."""
    looked = pc.max(rows["as_of"]).as_py() if rows.num_rows else as_of
    if as_of is not None and looked is not None and looked != as_of:
        raise UsageError(f"`as_of`: {as_of} differs from the log's own, {looked}; leave it out")
    case, case_ids = _codes(rows, "case_id")
    activity, names = _codes(rows, "activity")
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
    rows: pa.Table, as_of: datetime | None, won: tuple[str, ...], lost: tuple[str, ...]
) -> Steps:
    """Steps of a log that knows cases, activities and times, and no more."""
    at = _moments(rows, TIMESTAMP)
    if as_of is not None:
        seen = at <= micros(as_of)
        rows, at = rows.filter(pa.array(seen)), at[seen]
    case, case_ids = _codes(rows, CASE)
    activity, names = _codes(rows, ACTIVITY)
    if not _in_order(case, at):
        order = np.lexsort((at, case))
        case, activity, at = case[order], activity[order], at[order]
    winning, losing = np.isin(names, won), np.isin(names, lost)
    outcome, closed = _last_moments(case, at, len(case_ids))
    if won or lost:
        outcome, closed = _outcomes(case, activity, at, len(case_ids), winning, losing)
    return Steps(
        case, activity, at, case_ids, tuple(names),
        outcome=outcome,
        closed=closed,
        amount=np.full(len(case_ids), np.nan),
        closing=winning | losing,
        winning=winning,
        place=np.full(len(names), np.nan),
        as_of=micros(as_of) if as_of is not None else NEVER,
    )  # fmt: skip


def _last_moments(case: Ints, at: Ints, cases: int) -> tuple[Ints, Ints]:
    """Every case is over with its last event."""
    closed = np.full(cases, NEVER)
    closed[case] = at  # the last event of a case is written last
    return np.full(cases, ENDED, dtype=np.int64), closed


def _outcomes(
    case: Ints, activity: Ints, at: Ints, cases: int, winning: Mask, losing: Mask
) -> tuple[Ints, Ints]:
    """Outcome and moment of each case, from the first activity that wins or loses it."""
    outcome, closed = np.full(cases, OPEN, dtype=np.int64), np.full(cases, NEVER)
    hits = np.flatnonzero((winning | losing)[activity])[::-1]  # the first is written last
    outcome[case[hits]] = np.where(winning[activity[hits]], WON, LOST)
    closed[case[hits]] = at[hits]
    return outcome, closed


def _in_order(case: Ints, at: Ints) -> bool:
    step = np.diff(case)
    return bool(((step > 0) | ((step == 0) & (np.diff(at) >= 0))).all())


def _codes(rows: pa.Table, name: str) -> tuple[Ints, npt.NDArray[Any]]:
    """Codes of a text column, numbered in the order of the sorted texts, and those texts."""
    values = rows[name]
    _refuse_empty(values, name)
    if not pa.types.is_dictionary(values.type):
        if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
            values = values.cast(pa.string())
        values = values.dictionary_encode()
    coded = values.unify_dictionaries().combine_chunks()
    present, code = recoded(coded.indices.to_numpy(), len(coded.dictionary))
    known = coded.dictionary.cast(pa.string()).to_numpy(zero_copy_only=False).astype(object)
    texts, rank = np.unique(known[present], return_inverse=True)
    return rank.astype(np.int64)[code], texts


def _moments(rows: pa.Table, name: str, *, empty: bool = False) -> Ints:
    """A column of moments as microseconds; `NEVER` for empty ones where these are allowed."""
    values = rows[name]
    if not empty:
        _refuse_empty(values, name)
    if not (pa.types.is_timestamp(values.type) or pa.types.is_null(values.type)):
        raise SchemaError(
            f"column `{name}` of the log holds {values.type}, not times; convert it first, "
            "with pandas.to_datetime(..., utc=True)"
        )
    whole = pc.cast(values, pa.timestamp("us", values.type.tz), safe=False).cast(pa.int64())
    return np.asarray(pc.fill_null(whole, NEVER).to_numpy())


def _numbers(rows: pa.Table, name: str) -> Floats:
    if name not in rows.column_names:
        return np.full(rows.num_rows, np.nan)
    return np.asarray(rows[name].cast(pa.float64()).to_numpy(zero_copy_only=False))


def _refuse_empty(values: pa.ChunkedArray, name: str) -> None:
    if values.null_count:
        row = pc.index(pc.is_null(values), True).as_py()
        raise DataError(
            f"log, row {row + 1}: `{name}` is empty ({values.null_count} rows); "
            "remove these events or fill them"
        )


def _by_activity(values: Floats, activity: Ints, count: int) -> Floats:
    """One value an activity: the largest seen; NaN where none is."""
    done = np.full(count, -np.inf)
    known = ~np.isnan(values)
    np.maximum.at(done, activity[known], values[known])
    return np.where(np.isinf(done), np.nan, done)
