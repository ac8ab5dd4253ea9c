"""What the simple forecasts of a day learn from: fields, stages and submissions as they were known then.

The tables are read once for a whole replay; `known` cuts them to what had been recorded by a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_ml.snapshots.closings import staged_events
from salesops_ml.warehouse import Warehouse

FIELDS = ("expected_close_date", "forecast_category")
COMMIT = "commit"


@dataclass(frozen=True)
class Evidence:
    """Histories, each sorted in time.

    Attributes:
        fields: deal_id, field (of `FIELDS`), changed_at, recorded_at, value; names as categories.
        visits: every stage that a deal entered: deal_id, stage, entered_at, recorded_at.
        submissions: what people said a period will bring: node, period, submitted_at, recorded_at,
            author, amount, reason.
    """

    fields: pd.DataFrame
    visits: pd.DataFrame
    submissions: pd.DataFrame

    @classmethod
    def read(cls, warehouse: Warehouse) -> Evidence:
        """Everything that was ever recorded."""
        return cls(_fields(warehouse), _visits(warehouse), _submissions(warehouse))

    def known(self, as_of: datetime) -> Evidence:
        """What had happened and been recorded by `as_of`."""
        return Evidence(
            _until(self.fields, "changed_at", as_of),
            _until(self.visits, "entered_at", as_of),
            _until(self.submissions, "submitted_at", as_of),
        )

    @property
    def last_submissions(self) -> pd.DataFrame:
        """The last that was said for each node and period."""
        return self.submissions.drop_duplicates(["node", "period"], keep="last")

    def at(self, field: str, moment: datetime) -> pd.Series[str]:
        """The value of a field at a moment, by deal."""
        rows = self._by_field[field]
        count = int(rows["changed_at"].searchsorted(pd.Timestamp(moment), side="right"))
        names = rows["deal_id"].cat.categories
        last = np.full(len(names), -1)
        last[rows["deal_id"].cat.codes.to_numpy()[:count]] = np.arange(count)
        told = last >= 0
        return pd.Series(rows["value"].to_numpy(dtype=object)[last[told]], index=names[told])

    @cached_property
    def _by_field(self) -> dict[str, pd.DataFrame]:
        """The rows of each field."""
        return {name: self.fields[self.fields["field"] == name] for name in FIELDS}


def _until(rows: pd.DataFrame, happened: str, as_of: datetime) -> pd.DataFrame:
    return rows[(rows[happened] <= as_of) & (rows["recorded_at"] <= as_of)]


def _fields(warehouse: Warehouse) -> pd.DataFrame:
    changes = warehouse.table("deal_changes")
    rows = changes.filter(changes.field.isin(FIELDS)).order_by("changed_at", "seq", "deal_id")
    told = _pandas(
        rows.select("deal_id", "field", "changed_at", "recorded_at", value=rows.new_value)
    )
    return told.astype({"deal_id": "category", "field": "category"})


def _visits(warehouse: Warehouse) -> pd.DataFrame:
    columns = ["deal_id", "stage", "entered_at", "recorded_at"]
    if not (warehouse.has("stage_events") and warehouse.has("stages")):
        return pd.DataFrame({name: pd.Series(dtype=object) for name in columns})
    events = staged_events(warehouse)
    return _pandas(events.filter(~events.is_closed).order_by("entered_at", "deal_id")[columns])


def _submissions(warehouse: Warehouse) -> pd.DataFrame:
    said = warehouse.table("forecast_submissions")
    said = said.filter(said.category.isnull() | (said.category == COMMIT))
    rows = _pandas(
        said.order_by("submitted_at", "node", "period").select(
            "node", "period", "submitted_at", "recorded_at", "author", "reason",
            amount=said.amount.cast("float64"),
        )
    )  # fmt: skip
    return rows.assign(recorded_at=rows["recorded_at"].fillna(rows["submitted_at"]))


def _pandas(table: ir.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pyarrow().to_pandas()
    return frame
