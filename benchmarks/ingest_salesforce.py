"""Salesforce read by its API: all of it equal to the twin's state, and what one deal in a hundred costs.

Run from the project's root: `python benchmarks/ingest_salesforce.py [deals]`. The twin runs in a process
of its own; costs are processor seconds of the reading side. Before any figure is printed, every field
of every record that landed must be the twin's own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import random
import resource
import sys
import tempfile
import time
import urllib.request
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "crm")]
RESULTS = ROOT / "benchmarks" / "results" / "ingest_salesforce.json"


def serve(deals: int, pipe: Connection) -> None:
    """The twin's process: rows are asked for, and edits made, through the pipe."""
    from crm_desk import vendor_rows
    from crm_edits import SalesforceEdits

    from salesops_ml.crm.salesforce_twin import SalesforceTwin
    from salesops_ml.crm.twin_server import TwinServer

    rows = vendor_rows("salesforce", deals)
    org = SalesforceTwin(rows)
    edits, draws = SalesforceEdits(rows, 1), random.Random(1)
    with TwinServer(org) as twin:
        pipe.send(twin.url)
        while True:
            asked = pipe.recv()
            if asked == "end":
                return
            if asked == "change":
                for deal in draws.sample(rows["Opportunity"], max(1, deals // 100)):
                    edits.clock += timedelta(seconds=1)
                    edits.change_amount(deal)
                org.put(edits.take())
                pipe.send(True)
            else:
                pipe.send(list(org.tables.get(asked, {}).values()))


def calls(url: str) -> int:
    """The calls that the twin has seen."""
    with urllib.request.urlopen(f"{url}/_twin/report") as answer:
        report = json.load(answer)
    assert report["above_limit"] == 0
    return int(report["calls"])


def main() -> None:
    from crm_desk import LOADED_AT, source
    from salesforce_plug import connection

    from salesops_ml.crm.ingest import ingest
    from salesops_ml.settings import parse

    deals = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    pipe, theirs = multiprocessing.Pipe()
    twin = multiprocessing.get_context("spawn").Process(target=serve, args=(deals, theirs))
    twin.start()
    url = pipe.recv()
    told: dict[str, Any] = {"deals": deals, "python": platform.python_version(),
                            "cores": os.cpu_count()}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        warehouse = f"duckdb:///{folder}/w.duckdb"
        settings = parse(
            {"source": connection(url, **source("salesforce")), "warehouse": warehouse}
        )
        seen = 0
        costs: dict[str, list[float]] = {}
        for at, name in enumerate(["full", "idle", "changed", "changed", "changed"]):
            if name == "changed":
                pipe.send("change")
                pipe.recv()
            start = time.process_time()
            ingest(settings, ingested_at=LOADED_AT + timedelta(hours=at))
            costs.setdefault(name, []).append(time.process_time() - start)
            told[f"{name}_calls"], seen = calls(url) - seen, calls(url)
        told |= {f"{name}_seconds": sorted(spent)[len(spent) // 2] for name, spent in costs.items()}
        told["share"] = told["changed_seconds"] / told["full_seconds"]
        told["rows"] = unlike(pipe, warehouse)
    told["peak_megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send("end")
    twin.join()
    RESULTS.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told, indent=1))


def unlike(pipe: Connection, warehouse: str) -> dict[str, int]:
    """Records by kind, each field compared with the twin's; an error where one is unlike."""
    from salesops_ml.crm.landing import landed_tables, landing_path
    from salesops_ml.crm.salesforce_source import OBJECTS

    counts = {}
    with landed_tables(landing_path(warehouse)) as tables:
        landed = {plain(name): table for name, table in tables.items()}
        for name, fields in OBJECTS.items():
            pipe.send(name)
            state = pipe.recv()
            if not state:
                continue
            frame = landed[plain(name)].to_pyarrow()
            columns = {plain(column): frame[column].to_pylist() for column in frame.column_names}
            place = {record_id: at for at, record_id in enumerate(columns["id"])}
            assert len(place) == len(state) == frame.num_rows, name
            for record in state:
                at = place[record["Id"]]
                for field in fields:
                    if field in record:
                        assert columns[plain(field)][at] == as_text(record[field]), (name, field)
            counts[name] = len(state)
    return counts


def plain(name: str) -> str:
    return name.replace("_", "").lower()


def as_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


if __name__ == "__main__":
    main()
