"""Many series at once: a panel laid out as one matrix, so that smoothing runs over all of them.

Series end together at the right edge and are padded with NaN on the left, so that the last column is
each series' latest period, whatever its length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Batch:
    """Series as rows.

    Attributes:
        values: (series, periods), NaN before a series starts, none after.
        length: (series,) number of periods that each series has, at least 1.
        season: periods in a season; 1 where there is none.
    """

    values: Floats
    length: Ints
    season: int

    @property
    def periods(self) -> int:
        """Columns of the matrix: the length of the longest series."""
        return int(self.values.shape[1])

    @property
    def start(self) -> Ints:
        """Column of each series' first period."""
        return self.periods - self.length

    @property
    def known(self) -> Bools:
        """Where the matrix holds a period of the series, not padding."""
        return np.arange(self.periods)[None, :] >= self.start[:, None]

    def first(self, count: int | Ints) -> tuple[Floats, Ints]:
        """Mean of each series' first `count` periods (fewer where it is shorter), and how many."""
        taken = np.minimum(count, self.length).astype(np.int64)
        place = np.arange(self.periods)[None, :] - self.start[:, None]
        inside = (place >= 0) & (place < taken[:, None])
        return np.where(inside, self.values, 0.0).sum(axis=1) / taken, taken

    def take(self, rows: Bools) -> Batch:
        """The series that `rows` selects, without the padding that none of them needs."""
        length = self.length[rows]
        width = int(length.max(initial=1))
        return Batch(self.values[rows, self.periods - width :], length, self.season)

    def before(self, periods_ago: int) -> Batch:
        """What was known `periods_ago` periods before the end; each series must be longer."""
        stop = self.periods - periods_ago
        return Batch(self.values[:, :stop], self.length - periods_ago, self.season)

    def replaced(self, values: Floats) -> Batch:
        """The same layout with other values."""
        return Batch(values, self.length, self.season)

    def phases(self, horizon: int = 0) -> Ints:
        """Place in the season of each column and of `horizon` columns after it; the last is -1."""
        return (np.arange(self.periods + horizon) - self.periods) % self.season


def batch_of(series: list[Floats], season: int) -> Batch:
    """A batch from separate series, oldest value first.

    Example:
        >>> batch_of([np.array([1.0, 2.0, 3.0]), np.array([5.0])], season=1).values.tolist()
        [[1.0, 2.0, 3.0], [nan, nan, 5.0]]
    """
    length = np.array([len(values) for values in series], dtype=np.int64)
    width = int(length.max(initial=1))
    values = np.full((len(series), width), np.nan)
    for row, one in enumerate(series):
        values[row, width - len(one) :] = one
    return Batch(values, length, season)
