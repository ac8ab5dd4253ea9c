"""The synthetic company's record: how fast it is made, how fast its truth answers, what there is to win.

Run from the project's root: `python benchmarks/synthetic_world.py [DEALS ...]`; without sizes 1,000,
20,000 and 100,000 deals are made (1,000,000 take a few GB). The table of log-losses says how far the
truth lies above a stage x age table: the room that a model has.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.schema import CanonicalTables
from salesops_ml.synthetic import WorldParameters, generate, true_probabilities
from salesops_ml.warehouse import content_digest

RESULTS = Path("benchmarks/results/synthetic_world.json")
SIZES = (1_000, 20_000, 100_000)
HORIZON = 90
LOOKS = 20_000
END = pd.Timestamp("2026-07-01")


def making(sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    """Seconds to make worlds of several sizes; the smallest is made twice and must be the same."""
    small = WorldParameters(deals=min(sizes))
    assert content_digest(generate(small)) == content_digest(generate(small))
    rows = []
    for deals in sizes:
        start, worked = time.perf_counter(), time.process_time()
        world = generate(WorldParameters(deals=deals))
        seconds, worked = time.perf_counter() - start, time.process_time() - worked
        rows.append(
            {
                "deals": deals,
                "seconds": round(seconds, 2),
                "cpu_seconds": round(worked, 2),
                "rows": sum(table.num_rows for table in world.tables.values()),
                "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
            }
        )
    return rows


def weekly_looks(world: CanonicalTables) -> pd.DataFrame:
    """Each deal once a week from its creation while open, the whole horizon before the record's end."""
    deals = world.tables["deals"].to_pandas()
    life = (deals["closed_at"].fillna(END) - deals["created_at"]) / pd.Timedelta(days=7)
    weeks = np.ceil(life).astype(int)
    looks = deals.loc[deals.index.repeat(weeks)]
    week = looks.groupby(level=0).cumcount()
    as_of = (looks["created_at"] + pd.to_timedelta(7 * week, unit="D")).astype("datetime64[us]")
    looks = looks.assign(as_of=as_of).reset_index(drop=True)
    looks = looks[looks["as_of"] + pd.Timedelta(days=HORIZON) <= END]
    within = looks["closed_at"] <= looks["as_of"] + pd.Timedelta(days=HORIZON)
    events = world.tables["stage_events"].to_pandas()[["deal_id", "entered_at", "stage"]]
    looks = looks.assign(
        won=within & looks["status"].eq("won"), lost=within & looks["status"].eq("lost")
    )
    seen = pd.merge_asof(
        looks.sort_values("as_of", kind="stable"), events.sort_values("entered_at"),
        left_on="as_of", right_on="entered_at", by="deal_id",
    )  # fmt: skip
    age = (seen["as_of"] - seen["entered_at"]).dt.days
    return seen.assign(age=pd.cut(age, [-1, 3, 7, 14, 21, 35, 60, 10_000]).cat.codes)


def log_loss(happened: pd.Series, chance: Any) -> float:
    """Mean negative log-likelihood of what happened."""
    p = np.clip(np.asarray(chance, dtype=float), 1e-9, 1 - 1e-9)
    return float(-np.log(np.where(happened, p, 1 - p)).mean())


def room() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Log-losses on the last 30 % of looks, and the time the truth took for them."""
    rows = []
    timing: dict[str, Any] = {}
    for share in (0.0, 0.5):
        world = generate(WorldParameters(deals=20_000, latent_share=share))
        looks = weekly_looks(world)
        border = looks["as_of"].quantile(0.7)
        past, future = looks[looks["as_of"] < border], looks[looks["as_of"] >= border]
        test = future.sample(min(LOOKS, len(future)), random_state=0)
        start, worked = time.perf_counter(), time.process_time()
        exact = true_probabilities(world.truth, test, horizon_days=HORIZON, ever=False)
        seconds, worked = time.perf_counter() - start, time.process_time() - worked
        some = test.index[:20]
        again = true_probabilities(world.truth, test.loc[some], horizon_days=HORIZON, ever=False)
        assert np.allclose(again, exact.loc[some], atol=1e-12)
        timing = {
            "looks": len(test),
            "horizon_days": HORIZON,
            "seconds": round(seconds, 1),
            "cpu_seconds": round(worked, 1),
        }
        for outcome, column in (("won", "p_win"), ("lost", "p_lost")):
            cells = past.groupby(["stage", "age"])[outcome].agg(["sum", "count"])
            table = (cells["sum"] + 20 * past[outcome].mean()) / (cells["count"] + 20)
            places = pd.MultiIndex.from_frame(test[["stage", "age"]])
            by_cell = table.reindex(places).fillna(past[outcome].mean())
            rows.append(
                {
                    "latent_share": share,
                    "outcome": outcome,
                    "looks": len(looks),
                    "base_rate": log_loss(test[outcome], np.full(len(test), past[outcome].mean())),
                    "stage_x_age": log_loss(test[outcome], by_cell),
                    "truth": log_loss(test[outcome], exact[column]),
                }
            )
    return rows, timing


def main() -> None:
    """Print the tables and keep them as JSON."""
    sizes = tuple(int(word) for word in sys.argv[1:]) or SIZES
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    made = making(sizes)
    losses, timing = room()
    print(f"{machine['cores']} cores, Python {machine['python']}\n")
    print(pd.DataFrame(made).to_string(index=False))
    print(
        f"\ntruth: {timing['looks']:,} looks, {HORIZON} days ahead, {timing['seconds']} s "
        f"({timing['cpu_seconds']} s of work)\n"
    )
    print(pd.DataFrame(losses).round(4).to_string(index=False))
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    kept = {"machine": machine, "making": made, "truth": timing, "log_loss": losses}
    RESULTS.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
