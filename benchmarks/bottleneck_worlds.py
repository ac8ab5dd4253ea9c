"""Bottlenecks and causes in small companies whose truth is known: how often the right one is named.

Run from the project's root: `python benchmarks/bottleneck_worlds.py [SEEDS]`; without a number 100
companies with one planted bottleneck each are mined, and 100 with none. A company takes about two
seconds; each leaves a line in `build/bottleneck_worlds.jsonl`, and a run that was stopped goes on
from there. Lines of another state of the method are not taken up. The summary is kept in
`benchmarks/results/bottleneck_worlds.json`.

The plants take turns (`PLANTS`), so that stages early and late, and causes of every kind, are asked
for alike. The true cost is the difference of the won amount between the company and its twin
without the bottleneck, on the same luck.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.mining.bottlenecks import bottlenecks
from salesops_ml.mining.event_log import event_log
from salesops_ml.mining.segments import segments
from salesops_ml.synthetic import Bottleneck, WorldParameters, generate
from salesops_ml.warehouse import Warehouse

LINES = Path("build/bottleneck_worlds.jsonl")
RESULTS = Path("benchmarks/results/bottleneck_worlds.json")
SEEDS = 100
FIRST_SEED = 1_000
DEALS, YEARS = 4_000, 2.0
SLOWDOWN = 0.3
BOOTSTRAP = 200
PLANTS = (
    ("Contract", "discount", ""),
    ("Negotiation", "region", "EMEA"),
    ("Proposal", "product", "Plus"),
    ("Discovery", "lead_source", "Outbound"),
    ("Qualified", "industry", "Manufacturing"),
    ("Lead", "region", "North America"),
    ("Negotiation", "discount", ""),
    ("Proposal", "lead_source", "Inbound"),
    ("Discovery", "product", "Core"),
    ("Contract", "industry", "Software"),
)
ATTRIBUTES = {"region": "account_region", "product": "product", "industry": "industry",
              "lead_source": "lead_source", "discount": "discount"}  # fmt: skip
METHOD = (
    "bottlenecks", "conditions", "delay_cost", "dwell", "pace", "segments", "slow_kinds", "steps",
    "visits",
)  # fmt: skip


def state() -> str:
    """Digest of the files that the answers depend on."""
    texts = [Path(f"salesops_ml/mining/{name}.py").read_bytes() for name in METHOD]
    texts.append(Path(__file__).read_bytes())
    return hashlib.sha256(b"".join(texts)).hexdigest()[:12]


def company(seed: int, planted: bool) -> WorldParameters:
    """A company of this seed, its bottleneck taken in turn."""
    stage, cause, value = PLANTS[seed % len(PLANTS)]
    plant = Bottleneck(stage, cause, value, SLOWDOWN)  # type: ignore[arg-type]
    return WorldParameters(deals=DEALS, years=YEARS, seed=seed, planted=(plant,) if planted else ())


def cause_name(stage: str, cause: str, value: str) -> tuple[str, str, str]:
    """Stage, attribute and value under which the plant should be found."""
    return stage, ATTRIBUTES[cause], value or "> 20%"


def mined(seed: int, planted: bool) -> dict[str, Any]:
    """What is found in one company, beside its truth."""
    world = company(seed, planted)
    tables = generate(world)
    as_of = datetime.combine(world.end, datetime.min.time()) + timedelta(days=1)
    with Warehouse.in_memory(tables) as warehouse:
        log = event_log(warehouse, as_of=as_of)
        kinds = segments(warehouse, log, as_of=as_of)
        found = bottlenecks(log, kinds, bootstrap=BOOTSTRAP)
    named = found[(found.kind == "segment") & found.finding]
    first = found[(found.kind == "stage") & (found["rank"] == 1)].iloc[0]
    row: dict[str, Any] = {
        "seed": seed,
        "planted": planted,
        "found": named[["stage", "attribute", "value"]].values.tolist(),
        "q_values": named.q_value.tolist(),
    }
    if planted:
        truth = tables.truth["bottlenecks"].to_pylist()[0]
        row |= {
            "plant": list(cause_name(*PLANTS[seed % len(PLANTS)])),
            "first": [first.stage, first.attribute, first.value],
            "cost": truth["cost_per_month"],
            "told": [first.cost_per_month, first.cost_low, first.cost_high],
        }
    return row


def all_lines(seeds: int) -> list[dict[str, Any]]:
    """Every company's line, those of this state of the method read back, the others mined."""
    code = state()
    LINES.parent.mkdir(exist_ok=True)
    kept = {}
    if LINES.exists():
        for text in LINES.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            if line["state"] == code:
                kept[line["seed"], line["planted"]] = line
    for planted in (True, False):
        for seed in range(FIRST_SEED, FIRST_SEED + seeds):
            if (seed, planted) in kept:
                continue
            start = time.process_time()
            line = mined(seed, planted) | {"state": code}
            line["cpu_seconds"] = round(time.process_time() - start, 2)
            kept[seed, planted] = line
            with LINES.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
    wanted = [(seed, planted) for planted in (True, False)
              for seed in range(FIRST_SEED, FIRST_SEED + seeds)]  # fmt: skip
    return [kept[key] for key in wanted]


