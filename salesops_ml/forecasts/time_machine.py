"""Every week of the last quarters, forecast again with what was known then: the days to replay.

A quarter of thirteen weeks is forecast thirteen times, from its first moment on. The deal model of a day
is fitted anew once a month, on what was known on the first of the month's days.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from salesops_ml.errors import UsageError
from salesops_ml.forecasts.outlook import local_day
from salesops_ml.settings import Settings

WEEK = timedelta(days=7)
STEPS = {"week": WEEK, "fortnight": 2 * WEEK, "month": 4 * WEEK}
"""How far apart the days of a replay may lie; a month is four weeks, so that days keep their place."""
REFIT_DAYS = 28


def weekly_origins(
    *, as_of: datetime, settings: Settings, quarters: int, every: str = "week"
) -> list[datetime]:
    """The first moment of every whole week of the last `quarters` that have ended by `as_of`.

    Args:
        every: a name of `STEPS`; beyond `week`, the first week and those at that distance from it.

    Raises:
        UsageError: fewer than one quarter is asked for, or the step has no such name.

    Example:
        >>> days = weekly_origins(as_of=datetime(2026, 1, 9), settings=Settings(), quarters=1)
        >>> len(days), str(days[0].date()), str(days[-1].date())
        (13, '2025-10-01', '2025-12-24')
    """
    if quarters < 1:
        raise UsageError(f"`quarters` is {quarters}; replay at least 1")
    if every not in STEPS:
        raise UsageError(f"`every` is `{every}`; it can be: {', '.join(STEPS)}")
    company = settings.company
    period = company.calendar.period_of(local_day(as_of, company.time_zone), "quarter")
    origins: list[datetime] = []
    found = 0
    while found < quarters:
        begin, end = period.bounds(company.time_zone)
        if end <= as_of:
            weeks = range(0, (end - begin) // WEEK, STEPS[every] // WEEK)
            origins += [begin + week * WEEK for week in weeks]
            found += 1
        period = company.calendar.before(period, "quarter")
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
