"""How fast sources are read: XES beside pm4py, real logs and files into a warehouse, a CSV of size.

Run from the project's root: `python benchmarks/ingest.py`. Each answer is checked against another way
to the same rows before its time is printed. Times are processor seconds, so that a busy machine
does not change them much.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from salesops_ml.crm import ingest
from salesops_ml.mining.xes import read_xes
from salesops_ml.settings import Settings, load, parse

DATA = Path("../shared/data")
RESULTS = Path("benchmarks/results/ingest.json")
LOG = DATA / "bpic2012" / "BPI_Challenge_2012.xes.gz"
ROWS = 500_000


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """The answer of `run` and the processor seconds it took, those of all threads together."""
    start = time.process_time()
    answer = run()
    return answer, time.process_time() - start


def xes_beside_pm4py() -> list[dict[str, Any]]:
    """BPI 2012 by our reader and by each of pm4py's, with the same events."""
    os.environ["PM4PY_SHOW_PROGRESS_BAR"] = "False"
    import pm4py

    ours, seconds = timed(lambda: read_xes(LOG, lines=False))
    figures = [{"what": "BPI 2012 XES.gz, our reader", "rows": ours.num_rows, "seconds": seconds}]
    for variant in ("iterparse", "chunk_regex"):
        theirs, other = timed(lambda variant=variant: pm4py.read_xes(str(LOG), variant=variant))
        refuse_unequal(ours, theirs)
        what = f"BPI 2012 XES.gz, pm4py {variant}"
        figures.append({"what": what, "rows": len(theirs), "seconds": other})
    return figures


def refuse_unequal(ours: pa.Table, theirs: Any) -> None:
    """Both readers must have found the same events, in the same order."""
    assert ours["concept:name"].to_pylist() == theirs["concept:name"].tolist()
    assert ours["case:concept:name"].to_pylist() == theirs["case:concept:name"].tolist()
    times = theirs["time:timestamp"].dt.tz_convert("UTC").dt.tz_localize(None)
    assert ours["time:timestamp"].to_pandas().tolist() == times.tolist()


def into_a_warehouse(name: str, deals: int) -> list[dict[str, Any]]:
    """A shipped configuration loaded for the first time, and again."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load(
            f"configs/{name}.yaml", overrides={"warehouse": f"duckdb:///{folder}/w.duckdb"}
        )
        first, seconds = timed(lambda: ingest(settings, ingested_at=datetime(2026, 1, 1)))
        again, other = timed(lambda: ingest(settings, ingested_at=datetime(2026, 1, 2)))
    assert first.changed
    assert not again.changed
    assert first.rows["deals"] == again.rows["deals"] == deals
    rows = sum(first.rows.values())
    return [
        {"what": f"{name} into the warehouse", "rows": rows, "seconds": seconds},
        {"what": f"{name} again, nothing new", "rows": rows, "seconds": other},
    ]


def csv_of_size() -> list[dict[str, Any]]:
    """Half a million deals from a CSV, every value parsed and checked."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deals.csv"
        settings = _big_file(path)
        result, seconds = timed(lambda: ingest(settings, ingested_at=datetime(2026, 1, 1)))
        plain, other = timed(lambda: pa.csv.read_csv(path))
    assert result.rows["deals"] == plain.num_rows == ROWS
    assert result.rejects == 0
    return [
        {"what": "CSV of deals into the warehouse", "rows": ROWS, "seconds": seconds},
        {"what": "the same CSV, Arrow's bare reader", "rows": ROWS, "seconds": other},
    ]


def _big_file(path: Path) -> Settings:
    numbers = pa.array(range(ROWS), pa.int64())
    seconds = pc.add(pc.multiply(numbers, 60), 1_700_000_000)
    opened = seconds.cast(pa.timestamp("s")).cast(pa.string())
    names = pa.array(["ann", "bob", "cas"]).take(
        pc.subtract(numbers, pc.multiply(pc.divide(numbers, 3), 3))
    )
    status = pa.repeat("Open", ROWS)
    columns = {"id": numbers, "owner": names, "state": status, "opened": opened, "value": numbers}
    pa.csv.write_csv(pa.table(columns), path)
    mapping = {
        "path": str(path),
        "columns": {"deal_id": "id", "rep_id": "owner", "status": "state", "created_at": "opened",
                    "amount": "value"},
        "values": {"status": {"Open": "open"}},
    }  # fmt: skip
    source = {"type": "files", "tables": {"deals": mapping}}
    return parse({"source": source, "warehouse": f"duckdb:///{path.parent}/w.duckdb"})


def main() -> None:
    """Measure, print, and keep the figures."""
    figures = csv_of_size()
    if DATA.exists():
        figures += into_a_warehouse("bpic2012", 13_087)
        figures += into_a_warehouse("maven", 8_800)
        figures += xes_beside_pm4py()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}; peak memory {peak:,.0f} MB")
    for figure in figures:
        rate = figure["rows"] / figure["seconds"]
        print(f"{figure['what']:<38} {figure['rows']:>9,} rows {figure['seconds']:>7.2f} s "
              f"{rate:>11,.0f} rows/s")  # fmt: skip
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main()