def is_true(found: list[str], plant: list[str]) -> bool:
    """Whether a finding names the plant; another cut of the same number, in the same stage, does."""
    same_cut = found[1] == "discount" or found[2] == plant[2]
    return found[:2] == plant[:2] and same_cut


def summary(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts and shares over the companies."""
    with_plant = [line for line in lines if line["planted"]]
    without = [line for line in lines if not line["planted"]]
    ranked = [line["first"][0] == line["plant"][0] and line["told"][0] > 0 for line in with_plant]
    covered = [
        right and line["told"][1] <= line["cost"] <= line["told"][2]
        for right, line in zip(ranked, with_plant, strict=True)
    ]
    false = [
        np.mean([not is_true(one, line["plant"]) for one in line["found"]]) if line["found"] else 0
        for line in with_plant
    ]
    return {
        "planted_worlds": len(with_plant),
        "bottleneck_first": int(sum(ranked)),
        "interval_covers": int(sum(covered)),
        "cause_first": int(sum(line["first"] == line["plant"] for line in with_plant)),
        "mean_false_share": round(float(np.mean(false)), 4),
        "empty_worlds": len(without),
        "empty_worlds_with_a_finding": int(sum(bool(line["found"]) for line in without)),
        "cpu_seconds_a_world": round(float(np.median([line["cpu_seconds"] for line in lines])), 2),
    }


def by_plant(lines: list[dict[str, Any]]) -> pd.DataFrame:
    """The same by plant, to see where the method is weak."""
    rows = []
    for line in lines:
        if line["planted"]:
            cost, (told, low, high) = line["cost"], line["told"]
            rows.append({
                "plant": ", ".join(line["plant"]),
                "first": line["first"][0] == line["plant"][0] and told > 0,
                "cause": line["first"] == line["plant"],
                "covers": low <= cost <= high,
                "below": cost < low,
                "findings": len(line["found"]),
                "true": cost,
                "told": told,
                "width": high - low,
            })  # fmt: skip
    frame = pd.DataFrame(rows).astype({"first": float, "cause": float, "covers": float})
    return frame.groupby("plant").mean().round(2)


def main() -> None:
    """Mine the companies, print the tables and keep the summary."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS
    lines = all_lines(seeds)
    told = summary(lines)
    plants = by_plant(lines)
    print(pd.Series(told).to_string(), "\n")
    print(plants.to_string())
    kept = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "worlds": {"deals": DEALS, "years": YEARS, "slowdown": SLOWDOWN, "first_seed": FIRST_SEED},
        "summary": told,
        "by_plant": plants.reset_index().to_dict("records"),
    }
    RESULTS.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
