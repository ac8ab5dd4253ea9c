"""What the profile says of a table is what pandas says of it."""

from __future__ import annotations

from datetime import datetime

import pandas as pd
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.quality.profile import profile
from salesops_ml.schema import TABLES, CanonicalTables, conform, no_rejects
from salesops_ml.warehouse import Warehouse

AS_OF = datetime(2026, 6, 1)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2026, 12, 31))
deals = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["open", "won"]),
        "amount": st.one_of(st.none(), st.decimals(0, 999, places=2).map(str)),
        "product": st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d", "e", "f", "g"])),
        "term_months": st.one_of(st.none(), st.integers(1, 36)),
        "created_at": st.one_of(st.none(), moments),
    }
)


@settings(max_examples=15, deadline=None)
@given(st.lists(deals, min_size=1, max_size=25))
def test_counts_ranges_and_commonest_values_are_right(rows) -> None:
    rows = [{"deal_id": str(number), **row} for number, row in enumerate(rows)]
    table = conform("deals", pa.Table.from_pylist(rows))
    with Warehouse.in_memory(CanonicalTables({"deals": table}, no_rejects())) as warehouse:
        found = profile(warehouse, as_of=AS_OF)["tables"].get("deals")
    frame = table.to_pandas()
    frame = frame[frame["created_at"].isna() | (frame["created_at"] <= AS_OF)]
    if frame.empty:
        assert found is None
        return
    assert found["rows"] == len(frame)
    assert set(found["columns"]) == set(TABLES["deals"].names)
    for name, column in found["columns"].items():
        values = frame[name].dropna()
        assert column["nulls"] == frame[name].isna().sum()
        assert column["distinct"] == values.nunique()
    numbers = frame["amount"].dropna().astype(float)
    if len(numbers):
        assert found["columns"]["amount"]["min"] == numbers.min()
        assert found["columns"]["amount"]["max"] == numbers.max()
    counts = frame["product"].value_counts().reset_index()
    ranked = counts.sort_values(["count", "product"], ascending=[False, True]).head(5)
    if len(ranked):
        top = found["columns"]["product"]["top"]
        assert list(top.items()) == list(zip(ranked["product"], ranked["count"], strict=True))
    first = frame["created_at"].min()
    assert found["from"] == (None if pd.isna(first) else first.to_pydatetime().isoformat())


def test_every_missing_table_says_what_it_costs() -> None:
    table = pa.table({"deal_id": ["a"], "status": ["won"]})
    with Warehouse.in_memory(CanonicalTables({"deals": table}, no_rejects())) as warehouse:
        found = profile(warehouse, as_of=AS_OF)
    assert set(found["missing"]) == set(TABLES) - {"deals"}
    assert all(found["missing"].values())
    assert "no process map" in found["missing"]["stage_events"]
