"""Variants: the distinct paths that deals take through the stages, and what each is worth."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from salesops_ml.mining.clock import Clock
from salesops_ml.mining.dwell import stage_quantiles
from salesops_ml.mining.ended_steps import blocks_of_cases
from salesops_ml.mining.log_columns import ACTIVITY, CASE, TIMESTAMP
from salesops_ml.mining.steps import LOST, NEVER, OPEN, WON, Floats, Ints, Steps, as_steps
from salesops_ml.mining.transitions import sum_known

if TYPE_CHECKING:
    import pandas as pd

ARROW = " → "
_BLOCK = 1 << 16

COLUMNS = {
    "variant": "1 for the most frequent path, 2, 3, ...",
    "path": "its stages, joined by an arrow",
    "steps": "its stages, as a list",
    "length": "how many stages it has",
    "count": "deals that took exactly this path",
    "share": "share of all deals, 0..1",
    "cumulative_share": "share of this variant and those above it",
    "open": "of these deals, how many are still open",
    "duration_p50_days": "median days from the first stage to the last or the closing, deals still "
    "open counted as at least so long (Kaplan-Meier); null where the median is not reached",
    "win_rate": "won / (won + lost) of its closed deals; null where none is closed",
    "amount": "sum over its deals, company currency; null where no amount is known",
}


def variants(
    log: Any,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    clock: Clock | None = None,
    limit: int | None = None,
    case_id_key: str = CASE,
    activity_key: str = ACTIVITY,
    timestamp_key: str = TIMESTAMP,
    amount_key: str | None = None,
) -> pd.DataFrame:
    """Every variant of the log, most frequent first; equal counts are ordered by path.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        clock: calendar days (default) or working days.
        limit: keep the most frequent ones; shares are of all deals still.
        case_id_key, activity_key, timestamp_key, amount_key: names of columns, see `as_steps`.

    Returns:
        A frame with the columns of `COLUMNS`.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame({"case:concept:name": ["a", "a", "b"],
        ...     "concept:name": ["Lead", "Offer", "Lead"],
        ...     "time:timestamp": pd.to_datetime(["2026-01-01", "2026-01-05", "2026-01-02"])})
        >>> variants(log)[["path", "count", "share"]].values.tolist()
        [['Lead', 1, 0.5], ['Lead → Offer', 1, 0.5]]
    """
    import pandas as pd

    steps = as_steps(
        log, as_of=as_of, won=won, lost=lost, case_id_key=case_id_key, activity_key=activity_key,
        timestamp_key=timestamp_key, amount_key=amount_key,
    )  # fmt: skip
    variant, example = group_paths(steps)
    count = np.bincount(variant, minlength=len(example))
    kept = _most_frequent(steps, example, count, len(example) if limit is None else limit)
    paths = list(_paths(steps, example[kept]))
    frame = pd.DataFrame({"steps": pd.Series(paths, dtype=object), "count": count[kept]})
    frame["path"] = np.array([ARROW.join(path) for path in paths], dtype=object)
    frame["length"] = np.array([len(path) for path in paths], dtype=np.int64)
    fate = _fate(steps, variant, len(example), clock or Clock())
    frame = frame.assign(**{name: values[kept] for name, values in fate.items()})
    frame = frame.sort_values(["count", "path"], ascending=[False, True], ignore_index=True)
    frame["share"] = frame["count"] / max(len(variant), 1)
    frame["cumulative_share"] = frame["share"].cumsum()
    frame["variant"] = np.arange(1, len(frame) + 1)
    return frame[list(COLUMNS)]


def _most_frequent(steps: Steps, example: Ints, count: Ints, limit: int) -> Ints:
    """The `limit` most frequent variants, equal counts by path; no more paths are held than those."""
    if limit >= len(count):
        return np.arange(len(count))
    if limit <= 0:
        return np.zeros(0, dtype=np.int64)
    least = np.partition(count, len(count) - limit)[len(count) - limit]
    surely, equal = np.flatnonzero(count > least), np.flatnonzero(count == least)
    named = zip(_paths(steps, example[equal]), equal.tolist(), strict=True)
    first = heapq.nsmallest(limit - len(surely), ((ARROW.join(path), one) for path, one in named))
    return np.append(surely, np.array([one for _, one in first], dtype=np.int64))


def group_paths(steps: Steps) -> tuple[Ints, Ints]:
    """(m,) code of each case's path, and for each path one case that took it.

    Paths are told apart by a 64-bit hash, and then each case is compared with its example step by
    step; should two paths ever share a hash, another seed is taken.
    """
    starts = np.flatnonzero(steps.first)
    lengths = np.diff(np.append(starts, len(steps.case)))
    for seed in range(100):
        hashes = _hashes(steps, starts, lengths, seed)
        _, example, variant = np.unique(hashes, return_index=True, return_inverse=True)
        example, variant = example.astype(np.int64), variant.reshape(-1).astype(np.int64)
        if _same_paths(steps, starts, lengths, example[variant]):
            break
    return variant, example


def _hashes(steps: Steps, starts: Ints, lengths: Ints, seed: int) -> npt.NDArray[np.uint64]:
    """A hash of each case's sequence: the sum over its steps of a random number per (step, turn)."""
    rng = np.random.default_rng(seed)
    top = np.iinfo(np.uint64).max
    sizes = len(steps.activities), int(lengths.max(initial=0)) + 1
    by_activity, by_turn = (
        rng.integers(0, top, size, dtype=np.uint64, endpoint=True) | 1 for size in sizes
    )
    hashes = np.empty(len(starts), dtype=np.uint64)
    for rows in blocks_of_cases(steps.case, _BLOCK):
        cases = slice(steps.case[rows.start], steps.case[rows.stop - 1] + 1)
        turn = np.arange(rows.start, rows.stop) - np.repeat(starts[cases], lengths[cases])
        parts = by_activity[steps.activity[rows]] * by_turn[turn]
        hashes[cases] = np.add.reduceat(parts, starts[cases] - rows.start)
    return hashes


