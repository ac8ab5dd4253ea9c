"""The time that a portal may spend on each method: 480 s in ten minutes, of which we use nine tenths.

A method that took more is closed to every application of the company, so a batch is sent only where what
it will take, by what batches before it took, still fits beside those in flight. How much is used the
portal tells with each answer; what we spent ourselves comes back ten minutes later.

Source: Bitrix24 REST documentation, "REST API Limits" (`time.operating`, `time.operating_reset_at`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

from salesops_ml.crm.limits import WAITS, Clock

ALLOWED, WINDOW = 480.0, 600.0
NEARLY = 0.9
"""The share that we use; the rest is left to others."""


@dataclass(frozen=True)
class _Spent:
    """What commands of ours took together, somewhere between two moments; not sure if no answer came."""

    began: float
    ended: float
    amount: float
    sure: bool = True


@dataclass
class _Method:
    """What is known of a method: what was used when the portal last told, and by which of our calls."""

    used: float | None = None
    told_at: float = 0.0
    free_at: float = 0.0
    a_command: float = 0.0
    ours: deque[_Spent] = field(default_factory=deque)
    in_flight: int = 0
    reserved: float = 0.0

    def used_by_now(self, now: float) -> float:
        """What was told, without what of it we surely spent more than a window ago."""
        counted, back = self.told_at - WINDOW, now - WINDOW
        sure = [one for one in self.ours if one.sure]
        gone = sum(one.amount for one in sure if counted < one.began and one.ended <= back)
        return (self.used or 0.0) - gone

    def taken(self, used: Sequence[float], now: float) -> tuple[float, float]:
        """What a batch took at least, and what one of its commands takes, rather more than less.

        By what each told was used: what was spent a window ago may come back between two commands, and
        what others spend meanwhile is among it.
        """
        if len(used) == 1:
            one = 0.0 if self.used is None else max(0.0, used[0] - self.used_by_now(now))
            return one, one
        rises = [after - before for before, after in pairwise(used) if after > before]
        if not rises:
            return 0.0, self.a_command
        return min(rises) * len(used), max(median(rises), sum(rises) / len(rises))

    def lose(self, spent: _Spent) -> None:
        """Count what a call may have taken whose answer did not come."""
        if self.used is not None:
            self.used += spent.amount
            self.ours.append(spent)

    def wait(self, commands: int, now: float) -> float:
        """Seconds until so many commands may be sent; 0 for now."""
        if self.used is None:
            return WAITS if self.in_flight else 0.0
        fits = ALLOWED * NEARLY - self.used_by_now(now) - self.reserved
        if commands * self.a_command <= fits:
            return 0.0
        if self.in_flight:
            return WAITS
        later = [one.ended + WINDOW - now for one in self.ours if one.ended + WINDOW > now]
        return min(later, default=max(0.0, self.free_at - now))


class OperatingTime:
    """Hands out the time of methods, over threads.

    Example:
        >>> time = OperatingTime(Clock(factor=1000))
        >>> with time.spend("crm.item.update", 50) as began:
        ...     time.note("crm.item.update", [{"operating": 2.0}, {"operating": 4.0}], began=began)
        >>> time.used("crm.item.update")
        4.0
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._methods: dict[str, _Method] = {}

    @contextmanager
    def spend(self, method: str, commands: int) -> Iterator[float]:
        """Wait until so many commands fit, and hold their time for the block; gives its beginning.

        A call that failed may have been carried out all the same: its time counts until the next tells.
        """
        known, held = self._wait(method, commands)
        began = self._clock.now()
        try:
            yield began
        except BaseException:
            with self._lock:
                known.lose(_Spent(began, self._clock.now(), held, sure=False))
            raise
        finally:
            with self._lock:
                known.in_flight -= 1
                known.reserved -= held

    def note(self, method: str, times: Sequence[Any], *, began: float) -> None:
        """What the commands of a batch that began then told, in order, each in its `time`."""
        told = [time for time in times if isinstance(time, Mapping)]
        used = [float(t["operating"]) for t in told if isinstance(t.get("operating"), int | float)]
        if not used:
            return
        with self._lock:
            known, now = self._methods.setdefault(method, _Method()), self._clock.now()
            added, known.a_command = known.taken(used, now)
            # Answers overtake each other: one that was told earlier may be noted later.
            at_least = known.used_by_now(now) if known.told_at > began else 0.0
            known.used, known.told_at = max(used[-1], at_least), now
            known.free_at = now + until_free(told[-1])
            while known.ours and known.ours[0].ended <= now - 2 * WINDOW:
                known.ours.popleft()
            known.ours.append(_Spent(began, now, added))

    def used(self, method: str) -> float:
        """What the portal spent on a method in the last ten minutes, as far as is known."""
        with self._lock:
            known = self._methods.get(method)
            return 0.0 if known is None else known.used_by_now(self._clock.now())

    def _wait(self, method: str, commands: int) -> tuple[_Method, float]:
        while True:
            with self._lock:
                known = self._methods.setdefault(method, _Method())
                wait = known.wait(commands, self._clock.now())
                if wait <= 0:
                    held = commands * known.a_command
                    known.in_flight += 1
                    known.reserved += held
                    return known, held
            self._clock.sleep(max(wait, WAITS * self._clock.factor))


def until_free(time: Any) -> float:
    """Seconds until a part of a method's operating time comes back; 0 where that is not told.

    Both moments are the portal's, so no clock of ours is asked.

    Example:
        >>> until_free({"operating_reset_at": 1705765533, "finish": 1705765500.5})
        32.5
    """
    if not isinstance(time, Mapping):
        return 0.0
    reset, now = time.get("operating_reset_at"), time.get("finish")
    if not (isinstance(reset, int | float) and isinstance(now, int | float)):
        return 0.0
    return max(0.0, reset - now)
