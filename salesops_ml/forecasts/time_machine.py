"""Every week of the last quarters, forecast again with what was known then: the days to replay.

A quarter of thirteen weeks is forecast thirteen times, from its first moment on. The deal model of a day
is fitted anew once a month, on what was known on the first of the month's days.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from salesops_ml.errors import UsageError
from salesops_ml.forecasts.outlook import local_day
from salesops_ml.periods import fiscal_month, period_of
from salesops_ml.settings import Settings

WEEK = timedelta(days=7)
REFIT_DAYS = 28


def weekly_origins(*, as_of: datetime, settings: Settings, quarters: int) -> list[datetime]:
    """The first moment of every whole week of the last `quarters` that have ended by `as_of`.

    Raises:
        UsageError: fewer than one quarter is asked for.

    Example:
        >>> days = weekly_origins(as_of=datetime(2026, 4, 9), settings=Settings(), quarters=1)
        >>> len(days), str(days[0].date()), str(days[-1].date())
        (13, '2026-01-01', '2026-03-26')
    """
    if quarters < 1:
        raise UsageError(f"`quarters` is {quarters}; replay at least 1")
    company = settings.company
    first = fiscal_month(company.fiscal_year_starts)
    period = period_of(local_day(as_of, company.time_zone), "quarter", fiscal_start_month=first)
    origins: list[datetime] = []
    found = 0
    while found < quarters:
        begin, end = period.bounds(company.time_zone)
        if end <= as_of:
            origins += [begin + week * WEEK for week in range((end - begin) // WEEK)]
            found += 1
        before = period.start - timedelta(days=1)
        period = period_of(before, "quarter", fiscal_start_month=first)
    return sorted(origins)


def fitting_days(origins: Sequence[datetime]) -> dict[datetime, datetime]:
    """For each day, the day on which the model that scores it is fitted: itself, or one before it.

    Example:
        >>> days = [datetime(2026, 1, day) for day in (1, 8, 15, 22, 29)]
        >>> [fitting_days(days)[day].day for day in days]
        [1, 1, 1, 1, 29]
    """
    found: dict[datetime, datetime] = {}
    last: datetime | None = None
    for origin in sorted(set(origins)):
        if last is None or origin - last >= timedelta(days=REFIT_DAYS):
            last = origin
        found[origin] = last
    return found
