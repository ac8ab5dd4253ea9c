"""How waiting is told: in days of the calendar, or in working days of the company."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salesops_ml.periods import working_days
from salesops_ml.settings import Company, Process

_DAY = 86_400_000_000


@dataclass(frozen=True)
class Clock:
    """Turns two moments into the days between them.

    Attributes:
        working: count working days of the company, parts of days included; else calendar days.
        time_zone: IANA zone in which the company's days begin.
        week, holidays: the working week, and ISO dates that are off.

    Example:
        >>> friday, monday = np.datetime64("2026-11-20T12:00"), np.datetime64("2026-11-23T12:00")
        >>> ends = [np.array([m.astype("datetime64[us]").astype("int64")]) for m in (friday, monday)]
        >>> Clock().days(*ends).tolist(), Clock(working=True).days(*ends).tolist()
        ([3.0], [1.0])
    """

    working: bool = False
    time_zone: str = "UTC"
    week: tuple[str, ...] = ("mon", "tue", "wed", "thu", "fri")
    holidays: tuple[str, ...] = ()

    @classmethod
    def of(cls, company: Company, process: Process) -> Clock:
        """The clock that the settings ask for."""
        working = process.calendar == "working"
        return cls(working, company.time_zone, company.working_week, company.holidays)

    def days(
        self, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Days from `start` to `end`, both (n,) microseconds since the epoch, UTC."""
        if not self.working:
            return (end - start) / _DAY
        return working_days(
            self.local(start), self.local(end), week=self.week, holidays=self.holidays
        )

    def local(self, moments: npt.NDArray[np.int64]) -> npt.NDArray[np.datetime64]:
        """(n,) the company's wall clock at moments (n,) of microseconds since the epoch, UTC."""
        import pandas as pd

        utc = pd.DatetimeIndex(moments.astype("datetime64[us]"), tz="UTC")
        return utc.tz_convert(self.time_zone).tz_localize(None).to_numpy()
