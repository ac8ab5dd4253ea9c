"""How fast and how small mining is beside pm4py, and that both give the same answers.

Run from the project's root: `python benchmarks/mining.py`, or with the names of some parts of it:
`read`, `graphs`, `memory`, `hundred`, `whole`. In one run, each in processor time:

- `read`: the BPI 2012 XES.gz into a pandas frame, beside pm4py's default reader;
- `graphs`: transitions with P50 and P90 beside pm4py's DFG and performance DFG, and variants, on
  BPI 2012 and on copies of it up to 10 million events, both from the same frame in memory;
- `memory`: the same in a process each: the highest memory above that of the frame;
- `hundred`: 100 million made events in a Parquet file, transitions and variants in one process;
- `whole`: all of mining on a made company.

Answers are compared before a time is printed.
"""

from __future__ import annotations

import json
import multiprocessing
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
from mining_log import written_log

from salesops_ml.mining.discovery import directly_follows, load_pm4py, variant_counts
from salesops_ml.mining.log_files import read_log
from salesops_ml.mining.run import mine
from salesops_ml.mining.steps import as_steps
from salesops_ml.mining.transitions import transitions
from salesops_ml.mining.variants import variants
from salesops_ml.settings import parse
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.warehouse import Warehouse

LOG = Path("../shared/data/bpic2012/BPI_Challenge_2012.xes.gz")
RESULTS = Path("benchmarks/results/mining.json")
COLUMNS = ["case:concept:name", "concept:name", "time:timestamp"]
COPIES = {1: 3, 10: 2, 38: 1}
"""How often BPI 2012 is copied, and how many rounds are timed then."""
MEMORY_COPIES = (10,)
DEALS = 20_000
SECONDS_A_DAY = 86_400
EVENTS = 100_000_000
MOST_MEMORY_GB = 8

Row = dict[str, Any]


class Taken(NamedTuple):
    """Seconds by the clock on the wall, and of the processors' work."""

    wall: float
    work: float


def timed(run: Callable[[], Any], rounds: int = 3) -> tuple[Any, Taken]:
    """The answer of `run` and the medians of the seconds it took."""
    walls, works = [], []
    for _ in range(rounds):
        wall, work = time.perf_counter(), time.process_time()
        answer = run()
        walls.append(time.perf_counter() - wall)
        works.append(time.process_time() - work)
    return answer, Taken(statistics.median(walls), statistics.median(works))


def copied(log: pd.DataFrame, copies: int) -> pd.DataFrame:
    """A log of so many copies, their cases told apart."""
    if copies == 1:
        return log
    parts = [log.assign(**{COLUMNS[0]: log[COLUMNS[0]] + f"-{turn}"}) for turn in range(copies)]
    return pd.concat(parts, ignore_index=True)


def named(copies: int) -> str:
    return "BPI 2012" if copies == 1 else f"BPI 2012 x {copies}"


def row(what: str, who: str, events: int, taken: Taken) -> Row:
    return {"what": what, "who": who, "events": events, "seconds": round(taken.wall, 3),
            "processor_seconds": round(taken.work, 3)}  # fmt: skip


def reading() -> list[Row]:
    """The file into a frame."""
    pm4py = load_pm4py()
    ours, seconds = timed(lambda: read_log(LOG), rounds=5)
    theirs, other = timed(lambda: pm4py.read_xes(str(LOG)), rounds=2)
    assert set(ours.columns) == set(theirs.columns)
    for name in ours.columns:
        a, b = ours[name], theirs[name]
        if pd.api.types.is_datetime64_any_dtype(a.dtype):
            a, b = (pd.to_datetime(one, utc=True).astype("datetime64[us, UTC]") for one in (a, b))
        assert a.isna().equals(b.isna())
        assert (a[a.notna()] == b[b.notna()]).all()
    what = "BPI 2012: reading the XES.gz"
    return [row(what, "ours", len(ours), seconds), row(what, "pm4py", len(ours), other)]


def graphs() -> list[Row]:
    """Transitions with their times, and variants, of ever larger copies."""
    log = read_log(LOG)[COLUMNS]
    rows = []
    for copies, rounds in COPIES.items():
        large = copied(log, copies)
        rows += _transitions(named(copies), large, rounds) + _variants(named(copies), large, rounds)
    return rows


def _transitions(name: str, log: pd.DataFrame, rounds: int) -> list[Row]:
    pm4py = load_pm4py()
    ours, seconds = timed(lambda: transitions(log), rounds)
    counts, other = timed(lambda: directly_follows(log), rounds)
    slow, third = timed(lambda: pm4py.discover_performance_dfg(log=log)[0], rounds)
    steps = ours[ours["kind"] == "step"]
    pairs = list(zip(steps["source"], steps["target"], strict=True))
    assert dict(zip(pairs, steps["count"], strict=True)) == counts[0]
    for kind, column, theirs in (("start", "target", counts[1]), ("end", "source", counts[2])):
        outer = ours[ours["kind"] == kind]
        assert dict(zip(outer[column], outer["count"], strict=True)) == theirs
    means = np.array([slow[pair]["mean"] for pair in pairs]) / SECONDS_A_DAY
    assert np.allclose(steps["dwell_mean_days"], means, atol=1e-6)
    both = Taken(other.wall + third.wall, other.work + third.work)
    return [
        row(f"{name}: transitions, counts and times", "ours", len(log), seconds),
        row(f"{name}: transitions, counts and times", "pm4py", len(log), both),
        row(f"{name}: transitions, counts alone", "pm4py", len(log), other),
    ]


