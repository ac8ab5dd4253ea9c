"""Variants: the distinct paths that deals take through the stages, and what each is worth."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from salesops_ml.mining.clock import Clock
from salesops_ml.mining.dwell import stage_quantiles
from salesops_ml.mining.steps import LOST, NEVER, OPEN, WON, Floats, Ints, Steps, as_steps
from salesops_ml.mining.transitions import sum_known

if TYPE_CHECKING:
    import pandas as pd

ARROW = " → "

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
) -> pd.DataFrame:
    """Every variant of the log, most frequent first; equal counts are ordered by path.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        clock: calendar days (default) or working days.
        limit: keep the most frequent ones; shares are of all deals still.

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

    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    variant, example = group_paths(steps)
    count = np.bincount(variant, minlength=len(example))
    paths = [_path(steps, case) for case in example]
    frame = pd.DataFrame({"steps": pd.Series(paths, dtype=object), "count": count})
    frame["path"] = [ARROW.join(path) for path in paths]
    frame["length"] = [len(path) for path in paths]
    frame = frame.assign(**_fate(steps, variant, len(example), clock or Clock()))
    frame = frame.sort_values(["count", "path"], ascending=[False, True], ignore_index=True)
    frame["share"] = frame["count"] / max(len(variant), 1)
    frame["cumulative_share"] = frame["share"].cumsum()
    frame["variant"] = np.arange(1, len(frame) + 1)
    return frame[list(COLUMNS)].head(limit if limit is not None else len(frame))


def group_paths(steps: Steps) -> tuple[Ints, Ints]:
    """(m,) code of each case's path, and for each path one case that took it.

    Paths are told apart by a 64-bit hash, and then each case is compared with its example step by
    step; should two paths ever share a hash, another multiplier is taken.
    """
    starts = np.flatnonzero(steps.first)
    lengths = np.diff(np.append(starts, len(steps.case)))
    turn = np.arange(len(steps.case)) - np.repeat(starts, lengths)
    for seed in range(100):
        hashes = _hashes(steps.activity, turn, starts, seed)
        keyed = np.stack([hashes, lengths.astype(np.uint64)], axis=1)
        _, example, variant = np.unique(keyed, axis=0, return_index=True, return_inverse=True)
        variant = variant.reshape(-1)
        same = steps.activity[np.repeat(starts[example][variant], lengths) + turn]
        if bool((same == steps.activity).all()):
            break
    return variant.astype(np.int64), example.astype(np.int64)


def _hashes(activity: Ints, turn: Ints, starts: Ints, seed: int) -> npt.NDArray[np.uint64]:
    """A hash of each case's sequence: the sum over its steps of a random number per (step, turn)."""
    if not len(activity):
        return np.zeros(0, dtype=np.uint64)
    rng = np.random.default_rng(seed)
    top = np.iinfo(np.uint64).max
    by_activity = rng.integers(0, top, int(activity.max()) + 1, dtype=np.uint64, endpoint=True)
    by_turn = rng.integers(0, top, int(turn.max()) + 1, dtype=np.uint64, endpoint=True) | 1
    return np.add.reduceat(by_activity[activity] * by_turn[turn], starts)


def _path(steps: Steps, case: int) -> list[str]:
    rows = slice(*np.searchsorted(steps.case, [case, case + 1]))
    return [steps.activities[code] for code in steps.activity[rows]]


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
