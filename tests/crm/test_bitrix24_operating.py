"""A method's operating time is never used up, whatever commands take and however many threads send."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.crm.bitrix24_operating import ALLOWED, WINDOW, OperatingTime
from salesops_ml.crm.limits import Clock
from tests.crm.stepped_clock import Stepped

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
        with time.spend(METHOD, 50) as began:
            time.note(METHOD, meter.batch([cost] * 50), began=began)

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
    time.note(METHOD, meter.batch([2.0] * 10), began=clock.now())
    start = clock.now()
    with time.spend(METHOD, 50) as began:
        time.note(METHOD, meter.batch([2.0] * 50), began=began)
    assert clock.now() - start >= WINDOW * 0.9
    assert meter.most <= ALLOWED


@settings(max_examples=200, deadline=None)
@given(draws=st.randoms(use_true_random=False))
def test_what_comes_back_and_lost_answers_make_commands_no_cheaper(draws: Random) -> None:
    """What was spent ten minutes ago comes back while a batch runs, and hides what it spends."""
    clock = Stepped()
    time, meter = OperatingTime(clock), Meter(clock)
    cost, many = draws.uniform(0.5, 8.0), draws.choice([10, 25, 50])
    for number in range(25):
        pause = draws.choice([0.01, 1.0, cost, 3 * cost, 20.0])
        lost = number > 0 and draws.random() < 0.2
        with suppress(TimeoutError), time.spend(METHOD, many) as began:
            told = []
            for _ in range(many):
                clock.sleep(pause)
                told += meter.batch([cost])
            if lost:
                raise TimeoutError
            time.note(METHOD, told, began=began)
    assert meter.most <= ALLOWED


def test_an_answer_that_was_overtaken_takes_nothing_back() -> None:
    clock = Stepped()
    time, meter = OperatingTime(clock), Meter(clock)
    with time.spend(METHOD, 10) as began:
        time.note(METHOD, meter.batch([2.0] * 10), began=began)
    clock.sleep(5.0)
    with time.spend(METHOD, 50) as first, time.spend(METHOD, 50) as second:
        earlier, later = meter.batch([2.0] * 50), meter.batch([2.0] * 50)
        clock.sleep(1.0)
        time.note(METHOD, later, began=second)
        clock.sleep(1.0)
        time.note(METHOD, earlier, began=first)
    assert time.used(METHOD) == 220.0


class Sleepless(Clock):
    """A clock by which nobody may wait."""

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"waited {seconds} s")


def test_cheap_commands_never_wait() -> None:
    clock = Sleepless()
    time, meter = OperatingTime(clock), Meter(clock)
    for _ in range(200):
        with time.spend(METHOD, 50) as began:
            time.note(METHOD, meter.batch([0.005] * 50), began=began)
    assert time.used(METHOD) == pytest.approx(50.0)
    with time.spend("another", 1) as began:
        time.note("another", [{"operating": 479.0}], began=began)
    assert time.used("another") == 479.0
