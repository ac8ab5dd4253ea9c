"""What was known about each deal on each day: states, features, outcomes."""

from salesops_ml.snapshots.dataset import (
    build_dataset,
    open_deals,
    open_deals_on,
    snapshot,
)
from salesops_ml.snapshots.feature_spec import FeatureSpec, learn_spec
from salesops_ml.snapshots.record_end import later_than_the_end, record_end
from salesops_ml.snapshots.spine import history_spine, open_spine
from salesops_ml.snapshots.undated import is_dated

__all__ = [
    "FeatureSpec",
    "build_dataset",
    "history_spine",
    "is_dated",
    "later_than_the_end",
    "learn_spec",
    "open_deals",
    "open_deals_on",
    "open_spine",
    "record_end",
    "snapshot",
]
