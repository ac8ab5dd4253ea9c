"""The leakage audit: is there a feature that could not have been known, or knows too much?

Each check is a small file of its own, and each finding names a column, the evidence and a verdict:
`ok`, `warn` or `fail`. A `fail` stops promotion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from salesops_ml.quality.availability import availability_findings
from salesops_ml.quality.finding import Finding, summary
from salesops_ml.quality.late_fills import birth_findings, history_findings, open_findings
from salesops_ml.quality.looks import Looks
from salesops_ml.quality.names import name_findings
from salesops_ml.quality.own_fields import own_field_findings
from salesops_ml.quality.power import clock_findings, power_findings
from salesops_ml.quality.shift import shift_findings
from salesops_ml.quality.time_travel_check import time_travel_findings
from salesops_ml.settings import Settings
from salesops_ml.snapshots.features import FeatureSpec
from salesops_ml.warehouse import Warehouse

CHECKS: dict[str, Callable[[Looks], list[Finding]]] = {
    "features filled after the closing, by first look": birth_findings,
    "features filled after the closing, by open deals": open_findings,
    "features there for one outcome only": availability_findings,
    "single features that rank too well": power_findings,
    "single features that know the day": clock_findings,
    "outcome in ids, row order or time of day": name_findings,
    "shift from learning to test rows": shift_findings,
    "own write-back": own_field_findings,
}
"""Checks of the looks, by what they search for."""


def audit(
    warehouse: Warehouse,
    data: pd.DataFrame,
    spec: FeatureSpec,
    settings: Settings,
    *,
    days: Sequence[datetime],
    test: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """Run every check; the worst verdict is the audit's.

    Args:
        data: the training rows with features, `outcome` and `days_to_outcome`.
        days: days at which time travel is tried.
        test: the rows that will judge the model; without them no shift can be told.

    Returns:
        `verdict`, `findings` (check, column, evidence, verdict; the worst first), and `checks`: what was
        searched for, with the number of findings that are not ok.
    """
    looks = Looks.of(data, spec, test=test, seed=settings.seed)
    found = {"time travel": time_travel_findings(warehouse, spec, settings, days=days)}
    found["features filled after the closing, by history"] = history_findings(warehouse, spec)
    found |= {name: check(looks) for name, check in CHECKS.items()}
    told = summary(finding for findings in found.values() for finding in findings)
    counts = {name: sum(f.verdict != "ok" for f in findings) for name, findings in found.items()}
    return {**told, "checks": counts}
