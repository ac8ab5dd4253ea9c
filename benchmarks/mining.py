"""How fast a log is mined beside pm4py: transitions with their times, and variants, on BPI 2012.

Run from the project's root: `python benchmarks/mining.py`. Both start from the same frame in memory.
Counts and mean times are compared before a time is printed; ours also has quantiles in its answer.
The last row is the whole of mining on a made company.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from salesops_ml.mining.discovery import directly_follows, load_pm4py, variant_counts
from salesops_ml.mining.event_log import read_log
from salesops_ml.mining.run import mine
from salesops_ml.mining.transitions import transitions
from salesops_ml.mining.variants import variants
from salesops_ml.settings import parse
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.warehouse import Warehouse

LOG = Path("../shared/data/bpic2012/BPI_Challenge_2012.xes.gz")
RESULTS = Path("benchmarks/results/mining.json")
COLUMNS = ["case:concept:name", "concept:name", "time:timestamp"]
COPIES = 10
ROUNDS = 3
DEALS = 20_000
SECONDS_A_DAY = 86_400


class Taken(NamedTuple):
    """Seconds by the clock on the wall, and of the processors' work."""

    wall: float
    work: float


def timed(run: Callable[[], Any], rounds: int = ROUNDS) -> tuple[Any, Taken]:
    """The answer of `run` and the medians of the seconds it took."""
    walls, works = [], []
    for _ in range(rounds):
        wall, work = time.perf_counter(), time.process_time()
        answer = run()
        walls.append(time.perf_counter() - wall)
        works.append(time.process_time() - work)
    return answer, Taken(statistics.median(walls), statistics.median(works))


def graphs(name: str, log: pd.DataFrame) -> list[dict[str, Any]]:
    """Counts and times of transitions, ours in one call, pm4py's in two."""
    pm4py = load_pm4py()
    ours, seconds = timed(lambda: transitions(log))
    counts, other = timed(lambda: directly_follows(log))
    slow, third = timed(lambda: pm4py.discover_performance_dfg(log=log)[0])
    steps = ours[ours["kind"] == "step"]
    pairs = list(zip(steps["source"], steps["target"], strict=True))
    assert dict(zip(pairs, steps["count"], strict=True)) == counts[0]
    for kind, column, theirs in (("start", "target", counts[1]), ("end", "source", counts[2])):
        rows = ours[ours["kind"] == kind]
        assert dict(zip(rows[column], rows["count"], strict=True)) == theirs
    means = np.array([slow[pair]["mean"] for pair in pairs]) / SECONDS_A_DAY
    assert np.allclose(steps["dwell_mean_days"], means, atol=1e-6)
    return [
        row(f"{name}: transitions, counts and times", "ours", len(log), seconds),
        row(
            f"{name}: transitions, counts and times",
            "pm4py",
            len(log),
            Taken(other.wall + third.wall, other.work + third.work),
        ),
        row(f"{name}: transitions, counts alone", "pm4py", len(log), other),
    ]


def paths(name: str, log: pd.DataFrame) -> list[dict[str, Any]]:
    """Variants and how many cases took each."""
    ours, seconds = timed(lambda: variants(log))
    theirs, other = timed(lambda: variant_counts(log))
    steps = [tuple(path) for path in ours["steps"]]
    assert dict(zip(steps, ours["count"], strict=True)) == theirs
    return [
        row(f"{name}: variants", "ours", len(log), seconds),
        row(f"{name}: variants", "pm4py", len(log), other),
    ]


def copied(log: pd.DataFrame, copies: int) -> pd.DataFrame:
    """A log of so many copies, their cases told apart."""
    parts = [log.assign(**{COLUMNS[0]: log[COLUMNS[0]] + f"-{turn}"}) for turn in range(copies)]
    return pd.concat(parts, ignore_index=True)


def whole_of_mining() -> list[dict[str, Any]]:
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


def row(what: str, who: str, events: int, taken: Taken) -> dict[str, Any]:
    return {"what": what, "who": who, "events": events, "seconds": round(taken.wall, 3),
            "processor_seconds": round(taken.work, 3)}  # fmt: skip


def main() -> None:
    log = read_log(LOG)[COLUMNS]
    large = copied(log, COPIES)
    rows = [
        *graphs("BPI 2012", log), *paths("BPI 2012", log),
        *graphs(f"BPI 2012 x {COPIES}", large), *paths(f"BPI 2012 x {COPIES}", large),
        *whole_of_mining(),
    ]  # fmt: skip
    for one in rows:
        print(
            f"{one['what']:<48}{one['who']:<8}{one['events']:>11,}"
            f"{one['seconds']:>10.3f} s{one['processor_seconds']:>10.3f} s of work"
        )
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    versions = {"python": platform.python_version(), "pm4py": load_pm4py().__version__,
                "pandas": pd.__version__, "numpy": np.__version__}  # fmt: skip
    RESULTS.write_text(json.dumps({"versions": versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
