"""CRMs read by their API: all of it equal to the twin's state, and what one deal in a hundred costs.

Run from the project's root: `python benchmarks/ingest_api.py [VENDOR ...] [--deals N]`. The twin runs in
a process of its own; costs are processor seconds of the reading side, and calls. Before any figure is
printed, every field of every record that landed must be the twin's own. Each vendor leaves a file
`results/ingest_<vendor>.json`. A further vendor is one more line in `VENDORS`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "crm")]

from salesops_ml.crm.twin_world_amocrm import COMPANY_FIELDS  # noqa: E402

DEALS = 50_000


@dataclass(frozen=True)
class Vendor:
    """What a vendor brings.

    Attributes:
        plug: its module in `tests/crm`, with `make_twin(rows)`, `connection(url, **source)` and
            `state(twin)`: the landed tables as they should be.
        edits: the class in `crm_edits` whose `change_amount` changes a deal.
        deals: the table of deals in its rows.
        settings: what its connection gets beside, so that no limit slows the measuring down.
        calls_a_second: what the vendor allows; None where it counts by the day only.
    """

    plug: str
    edits: str
    deals: str
    settings: dict[str, Any]
    calls_a_second: float | None = None


VENDORS = {
    "salesforce": Vendor("salesforce_plug", "SalesforceEdits", "Opportunity", {}),
    "hubspot": Vendor(
        "hubspot_plug", "HubSpotEdits", "deals",
        {"calls_per_10_seconds": 100_000, "searches_a_second": 5_000}, 10.0,
    ),
    "amocrm": Vendor(
        "amocrm_plug", "AmoCrmEdits", "leads",
        {"calls_a_second": 50, "account_fields": COMPANY_FIELDS}, 7.0,
    ),
    "bitrix24": Vendor(
        "bitrix24_plug", "Bitrix24Edits", "deals", {"calls_a_second": 100, "burst": 10_000}, 2.0,
    ),
}  # fmt: skip


def serve(name: str, deals: int, pipe: Connection, latency: float = 0.0) -> None:
    """The twin's process: state is asked for, and edits made, through the pipe."""
    import crm_edits
    from crm_desk import vendor_rows

    from salesops_ml.crm.twin_server import TwinServer

    vendor = VENDORS[name]
    plug = import_module(vendor.plug)
    rows = vendor_rows(name, deals)
    there = plug.make_twin(rows)
    edits, draws = getattr(crm_edits, vendor.edits)(rows, 1), random.Random(1)
    with TwinServer(there, latency=latency) as twin:
        pipe.send(twin.url)
        while (asked := pipe.recv()) != "end":
            if asked == "change":
                for deal in draws.sample(rows[vendor.deals], max(1, deals // 100)):
                    edits.clock += timedelta(seconds=1)
                    edits.change_amount(deal)
                there.put(edits.take())
            else:
                for one in plug.state(there):
                    pipe.send(one)
            pipe.send(None)


def told(pipe: Connection, asked: str) -> Iterator[Any]:
    """What the twin's process answers."""
    pipe.send(asked)
    while (one := pipe.recv()) is not None:
        yield one


def report(url: str) -> dict[str, Any]:
    """What the twin has seen."""
    with urllib.request.urlopen(f"{url}/_twin/report") as answer:
        told: dict[str, Any] = json.load(answer)
    return told


def calls(url: str) -> int:
    """The calls that the twin has seen, none of them above its limit."""
    told = report(url)
    assert told["above_limit"] == 0
    return int(told["calls"])


def measure(name: str, deals: int) -> dict[str, Any]:
    """The figures of one vendor, in this process."""
    from crm_desk import LOADED_AT, source
    from landed_state import refuse_unlike

    from salesops_ml.crm.ingest import ingest
    from salesops_ml.crm.landing import landed_tables, landing_path
    from salesops_ml.settings import parse

    vendor = VENDORS[name]
    pipe, theirs = multiprocessing.Pipe()
    twin = multiprocessing.get_context("spawn").Process(target=serve, args=(name, deals, theirs))
    twin.start()
    url = pipe.recv()
    found: dict[str, Any] = {"deals": deals, "python": platform.python_version(),
                             "cores": os.cpu_count()}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        warehouse = f"duckdb:///{folder}/w.duckdb"
        reached = import_module(vendor.plug).connection(url, **source(name), **vendor.settings)
        written = {"target": name, "outbox": f"sqlite:///{folder}/outbox.db"}
        settings = parse({"source": reached, "warehouse": warehouse, "write_back": written})
        seen = 0
        costs: dict[str, list[float]] = {}
        for at, load in enumerate(["full", "idle", "changed", "changed", "changed"]):
            if load == "changed":
                list(told(pipe, "change"))
            start = time.process_time()
            ingest(settings, ingested_at=LOADED_AT + timedelta(hours=at))
            costs.setdefault(load, []).append(time.process_time() - start)
            found[f"{load}_calls"], seen = calls(url) - seen, calls(url)
            print(f"  {name} {load}: {costs[load][-1]:.1f} s", flush=True)
        found |= {
            f"{load}_seconds": sorted(spent)[len(spent) // 2] for load, spent in costs.items()
        }
        found["share"] = found["changed_seconds"] / found["full_seconds"]
        found["share_of_calls"] = found["changed_calls"] / found["full_calls"]
        if vendor.calls_a_second:
            found["full_seconds_at_the_limit"] = found["full_calls"] / vendor.calls_a_second
        found["peak_megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        with landed_tables(landing_path(warehouse)) as tables:
            found["rows"] = refuse_unlike(tables, told(pipe, "state"))
    pipe.send("end")
    twin.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("vendors", nargs="*", default=list(VENDORS))
    parser.add_argument("--deals", type=int, default=DEALS)
    parser.add_argument("--here", action="store_true", help="in this process, for one vendor")
    asked = parser.parse_args()
    for name in asked.vendors:
        if not asked.here:
            again = [sys.executable, __file__, name, "--deals", str(asked.deals), "--here"]
            subprocess.run(again, check=True)
            continue
        results = ROOT / "benchmarks" / "results" / f"ingest_{name}.json"
        text = json.dumps(measure(name, asked.deals), indent=1) + "\n"
        results.write_text(text)
        print(text)


if __name__ == "__main__":
    main()
