"""Cutting a deal's future into intervals: the rows on which hazards are learned.

A row says: this deal, seen at this look, was still open at the start of this interval; did it end in
it, and how? Features are frozen at the look; only time goes on, and what the calendar and the clock
make of it (age then, days in stage then, distance to the expected close and to quarter end then).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salesops_ml.evaluation.censoring import OPEN, Floats

QUARTER_DAYS = 365.25 / 4
CLOCKS = {
    "f_age_days": ("age_then", 1.0),
    "f_days_in_stage": ("days_in_stage_then", 1.0),
    "f_days_to_expected_close": ("days_to_expected_close_then", -1.0),
    "f_days_since_activity": ("days_since_activity_then", 1.0),
    "f_days_since_quote": ("days_since_quote_then", 1.0),
    "f_days_since_outcome": ("days_since_outcome_then", 1.0),
}
"""Features that go on with time, their name then, and the direction in which they go."""


def interval_edges(horizon: int) -> Floats:
    """Borders of the intervals, days: daily at first, then wider, up to the horizon.

    Example:
        >>> interval_edges(60)[-4:].tolist()
        [50.0, 53.0, 56.0, 60.0]
    """
    edges = [*range(33), *range(34, 42, 2), *range(44, 63, 3), *range(67, 123, 7)]
    step = 14
    while edges[-1] < horizon:
        edges.append(edges[-1] + step)
        step = round(step * 1.25)
    inner = [edge for edge in edges if edge < horizon - 1]
    return np.array([*inner, horizon], dtype=float)


@dataclass(frozen=True)
class AtRisk:
    """Person-period rows: which look, which interval, and what happened in it.

    Attributes:
        row: index of the look. Shape (m,).
        interval: index of the interval. Shape (m,).
        event: 0 nothing, 1 won, 2 lost, in that interval. Shape (m,).
        weight: 1, or more where rows without event were thinned out. Shape (m,).
    """

    row: npt.NDArray[np.int64]
    interval: npt.NDArray[np.int64]
    event: npt.NDArray[np.int64]
    weight: Floats

    def clock(self, edges: Floats) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
        """Row, elapsed days at the middle of the interval, and its width, as `with_time` takes them."""
        middle = (edges[:-1] + edges[1:]) / 2
        return self.row, middle[self.interval], np.diff(edges)[self.interval]


def rows_at_risk(
    event: npt.NDArray[np.int64], duration: Floats, edges: Floats, *, most: int, seed: int
) -> AtRisk:
    """Every (look, interval) at risk; rows without event are thinned to about `most` in all.

    All rows with an event are kept and the kept others weigh more, so hazards stay unbiased
    (case-control sampling with inverse weights). A look censored inside an interval counts in it
    only when it was followed for at least half of it.
    """
    reached = np.searchsorted(edges[1:], np.maximum(duration, 1e-9), side="left")
    last = len(edges) - 2
    ended = (event != OPEN) & (reached <= last)
    middle = (edges[:-1] + edges[1:]) / 2
    inside = np.minimum(reached, last)
    half = (reached <= last) & (duration >= middle[inside])
    spans = np.where(ended | ~half, np.minimum(reached, last + 1), reached + 1).astype(np.int64)
    quiet = int(spans.sum())
    share = min(1.0, max(most - int(ended.sum()), most // 4, 1) / max(quiet, 1))
    row = np.repeat(np.arange(len(event)), spans)
    start = np.cumsum(spans) - spans
    interval = np.arange(quiet) - np.repeat(start, spans)
    if share < 1.0:
        kept = np.random.default_rng(seed).random(quiet) < share
        row, interval = row[kept], interval[kept]
    last_rows = np.flatnonzero(ended)
    return AtRisk(
        row=np.concatenate([row, last_rows]),
        interval=np.concatenate([interval, reached[ended]]),
        event=np.concatenate([np.zeros(len(row), dtype=np.int64), event[ended]]),
        weight=np.concatenate([np.full(len(row), 1.0 / share), np.ones(len(last_rows))]),
    )


def in_every_interval(looks: int, edges: Floats) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """Row, elapsed days and width of every interval of every look, looks outermost."""
    middle = (edges[:-1] + edges[1:]) / 2
    row = np.repeat(np.arange(looks), len(middle))
    return row, np.tile(middle, looks), np.tile(np.diff(edges), looks)


def with_time(
    matrix: Floats,
    names: tuple[str, ...],
    row: npt.NDArray[np.int64],
    elapsed: Floats,
    width: Floats,
) -> Floats:
    """The features of looks `row` plus what time makes of them. Shape (m, features + clocks).

    Args:
        matrix: features of the looks, columns `names`.
        elapsed: days since the look, at the middle of the interval. Shape (m,).
        width: length of the interval, days. Shape (m,).
    """
    columns: list[Floats] = [elapsed, width]
    for name, (_, direction) in CLOCKS.items():
        if name in names:
            columns.append(matrix[row, names.index(name)] + direction * elapsed)
    if "f_days_to_quarter_end" in names:
        left = matrix[row, names.index("f_days_to_quarter_end")] - elapsed
        columns.append(np.mod(left, QUARTER_DAYS))
    if "f_weekday" in names:
        then = np.floor(np.mod(matrix[row, names.index("f_weekday")] + elapsed, 7))
        columns.append(np.where(width <= 1, then, np.nan))
    room = np.empty((len(matrix), len(columns)))
    done = np.concatenate([matrix, room], axis=1)[row]  # copied once, as wide as it will be
    for place, column in enumerate(columns, start=matrix.shape[1]):
        done[:, place] = column
    return np.asarray(done)


def time_names(names: tuple[str, ...]) -> list[str]:
    """Names of the columns that `with_time` adds."""
    done = ["elapsed_days", "interval_days"]
    done += [then for name, (then, _) in CLOCKS.items() if name in names]
    if "f_days_to_quarter_end" in names:
        done.append("days_to_quarter_end_then")
    if "f_weekday" in names:
        done.append("weekday_then")
    return done
