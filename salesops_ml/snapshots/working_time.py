"""Days as the company works them: a deal that lay over Christmas did not linger.

A calendar of UTC days says how many working seconds had passed at each one's start and where in it
the local midnight falls, so that working time between two moments is a difference of two look-ups.
"""

from __future__ import annotations

from functools import lru_cache

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from salesops_ml.periods import utc_midnight, working_days

DAY = 86_400
FIRST, LAST = np.datetime64("1970-01-01"), np.datetime64("2100-01-01")


@lru_cache(maxsize=8)
def working_calendar(week: tuple[str, ...], holidays: tuple[str, ...], time_zone: str) -> pa.Table:
    """One row per UTC day from 1970 to 2100.

    Columns: day; worked (working seconds since 1970 at its start); turn (seconds from its start to
    the local midnight in it); before, after (1 where the local day before or after `turn` is a
    working day); shift (seconds by which local clocks are ahead of UTC).

    Args:
        week: working days, such as ("mon", "tue").
        holidays: ISO dates that are off.
        time_zone: IANA name.
    """
    local = np.arange(FIRST - 2, LAST + 2)
    works = _works(local, week, holidays)
    starts = np.array([_seconds(day, time_zone) for day in local.tolist()], dtype=np.int64)
    past = np.concatenate([[0], np.cumsum(np.diff(starts) * works[:-1])])
    days = np.arange(FIRST, LAST)
    midnight = days.astype(np.int64) * DAY
    here = np.searchsorted(starts, midnight, side="right") - 1
    worked = past[here] + (midnight - starts[here]) * works[here]
    return pa.table(
        {
            "day": pa.array(days, pa.date32()),
            "worked": worked,
            "turn": np.minimum(starts[here + 1] - midnight, DAY),
            "before": works[here],
            "after": works[here + 1],
            "shift": local[here].astype(np.int64) * DAY - starts[here],
        }
    )


def _works(
    days: np.ndarray[tuple[int], np.dtype[np.datetime64]],
    week: tuple[str, ...],
    holidays: tuple[str, ...],
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    whole = working_days(days, days + 1, week=week, holidays=holidays)
    return np.round(whole).astype(np.int64)


def _seconds(day: object, time_zone: str) -> int:
    """The moment at which a local day begins, in seconds since 1970 UTC."""
    moment = utc_midnight(day, time_zone)  # type: ignore[arg-type]
    return int((np.datetime64(moment, "s") - np.datetime64(0, "s")) / np.timedelta64(1, "s"))


def with_working_time(
    table: ir.Table, calendar: ir.Table, *, at: str, name: str, shift: str | None = None
) -> ir.Table:
    """`table` with `name`: working seconds from 1970 up to its moment `at`; null outside 1970..2100.

    Args:
        calendar: rows of `working_calendar`.
        shift: also add a column of this name, the seconds by which local clocks were ahead of UTC.
    """
    days = calendar.rename({f"_{column}": column for column in calendar.columns})
    joined = table.left_join(days, table[at].date() == days._day)
    gone = joined[at].delta(joined._day.cast(joined[at].type()), unit="second")
    early = ibis.least(gone, joined._turn)
    late = ibis.greatest(gone - joined._turn, 0)
    position = joined._worked + joined._before * early + joined._after * late
    columns = {name: ibis.ifelse(joined._day.notnull(), position, None)}
    if shift:
        columns[shift] = joined._shift
    return joined.select(*[joined[column] for column in table.columns], **columns)
