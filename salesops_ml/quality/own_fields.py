"""Our own scores, written back to the CRM, must never come back as what a model learns from."""

from __future__ import annotations

from salesops_ml.quality.finding import Finding
from salesops_ml.quality.looks import Looks
from salesops_ml.snapshots.change_features import OWN_FIELDS

CHECK = "own write-back"


def own_field_findings(looks: Looks) -> list[Finding]:
    """Features named like the fields that this package writes."""
    back = [name for name in looks.features if OWN_FIELDS in name]
    if back:
        return [Finding(CHECK, name, "our own score as a feature", "fail") for name in back]
    return [Finding(CHECK, "all features", "no field of ours among them", "ok")]
