"""A first load where a vendor answers slowly: one call at a time against as many as settings allow.

Run from the project's root:
`python benchmarks/ingest_latency.py [VENDOR ...] [--latency S] [--deals N]`.
The twin runs in a process of its own and takes `latency` seconds for each answer; the documented limit
of the vendor is kept, so no load can be quicker. Tables must be equal before a figure is printed.
The record is `results/ingest_latency.json`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from ingest_api import ROOT, VENDORS, report, serve

LIMITS = {"salesforce": {}, "hubspot": {}, "bitrix24": {},
          "amocrm": {"account_fields": VENDORS["amocrm"].settings["account_fields"]}}  # fmt: skip
"""What each connection gets beside: the limits are the documented ones."""


def load(name: str, url: str, folder: Path, **more: Any) -> tuple[float, Any]:
    """Seconds of a first load, and what it left in the warehouse."""
    from crm_desk import LOADED_AT, source

    from salesops_ml.crm.ingest import ingest
    from salesops_ml.settings import parse
    from salesops_ml.warehouse import Warehouse

    warehouse = f"duckdb:///{folder}/w.duckdb"
    reached = import_module(VENDORS[name].plug).connection(
        url, **source(name), **LIMITS[name], **more
    )
    written = {"target": name, "outbox": f"sqlite:///{folder}/outbox.db"}
    settings = parse({"source": reached, "warehouse": warehouse, "write_back": written})
    start = time.monotonic()
    ingest(settings, ingested_at=LOADED_AT)
    seconds = time.monotonic() - start
    with Warehouse.open(warehouse) as opened:
        tables = {t: opened.table(t).to_pyarrow().to_pylist() for t in ("deals", "activities")}
    return seconds, {t: sorted(rows, key=str) for t, rows in tables.items()}


def measure(name: str, deals: int, latency: float) -> dict[str, Any]:
    """The figures of one vendor."""
    pipe, theirs = multiprocessing.Pipe()
    twin = multiprocessing.get_context("spawn").Process(
        target=serve, args=(name, deals, theirs, latency)
    )
    twin.start()
    url = pipe.recv()
    found: dict[str, Any] = {}
    ends = []
    for label, more in (("one", {"calls_at_once": 1}), ("several", {})):
        with tempfile.TemporaryDirectory() as folder:
            before = report(url)["calls"]
            seconds, tables = load(name, url, Path(folder), **more)
            told = report(url)
            found[f"{label}_calls"] = told["calls"] - before
            found[f"{label}_seconds"] = round(seconds, 1)
            ends.append(tables)
    assert ends[0] == ends[1]
    assert told["above_limit"] == 0
    found["most_in_flight"] = told["most_in_flight"]
    pipe.send("end")
    twin.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("vendors", nargs="*", default=list(VENDORS))
    parser.add_argument("--deals", type=int, default=1_000)
    parser.add_argument("--latency", type=float, default=0.3)
    asked = parser.parse_args()
    told: dict[str, Any] = {"deals": asked.deals, "latency": asked.latency,
                            "python": platform.python_version(), "cores": os.cpu_count()}  # fmt: skip
    for name in asked.vendors:
        told[name] = measure(name, asked.deals, asked.latency)
        print(name, told[name], flush=True)
    results = ROOT / "benchmarks" / "results" / "ingest_latency.json"
    results.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
