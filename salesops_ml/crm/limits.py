"""How fast a vendor may be called: windows of calls, how many at once, and how long to wait after a no.

A limit is kept over processes and over crashes: the times of the last calls stand in a small file of
our own, locked while it is read, so that a run that starts again after a crash, or beside another,
stays below the limit all the same. A call's place is free again one window after its *answer*, since
the vendor may have counted it at any moment up to then. Calls of windows longer than ten minutes are
counted by the quarter of an hour; where such a window is full nobody waits, `Throttled` says for how
long it is.
"""

from __future__ import annotations

import os
import random
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from salesops_ml.crm.file_lock import hold
from salesops_ml.errors import Throttled

_ENTRY = struct.Struct("<ddQ")
_PENDING = 0.0
LONG = 600.0
"""A longer window counts by slices, in seconds."""
SLICE = 900.0
_SLICE_MARK = 1 << 63
WAITS = 0.002
"""Shortest real pause while waiting for a place, in seconds."""


@dataclass(frozen=True)
class Clock:
    """Time as vendor and client both see it; `factor` speeds it up, for tests against a twin.

    Example:
        >>> fast = Clock(factor=1000)
        >>> start = fast.now(); fast.sleep(1.0); fast.now() - start >= 1.0
        True
    """

    factor: float = 1.0

    def now(self) -> float:
        """Seconds since some moment in the past; the same in all processes of this machine."""
        return time.monotonic() * self.factor

    def sleep(self, seconds: float) -> None:
        """Wait that many seconds of this clock."""
        if seconds > 0:
            time.sleep(seconds / self.factor)

    def real(self, seconds: float) -> float:
        """How long that is on the wall, in seconds."""
        return seconds / self.factor


