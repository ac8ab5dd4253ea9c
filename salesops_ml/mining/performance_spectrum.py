"""The performance spectrum: how quickly deals passed from one stage to the next, over time.

A transition's median hides when it was slow, whether deals overtake one another, and whether they
move in batches. The spectrum lays every passing, or their counts by class of duration, along the time
at which they began (Denisov, Fahland and van der Aalst, Unbiased, fine-grained description of
processes performance from event data, BPM 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from salesops_ml.errors import UsageError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.codes import recoded
from salesops_ml.mining.steps import Floats, Ints, Steps, as_steps
from salesops_ml.mining.visits import NOWHERE, Visits, visits_of

if TYPE_CHECKING:
    import pandas as pd

CLASSES = ("quickest", "quick", "slow", "slowest")
GRAINS = ("day", "week", "month", "quarter")
MOST_BINS = 60
"""Of the grains, the finest that cuts the log into no more bins than that is taken."""
_LENGTHS = (1.0, 7.0, 30.44, 91.31)
_MONDAY = np.datetime64("1970-01-05", "D")

PASS_COLUMNS = {
    "source": "stage left",
    "target": "stage entered",
    "case_id": "the deal",
    "entered_at": "when it entered the source, UTC",
    "left_at": "when it entered the target, UTC",
    "days": "days between",
    "class": "quickest, quick, slow or slowest: the quarter of the segment's durations in which it is",
}

COLUMNS = {
    "source": "stage left",
    "target": "stage entered",
    "grain": "length of the bins: day, week (from Monday), month or quarter, UTC",
    "bin_start": "first day of the bin, in which the deals entered the source",
    "count": "passings that began in the bin",
    "quickest": "of these, those within the first quartile of the segment's durations",
    "quick": "those above the first quartile, up to the median",
    "slow": "those above the median, up to the third quartile",
    "slowest": "those above the third quartile",
    "waiting": "deals that entered the source in the bin and are there still, whichever way they will "
    "go: a late bin is not quick because its slow deals have not moved yet",
    "passings": "passings of the segment in all",
    "p25_days": "first quartile of its durations",
    "p50_days": "median",
    "p75_days": "third quartile",
}


def performance_spectrum(
    log: Any,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    clock: Clock | None = None,
    grain: str | None = None,
    limit: int | None = None,
) -> pd.DataFrame:
    """Counts of each segment's passings by time and by class of duration.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        clock: calendar days (default) or working days.
        grain: one of `GRAINS`; by default the finest that gives at most `MOST_BINS` bins.
        limit: keep the segments passed most often.

    Returns:
        A frame with the columns of `COLUMNS`, the segment passed most often first, then by bin; bins
        in which nothing began are left out.

    Raises:
        UsageError: `grain` is unknown. SchemaError, DataError, UsageError: see `as_steps`.

    Example:
        >>> import pandas as pd
        >>> days = ["2026-01-05", "2026-01-06", "2026-01-07", "2026-01-30"]
        >>> log = pd.DataFrame({"case:concept:name": list("aabb"),
        ...     "concept:name": ["Lead", "Offer"] * 2, "time:timestamp": pd.to_datetime(days)})
        >>> performance_spectrum(log, grain="week")[["count", "quickest", "slowest"]].values.tolist()
        [[2, 1, 1]]
    """
    import pandas as pd

    if grain is not None and grain not in GRAINS:
        raise UsageError(f"`grain`: {grain!r} is not known; give one of {', '.join(GRAINS)}")
    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    visits = visits_of(steps, clock or Clock())
    passing = _Passings(steps, visits)
    entered = steps.at[visits.row]
    grain = grain or _fitting_grain(entered)
    start = _bins(entered, grain)
    bins, place = np.unique(start, return_inverse=True)
    shape = (passing.segments, len(bins))
    counts = np.zeros((*shape, len(CLASSES)), dtype=np.int64)
    np.add.at(counts, (passing.segment, place[passing.moved], passing.quarter), 1)
    waits = np.zeros((len(steps.activities), len(bins)), dtype=np.int64)
    np.add.at(waits, (visits.stage[~visits.exited], place[~visits.exited]), 1)
    waiting = waits[passing.source] if passing.segments else np.zeros(shape, dtype=np.int64)
    kept = np.nonzero((counts.sum(axis=2) > 0) | (waiting > 0))
    names = np.array(steps.activities, dtype=object)
    frame = pd.DataFrame({
        "source": names[passing.source[kept[0]]],
        "target": names[passing.target[kept[0]]],
        "grain": np.full(len(kept[0]), grain, dtype=object),
        "bin_start": bins[kept[1]].astype("datetime64[us]"),
        "count": counts.sum(axis=2)[kept],
        **{name: counts[(*kept, turn)] for turn, name in enumerate(CLASSES)},
        "waiting": waiting[kept],
        "passings": passing.often[kept[0]],
        **{f"p{level}_days": passing.cuts[kept[0], turn] for turn, level in enumerate((25, 50, 75))},
    })  # fmt: skip
    return _ordered(frame, ["bin_start"], limit)[list(COLUMNS)]


def spectrum_passings(
    log: Any,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    clock: Clock | None = None,
    limit: int | None = None,
) -> pd.DataFrame:
    """Every passing on its own, for a picture with a line each; arguments as `performance_spectrum`.

    Returns:
        A frame with the columns of `PASS_COLUMNS`, the segment passed most often first, then by time
        and deal.
    """
    import pandas as pd

    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    visits = visits_of(steps, clock or Clock())
    passing = _Passings(steps, visits)
    names, row = np.array(steps.activities, dtype=object), visits.row[passing.moved]
    frame = pd.DataFrame({
        "source": names[passing.source[passing.segment]],
        "target": names[passing.target[passing.segment]],
        "case_id": steps.case_ids[steps.case[row]],
        "entered_at": steps.at[row].astype("datetime64[us]"),
        "left_at": steps.at[row + 1].astype("datetime64[us]"),
        "days": visits.days[passing.moved],
        "class": np.array(CLASSES, dtype=object)[passing.quarter],
        "passings": passing.often[passing.segment],
    })  # fmt: skip
    return _ordered(frame, ["entered_at", "case_id", "left_at"], limit)[list(PASS_COLUMNS)]


class _Passings:
    """The visits that led on to another event: their segment and the quarter of their duration.

    Attributes:
        moved: (k,) rows of the visits. segment: (k,) code of their segment. quarter: (k,) 0 to 3.
        source, target: (s,) stages of each segment. often: (s,) passings. cuts: (s, 3) quartiles.
    """

    def __init__(self, steps: Steps, visits: Visits) -> None:
        stages = len(steps.activities)
        self.moved = np.flatnonzero(visits.target != NOWHERE)
        pair = visits.stage[self.moved] * stages + visits.target[self.moved]
        keys, self.segment = recoded(pair, stages * stages)
        self.segments = len(keys)
        self.source, self.target = keys // max(stages, 1), keys % max(stages, 1)
        self.often = np.bincount(self.segment, minlength=len(keys))
        days = visits.days[self.moved]
        self.cuts = _quartiles(self.segment, days, len(keys))
        self.quarter: Ints = (days[:, None] > self.cuts[self.segment]).sum(axis=1)


def _quartiles(segment: Ints, days: Floats, segments: int) -> Floats:
    """(segments, 3) quartiles of the durations, between neighbouring values."""
    import pandas as pd

    grouped = pd.Series(days).groupby(segment)
    levels = [grouped.quantile(level).reindex(range(segments)) for level in (0.25, 0.5, 0.75)]
    return np.stack([level.to_numpy(dtype=np.float64) for level in levels], axis=1)


def _fitting_grain(moments: Ints) -> str:
    """The finest grain that cuts the time from the first moment to the last into few enough bins."""
    if not len(moments):
        return GRAINS[0]
    ends = np.array([moments.min(), moments.max()])
    for grain, length in zip(GRAINS, _LENGTHS, strict=True):
        span = int(np.diff(_bins(ends, grain)).astype("timedelta64[D]").astype(np.int64)[0])
        if span / length < MOST_BINS - 0.5:
            return grain
    return GRAINS[-1]


def _bins(moments: Ints, grain: str) -> npt.NDArray[np.datetime64]:
    """(n,) first day of the bin of each moment."""
    day = moments.astype("datetime64[us]").astype("datetime64[D]")
    if grain == "week":
        since = (day - _MONDAY).astype(np.int64)
        return np.asarray(day - (since % 7).astype("timedelta64[D]"))
    month = day.astype("datetime64[M]")
    if grain == "quarter":
        month = month - month.astype(np.int64) % 3
    return np.asarray(day if grain == "day" else month.astype("datetime64[D]"))


def _ordered(frame: pd.DataFrame, then: list[str], limit: int | None) -> pd.DataFrame:
    """Segments by their passings, then by name, the first `limit` of them."""
    keys = ["passings", "source", "target"]
    frame = frame.sort_values([*keys, *then], ascending=[False, True, True, *[True] * len(then)])
    if limit is not None:
        kept = frame.drop_duplicates(["source", "target"]).head(limit)[["source", "target"]]
        frame = frame.merge(kept, on=["source", "target"])
    return frame.reset_index(drop=True)
