"""Which months and quarters a forecast speaks of, and how far away they are.

The month of `as_of` and the following ones are published, with every quarter that they touch; the
months are carried on to the end of the last quarter so that quarters are whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np

from salesops_ml.fiscal_calendar import FiscalCalendar
from salesops_ml.forecasts.batch import Floats
from salesops_ml.periods import Period
from salesops_ml.settings import Company

_DAY = 86_400.0


@dataclass(frozen=True)
class Outlook:
    """The periods ahead of one day.

    Attributes:
        as_of: the day.
        months: from the month of `as_of` to the end of the last quarter.
        published: how many of the months are published.
        quarters: the quarters that the published months touch.
        ends: days from `as_of` to the end of each month.
        time_zone, calendar: the company's.
    """

    as_of: datetime
    months: tuple[Period, ...]
    published: int
    quarters: tuple[Period, ...]
    ends: Floats
    time_zone: str
    calendar: FiscalCalendar

    @property
    def starts(self) -> Floats:
        """Days from `as_of` to where each month begins to lie ahead: 0 for the first."""
        return np.concatenate([[0.0], self.ends[:-1]])

    @property
    def ahead(self) -> float:
        """Share of the first month that still lies ahead, 0..1."""
        begin, end = self.months[0].bounds(self.time_zone)
        return float(self.ends[0]) * _DAY / (end - begin).total_seconds()

    @property
    def month_opened(self) -> datetime:
        """First moment of the month of `as_of`."""
        return self.months[0].bounds(self.time_zone)[0]

    @property
    def quarter_opened(self) -> datetime:
        """First moment of the quarter of `as_of`."""
        return self.quarters[0].bounds(self.time_zone)[0]

    @property
    def months_of_quarters(self) -> Floats:
        """Matrix (quarters, months) with a 1 where the month lies in the quarter."""
        inside = [
            [quarter.start <= month.start < quarter.end for month in self.months]
            for quarter in self.quarters
        ]
        return np.array(inside, dtype=np.float64)


def outlook(as_of: datetime, *, months: int, company: Company) -> Outlook:
    """The periods ahead of `as_of`: its own month, `months` after it, and their quarters.

    Example:
        >>> view = outlook(datetime(2026, 2, 10), months=2, company=Company())
        >>> [month.label for month in view.months], [quarter.label for quarter in view.quarters]
        (['2026-02', '2026-03', '2026-04', '2026-05', '2026-06'], ['2026-Q1', '2026-Q2'])
    """
    calendar = company.calendar
    today = local_day(as_of, company.time_zone)
    wanted = calendar.periods_from(today, "month", months + 1)
    quarters = calendar.periods_between(wanted[0].start, wanted[-1].start, "quarter")
    final = quarters[-1].end
    whole = list(wanted)
    while whole[-1].end < final:
        whole.append(calendar.period_of(whole[-1].end, "month"))
    ends = [(p.bounds(company.time_zone)[1] - as_of).total_seconds() / _DAY for p in whole]
    return Outlook(
        as_of,
        tuple(whole),
        len(wanted),
        tuple(quarters),
        np.array(ends),
        company.time_zone,
        calendar,
    )


def local_day(moment: datetime, time_zone: str) -> date:
    """The calendar day of a naive UTC moment in the company's time zone."""
    return moment.replace(tzinfo=UTC).astimezone(ZoneInfo(time_zone)).date()
