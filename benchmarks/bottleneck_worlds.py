"""Bottlenecks and causes in small companies whose truth is known: how often the right one is named.

Run from the project's root: `python benchmarks/bottleneck_worlds.py [SEEDS]`; without a number 100
companies with one planted bottleneck each are mined, 100 with none, and 30 with a weak one (deals
move at half the pace, not at .3 of it). A company takes a few seconds; each leaves a line in
`build/bottleneck_worlds.jsonl`, and a run that was stopped goes on from there. Lines of another state
of the method are not taken up. The summary is kept in `benchmarks/results/bottleneck_worlds.json`.

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
from salesops_ml.mining.causes import causes
from salesops_ml.mining.event_log import event_log
from salesops_ml.mining.segments import segments
from salesops_ml.synthetic import Bottleneck, WorldParameters, generate
from salesops_ml.warehouse import Warehouse

LINES = Path("build/bottleneck_worlds.jsonl")
RESULTS = Path("benchmarks/results/bottleneck_worlds.json")
SEEDS = 100
FIRST_SEED = 1_000
DEALS, YEARS = 4_000, 2.0
SLOWDOWN, WEAK_SLOWDOWN = 0.3, 0.5
PLANTED, EMPTY, WEAK = "planted", "empty", "weak"
WEAK_SHARE = 0.3
BOOTSTRAP = 200
WIDTH = 2 * 1.645
"""Standard errors in an interval of 90 %."""
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
    "bottlenecks", "causes", "circumstances", "clusters", "conditions", "delay_cost", "effects",
    "factors", "pace", "questions", "slow_kinds", "worth",
)  # fmt: skip


def state() -> str:
    """Digest of the method's files and of the worlds that are asked for."""
    texts = [Path(f"salesops_ml/mining/{name}.py").read_bytes() for name in METHOD]
    worlds = (DEALS, YEARS, SLOWDOWN, WEAK_SLOWDOWN, BOOTSTRAP, PLANTS)
    return hashlib.sha256(b"".join([*texts, repr(worlds).encode()])).hexdigest()[:12]


def company(seed: int, kind: str) -> WorldParameters:
    """A company of this seed, its bottleneck taken in turn."""
    stage, cause, value = PLANTS[seed % len(PLANTS)]
    slowdown = WEAK_SLOWDOWN if kind == WEAK else SLOWDOWN
    plant = Bottleneck(stage, cause, value, slowdown)  # type: ignore[arg-type]
    planted = () if kind == EMPTY else (plant,)
    return WorldParameters(deals=DEALS, years=YEARS, seed=seed, planted=planted)


def cause_name(stage: str, cause: str, value: str) -> tuple[str, str, str]:
    """Stage, attribute and value under which the plant should be found."""
    return stage, ATTRIBUTES[cause], value or "> 20%"


