"""Deliver a run while being killed, again and again: the process that `kill -9` is tried on.

Called as a program, so that it has one thread and forks safely. It imports everything once; each
delivery is a fork of it, killed at a random moment, and before its work is done however fast the
machine is. `Plug` says whose target it is, so that any vendor's target and twin take part.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from salesops_ml.crm.delivery import Delivery
from salesops_ml.crm.limits import Backoff, Clock
from salesops_ml.crm.outbox import Outbox
from salesops_ml.crm.target import Target
from salesops_ml.scoring.fields import Score
from salesops_ml.scoring.plan import Change

ROOT = Path(__file__).resolve().parents[2]
AT = datetime(2026, 3, 1, 12)
NEARLY_ALL = 0.8
"""The share of the deals at which the last process that is killed is to be hit."""
LOOKS_EVERY = 0.005
"""How long between two looks at how far a process is, in seconds."""


@dataclass(frozen=True)
class Plug:
    """What to deliver, where, and how often to be killed.

    Attributes:
        target: `module:function` that makes the target from the twin's url, a clock and a pace book;
            modules of this folder are found by their plain names.
        kills: how often.
        longest: longest real time that a process lives before it is killed, in seconds; it dies sooner
            where it has begun more than its share of the work.
    """

    target: str
    url: str
    outbox: str
    run_id: str
    factor: float
    pace_book: str
    kills: int
    longest: float
    seed: int

    def open_target(self) -> Target:
        module, _, name = self.target.partition(":")
        made: Target = getattr(importlib.import_module(module), name)(
            self.url, clock=Clock(self.factor), pace_book=Path(self.pace_book)
        )
        return made


def scores(count: int, *, seed: int = 1) -> Iterator[Change]:
    """A plan of that many first scores."""
    draws = random.Random(seed)
    for at in range(count):
        score = Score(
            round(draws.random(), 6), AT.date(), draws.choice(["low", "high"]),
            f"For: two meetings; reason {at}.", AT, "deal_scores/1",
        )  # fmt: skip
        yield Change(f"d{at:06}", "insert", None, score, "first score")


def deliver(plug: Plug) -> None:
    """One delivery, to its end if it is let live."""
    clock = Clock(plug.factor)
    outbox, backoff = Outbox(plug.outbox), Backoff(first=0.2, longest=10, attempts=50)
    Delivery(outbox, plug.open_target(), clock=clock, backoff=backoff).run(plug.run_id)


def be_killed(plug: Plug) -> int:
    """Deliver and be killed `plug.kills` times, then deliver to the end; kills that hit."""
    draws = random.Random(plug.seed)
    plug.open_target()
    hits = 0
    for at in range(plug.kills):
        child = os.fork()
        if child == 0:
            _in_child(plug)
        share = NEARLY_ALL * draws.uniform(at, at + 1) / plug.kills
        _let_live(plug, draws.uniform(0, plug.longest), share)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        hits += os.WIFSIGNALED(status)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
            raise SystemExit(f"a delivery failed with {os.WEXITSTATUS(status)}")
    deliver(plug)
    return hits


def _let_live(plug: Plug, seconds: float, share: float) -> None:
    """Wait that long, or a tenth of it where that share of the deals was begun before."""
    start = time.monotonic()
    outbox = Outbox(plug.outbox)
    while (left := start + seconds - time.monotonic()) > 0:
        counts = outbox.counts(plug.run_id)
        if 1 - counts["planned"] / sum(counts.values()) > share and left < 0.9 * seconds:
            break
        time.sleep(min(left, LOOKS_EVERY))
    outbox.dispose()


def _in_child(plug: Plug) -> None:
    try:
        deliver(plug)
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(1)
    os._exit(0)


def run_killed(plug: Plug) -> int:
    """`be_killed` in a process of its own; kills that hit."""
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(asdict(plug))],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return int(done.stdout)


def problems(target: Target, outbox: Outbox, run_id: str, report: dict[str, Any]) -> list[str]:
    """Everything that is not as promised after a delivery; empty where all is well."""
    told = []
    for chunk in outbox.all_entries(
        run_id, ("planned", "sent", "ambiguous", "confirmed", "failed"),
        limit=target.limits.records_a_call,
    ):  # fmt: skip
        standing = target.read([entry.deal_id for entry in chunk])
        for entry in chunk:
            if entry.state != "confirmed":
                told.append(f"{entry.deal_id} is {entry.state}: {entry.reason}")
            elif standing[entry.deal_id] != target.as_stored(entry.change.new or Score()):
                told.append(f"{entry.deal_id} stands otherwise")
    told += [
        f"{name}: {report[name]}"
        for name in ("above_limit", "above_calls_at_once", "written_unlike")
        if report[name]
    ]
    return told


def now() -> datetime:
    """The moment, naive UTC."""
    return datetime.now(UTC).replace(tzinfo=None)


if __name__ == "__main__":
    sys.stdout.write(str(be_killed(Plug(**json.loads(sys.argv[1])))))