def _variants(name: str, log: pd.DataFrame, rounds: int) -> list[Row]:
    ours, seconds = timed(lambda: variants(log), rounds)
    theirs, other = timed(lambda: variant_counts(log), rounds)
    steps = [tuple(path) for path in ours["steps"]]
    assert dict(zip(steps, ours["count"], strict=True)) == theirs
    return [
        row(f"{name}: variants", "ours", len(log), seconds),
        row(f"{name}: variants", "pm4py", len(log), other),
    ]


def memory() -> list[Row]:
    """The highest memory above that of the frame, in a process for each."""
    rows = []
    for copies in MEMORY_COPIES:
        for who in ("ours", "pm4py"):
            for what in ("transitions", "variants"):
                events, megabytes = alone(_above_the_frame, what, who, copies)
                rows.append({"what": f"{named(copies)}: memory of {what}", "who": who,
                             "events": events, "peak_mb": round(megabytes, 1)})  # fmt: skip
    return rows


def alone(run: Callable[..., Any], *given: Any) -> Any:
    """What `run` gives in a new process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(run, given)


def _above_the_frame(what: str, who: str, copies: int) -> tuple[int, float]:
    pm4py = load_pm4py()
    small = read_log(LOG)[COLUMNS]
    runs: dict[tuple[str, str], Callable[[pd.DataFrame], Any]] = {
        ("transitions", "ours"): transitions,
        ("variants", "ours"): variants,
        ("transitions", "pm4py"): lambda log: (
            directly_follows(log), pm4py.discover_performance_dfg(log=log)
        ),
        ("variants", "pm4py"): variant_counts,
    }  # fmt: skip
    runs[what, who](small.head(1000))  # so that what is imported on the way is there
    log = copied(small, copies)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _status("VmRSS")
    runs[what, who](log)
    return len(log), (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    """A figure of this process in kB, as Linux tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def hundred() -> list[Row]:
    """A log larger than memory would like, from a Parquet file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.parquet"
        truth = written_log(path, events=EVENTS)
        found, paths, seconds, gigabytes = alone(_of_a_file, path)
    steps = found[found["kind"] == "step"]
    pairs = zip(steps["source"], steps["target"], strict=True)
    assert dict(zip(pairs, steps["count"], strict=True)) == truth.steps
    assert {tuple(path): int(n) for path, n in paths} == truth.variants
    assert gigabytes < MOST_MEMORY_GB
    what = "100 million events: transitions and variants from Parquet"
    return [row(what, "ours", truth.events, seconds) | {"peak_mb": round(gigabytes * 1000)}]


def _of_a_file(path: Path) -> tuple[pd.DataFrame, list[Any], Taken, float]:
    def both() -> tuple[pd.DataFrame, pd.DataFrame]:
        steps = as_steps(ds.dataset(path))
        return transitions(steps), variants(steps)

    (found, paths), seconds = timed(both, rounds=1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return found, list(zip(paths["steps"], paths["count"], strict=True)), seconds, peak


def whole() -> list[Row]:
    """Event log, transitions, stages, variants, priced bottlenecks and a model of a made company."""
    world = WorldParameters(deals=DEALS)
    tables = generate(world)
    as_of = datetime.combine(world.end, datetime.min.time()) + timedelta(days=1)
    with Warehouse.in_memory(tables) as warehouse:
        found, seconds = timed(lambda: mine(warehouse, as_of=as_of, settings=parse({})), rounds=1)
    first = found.bottlenecks.iloc[0]
    truth = tables.truth["bottlenecks"].to_pylist()[0]
    assert first["stage"] == truth["stage"]
    return [row(f"all of mining, {DEALS:,} made deals", "ours", found.events, seconds)]


PARTS: dict[str, Callable[[], list[Row]]] = {
    "read": reading, "graphs": graphs, "memory": memory, "hundred": hundred, "whole": whole,
}  # fmt: skip


def ratios(rows: list[Row]) -> dict[str, float]:
    """pm4py's figure over ours, of whatever both did."""
    done = {}
    for one in rows:
        for other in rows:
            if (one["what"], one["who"], other["who"]) == (other["what"], "ours", "pm4py"):
                figure = "peak_mb" if "peak_mb" in one else "processor_seconds"
                done[one["what"]] = round(other[figure] / max(one[figure], 1e-9), 2)
    return done


def line(one: Row) -> str:
    told = f"{one['what']:<60}{one['who']:<8}{one['events']:>12,}"
    if "processor_seconds" in one:
        told += f"{one['seconds']:>10.3f} s{one['processor_seconds']:>10.3f} s of work"
    return told + (f"{one['peak_mb']:>10,.0f} MB" if "peak_mb" in one else "")


def main() -> None:
    asked = sys.argv[1:] or list(PARTS)
    kept = json.loads(RESULTS.read_text()).get("parts", {}) if RESULTS.exists() else {}
    for part in asked:
        kept[part] = PARTS[part]()
        for one in kept[part]:
            print(line(one), flush=True)
        _write({name: kept[name] for name in PARTS if name in kept})
    for what, ratio in ratios([one for part in kept.values() for one in part]).items():
        print(f"{what:<60}{ratio:>8.1f} times")


def _write(parts: dict[str, list[Row]]) -> None:
    versions = {"python": platform.python_version(), "pm4py": load_pm4py().__version__,
                "pandas": pd.__version__, "numpy": np.__version__}  # fmt: skip
    rows = [one for part in parts.values() for one in part]
    told = {"versions": versions, "ratios": ratios(rows), "parts": parts}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
