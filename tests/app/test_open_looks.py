"""Looks at open deals: each day built once, and the same as when it is asked for alone."""

from __future__ import annotations

from datetime import datetime

import pandas as pd
import pyarrow as pa
import pytest

from salesops_ml.app.open_looks import OpenLooks
from salesops_ml.schema import CanonicalTables, no_rejects
from salesops_ml.settings import Settings
from salesops_ml.snapshots import learn_spec, open_deals
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.warehouse import Warehouse

DAYS = [datetime(2026, 2, 1), datetime(2025, 12, 1)]


@pytest.mark.slow
def test_days_together_are_the_days_alone() -> None:
    looks = OpenLooks()
    with Warehouse.in_memory(generate(WorldParameters(deals=200, seed=3))) as warehouse:
        spec = learn_spec(warehouse, Settings(), as_of=DAYS[0])
        alone = [open_deals(warehouse, spec, as_of=day) for day in DAYS]
        told = looks.on(warehouse, spec, DAYS)
        again = looks.on(warehouse, spec, DAYS[::-1])
    assert again[0] is told[1]
    assert again[1] is told[0]
    for one, same in zip(told, alone, strict=True):
        assert len(one)
        pd.testing.assert_frame_equal(one, same, check_exact=True, check_dtype=False)


@pytest.mark.parametrize("days", [[], DAYS])
def test_without_dates_every_day_shows_the_same_deals(days: list[datetime]) -> None:
    deals = pa.table({"deal_id": ["a", "b"], "status": ["open", "won"], "product": ["x", "y"]})
    tables = CanonicalTables({"deals": deals}, no_rejects())
    with Warehouse.in_memory(tables) as warehouse:
        spec = learn_spec(warehouse, Settings(), as_of=DAYS[0])
        told = OpenLooks().on(warehouse, spec, days)
    assert [one["deal_id"].tolist() for one in told] == [["a"]] * len(days)
