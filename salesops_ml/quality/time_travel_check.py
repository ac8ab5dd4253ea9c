"""The audit's experiment: rebuild a sample of deals in another future, and see whether features move."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from salesops_ml.quality.finding import Finding
from salesops_ml.quality.time_travel import compare, copy_tables, without_future
from salesops_ml.settings import Settings
from salesops_ml.snapshots.dataset import open_deals, open_deals_on
from salesops_ml.snapshots.features import FeatureSpec
from salesops_ml.snapshots.undated import is_dated
from salesops_ml.warehouse import Warehouse

CHECK = "time travel"
SAMPLE_DEALS = 1200


def time_travel_findings(
    warehouse: Warehouse, spec: FeatureSpec, settings: Settings, *, days: Sequence[datetime]
) -> list[Finding]:
    """Rebuild a sample of deals in another future and another today; features must not move.

    After each day half of what was recorded is deleted and the other half corrupted. Where no deal is
    dated there is no time to travel in, and the finding says so.
    """
    if not is_dated(warehouse):
        return [Finding(CHECK, "all features", "no deal is dated: nothing to try", "ok")]
    if not days:
        return [Finding(CHECK, "all features", "no day was given to try", "ok")]
    tables = copy_tables(warehouse, _sample(warehouse, settings.seed))
    with Warehouse.in_memory(tables) as before:
        told = open_deals_on(before, spec, days)
    moved: set[str] = set()
    for number, day in enumerate(days):
        changed = without_future(
            tables, as_of=day, how="mix", seed=settings.seed + number, fixed=spec.fixed
        )
        then = told[told["as_of"] == day].reset_index(drop=True)
        with Warehouse.in_memory(changed) as after:
            moved |= set(compare(then, open_deals(after, spec, as_of=day)))
    evidence = (
        f"{len(told)} looks on {len(days)} days; of what came later half was deleted, half corrupted,"
        " and today's values too"
    )
    if not moved:
        return [Finding(CHECK, "all features", evidence, "ok")]
    return [
        Finding(CHECK, name, f"{evidence}; the feature moved", "fail") for name in sorted(moved)
    ]


def _sample(warehouse: Warehouse, seed: int) -> list[str]:
    """Deals drawn by chance, the same for a seed."""
    names = warehouse.table("deals").select("deal_id").order_by("deal_id").to_pyarrow()["deal_id"]
    count = min(SAMPLE_DEALS, len(names))
    drawn = np.random.default_rng(seed).choice(len(names), count, replace=False)
    return [names[int(place)].as_py() for place in np.sort(drawn)]
