"""Writing back under fire: killed 200 times, as fast as the vendor allows, and with flat memory.

Run from the project's root: `python benchmarks/write_back.py [VENDOR ...]`. Three figures a vendor,
each against its twin, whose count of calls above the limit must be nought (Tryton: a real server, with
a twin's bad network before it):

- kills: write-backs of 10,000 scores on a bad network, killed (-9) at random moments and gone on with;
  every deal must stand as planned at the end, and none be written with two values;
- throughput: the least time in which the limit lets so many calls through, by the time they took;
- memory: a plan of 1,000,000 rows written into an outbox and delivered out of it.

A further vendor is one more line in `VENDORS`: its twin, and who makes its target.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "crm")]

import killed_delivery  # noqa: E402
import sample_vendor  # noqa: E402
import tryton_plug  # noqa: E402

from salesops_ml.crm.delivery import Delivery  # noqa: E402
from salesops_ml.crm.limits import Clock, Limits  # noqa: E402
from salesops_ml.crm.outbox import Outbox  # noqa: E402
from salesops_ml.crm.salesforce_twin import SalesforceTwin  # noqa: E402
from salesops_ml.crm.target import Done, FieldProblem, Outcome, Standing  # noqa: E402
from salesops_ml.crm.twin_faults import FaultPlan  # noqa: E402
from salesops_ml.crm.twin_server import TwinServer  # noqa: E402
from salesops_ml.crm.twin_vendor import TwinVendor  # noqa: E402
from salesops_ml.scoring.fields import Score  # noqa: E402
from salesops_ml.scoring.plan import Change  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "write_back.json"
AT = killed_delivery.AT
SCORES = 10_000
KILLS, KILLS_A_RUN = 200, 40
ROWS = 1_000_000


@dataclass(frozen=True)
class Vendor:
    """What a vendor brings: a twin with so many deals, and `module:function` that makes its target.

    Attributes:
        kill_factor: how much faster clocks run while processes are killed.
        pace_factor: the same while throughput is measured; lower, since real work is not sped up.
        latency: seconds that an answer takes while throughput is measured.
        limited: whether the vendor names a limit; where not, throughput says nothing.
        lives: seconds that a process lives at the longest before it is killed.
    """

    twin: Callable[[int], TwinVendor]
    target: str
    kill_factor: float = 20.0
    pace_factor: float = 5.0
    latency: float = 0.2
    limited: bool = True
    lives: float = 0.35


VENDORS = {
    "sample": Vendor(sample_vendor.SampleTwin, "sample_vendor:SampleTarget"),
    "salesforce": Vendor(SalesforceTwin.bare, "salesforce_plug:open_target"),
    "salesforce_jobs": Vendor(SalesforceTwin.bare, "salesforce_plug:open_bulk_target"),
    "salesforce_collections": Vendor(
        SalesforceTwin.bare, "salesforce_plug:open_collections_target"
    ),
    "tryton": Vendor(
        tryton_plug.served, "tryton_plug:open_target", kill_factor=4.0, limited=False, lives=2.5
    ),
}


def plug(vendor: Vendor, twin: TwinServer, folder: Path, **other: Any) -> killed_delivery.Plug:
    """How the delivery reaches the twin."""
    asked = {
        "kills": 0, "longest": 0.0, "seed": 1, "factor": vendor.kill_factor, "run_id": "run",
        "target": vendor.target, "url": twin.url, "outbox": f"sqlite:///{folder}/outbox.db",
        "pace_book": str(folder / "pace"),
    }  # fmt: skip
    return killed_delivery.Plug(**{**asked, **other})


def kills(vendor: Vendor, told: dict[str, Any], keep: Callable[[], None]) -> None:
    """Kill write-backs at random moments; each must end as planned. Goes on where it was stopped."""
    told.setdefault("kills", 0)
    while told["kills"] < KILLS:
        told["runs"] = told.get("runs", 0) + 1
        with tempfile.TemporaryDirectory() as name:
            run = killed_run(vendor, Path(name), told["runs"])
        told["kills"] += run["hits"]
        told["scores_a_run"], told["problems"] = SCORES, 0
        told["calls"] = told.get("calls", 0) + run["calls"]
        faults = told.setdefault("faults", {})
        for kind, count in run["faults"].items():
            faults[kind] = faults.get(kind, 0) + count
        print(f"  run {told['runs']}: {run['hits']} kills, {told['kills']} in all", flush=True)
        keep()


def killed_run(vendor: Vendor, folder: Path, seed: int) -> dict[str, Any]:
    """One write-back of 10,000 scores, killed again and again."""
    clock = Clock(vendor.kill_factor)
    plan = FaultPlan.of_every_kind(0.1, seed=seed)
    with TwinServer(vendor.twin(SCORES), clock=clock, faults=plan) as twin:
        asked = plug(vendor, twin, folder, kills=KILLS_A_RUN, longest=vendor.lives, seed=seed)
        outbox, target = Outbox(asked.outbox), asked.open_target()
        outbox.plan("run", target.place, killed_delivery.scores(SCORES, seed=seed), at=AT)
        hits = killed_delivery.run_killed(asked)
        report = twin.report()
        twin.faults = FaultPlan()
        found = killed_delivery.problems(target, outbox, "run", report)
        outbox.dispose()
    if found:
        raise AssertionError(f"seed {seed}: {found[:10]}")
    return {"hits": hits, "faults": report["faults"], "calls": report["calls"]}


def throughput(vendor: Vendor) -> dict[str, Any]:
    """The least time in which the limit lets so many calls through, by the time that they took."""
    clock = Clock(vendor.pace_factor)
    with (
        tempfile.TemporaryDirectory() as name,
        TwinServer(vendor.twin(SCORES), clock=clock, latency=vendor.latency) as twin,
    ):
        asked = plug(vendor, twin, Path(name), factor=vendor.pace_factor)
        outbox, target = Outbox(asked.outbox), asked.open_target()
        outbox.plan("run", target.place, killed_delivery.scores(SCORES), at=AT)
        Delivery(outbox, target, clock=clock).run("run")
        report = twin.report()
        outbox.dispose()
    assert report["above_limit"] == report["above_calls_at_once"] == 0
    least = max(
        (report["calls"] - 1) // window.calls * window.seconds for window in target.limits.windows
    )
    return {
        "calls": report["calls"], "records": SCORES, "seconds": report["seconds"],
        "records_a_call": SCORES / report["calls"], "records_a_second": SCORES / report["seconds"],
        "share_of_limit": least / report["seconds"],
    }  # fmt: skip


def score_of(deal_id: str) -> Score:
    """A score that is known from the deal's name, so that nobody needs to remember it."""
    number = int(deal_id[1:])
    return Score(
        round((number % 1_000_003) / 1_000_003, 6), AT.date(), "low",
        f"For: {number} meetings. Against: nothing heard for {number % 30} days.", AT, "deal_scores/1",
    )  # fmt: skip


