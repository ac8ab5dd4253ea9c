"""The leakage audit: is there a feature that could not have been known, or knows too much?

Each finding names a column, the evidence and a verdict: `ok`, `warn` or `fail`. A `fail` stops
promotion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.quality.time_travel import compare, copy_tables, without_future
from salesops_ml.settings import Settings
from salesops_ml.snapshots.dataset import open_deals
from salesops_ml.snapshots.features import FeatureSpec
from salesops_ml.warehouse import Warehouse

SAMPLE_DEALS = 400
FILL_GAP = 0.5
ALARM_AUC = 0.97
SUSPECT_AUC = 0.9


@dataclass(frozen=True)
class Finding:
    """One result of the audit: which check, which column, what was seen, and the verdict."""

    check: str
    column: str
    evidence: str
    verdict: str


def audit(
    warehouse: Warehouse,
    data: pd.DataFrame,
    spec: FeatureSpec,
    settings: Settings,
    *,
    days: Sequence[datetime],
) -> dict[str, Any]:
    """Run every check; the worst verdict is the audit's.

    Args:
        data: the training rows with features, `outcome` and `days_to_outcome`.
        days: days at which time travel is tried.
    """
    findings = [
        *time_travel_findings(warehouse, spec, settings, days=days),
        *fill_findings(data),
        *power_findings(data),
        *own_field_findings(warehouse, data),
    ]
    worst = max((f.verdict for f in findings), key=["ok", "warn", "fail"].index, default="ok")
    return {"verdict": worst, "findings": [asdict(finding) for finding in findings]}


def time_travel_findings(
    warehouse: Warehouse, spec: FeatureSpec, settings: Settings, *, days: Sequence[datetime]
) -> list[Finding]:
    """Rebuild a sample of deals with the future deleted, then corrupted; features must not move."""
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
            Finding("time travel", name, f"{evidence}; the feature moved", "fail")
            for name in sorted(moved)
        ]
        if not moved:
            findings.append(Finding("time travel", "all features", evidence, "ok"))
    return findings


def fill_findings(data: pd.DataFrame) -> list[Finding]:
    """Columns filled much more often for one outcome than the other at the deal's first look.

    What is entered at closing shows up as a field that, at birth, only winners seem to have.
    """
    first = data.sort_values("as_of").groupby("deal_id", sort=False).head(1)
    won, lost = first[first["outcome"] == "won"], first[first["outcome"] == "lost"]
    if min(len(won), len(lost)) < 30:
        return []
    findings = []
    for name in _features(data):
        filled = [float(_filled(part[name]).mean()) for part in (won, lost)]
        if abs(filled[0] - filled[1]) > FILL_GAP:
            evidence = (
                f"at the first look filled for {filled[0]:.0%} of won, {filled[1]:.0%} of lost"
            )
            findings.append(Finding("filled after closing", name, evidence, "fail"))
    return findings


def power_findings(data: pd.DataFrame) -> list[Finding]:
    """Single features that tell won from lost better than any honest one does, months ahead."""
    from salesops_ml.quality.ranking import ranking_power

    far = data[(data["outcome"] != "open") & (data["days_to_outcome"] >= 1)]
    won = (far["outcome"] == "won").to_numpy()
    if min(won.sum(), (~won).sum()) < 30:
        return []
    findings = []
    for name in _features(data):
        power = ranking_power(far[name], won)
        if power > SUSPECT_AUC:
            verdict = "fail" if power > ALARM_AUC else "warn"
            findings.append(
                Finding(
                    "knows too much", name, f"ranks won above lost with AUC {power:.3f}", verdict
                )
            )
    return findings


def own_field_findings(warehouse: Warehouse, data: pd.DataFrame) -> list[Finding]:
    """Fields that this package wrote to the CRM must never come back as features."""
    back = [name for name in _features(data) if "salesops_" in name]
    if back:
        return [
            Finding("own write-back", name, "our own score as a feature", "fail") for name in back
        ]
    return [Finding("own write-back", "all features", "no field of ours among them", "ok")]


def _features(data: pd.DataFrame) -> list[str]:
    return [name for name in data.columns if name.startswith("f_")]


def _filled(values: pd.Series) -> pd.Series:
    """Not null, and not the nought that stands for "nothing yet" in a money column."""
    money = pd.api.types.is_numeric_dtype(values) and str(values.name).startswith("f_x_")
    return values.notna() & (values != 0) if money else values.notna()