def _same_paths(steps: Steps, starts: Ints, lengths: Ints, example: Ints) -> bool:
    """Whether each case's path is that of its example."""
    if not np.array_equal(lengths, lengths[example]):
        return False
    for rows in blocks_of_cases(steps.case, _BLOCK):
        cases = slice(steps.case[rows.start], steps.case[rows.stop - 1] + 1)
        shift = starts[example[cases]] - starts[cases]
        other = np.arange(rows.start, rows.stop) + np.repeat(shift, lengths[cases])
        if not np.array_equal(steps.activity[other], steps.activity[rows]):
            return False
    return True


def _paths(steps: Steps, example: Ints) -> Iterator[list[str]]:
    """The activities of each example, in order."""
    name = np.array(steps.activities, dtype=object)
    start, end = np.searchsorted(steps.case, [example, example + 1])
    for first, last in zip(start.tolist(), end.tolist(), strict=True):
        yield name[steps.activity[first:last]].tolist()


def _fate(steps: Steps, variant: Ints, variants_count: int, clock: Clock) -> dict[str, Any]:
    """Durations, outcomes and money of each variant."""
    is_open = steps.outcome == OPEN
    begin, last = steps.at[steps.first], steps.at[steps.last]
    known_close = np.where(steps.closed == NEVER, last, steps.closed)
    end = np.where(is_open, steps.as_of, np.maximum(known_close, last))
    lasting = clock.days(begin, np.maximum(end, begin))
    half = stage_quantiles(variant, lasting, ~is_open, variants_count, (0.5,))[:, 0]
    won = _count(variant, steps.outcome == WON, variants_count)
    closed = won + _count(variant, steps.outcome == LOST, variants_count)
    return {
        "open": _count(variant, is_open, variants_count).astype(np.int64),
        "duration_p50_days": half,
        "win_rate": won / np.where(closed > 0, closed, np.nan),
        "amount": sum_known(variant, steps.amount, variants_count),
    }


def _count(variant: Ints, chosen: npt.NDArray[np.bool_], size: int) -> Floats:
    return np.bincount(variant, weights=chosen, minlength=size).astype(np.float64)