class Sink:
    """A CRM that takes everything and keeps nothing."""

    place = "sink"
    limits = Limits(records_a_call=200)

    def as_stored(self, score: Score) -> Score:
        return score

    def missing_fields(self) -> list[FieldProblem]:
        return []

    def create_fields(self, problems: Sequence[FieldProblem]) -> None:
        raise NotImplementedError

    def read(self, deal_ids: Sequence[str]) -> dict[str, Standing]:
        return {deal_id: score_of(deal_id) for deal_id in deal_ids}

    def send(self, changes: Sequence[Change]) -> list[Outcome]:
        return [Done()] * len(changes)


def plan_of(rows: int) -> Iterator[Change]:
    for number in range(rows):
        deal_id = f"d{number:07}"
        yield Change(deal_id, "insert", None, score_of(deal_id), "first score")


def peak_megabytes() -> float:
    """The most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def deliver_many(rows: int) -> dict[str, Any]:
    """Plan and deliver so many rows in this process."""
    before = peak_megabytes()
    with tempfile.TemporaryDirectory() as name:
        outbox = Outbox(f"sqlite:///{name}/outbox.db")
        start = time.process_time()
        outbox.plan("run", "sink", plan_of(rows), at=AT)
        planned = time.process_time()
        done = Delivery(outbox, Sink(), now=lambda: AT).run("run")
        assert done.confirmed == rows
    return {
        "rows": rows, "imports_megabytes": before, "peak_megabytes": peak_megabytes(),
        "plan_seconds": planned - start, "deliver_seconds": time.process_time() - planned,
    }  # fmt: skip


def memory() -> list[dict[str, Any]]:
    """Peak memory at a hundredth, a tenth and all of the rows, each in a process of its own."""
    told = []
    for rows in (ROWS // 100, ROWS // 10, ROWS):
        done = subprocess.run(
            [sys.executable, __file__, "--deliver", str(rows)],
            check=True, capture_output=True, text=True, env=os.environ,
        )  # fmt: skip
        told.append(json.loads(done.stdout))
        print(f"  {told[-1]}", flush=True)
    return told


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("vendors", nargs="*", default=list(VENDORS))
    parser.add_argument("--part", choices=["kills", "throughput", "memory"], action="append")
    parser.add_argument("--deliver", type=int)
    asked = parser.parse_args()
    if asked.deliver:
        print(json.dumps(deliver_many(asked.deliver)))
        return
    parts = asked.part or ["kills", "throughput", "memory"]
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found["machine"] = {"python": platform.python_version(), "cores": os.cpu_count()}
    found["measured"] = f"{datetime.now():%Y-%m-%d}"

    def keep() -> None:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")

    for name in asked.vendors:
        told = found.setdefault(name, {})
        if "throughput" in parts and VENDORS[name].limited:
            told["throughput"] = throughput(VENDORS[name])
            print(f"{name}: {told['throughput']}", flush=True)
            keep()
        if "kills" in parts:
            print(f"{name}: kills", flush=True)
            kills(VENDORS[name], told.setdefault("kills", {}), keep)
    if "memory" in parts:
        print("memory", flush=True)
        found["memory"] = memory()
        keep()


if __name__ == "__main__":
    main()
