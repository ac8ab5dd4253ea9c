"""The company's clock: days of the record, business hours, weekends and quarter ends.

A day is a number, 0 being the record's first. Within a day things happen between 07:00 and 19:00
UTC, evenly; the share of that stretch that is gone at a moment is its `share`, 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from salesops_ml.synthetic.draws import Floats
from salesops_ml.synthetic.parameters import WorldParameters

Days = npt.NDArray[np.int64]
Moments = npt.NDArray[np.datetime64]

OPENS_SECOND = 7 * 3600
OPEN_SECONDS = 12 * 3600
KINDS = 6
"""Kinds of day: (working day, weekend) x (usual, start of quarter, push at its end)."""


@dataclass(frozen=True)
class Clock:
    """Turns day numbers into moments and back, and says what kind of day it is."""

    first: date
    days: int
    push_days: int

    @classmethod
    def of(cls, world: WorldParameters) -> Clock:
        """The clock of a world."""
        first = world.end - timedelta(days=world.days - 1)
        return cls(first, world.days, world.push_days)

    @property
    def origin(self) -> np.datetime64:
        """Midnight of day 0."""
        return np.datetime64(self.first, "us")

    @property
    def end(self) -> np.datetime64:
        """The first moment after the record."""
        return self.origin + np.timedelta64(self.days, "D")

    def moments(self, day: npt.ArrayLike, share: npt.ArrayLike) -> Moments:
        """The moment at which `share` of the business hours of `day` is gone, to the second."""
        seconds = np.floor(np.asarray(share) * OPEN_SECONDS).astype(np.int64) + OPENS_SECOND
        total = np.asarray(day).astype(np.int64) * 86_400 + seconds
        moments: Moments = self.origin + total.astype("timedelta64[s]").astype("timedelta64[us]")
        return moments

    def position(self, moments: Moments) -> tuple[Days, Floats]:
        """Day number and share of its business hours gone at each moment."""
        passed = (moments.astype("datetime64[us]") - self.origin).astype(np.int64)
        day, within = np.divmod(passed, 86_400_000_000)
        share = (within / 1e6 - OPENS_SECOND) / OPEN_SECONDS
        return day, np.clip(share, 0.0, 1.0)

    def dates(self, day: npt.ArrayLike) -> Moments:
        """Calendar dates (`datetime64[D]`) of day numbers."""
        number = np.asarray(day).astype(np.int64)
        first = int(np.datetime64(self.first, "D").astype(np.int64))
        return np.asarray((first + number).astype("datetime64[D]"))

    def is_weekend(self, day: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether a day is a Saturday or Sunday."""
        return np.asarray(~np.is_busday(self.dates(day).astype("datetime64[D]")))

    def kind(self, day: npt.ArrayLike) -> Days:
        """The kind of day, 0 .. `KINDS` - 1; hazards depend on the calendar only through it."""
        dates = self.dates(day).astype("datetime64[D]")
        months = dates.astype("datetime64[M]")
        within = months.astype(np.int64) % 3
        start = (months - within.astype("timedelta64[M]")).astype("datetime64[D]")
        stop = (months + (3 - within).astype("timedelta64[M]")).astype("datetime64[D]")
        gone = (dates - start).astype(np.int64)
        left = (stop - dates).astype(np.int64)
        phase = np.where(left <= self.push_days, 2, np.where(gone < self.push_days, 1, 0))
        return 3 * self.is_weekend(day).astype(np.int64) + phase
