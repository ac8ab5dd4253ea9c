"""The main job's headline figures: the demo and BPI 2012 from source to report, and `salesops --help`.

    python benchmarks/main_job.py

Each runs as a user runs it, in a process of its own, in a workspace laid for it; peak memory is that
process's. The run folder's contract is asserted before a time is printed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
SALESOPS = Path(sys.executable).with_name("salesops")
BUDGETS = {"demo": 120.0, "bpic2012": 300.0, "help": 0.5}
FILES = (
    "dataset", "predictions", "hazards", "forecast", "forecast_backtest", "transitions",
    "bottlenecks", "variants", "kpis", "scores",
)  # fmt: skip


def timed(words: list[str], place: Path) -> tuple[float, float]:
    """Seconds and peak GiB of one command."""
    start = time.perf_counter()
    child = subprocess.Popen(words, cwd=place, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, words
    return time.perf_counter() - start, usage.ru_maxrss / 2**20


def job(config: str) -> dict[str, Any]:
    """One whole run in a fresh workspace."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "main"
        subprocess.run([SALESOPS, "init", place], check=True, stdout=subprocess.DEVNULL)
        shared = ROOT.parent / "shared"
        if shared.exists():
            (Path(folder) / "shared").symlink_to(shared)
        seconds, memory = timed([str(SALESOPS), "run", "--config", f"configs/{config}.yaml"], place)
        run = place / "runs" / "latest"
        assert all(len(pd.read_parquet(run / f"{name}.parquet")) for name in FILES)
        evaluation = json.loads((run / "evaluation.json").read_text())
    return {
        "seconds": seconds,
        "gib": memory,
        "log_loss": evaluation["win"]["log_loss"],
        "stage_age": evaluation["baselines"]["stage_age"]["log_loss"],
        "slope": evaluation["win"]["calibration_slope"],
        "coverage_80": evaluation["dates"].get("coverage_80"),
    }


def main() -> None:
    """Run, print, and write results/main_job.json."""
    best = min(timed([str(SALESOPS), "--help"], ROOT)[0] for _ in range(5))
    results: dict[str, Any] = {"cores": os.cpu_count(), "help": {"seconds": best}}
    for config in ("demo", "bpic2012"):
        if config == "demo" or (ROOT.parent / "shared" / "data").exists():
            results[config] = job(config)
    print(f"{os.cpu_count()} cores")
    for name, budget in BUDGETS.items():
        if name in results:
            told = "  ".join(f"{k} {v:.3f}" for k, v in results[name].items() if v is not None)
            print(f"{name:<10} (at most {budget:g} s)  {told}")
    path = ROOT / "benchmarks" / "results" / "main_job.json"
    path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
