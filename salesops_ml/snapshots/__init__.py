"""What was known about each deal on each day: states, features, outcomes."""

from salesops_ml.snapshots.dataset import (
    build_dataset,
    open_deals,
    open_deals_on,
    record_end,
    snapshot,
)
from salesops_ml.snapshots.feature_spec import FeatureSpec, learn_spec
from salesops_ml.snapshots.spine import history_spine, open_spine
from salesops_ml.snapshots.undated import is_dated

__all__ = [
    "FeatureSpec",
    "build_dataset",
    "history_spine",
    "is_dated",
    "learn_spec",
    "open_deals",
    "open_deals_on",
    "open_spine",
    "record_end",
    "snapshot",
]
