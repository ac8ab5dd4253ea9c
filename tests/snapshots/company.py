"""A small company whose features are told twice: by the package and by slow loops."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import pandas as pd
import pytest

from salesops_ml.settings import Settings
from salesops_ml.snapshots import FeatureSpec
from salesops_ml.warehouse import Warehouse

DAY = pd.Timedelta(days=1)


@dataclass
class World:
    """The tables as frames, the looks as the package builds them, and the warehouse between."""

    tables: dict[str, pd.DataFrame]
    data: pd.DataFrame
    warehouse: Warehouse
    spec: FeatureSpec
    settings: Settings
    end: datetime

    def seen(self, table: str, look: pd.Series, at: str) -> pd.DataFrame:
        """Rows of the deal's history that could be seen at the look, by when they happened."""
        rows = self._by_deal(table).get(look["deal_id"])
        if rows is None:
            return self.tables[table].head(0)
        return rows[(rows["recorded_at"] <= look["as_of"]) & (rows[at] <= look["as_of"])]

    def _by_deal(self, table: str) -> dict[str, pd.DataFrame]:
        if table not in self._split:
            order = {
                "stage_events": ["entered_at", "seq"], "deal_changes": ["changed_at", "seq"],
                "activities": ["at", "activity_id"], "quotes": ["sent_at", "quote_id"],
            }[table]  # fmt: skip
            rows = self.tables[table].sort_values(order, kind="stable")
            self._split[table] = dict(iter(rows.groupby("deal_id")))
        return self._split[table]

    @cached_property
    def _split(self) -> dict[str, dict[str, pd.DataFrame]]:
        return {}

    @cached_property
    def closings(self) -> pd.DataFrame:
        """One row per closed deal: deal_id, recorded_at, won."""
        events = self.tables["stage_events"].sort_values(["deal_id", "entered_at", "seq"])
        ends = events[events["stage"].isin(["Won", "Lost"])].drop_duplicates("deal_id")
        ends = ends.assign(won=ends["stage"] == "Won")
        return ends[["deal_id", "entered_at", "recorded_at", "won"]].reset_index(drop=True)

    @cached_property
    def beginnings(self) -> pd.DataFrame:
        """What each deal was at first: rep_id, product, amount; and what never changes of it."""
        changes = self.tables["deal_changes"].sort_values(["recorded_at", "changed_at", "seq"])
        firsts = changes.dropna(subset="new_value").drop_duplicates(["deal_id", "field"])
        wide = firsts.pivot(index="deal_id", columns="field", values="new_value")
        deals = self.tables["deals"][
            ["deal_id", "account_id", "lead_source", "deal_type", "created_at"]
        ]
        found = deals.join(wide[["rep_id", "product", "amount_base"]], on="deal_id")
        return found.assign(amount=found["amount_base"].astype(float))


def agree(look: pd.Series, expected: dict[str, Any], *, within: float = 1e-4) -> None:
    """Every expected value is the look's own: None or NaN where nothing is known."""
    for name, value in expected.items():
        told = look[name]
        if value is None or value != value:
            assert pd.isna(told), (name, told)
        elif isinstance(value, str):
            assert told == value, name
        else:
            assert told == pytest.approx(value, rel=within, abs=within), name
