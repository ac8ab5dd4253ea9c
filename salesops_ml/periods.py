"""Time as sales people use it: fiscal months and quarters, working days, and the day "as of".

Moments are naive `datetime`s in UTC, as in the canonical tables. A period runs from the first moment
of its first day to the first moment after its last day, in the company's time zone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.errors import UsageError

Grain = Literal["month", "quarter", "year"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MOMENT = pa.timestamp("us")
MONTHS_IN = {"month": 1, "quarter": 3, "year": 12}
MONTH_NAMES = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip


@dataclass(frozen=True, order=True)
class Period:
    """A fiscal period: its first day, the day after its last, and its name such as 2026-Q3."""

    start: date
    end: date
    label: str

    def bounds(self, time_zone: str = "UTC") -> tuple[datetime, datetime]:
        """First moment in and first moment after, naive UTC."""
        return utc_midnight(self.start, time_zone), utc_midnight(self.end, time_zone)


def utc_midnight(day: date, time_zone: str = "UTC") -> datetime:
    """The moment at which `day` begins in `time_zone`, naive UTC.

    Example:
        >>> utc_midnight(date(2026, 7, 1), "Europe/Amsterdam")
        datetime.datetime(2026, 6, 30, 22, 0)
    """
    local = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(time_zone))
    return local.astimezone(UTC).replace(tzinfo=None)


def period_of(day: date, grain: Grain, *, fiscal_start_month: int = 1) -> Period:
    """The fiscal period that `day` falls in; a fiscal year is named for the year it ends in.

    Example:
        >>> period_of(date(2026, 2, 10), "quarter").label
        '2026-Q1'
        >>> period_of(date(2026, 2, 10), "quarter", fiscal_start_month=2).label
        '2027-Q1'
    """
    months = MONTHS_IN[grain]
    offset = (day.month - fiscal_start_month) % 12
    start = _shift(date(day.year, day.month, 1), -(offset % months))
    end = _shift(start, months)
    year = _fiscal_year(day, fiscal_start_month)
    if grain == "month":
        label = f"{start.year}-{start.month:02d}"
    elif grain == "quarter":
        label = f"{year}-Q{offset // 3 + 1}"
    else:
        label = f"{year}"
    return Period(start, end, label)


def periods_from(
    day: date, grain: Grain, count: int, *, fiscal_start_month: int = 1
) -> list[Period]:
    """The period of `day` and those after it, `count` in all."""
    done: list[Period] = []
    while len(done) < count:
        done.append(period_of(day, grain, fiscal_start_month=fiscal_start_month))
        day = done[-1].end
    return done


def periods_between(
    first: date, last: date, grain: Grain, *, fiscal_start_month: int = 1
) -> list[Period]:
    """Every period that touches `first` .. `last`, both included."""
    return list(_until(first, last, grain, fiscal_start_month))


def fiscal_month(name: str) -> int:
    """Month number of the first month of the fiscal year."""
    return MONTH_NAMES.index(name.lower()) + 1


def parse_moment(text: str, *, what: str = "as_of") -> datetime:
    """A naive UTC moment from ISO text; a bare date means the end of that day, all of it known.

    Raises:
        UsageError: the text is no ISO date or time.

    Example:
        >>> parse_moment("2026-03-31")
        datetime.datetime(2026, 4, 1, 0, 0)
        >>> parse_moment("2026-03-31T12:00+02:00")
        datetime.datetime(2026, 3, 31, 10, 0)
    """
    try:
        day = _bare_date(text)
        if day is not None:
            return datetime(day.year, day.month, day.day) + timedelta(days=1)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"`{what}`: `{text}` is no date; write one such as 2026-03-31 or 2026-03-31T12:00"
        ) from error
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _bare_date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def moments_from_iso(texts: pa.ChunkedArray, time_zone: str = "UTC") -> pa.ChunkedArray:
    """Naive UTC moments from ISO texts; null where a text is no ISO date or time.

    A text without an offset is local time in `time_zone`, a bare date the start of its day; an hour
    that the clock showed twice is the earlier one, an hour that it skipped the later one. Summer time
    is known up to 2037, as far as Arrow's time zones go.

    Example:
        >>> texts = pa.chunked_array([["2026-03-31T12:00:00+02:00", "2026-03-31", "soon"]])
        >>> [str(moment) for moment in moments_from_iso(texts)]
        ['2026-03-31 10:00:00', '2026-03-31 00:00:00', 'None']
    """
    try:
        return from_local(texts.cast(pa.timestamp("us")), time_zone)
    except pa.ArrowInvalid:
        pass
    try:
        return texts.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        unique = pc.unique(texts)
        read = pa.array([_from_iso(text, time_zone) for text in unique.to_pylist()], _MOMENT)
        chunks = [read.take(pc.index_in(chunk, unique)) for chunk in texts.chunks]
        return pa.chunked_array(chunks, _MOMENT)


def from_local(moments: pa.ChunkedArray, time_zone: str) -> pa.ChunkedArray:
    """Naive UTC moments from naive local ones."""
    if time_zone == "UTC":
        return moments
    zoned = pc.assume_timezone(moments, time_zone, ambiguous="earliest", nonexistent="latest")
    return zoned.cast(pa.timestamp("us", "UTC")).cast(_MOMENT)


def to_local(moments: pa.ChunkedArray, time_zone: str) -> pa.ChunkedArray:
    """Naive local moments from naive UTC ones."""
    if time_zone == "UTC":
        return moments
    zoned = moments.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us", time_zone))
    return pc.local_timestamp(zoned)


def _from_iso(text: str | None, time_zone: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return utc_naive(moment, time_zone)


def utc_naive(moment: datetime, time_zone: str) -> datetime:
    """A moment, local to `time_zone` where it has no offset of its own, as naive UTC."""
    local = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(time_zone))
    return local.astimezone(UTC).replace(tzinfo=None)


def working_days(
    start: npt.ArrayLike,
    end: npt.ArrayLike,
    *,
    week: Sequence[str] = ("mon", "tue", "wed", "thu", "fri"),
    holidays: Sequence[str] = (),
) -> npt.NDArray[np.float64]:
    """Working days from `start` to `end` (arrays of datetime64), with the parts of days counted.

    A whole working day counts 1; Saturday evening to Monday morning counts Monday's share only.
    NaT on either side gives NaN; an end before its start gives 0.

    Example:
        >>> working_days(["2026-11-20T12:00"], ["2026-11-23T12:00"]).tolist()  # Friday to Monday
        [1.0]
    """
    begin, stop = _moments(start), _moments(end)
    mask = "".join("1" if day in week else "0" for day in WEEKDAYS)
    off = np.array(list(holidays), dtype="datetime64[D]")
    calendar = np.busdaycalendar(weekmask=mask, holidays=off)
    missing = np.isnat(begin) | np.isnat(stop)
    safe_begin = np.where(missing, np.datetime64(0, "us"), begin)
    safe_stop = np.maximum(np.where(missing, np.datetime64(0, "us"), stop), safe_begin)
    days = _position(safe_stop, calendar) - _position(safe_begin, calendar)
    return np.where(missing, np.nan, days)


def _moments(values: npt.ArrayLike) -> npt.NDArray[np.datetime64]:
    return np.asarray(values, dtype="datetime64[us]")


def _position(
    moments: npt.NDArray[np.datetime64], calendar: np.busdaycalendar
) -> npt.NDArray[np.float64]:
    """Working days since the epoch, as a number whose fraction is the share of the day gone."""
    days = moments.astype("datetime64[D]")
    whole = np.busday_count(np.datetime64(0, "D"), days, busdaycal=calendar).astype(np.float64)
    share: Any = (moments - days) / np.timedelta64(1, "D")
    return whole + np.where(np.is_busday(days, busdaycal=calendar), share, 0.0)


def _shift(first_of_month: date, months: int) -> date:
    count = first_of_month.year * 12 + first_of_month.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)


def _fiscal_year(day: date, fiscal_start_month: int) -> int:
    return day.year + (fiscal_start_month > 1 and day.month >= fiscal_start_month)


def _until(first: date, last: date, grain: Grain, fiscal_start_month: int) -> Iterator[Period]:
    day = first
    while day <= last:
        period = period_of(day, grain, fiscal_start_month=fiscal_start_month)
        yield period
        day = period.end
