"""How long things last when some are not over yet: what still goes on counts as "at least so long".

Leaving out the open ones would keep just the quick ones, and every duration would look too short.
Kaplan and Meier (1958), J. Am. Stat. Assoc. 53, 457-481, for any exit; Aalen and Johansen (1978),
Scand. J. Stat. 5, 141-150, for exits by several doors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
STILL_THERE = 0
_ROUNDING = 1e-9


@dataclass(frozen=True)
class ExitCurve:
    """Shares that have left by each time, in all and by door.

    Attributes:
        times: (t,) distinct durations, rising.
        left: (t,) share that has left by then, by any door: 1 - S(t).
        by_door: door -> (t,) share that has left by that door.
        known_until: up to where the curve says anything; infinite where all have left.
        n: how many were followed.
    """

    times: Floats
    left: Floats
    by_door: dict[int, Floats]
    known_until: float
    n: int

    def share(self, at: float, door: int | None = None) -> float:
        """Share that has left by `at`, by any door or by the one given."""
        place = int(np.searchsorted(self.times, at, side="right")) - 1
        return 0.0 if place < 0 else float(self._curve(door)[place])

    def quantile(self, share: float, door: int | None = None) -> float:
        """Smallest time by which `share` of all have left (by that door); NaN where not reached."""
        curve = self._curve(door)
        place = int(np.searchsorted(curve, share - _ROUNDING))
        return float(self.times[place]) if place < len(curve) else float("nan")

    def quantile_given(self, share: float, door: int) -> float:
        """Smallest time by which `share` of those who leave by `door` have left."""
        ends = self.share(np.inf, door)
        return self.quantile(share * ends, door) if ends > 0 else float("nan")

    def _curve(self, door: int | None) -> Floats:
        if door is None:
            return self.left
        return self.by_door.get(door, np.zeros(len(self.times)))


def exit_curve(duration: Floats, door: Ints) -> ExitCurve:
    """The curve of a group.

    Args:
        duration: (n,) time until the exit, or until last seen.
        door: (n,) by which door it left, 1, 2, ...; 0 where it was still there.

    Example:
        >>> exit_curve(np.array([1.0, 2.0, 3.0]), np.array([1, 0, 2])).left.round(3).tolist()
        [0.333, 0.333, 1.0]
    """
    times, block = np.unique(duration, return_inverse=True)
    everyone = np.bincount(block, minlength=len(times))
    at_risk = len(duration) - np.concatenate([[0], np.cumsum(everyone)[:-1]])
    exits = np.bincount(block, weights=door != STILL_THERE, minlength=len(times))
    staying = np.cumprod(1 - exits / at_risk)
    before = np.concatenate([[1.0], staying[:-1]])
    by_door = {}
    for number in np.unique(door[door != STILL_THERE]):
        through = np.bincount(block, weights=door == number, minlength=len(times))
        by_door[int(number)] = np.cumsum(before * through / at_risk)
    complete = len(staying) > 0 and staying[-1] <= _ROUNDING
    until = np.inf if complete else float(times[-1]) if len(times) else 0.0
    return ExitCurve(times, 1 - staying, by_door, until, len(duration))


def exit_curves(
    frame: pd.DataFrame, keys: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], ExitCurve]]:
    """The curve of each group of `frame`, in the order of the keys.

    `frame` has the key columns, `duration` and `door`; its own order does not matter.
    """
    if frame.empty:
        return
    group = frame.groupby(list(keys), sort=True, observed=True)
    code = group.ngroup().to_numpy()
    duration = frame["duration"].to_numpy(dtype=np.float64)
    order = np.lexsort((duration, code))
    duration, door = duration[order], frame["door"].to_numpy(dtype=np.int64)[order]
    starts = np.searchsorted(code[order], np.arange(group.ngroups))
    names = frame.iloc[order[starts]][list(keys)].to_numpy(dtype=object)
    for name, start, stop in zip(names, starts, [*starts[1:], len(frame)], strict=True):
        yield tuple(name), exit_curve(duration[start:stop], door[start:stop])
