"""Writing back under fire: killed 200 times, as fast as the vendor allows, and with flat memory.

Run from the project's root: `python benchmarks/write_back.py [VENDOR ...]`. Three figures a vendor,
each against its twin, whose count of calls above the limit must be nought (Tryton: a real server, with
a twin's bad network before it):

- kills: write-backs of 10,000 scores on a bad network, killed (-9) at random moments and gone on with;
  every deal must stand as planned at the end, and none be written with two values;
- throughput: the least time in which the limit lets so many calls through, by the time they took;
- memory: 1,000,000 scores in a run's file, planned against what stands in the CRM, put into the outbox
  and delivered out of it; and the next night's, of which a tenth have moved and a hundredth are closed.
  The same into a SQL table.

A further vendor is one more line in `VENDORS`: its twin, and who makes its target.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "crm")]

import killed_delivery  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import sample_vendor  # noqa: E402
import tryton_plug  # noqa: E402

from salesops_ml.app.write_back import write_scores, write_to_crm  # noqa: E402
from salesops_ml.crm.amocrm_twin import AmoCrmTwin  # noqa: E402
from salesops_ml.crm.bitrix24_twin import Bitrix24Twin  # noqa: E402
from salesops_ml.crm.delivery import Delivery  # noqa: E402
from salesops_ml.crm.hubspot_twin import HubSpotTwin  # noqa: E402
from salesops_ml.crm.limits import Clock, Limits  # noqa: E402
from salesops_ml.crm.outbox import Outbox  # noqa: E402
from salesops_ml.crm.salesforce_twin import SalesforceTwin  # noqa: E402
from salesops_ml.crm.target import Done, FieldProblem, Outcome, Standing  # noqa: E402
from salesops_ml.crm.twin_faults import FaultPlan  # noqa: E402
from salesops_ml.crm.twin_server import TwinServer  # noqa: E402
from salesops_ml.crm.twin_vendor import TwinVendor  # noqa: E402
from salesops_ml.schema import CanonicalTables, no_rejects  # noqa: E402
from salesops_ml.scoring.fields import Score  # noqa: E402
from salesops_ml.scoring.plan import Change  # noqa: E402
from salesops_ml.settings import Settings  # noqa: E402
from salesops_ml.warehouse import Warehouse, publish  # noqa: E402
from salesops_ml.write_back_settings import WriteBack  # noqa: E402

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
    "hubspot": Vendor(HubSpotTwin.bare, "hubspot_plug:open_target", pace_factor=1.0),
    "amocrm": Vendor(
        AmoCrmTwin.bare, "amocrm_plug:open_numbered_target", pace_factor=0.25, latency=0.05
    ),
    "bitrix24": Vendor(Bitrix24Twin.bare, "bitrix24_plug:open_numbered_target"),
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
    """The least time in which the limit lets so many calls through, by the time that they took.

    No share where so few calls fill no window, as at Salesforce, which limits calls by the day alone.
    """
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
        "share_of_limit": least / report["seconds"] if least else None,
    }  # fmt: skip


def score_of(deal_id: str, night: int) -> Score:
    """A score that is known from the deal's name and the night; a tenth of them move each night."""
    if not night:
        return Score()
    number = int(deal_id[1:])
    moved = 0.05 * night if number % 10 == 0 else 0.0
    return Score(
        round(0.9 * (number % 1_000_003) / 1_000_003 + moved, 6), AT.date(), "low",
        f"For: {number} meetings. Against: nothing heard for {number % 30} days.", AT,
        f"deal_scores/{night if number % 10 == 0 else 1}",
    )  # fmt: skip


class Sink:
    """A CRM that takes everything: what stands there is known from the deal's name and the night.

    Attributes:
        night: whose scores stand; 0 before the first. It is `coming` once anything is sent.
        last: the first of the deals that are closed in the second night, by number.
    """

    place = "sink"
    limits = Limits(records_a_call=200)

    def __init__(self, last: int) -> None:
        self.last, self.night, self.coming = last, 0, 1

    def as_stored(self, score: Score) -> Score:
        return score

    def missing_fields(self) -> list[FieldProblem]:
        return []

    def create_fields(self, problems: Sequence[FieldProblem]) -> None:
        raise NotImplementedError

    def read(self, deal_ids: Sequence[str]) -> dict[str, Standing]:
        gone = {deal for deal in deal_ids if self.night == 2 and int(deal[1:]) >= self.last}
        return {deal: score_of(deal, 0 if deal in gone else self.night) for deal in deal_ids}

    def send(self, changes: Sequence[Change]) -> list[Outcome]:
        self.night = self.coming
        return [Done()] * len(changes)


