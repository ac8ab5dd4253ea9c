"""The audit's experiment: rebuild a sample of deals in another future, and see whether features move."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from salesops_ml.quality.finding import Finding
from salesops_ml.quality.time_travel import compare, copy_tables, without_future
from salesops_ml.settings import Settings
from salesops_ml.snapshots.dataset import open_deals
from salesops_ml.snapshots.features import FeatureSpec
from salesops_ml.snapshots.undated import is_dated
from salesops_ml.warehouse import Warehouse

CHECK = "time travel"
SAMPLE_DEALS = 400


def time_travel_findings(
    warehouse: Warehouse, spec: FeatureSpec, settings: Settings, *, days: Sequence[datetime]
) -> list[Finding]:
    """Rebuild a sample of deals with the future deleted, then corrupted; features must not move.

    Where no deal is dated there is no time to travel in, and the finding says so.
    """
    if not is_dated(warehouse):
        return [Finding(CHECK, "all features", "no deal is dated: nothing to try", "ok")]
    names = warehouse.table("deals").select("deal_id").order_by("deal_id").to_pyarrow()["deal_id"]
    random = np.random.default_rng(settings.seed)
    count = min(SAMPLE_DEALS, len(names))
    sample = [names[int(i)].as_py() for i in np.sort(random.choice(len(names), count, False))]
    tables = copy_tables(warehouse, sample)
    findings = []
    with Warehouse.in_memory(tables) as before:
        told = {day: open_deals(before, spec, as_of=day) for day in days}
    for how in ("delete", "corrupt"):
        moved: set[str] = set()
        looks = 0
        for number, day in enumerate(days):
            changed = without_future(
                tables, as_of=day, how=how, seed=settings.seed + number, fixed=spec.fixed
            )
            looks += len(told[day])
            with Warehouse.in_memory(changed) as after:
                moved |= set(compare(told[day], open_deals(after, spec, as_of=day)))
        evidence = (
            f"{looks} looks on {len(days)} days, future and today's values {how.rstrip('e')}ed"
        )
        findings += [
            Finding(CHECK, name, f"{evidence}; the feature moved", "fail") for name in sorted(moved)
        ]
        if not moved:
            findings.append(Finding(CHECK, "all features", evidence, "ok"))
    return findings