def mined(seed: int, kind: str) -> dict[str, Any]:
    """What is found in one company, beside its truth."""
    world = company(seed, kind)
    tables = generate(world)
    as_of = datetime.combine(world.end, datetime.min.time()) + timedelta(days=1)
    with Warehouse.in_memory(tables) as warehouse:
        log = event_log(warehouse, as_of=as_of)
        kinds = segments(warehouse, log, as_of=as_of)
        found = bottlenecks(log, kinds, bootstrap=BOOTSTRAP)
        cause = causes(log, kinds).iloc[0] if kind == PLANTED else None
    named = found[(found.kind == "segment") & found.finding]
    first = found[(found.kind == "stage") & (found["rank"] == 1)].iloc[0]
    row: dict[str, Any] = {
        "seed": seed,
        "kind": kind,
        "found": named[["stage", "attribute", "value"]].values.tolist(),
        "q_values": named.q_value.tolist(),
    }
    if kind != EMPTY:
        truth = tables.truth["bottlenecks"].to_pylist()[0]
        row |= {
            "plant": list(cause_name(*PLANTS[seed % len(PLANTS)])),
            "first": [first.stage, first.attribute, first.value],
            "cause": None if cause is None else [cause.stage, cause.attribute, cause.value],
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
            if line.get("state") == code:
                kept[line["seed"], line["kind"]] = line
    turns = [(turn, kind) for turn in range(seeds) for kind in (PLANTED, EMPTY)]
    turns += [(turn, WEAK) for turn in range(round(WEAK_SHARE * seeds))]
    wanted = [(FIRST_SEED + turn, kind) for turn, kind in turns]
    for seed, kind in wanted:
        if (seed, kind) in kept:
            continue
        start = time.process_time()
        line = mined(seed, kind) | {"state": code}
        line["cpu_seconds"] = round(time.process_time() - start, 2)
        kept[seed, kind] = line
        with LINES.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    return [kept[key] for key in wanted]


def is_true(found: list[str], plant: list[str]) -> bool:
    """Whether a finding names the plant; another cut of the same number, in the same stage, does."""
    same_cut = found[1] == "discount" or found[2] == plant[2]
    return found[:2] == plant[:2] and same_cut


def summary(lines: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Counts and shares over the companies with a plant of this kind."""
    rows = pd.DataFrame([_judged(line) for line in lines if line["kind"] == kind])
    priced = rows[rows.width > 0]  # where nothing was found there is no interval
    error = (priced.told - priced.true) / (priced.width / WIDTH)
    told = {
        "worlds": len(rows),
        "bottleneck_first": int(rows["first"].sum()),
        "bottleneck_first_with_its_cause": int(rows.segment.sum()),
        "interval_covers": int(rows.covers.sum()),
        "mean_false_share": round(float(rows.false.mean()), 4),
        "told_over_true_cost": round(float(rows.told.sum() / rows.true.sum()), 3),
        "error_over_standard_error": [round(float(error.mean()), 2), round(float(error.std()), 2)],
    }
    if kind == PLANTED:
        told["cause_first"] = int(rows.cause.sum())
    return told


def _judged(line: dict[str, Any]) -> dict[str, Any]:
    """One company with a plant, held against its truth."""
    plant, (told, low, high) = line["plant"], line["told"]
    false = [not is_true(one, plant) for one in line["found"]]
    first = line["first"][0] == plant[0] and told > 0
    return {
        "plant": ", ".join(plant),
        "first": first,
        "segment": line["first"] == plant,
        "cause": line["cause"] == plant,
        "covers": first and low <= line["cost"] <= high,
        "true_below": line["cost"] < low,
        "findings": len(false),
        "false": float(np.mean(false)) if false else 0.0,
        "true": line["cost"],
        "told": told,
        "width": high - low,
    }


def by_plant(lines: list[dict[str, Any]]) -> pd.DataFrame:
    """The same by plant, to see where the method is weak."""
    frame = pd.DataFrame([_judged(line) for line in lines if line["kind"] == PLANTED])
    return frame.set_index("plant").astype(float).groupby("plant").mean().round(2)


def main() -> None:
    """Mine the companies, print the tables and keep the summary."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS
    lines = all_lines(seeds)
    empty = [line for line in lines if line["kind"] == EMPTY]
    asked = {line["kind"] for line in lines}
    told = {kind: summary(lines, kind) for kind in (PLANTED, WEAK) if kind in asked}
    told[EMPTY] = {
        "worlds": len(empty),
        "worlds_with_a_finding": sum(bool(line["found"]) for line in empty),
    }
    plants = by_plant(lines)
    for kind, values in told.items():
        print(f"{kind}\n{pd.Series(values).to_string()}\n")
    print(plants.to_string())
    kept = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "cpu_seconds_a_world": float(np.median([line["cpu_seconds"] for line in lines])),
        "worlds": {
            "deals": DEALS, "years": YEARS, "first_seed": FIRST_SEED,
            "slowdown": {PLANTED: SLOWDOWN, WEAK: WEAK_SLOWDOWN},
        },
        "summary": told,
        "by_plant": plants.reset_index().to_dict("records"),
    }  # fmt: skip
    RESULTS.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
