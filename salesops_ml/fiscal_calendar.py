"""The company's fiscal calendar: calendar months, or weeks counted 4-4-5 as retailers do.

A company that counts in weeks cuts each quarter of 13 weeks into "months" of 4, 4 and 5 weeks (or
4-5-4, or 5-4-4), so that a month has the same weekends every year. Its year ends on one weekday: the one
nearest to the end of a month, or the last one in it (the two forms of 52-53-week years in the United
States' tax rules). Every five or six years a 53rd week is left over; it goes into the last month. The
National Retail Federation's calendar is 4-5-4, its year ends on the Saturday nearest to 31 January.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from salesops_ml.periods import WEEKDAYS, Grain, Period, Weekday, period_of

Pattern = Literal["months", "4-4-5", "4-5-4", "5-4-4"]
_WEEK = timedelta(days=7)
_QUARTER_WEEKS = 13


@dataclass(frozen=True)
class FiscalCalendar:
    """Which days make a fiscal month, quarter and year.

    Periods touch: the one after ends where the next begins. Months of calendar months are named for
    the calendar (2026-03), months of weeks by their number in the fiscal year (2026-P03).

    Attributes:
        starts: the month that the year begins in, 1..12.
        pattern: calendar months, or the weeks of a quarter's three months.
        week_ends: the last day of the week, where months are weeks.
        year_end: whether such a year ends on the `week_ends` nearest to the end of the month before
            `starts`, or on the last one in that month.
        named_for: whether a year is named for the calendar year it ends in or starts in.

    Example:
        >>> retail = FiscalCalendar(2, "4-5-4", "sat", "nearest", "start")
        >>> year = retail.period_of(date(2023, 6, 1), "year")
        >>> year.label, str(year.start), str(year.end)
        ('2023', '2023-01-29', '2024-02-04')
        >>> retail.period_of(date(2024, 2, 3), "month").label
        '2023-P12'
    """

    starts: int = 1
    pattern: Pattern = "months"
    week_ends: Weekday = "sat"
    year_end: Literal["nearest", "last"] = "nearest"
    named_for: Literal["end", "start"] = "end"

    @property
    def by_weeks(self) -> bool:
        """Whether months are made of weeks."""
        return self.pattern != "months"

    def period_of(self, day: date, grain: Grain) -> Period:
        """The fiscal period that `day` falls in."""
        if self.by_weeks:
            return self._of_weeks(day, grain)
        period = period_of(day, grain, fiscal_start_month=self.starts)
        if grain == "month" or self._name(0) == 0:
            return period
        year, _, rest = period.label.partition("-")
        label = "-".join(filter(None, (str(self._name(int(year))), rest)))
        return Period(period.start, period.end, label)

    def periods_from(self, day: date, grain: Grain, count: int) -> list[Period]:
        """The period of `day` and those after it, `count` in all."""
        done: list[Period] = []
        while len(done) < count:
            done.append(self.period_of(day, grain))
            day = done[-1].end
        return done

    def periods_between(self, first: date, last: date, grain: Grain) -> list[Period]:
        """Every period that touches `first` .. `last`, both included."""
        done: list[Period] = []
        while first <= last:
            done.append(self.period_of(first, grain))
            first = done[-1].end
        return done

    def before(self, period: Period, grain: Grain) -> Period:
        """The period that ends where `period` begins."""
        return self.period_of(period.start - timedelta(days=1), grain)

    def month_of_quarter(self, day: date) -> int:
        """0, 1 or 2: which month of its fiscal quarter `day` lies in."""
        quarter = self.period_of(day, "quarter")
        return len(self.periods_between(quarter.start, day, "month")) - 1

    def _name(self, year: int) -> int:
        """What the fiscal year that ends in calendar year `year` is called."""
        return year - (self.named_for == "start" and self.starts > 1)

    def _of_weeks(self, day: date, grain: Grain) -> Period:
        year = day.year
        while day >= self._after(year):
            year += 1
        while day < self._after(year - 1):
            year -= 1
        start, end, name = self._after(year - 1), self._after(year), str(self._name(year))
        if grain == "year":
            return Period(start, end, name)
        weeks = (
            [_QUARTER_WEEKS] if grain == "quarter" else [int(n) for n in self.pattern.split("-")]
        )
        borders = [start]
        for length in weeks * 4:
            borders.append(borders[-1] + length * _WEEK)
        borders[-1] = end
        number = next(place for place, border in enumerate(borders) if border > day)
        label = f"{name}-Q{number}" if grain == "quarter" else f"{name}-P{number:02d}"
        return Period(borders[number - 1], borders[number], label)

    def _after(self, year: int) -> date:
        """The first day after the fiscal year that nominally ends in calendar year `year`."""
        nominal = date(year + (self.starts == 1), self.starts, 1) - timedelta(days=1)
        back = (nominal.weekday() - WEEKDAYS.index(self.week_ends)) % 7
        if self.year_end == "nearest" and back > 3:
            back -= 7
        return nominal - timedelta(days=back - 1)
