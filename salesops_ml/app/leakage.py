"""The leakage audit of a data set as a run splits it: what learns, what judges, and the days to try."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pandas as pd

from salesops_ml.app.deal_model import Prepared, prepare_dataset
from salesops_ml.errors import DataError
from salesops_ml.quality.leakage import audit
from salesops_ml.settings import Settings
from salesops_ml.snapshots import FeatureSpec, build_dataset, learn_spec
from salesops_ml.warehouse import Warehouse

TRIED = (0.5, 0.15)
"""Days at which time travel is tried, as shares of the record's length back from its end."""


def audit_prepared(
    warehouse: Warehouse,
    prepared: Prepared,
    spec: FeatureSpec,
    settings: Settings,
    *,
    as_of: datetime,
) -> dict[str, Any]:
    """The audit of the rows that learn, with the test rows beside them."""
    learn = prepared.data[prepared.block.isin(["train", "calibration"])]
    test = prepared.data[prepared.block == "test"]
    days = tried_days(learn, as_of=as_of)
    return audit(warehouse, learn, spec, settings, days=days, test=test)


def audit_record(warehouse: Warehouse, settings: Settings, *, as_of: datetime) -> dict[str, Any]:
    """The audit of all that a warehouse holds, split as a run would split it.

    A record too short to be split is audited as a whole.
    """
    spec = learn_spec(warehouse, settings, as_of=as_of)
    try:
        prepared = prepare_dataset(warehouse, spec, settings, as_of=as_of)
    except DataError:
        data = build_dataset(warehouse, settings, spec, as_of=as_of)
        days = tried_days(data, as_of=as_of)
        return audit(warehouse, data, spec, settings, days=days)
    return audit_prepared(warehouse, prepared, spec, settings, as_of=as_of)


def tried_days(data: pd.DataFrame, *, as_of: datetime) -> list[datetime]:
    """Days within the record; none where no deal is dated.

    Example:
        >>> rows = pd.DataFrame({"created_at": pd.to_datetime(["2026-01-01", None])})
        >>> tried_days(rows, as_of=datetime(2026, 1, 21))
        [datetime.datetime(2026, 1, 11, 0, 0), datetime.datetime(2026, 1, 18, 0, 0)]
    """
    begun = data["created_at"].dropna()
    if begun.empty:
        return []
    length = as_of - pd.Timestamp(begun.min()).to_pydatetime()
    return [as_of - length * share for share in TRIED]
