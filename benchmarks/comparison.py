"""Whether comparisons and drift keep their promises, in worlds whose laws are known, and what they take.

Run from the project's root: `python benchmarks/comparison.py [WORLDS]`; 300 by default, some minutes.
Worlds are those of `tests/mining/process_world.py`. Times are seconds of the processor on BPI 2012.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.mining.comparison import compare
from salesops_ml.mining.drift import drift
from salesops_ml.mining.dwell_intervals import dwell_intervals
from salesops_ml.mining.event_log import read_log
from salesops_ml.mining.first_pass import first_pass_yield
from salesops_ml.mining.ping_pong import ping_pong
from salesops_ml.mining.populations import begun_between
from salesops_ml.mining.rework import rework
from salesops_ml.mining.skipped_stages import skipped_stages
from salesops_ml.mining.steps import as_steps

LOG = Path("../shared/data/bpic2012/BPI_Challenge_2012.xes.gz")
RESULTS = Path("benchmarks/results/comparison.json")
WORLD = Path("tests/mining/process_world.py")
CHANGED = 220.0


def the_world() -> Any:
    """The module of the worlds; the tests are no package that could be imported by name."""
    spec = importlib.util.spec_from_file_location("process_world", WORLD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["process_world"] = module
    spec.loader.exec_module(module)
    return module


world = the_world()
READ = {name: value for name, value in world.options().items() if name != "order"}
SLOW = world.with_days(Offer=20.0)
OTHER_WAY = world.with_ways("Lead", {"Offer": 0.4, "Contract": 0.3, "Lost": 0.3})


def sides(log: pd.DataFrame, split: str) -> tuple[Any, Any, Any]:
    """The steps of a log with two populations: teams by lot, half-years, or the last month."""
    steps = as_steps(log, **READ)
    if split == "teams":
        odd = np.arange(len(steps.case_ids)) % 2 == 1
        return steps, ~odd, odd
    cut = world.START + timedelta(days=182 if split == "half-years" else 335)
    end = world.START + timedelta(days=365)
    return steps, begun_between(steps, world.START, cut), begun_between(steps, cut, end)


def nothing_differs(worlds: int) -> Iterator[dict[str, Any]]:
    """How often something is found where nothing differs; at most a tenth is promised."""
    for split, deals in (("teams", 300), ("half-years", 300), ("last month", 600)):
        found, p_values, tests = [], [], []
        for seed in range(worlds):
            table = compare(*sides(world.process_log(deals, seed), split), draws=4000, seed=seed)
            found.append(bool(table.found.any()))
            p_values.append(table.p_value.dropna().to_numpy())
            tests.append(len(p_values[-1]))
        yield {
            "what": f"no difference, {split}, {deals} deals",
            "worlds": worlds,
            "tests_a_world": round(float(np.mean(tests)), 1),
            "any_finding": round(float(np.mean(found)), 3),
            "p_below_0.05": round(float((np.concatenate(p_values) < 0.05).mean()), 4),
        }


def something_differs(worlds: int) -> dict[str, Any]:
    """One team's Offer takes twice as long: whether that is found, and what share is false."""
    hits, false, held = [], [], []
    for seed in range(worlds):
        laws = [world.PLAIN if case % 2 == 0 else SLOW for case in range(300)]
        table = compare(
            *sides(world.process_log(300, seed, laws=laws), "teams"), draws=4000, seed=seed
        )
        true = (table.source == "Offer") & (table.measure == "dwell")
        told = table.found
        hits.append(bool((told & true).any()))
        false.append(float((told & ~true).sum() / max(told.sum(), 1)))
        same = table[
            (table.kind == "stage") & (table.source == "Lead") & (table.measure == "dwell")
        ]
        held.append(bool(((same.low <= 0) & (same.high >= 0)).all()))
    return {
        "what": "one team's Offer takes twice as long, 300 deals",
        "worlds": worlds,
        "found": round(float(np.mean(hits)), 3),
        "false_share": round(float(np.mean(false)), 3),
        "interval_95_covers": round(float(np.mean(held)), 3),
    }


def steady(worlds: int) -> Iterator[dict[str, Any]]:
    """How often drift is told where nothing changes; one in twenty is promised."""
    for deals in (400, 1500):
        alarms = [
            len(drift(world.process_log(deals, seed), **READ, seed=seed)) > 0
            for seed in range(worlds)
        ]
        yield {
            "what": f"steady process, {deals} deals",
            "worlds": worlds,
            "false_alarms": round(float(np.mean(alarms)), 3),
        }


def changing(worlds: int) -> Iterator[dict[str, Any]]:
    """Whether a planted change is found, named and dated; 90 % intervals."""
    day = pd.Timestamp(world.START) + pd.Timedelta(days=CHANGED)
    planted = (("Offer takes twice as long", SLOW, {("Offer", "dwell")}),
               ("fewer go from Lead to Offer", OTHER_WAY, {("Lead", "share")}))  # fmt: skip
    for name, laws, truth in planted:
        for deals in (400, 1500):
            told: list[tuple[bool, int, int, bool]] = []
            more = []
            for seed in range(worlds):
                log = world.process_log(deals, seed, changes=((CHANGED, laws),))
                found = drift(log, **READ, seed=seed)
                more.append(max(found.change.nunique() - 1, 0))
                if len(found):
                    first = found[found.change == found.change[(found.date - day).abs().idxmin()]]
                    one = first.iloc[0]
                    told.append((
                        bool(one.date_low <= day <= one.date_high),
                        (one.date_high - one.date_low).days, abs((one.date - day).days),
                        set(zip(first.source, first.measure, strict=True)) == truth,
                    ))  # fmt: skip
            covers, wide, off, named = (np.array(part) for part in zip(*told, strict=True))
            yield {
                "what": f"{name} from one day on, {deals} deals",
                "worlds": worlds,
                "found": round(len(told) / worlds, 3),
                "named_exactly": round(float(named.mean()), 3),
                "days_off_median": float(np.median(off)),
                "interval_90_covers": round(float(covers.mean()), 3),
                "interval_days_median": float(np.median(wide)),
                "further_changes_a_world": round(float(np.mean(more)), 3),
            }


def times() -> Iterator[dict[str, Any]]:
    """Seconds of the processor on BPI 2012, from the steps on."""
    steps = as_steps(read_log(LOG))
    begun = steps.at[steps.first]
    early = begun < np.median(begun)
    runs: dict[str, Callable[[], Any]] = {
        "dwell_intervals": lambda: dwell_intervals(steps),
        "rework": lambda: rework(steps),
        "ping_pong": lambda: ping_pong(steps),
        "first_pass_yield": lambda: first_pass_yield(steps),
        "skipped_stages": lambda: skipped_stages(steps),
        "compare": lambda: compare(steps, early, ~early),
        "drift": lambda: drift(steps),
    }
    for name, run in runs.items():
        start = time.process_time()
        rows = len(run())
        yield {"what": name, "events": len(steps.case), "rows": rows,
               "processor_seconds": round(time.process_time() - start, 2)}  # fmt: skip


def main() -> None:
    """Measure, print, and keep."""
    worlds = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    some = max(worlds // 3, 1)
    rows: list[dict[str, Any]] = []
    for part in (nothing_differs(worlds), iter([something_differs(worlds)]), steady(worlds),
                 changing(some), times()):  # fmt: skip
        for row in part:
            print(json.dumps(row), flush=True)
            rows.append(row)
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    RESULTS.write_text(json.dumps({"versions": versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
