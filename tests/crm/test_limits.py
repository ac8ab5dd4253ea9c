"""Calls stay below every window, over threads, processes and crashes; pauses grow and stay bounded."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.crm.limits import Backoff, Clock, Limits, Pace, Window
from salesops_ml.crm.twin_vendor import BucketMeter, WindowMeter
from salesops_ml.errors import Throttled
from tests.crm.stepped_clock import Stepped
from tests.needs import ROOT

FAST = Clock(factor=500)
WINDOW = Window(calls=20, seconds=10)


def most_in_a_window(times: list[float], seconds: float) -> int:
    """By a slow loop: the most calls in any window that begins with a call."""
    return max(sum(0 <= other - start < seconds for other in times) for start in times)


@pytest.mark.parametrize("book", [True, False], ids=["file", "memory"])
def test_threads_together_stay_below_the_window_and_use_it(tmp_path: Path, book: bool) -> None:
    limits = Limits(1, (WINDOW, Window(100, 60)), calls_at_once=4)
    pace = Pace(limits, FAST, tmp_path / "calls" if book else None)
    times: list[float] = []

    def work() -> None:
        for _ in range(15):
            with pace.call():
                times.append(FAST.now())

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == 90
    assert most_in_a_window(times, WINDOW.seconds) <= WINDOW.calls
    assert max(times) - min(times) >= 40


def test_calls_at_once_is_kept() -> None:
    pace = Pace(Limits(1, (), calls_at_once=2), FAST)
    inside, most = [0], [0]
    lock = threading.Lock()

    def work() -> None:
        with pace.call():
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            FAST.sleep(5)
            with lock:
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [2]


LIMITS = str(ROOT / "salesops_ml" / "crm" / "limits.py")
CALLER = """
    import runpy, sys
    from pathlib import Path
    limits = runpy.run_path(sys.argv[2])
    Clock, Limits, Pace, Window = (limits[name] for name in ("Clock", "Limits", "Pace", "Window"))
    clock = Clock(factor=500)
    pace = Pace(Limits(1, (Window(20, 10),)), clock, Path(sys.argv[1]))
    while True:
        with pace.call():
            print(clock.now(), flush=True)
"""


def test_a_process_that_follows_a_killed_one_knows_its_calls(tmp_path: Path) -> None:
    times: list[float] = []
    for _ in range(4):
        caller = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CALLER), str(tmp_path / "calls"), LIMITS],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert caller.stdout is not None
        times += [float(caller.stdout.readline()) for _ in range(15)]
        os.kill(caller.pid, signal.SIGKILL)
        times += [float(line) for line in caller.stdout.read().split("\n")[:-1]]
        caller.wait()
    assert most_in_a_window(times, WINDOW.seconds) <= WINDOW.calls


@pytest.mark.parametrize("book", [True, False], ids=["file", "memory"])
def test_a_daily_limit_is_counted_over_processes_and_never_waited_for(
    tmp_path: Path, book: bool
) -> None:
    hasty = Stepped()
    path = tmp_path / "calls" if book else None
    limits = Limits(1, (Window(10, 1), Window(25, 86_400)))
    pace = Pace(limits, hasty, path)
    begin = hasty.now()
    for at in range(25):
        if at == 12 and book:
            pace = Pace(limits, hasty, path)
        with pace.call():
            pass
    with pytest.raises(Throttled, match="25 calls in 24 hours are used up") as caught, pace.call():
        pass
    until = hasty.now() + caught.value.seconds
    assert begin + 86_400 <= until <= begin + 86_400 + 2 * 900 + (hasty.now() - begin)
    hasty.sleep(caught.value.seconds + 1)
    with pace.call():
        assert hasty.now() - begin >= 86_400


def test_a_pause_that_the_vendor_asks_for_holds_everybody() -> None:
    pace = Pace(Limits(1), FAST)
    pace.hold(20)
    start = FAST.now()
    with pace.call():
        assert FAST.now() - start >= 19


@given(
    a_second=st.floats(0.5, 20),
    burst=st.integers(1, 100),
    gaps=st.lists(st.floats(0, 0.5), min_size=1, max_size=300),
)
@settings(max_examples=50)
def test_the_window_of_a_bucket_never_overflows_it(
    a_second: float, burst: int, gaps: list[float]
) -> None:
    """Whoever calls as early as the window lets him never overflows the bucket."""
    window = Window.of_bucket(a_second=a_second, burst=burst)
    bucket = BucketMeter(a_second=a_second, burst=burst)
    now, times = 1.0, []
    for gap in gaps:
        now += gap
        if len(times) >= window.calls:
            now = max(now, times[-window.calls] + window.seconds)
        times.append(now)
        assert bucket.allows(now)


def test_meters_refuse_what_is_above() -> None:
    meter = WindowMeter(Window(2, 10))
    assert [meter.allows(at) for at in (0, 1, 2, 10.5, 12.5)] == [True, True, False, False, True]
    bucket = BucketMeter(a_second=1, burst=2)
    assert [bucket.allows(at) for at in (5, 5, 5, 6, 6.5)] == [True, True, False, True, False]


@given(failures=st.integers(1, 500), seed=st.integers(0, 9))
def test_pauses_double_with_jitter_up_to_the_longest(failures: int, seed: int) -> None:
    backoff = Backoff(first=0.5, longest=60)
    pause = backoff.seconds(failures, draws=random.Random(seed))
    most = min(60, 0.5 * 2 ** min(failures - 1, 30))
    assert most / 2 <= pause <= most