def peak_megabytes() -> float:
    """The most memory that this process ever held; `ru_maxrss` would count what its parent held."""
    told = Path("/proc/self/status").read_text()
    return int(told.partition("VmHWM:")[2].split()[0]) / 1024


def lay_out(folder: Path, rows: int) -> None:
    """The scores of two nights as runs leave them, and the warehouse of each night."""
    for night in (1, 2):
        numbers = range(rows if night == 1 else rows - rows // 100)
        parts = []
        for at in range(0, len(numbers), 100_000):
            deals = [f"d{number:07}" for number in numbers[at : at + 100_000]]
            told = [score_of(deal, night) for deal in deals]
            parts.append(pa.table({
                "deal_id": deals, "as_of": [AT] * len(deals),
                "p_win": [s.win_probability for s in told],
                "close_p50_date": pa.array([AT] * len(deals), pa.timestamp("ns")),
                "band": [s.band for s in told], "reasons": [s.reasons for s in told],
                "caution": pa.nulls(len(deals), pa.string()),
                "scored_at": pa.array([AT] * len(deals), pa.timestamp("ns")),
                "model_version": [s.model_version for s in told],
            }))  # fmt: skip
        pq.write_table(pa.concat_tables(parts), folder / f"scores{night}.parquet")
        status = ["open" if number in numbers else "won" for number in range(rows)]
        deals_table = pa.table({"deal_id": [f"d{n:07}" for n in range(rows)], "status": status})
        publish(f"duckdb:///{folder}/night{night}.duckdb",
                CanonicalTables({"deals": deals_table}, no_rejects()), ingested_at=AT)  # fmt: skip


def deliver_many(folder: Path, target: str) -> dict[str, Any]:
    """Two nights from the files in this process: planned, delivered, and the most memory it took."""
    told: dict[str, Any] = {"target": target, "imports_megabytes": peak_megabytes()}
    settings = Settings()
    sink = Sink(pq.read_metadata(folder / "scores2.parquet").num_rows)
    outbox = Outbox(f"sqlite:///{folder}/outbox.db")
    if target == "sql":
        url = f"sqlite:///{folder}/crm.db"
        settings = settings.model_copy(update={"write_back": WriteBack(url=url)})
    for night in (1, 2):
        start, sink.coming = time.process_time(), night
        asked: dict[str, Any] = {"run_id": f"night-{night}", "at": AT}
        with Warehouse.open(f"duckdb:///{folder}/night{night}.duckdb") as warehouse:
            scores = folder / f"scores{night}.parquet"
            if target == "sql":
                done = write_scores(warehouse, scores, settings, **asked)
            else:
                done = write_to_crm(sink, outbox, warehouse, scores, settings, **asked)
        told[f"night_{night}"] = {
            **done.counts, "written": done.written, "seconds": time.process_time() - start,
            "peak_megabytes": peak_megabytes(),
        }  # fmt: skip
    return told


def memory() -> list[dict[str, Any]]:
    """Peak memory at a hundredth, a tenth and all of the rows, each in a process of its own."""
    told = []
    for rows in (ROWS // 100, ROWS // 10, ROWS):
        with tempfile.TemporaryDirectory() as name:
            lay_out(Path(name), rows)
            for target in ("crm", "sql"):
                done = subprocess.run(
                    [sys.executable, __file__, "--deliver", name, "--into", target],
                    check=True, capture_output=True, text=True, env=os.environ,
                )  # fmt: skip
                told.append({"rows": rows, **json.loads(done.stdout)})
                print(f"  {told[-1]}", flush=True)
    return told


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("vendors", nargs="*", default=list(VENDORS))
    parser.add_argument("--part", choices=["kills", "throughput", "memory"], action="append")
    parser.add_argument("--deliver", type=Path)
    parser.add_argument("--into", choices=["crm", "sql"], default="crm")
    asked = parser.parse_args()
    if asked.deliver:
        print(json.dumps(deliver_many(asked.deliver, asked.into)))
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