@dataclass(frozen=True)
class Window:
    """At most `calls` calls in any `seconds` seconds."""

    calls: int
    seconds: float

    @classmethod
    def of_bucket(cls, *, a_second: float, burst: int) -> Window:
        """The window that never overflows a bucket of `burst` calls that drains at `a_second`.

        Half the bucket in the time in which half of it drains: in any time t that is at most
        `burst / 2 + a_second * t` calls, below the bucket's `burst + a_second * t`.

        Example:
            >>> Window.of_bucket(a_second=2, burst=50)
            Window(calls=25, seconds=12.5)
        """
        calls = max(1, burst // 2)
        return cls(calls, calls / a_second)


@dataclass(frozen=True)
class Limits:
    """What a vendor allows.

    Attributes:
        records_a_call: most records in one write.
        windows: calls in a time; all of them are kept, daily ones too.
        calls_at_once: calls in flight at the same time.
    """

    records_a_call: int
    windows: tuple[Window, ...] = ()
    calls_at_once: int = 1

    def records_a_second(self) -> float:
        """The most records that the windows let through, a second; infinite without windows."""
        rates = [window.calls / window.seconds for window in self.windows]
        return min(rates, default=float("inf")) * self.records_a_call


class Pace:
    """Hands out places for calls, below all windows, over threads, processes and crashes.

    Args:
        limits: what the vendor allows.
        clock: the clock that the windows are meant by.
        book: the file that keeps the times of the last calls; None keeps them in this process only.

    Example:
        >>> pace = Pace(Limits(1, (Window(calls=2, seconds=10),)), Clock(factor=1000))
        >>> start = pace.clock.now()
        >>> for _ in range(3):
        ...     with pace.call():
        ...         pass
        >>> pace.clock.now() - start >= 10
        True
    """

    def __init__(
        self, limits: Limits, clock: Clock | None = None, book: Path | None = None
    ) -> None:
        self.limits = limits
        self.clock = clock or Clock()
        self._book = _FileBook(book) if book else _MemoryBook()
        self._at_once = threading.BoundedSemaphore(max(1, limits.calls_at_once))
        self._short = [window for window in limits.windows if window.seconds <= LONG]
        self._long = [window for window in limits.windows if window.seconds > LONG]
        self._longest = max((window.seconds for window in self._short), default=0.0)
        self._oldest = max((window.seconds + SLICE for window in self._long), default=0.0)
        self._held_until = 0.0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Wait for a place, hold it for the length of the block.

        Raises:
            Throttled: a long window is full.
        """
        with self._at_once:
            place = self._wait_for_place()
            try:
                yield
            finally:
                if self.limits.windows:
                    with self._book.locked() as calls:
                        calls.end(place, self.clock.now())

    def hold(self, seconds: float) -> None:
        """Nobody calls for so long: the vendor said so."""
        self._held_until = max(self._held_until, self.clock.now() + seconds)

    def _wait_for_place(self) -> int:
        while True:
            wait = self._held_until - self.clock.now()
            if wait <= 0:
                if not self.limits.windows:
                    return 0
                with self._book.locked() as calls:
                    now = self.clock.now()
                    calls.forget(now, self._longest, self._oldest)
                    self._refuse_if_full(calls, now)
                    wait = max((self._wait(one, calls, now) for one in self._short), default=0.0)
                    if wait <= 0:
                        return calls.begin(now)
            self.clock.sleep(max(wait, WAITS * self.clock.factor))

    def _refuse_if_full(self, calls: _Calls, now: float) -> None:
        for window in self._long:
            seen = {
                start: count
                for start, count in calls.slices.items()
                if start > now - window.seconds - SLICE
            }
            if sum(seen.values()) >= window.calls:
                wait = min(seen) + SLICE + window.seconds - now
                raise Throttled(
                    f"{window.calls:,} calls in {window.seconds / 3600:,.0f} hours are used up; "
                    f"the next is free in {wait / 3600:,.1f} hours",
                    wait,
                )

    def _wait(self, window: Window, calls: _Calls, now: float) -> float:
        """Until when the window is full, from now; calls in flight are taken as answered just now."""
        ends = sorted(end or max(begun, now) for begun, end in calls.times())
        inside = [end for end in ends if end > now - window.seconds]
        if len(inside) < window.calls:
            return 0.0
        return inside[len(inside) - window.calls] + window.seconds - now


class _Calls:
    """The last calls: when each began, and when its answer came (0: in flight)."""

    def __init__(self) -> None:
        self.entries: dict[int, tuple[float, float]] = {}
        self.slices: dict[float, int] = {}
        self.next = 1

    def times(self) -> list[tuple[float, float]]:
        return list(self.entries.values())

    def begin(self, now: float) -> int:
        place, self.next = self.next, self.next + 1
        self.entries[place] = (now, _PENDING)
        start = now // SLICE * SLICE
        self.slices[start] = self.slices.get(start, 0) + 1
        return place

    def end(self, place: int, now: float) -> None:
        if place in self.entries:
            self.entries[place] = (self.entries[place][0], now)

    def forget(self, now: float, longest: float, oldest: float) -> None:
        """Drop what no window can see: long answered, orphaned by a crash, or from before a reboot."""
        self.entries = {
            place: (begun, end)
            for place, (begun, end) in self.entries.items()
            if begun <= now and (end or begun + longest) > now - longest
        }
        self.slices = {
            start: count for start, count in self.slices.items() if now - oldest < start <= now
        }


class _MemoryBook:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = _Calls()

    @contextmanager
    def locked(self) -> Iterator[_Calls]:
        with self._lock:
            yield self._calls


class _FileBook:
    """The calls in a file, under a lock that all processes respect."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    @contextmanager
    def locked(self) -> Iterator[_Calls]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                hold(file, wait=True, what=str(self._path))
                calls = _read(file)
                yield calls
                _write(file, calls)
            finally:
                os.close(file)


def _read(file: int) -> _Calls:
    data = os.pread(file, os.fstat(file).st_size, 0)
    whole = len(data) - len(data) % _ENTRY.size
    calls = _Calls()
    for begun, end, place in _ENTRY.iter_unpack(data[:whole]):
        if place & _SLICE_MARK:
            calls.slices[begun] = place ^ _SLICE_MARK
            continue
        calls.entries[place] = (begun, end)
        calls.next = max(calls.next, place + 1)
    return calls


def _write(file: int, calls: _Calls) -> None:
    """Over the old entries first, then shortened: a kill in between leaves too many, never too few."""
    rows = [(begun, end, place) for place, (begun, end) in calls.entries.items()]
    rows += [(start, 0.0, count | _SLICE_MARK) for start, count in calls.slices.items()]
    data = b"".join(_ENTRY.pack(*row) for row in rows)
    os.pwrite(file, data, 0)
    os.ftruncate(file, len(data))


@dataclass(frozen=True)
class Backoff:
    """How long to wait after the n-th failure in a row: doubling, with full jitter, up to a longest.

    Jitter as in AWS' "Exponential Backoff And Jitter" (2015), but never below half, so that a
    vendor in trouble gets a rest.
    """

    first: float = 0.5
    longest: float = 60.0
    attempts: int = 8

    def seconds(self, failures: int, *, draws: random.Random) -> float:
        """The pause after `failures` failures (1 or more), in seconds of the clock.

        Example:
            >>> pauses = [Backoff().seconds(n, draws=random.Random(1)) for n in (1, 3, 20)]
            >>> 0.25 <= pauses[0] <= 0.5 and 1 <= pauses[1] <= 2 and 30 <= pauses[2] <= 60
            True
        """
        most = min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
        return most * (0.5 + 0.5 * draws.random())
