"""The forecast of the quarter at a synthetic company, from every week, beside the usual ways to make it.

For each seed a company of three years is replayed over its last quarters, from every week, by
the deal model of the day (nothing of the truth is used). Judged is the running quarter: the error
of the quarter by week beside every baseline, and how often the 80 % range held for the company and each
region, with errors clustered by quarter or by day, whichever is larger.

Run it as `python benchmarks/company_forecasts.py [SEED ...]`; a seed that was not run keeps its result.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from salesops_ml.app.time_machine import WeeklyRecord, replay_weeks
from salesops_ml.forecasts.backtest_scores import backtest_summary
from salesops_ml.forecasts.skill import in_weeks
from salesops_ml.settings import Settings
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.warehouse import Warehouse

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "company_forecasts.json"
SEEDS = (7, 8, 9, 10, 11)
DEALS, QUARTERS = 20_000, 8
END = datetime(2026, 7, 1)
GOALS = {"crm_weighted_pipeline": 0.6, "run_rate": 0.8, "existing_plus_new": 0.85}
WEEK = 4


def replayed(seed: int) -> tuple[WeeklyRecord, dict[str, Any]]:
    """The record of one company, and what it cost."""
    world = generate(WorldParameters(deals=DEALS, seed=seed))
    settings = Settings.model_validate({"threads": 1})
    with Warehouse.in_memory(world) as warehouse:
        wall, cpu = time.perf_counter(), time.process_time()
        record = replay_weeks(warehouse, settings, as_of=END, quarters=QUARTERS)
        spent = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    return record, spent


def judged(seed: int, record: WeeklyRecord, spent: dict[str, Any]) -> dict[str, Any]:
    """Figures of one company, ready for JSON."""
    rows = in_weeks(record.replayed)
    company = rows[rows["level"] == "company"]
    pairs = company[["origin", "period"]].drop_duplicates()
    weeks = record.weeks[record.weeks["level"] == "company"]
    kept = ["week", "method", "pairs", "wape", "bias", "skill", "skill_low", "skill_high"]
    ours = rows[(rows["method"] == "ours") & rows["level"].isin(["company", "region"])]
    held = backtest_summary(ours, by=("node",))
    shown = ["node", "pairs", "wape", "bias", "coverage_80", "coverage_80_se", "coverage_95"]
    return {
        "seed": seed, "pairs": len(pairs), **spent,
        "weeks": weeks[kept].to_dict(orient="records"),
        "coverage": held[shown].to_dict(orient="records"),
        "parts": record.parts.to_dict(orient="records"),
    }  # fmt: skip


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The goals over all seeds: each one's figure, its bound, and whether it is met."""
    weeks = pd.concat([pd.DataFrame(one["weeks"]).assign(seed=one["seed"]) for one in results])
    at = weeks[weeks["week"] == WEEK].groupby("method")["wape"].mean()
    mean = weeks.groupby(["method", "week"])["wape"].mean().unstack()
    ratios = {name: float(at["ours"] / at[name]) for name in GOALS}
    skill = {name: (1 - mean.loc["ours"] / mean.loc[name]).round(4).to_dict() for name in GOALS}
    held = pd.concat([pd.DataFrame(one["coverage"]).assign(seed=one["seed"]) for one in results])
    off = (held["coverage_80"] - 0.8).abs() / held["coverage_80_se"]
    return {
        "seeds": [one["seed"] for one in results],
        "fewest_pairs": min(one["pairs"] for one in results),
        "wape_by_week": {str(k): v for k, v in mean.round(4).to_dict(orient="index").items()},
        "ratio_at_week_4": {k: {"is": v, "at_most": GOALS[k]} for k, v in ratios.items()},
        "skill_by_week": skill,
        "least_skill": {name: min(by.values()) for name, by in skill.items()},
        "coverage_80": held.groupby("node")["coverage_80"].mean().to_dict(),
        "coverage_95": held.groupby("node")["coverage_95"].mean().to_dict(),
        "nodes_off_by_more_than_3_errors": held[off > 3][
            ["seed", "node", "coverage_80", "coverage_80_se"]
        ].to_dict(orient="records"),
    }  # fmt: skip


def main(arguments: list[str]) -> None:
    """Run the seeds, print the goals, keep everything as JSON."""
    done = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"companies": []}
    for seed in [int(word) for word in arguments] or SEEDS:
        kept = [one for one in done["companies"] if one["seed"] != seed]
        kept.append(judged(seed, *replayed(seed)))
        kept.sort(key=lambda one: one["seed"])
        done = {
            "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
            "goals": summary(kept),
            "companies": kept,
        }
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(done, indent=1, default=float) + "\n", encoding="utf-8")
        told = done["goals"]
        print(f"seeds {told['seeds']}, {told['fewest_pairs']} pairs or more each")
        print(pd.DataFrame(told["wape_by_week"]).T.round(3).to_string())
        for name in ("ratio_at_week_4", "least_skill", "coverage_80", "coverage_95"):
            print(name, told[name])
        print("off by more than 3 errors:", told["nodes_off_by_more_than_3_errors"])


if __name__ == "__main__":
    main(sys.argv[1:])
