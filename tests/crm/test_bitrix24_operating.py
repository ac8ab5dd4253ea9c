"""A method's operating time is never used up, whatever commands take and however many threads send."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest

from salesops_ml.crm.bitrix24_operating import ALLOWED, WINDOW, OperatingTime
from salesops_ml.crm.limits import Clock

METHOD = "crm.item.update"


class Meter:
    """What a portal spends on a method: each command takes a while, forgotten ten minutes later."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.lock = clock, threading.Lock()
        self.spent: deque[tuple[float, float]] = deque()
        self.most = 0.0

    def batch(self, costs: list[float]) -> list[dict[str, float]]:
        with self.lock:
            told = []
            for cost in costs:
                now = self.clock.now()
                while self.spent and self.spent[0][0] <= now - WINDOW:
                    self.spent.popleft()
                self.spent.append((now, cost))
                used = sum(amount for _, amount in self.spent)
                self.most = max(self.most, used)
                reset = self.spent[0][0] + WINDOW
                told.append({"operating": used, "operating_reset_at": reset, "finish": now})
            return told


@pytest.mark.parametrize(("threads", "cost"), [(1, 5.0), (2, 2.0), (4, 1.5)])
def test_no_method_is_closed_by_us(threads: int, cost: float) -> None:
    clock = Clock(4_000.0)
    time, meter = OperatingTime(clock), Meter(clock)

    def send(_: int) -> None:
        with time.spend(METHOD, 50):
            time.note(METHOD, meter.batch([cost] * 50))

    start = clock.now()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(send, range(8)))
    least = (8 * 50 * cost / ALLOWED - 2) * WINDOW
    assert meter.most <= ALLOWED
    assert clock.now() - start >= least


def test_what_others_used_is_waited_for() -> None:
    clock = Clock(4_000.0)
    time, meter = OperatingTime(clock), Meter(clock)
    meter.batch([400.0])
    time.note(METHOD, meter.batch([2.0] * 10))
    start = clock.now()
    with time.spend(METHOD, 50):
        time.note(METHOD, meter.batch([2.0] * 50))
    assert clock.now() - start >= WINDOW * 0.9
    assert meter.most <= ALLOWED


class Sleepless(Clock):
    """A clock by which nobody may wait."""

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"waited {seconds} s")


def test_cheap_commands_never_wait() -> None:
    clock = Sleepless()
    time, meter = OperatingTime(clock), Meter(clock)
    for _ in range(200):
        with time.spend(METHOD, 50):
            time.note(METHOD, meter.batch([0.005] * 50))
    assert time.used(METHOD) == pytest.approx(50.0)
    with time.spend("another", 1):
        time.note("another", [{"operating": 479.0}])
    assert time.used("another") == 479.0
