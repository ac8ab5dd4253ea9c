"""The open deals of the days that a run speaks of, each day looked at once.

The forecast, its replays, tonight's scores and what changed since last week all start from deals as they
stood on some day. Building the features of many days at once costs hardly more than of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pandas as pd

from salesops_ml.snapshots import FeatureSpec, is_dated, open_deals, open_deals_on
from salesops_ml.warehouse import Warehouse


@dataclass
class OpenLooks:
    """Looks at the open deals of one warehouse, remembered by features and day."""

    _known: dict[tuple[str, datetime], pd.DataFrame] = field(default_factory=dict)

    def on(
        self, warehouse: Warehouse, spec: FeatureSpec, days: Sequence[datetime]
    ) -> list[pd.DataFrame]:
        """`open_deals` of each of `days`; those not asked for before are built together."""
        features = spec.to_json()
        fresh = sorted({day for day in days if (features, day) not in self._known})
        if fresh and is_dated(warehouse):
            seen = open_deals_on(warehouse, spec, fresh)
            for day in fresh:
                rows = seen[seen["as_of"] == pd.Timestamp(day)]
                self._known[features, day] = rows.reset_index(drop=True)
        else:  # without dates the open deals are the same on every day
            for day in fresh:
                self._known[features, day] = open_deals(warehouse, spec, as_of=day)
        return [self._known[features, day] for day in days]
