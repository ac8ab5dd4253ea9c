"""Features against a slow loop over the histories, deal by deal and look by look."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import DataError
from salesops_ml.schema import CanonicalTables, no_rejects
from salesops_ml.settings import parse
from salesops_ml.snapshots import (
    FeatureSpec,
    build_dataset,
    learn_spec,
    open_deals,
    open_deals_on,
    record_end,
    snapshot,
)
from salesops_ml.warehouse import Warehouse
from tests.snapshots.company import World

DAY = pd.Timedelta(days=1)


def days(span: pd.Timedelta) -> float:
    return float(int(span.total_seconds()) / 86_400)


def test_stage_features(world: World, sample: pd.DataFrame) -> None:
    places = world.tables["stages"].set_index("stage")["position"]
    for _, look in sample.iterrows():
        path = world.seen("stage_events", look, "entered_at").sort_values(["entered_at", "seq"])
        order = path["stage"].map(places).to_numpy()
        last = path.iloc[-1]
        assert look["f_stage"] == last["stage"] == look["stage"]
        assert look["f_days_in_stage"] == pytest.approx(
            days(look["as_of"] - last["entered_at"]), abs=2e-5
        )
        assert look["f_moves"] == len(path)
        assert look["f_moves_back"] == (np.diff(order) < 0).sum()
        assert look["f_skips"] == (np.diff(order) > 1).sum()
        assert look["f_furthest_position"] == order.max()
        assert look["f_visits_of_stage"] == (path["stage"] == last["stage"]).sum()


def test_changes_activities_and_quotes(world: World, sample: pd.DataFrame) -> None:
    for _, look in sample.iterrows():
        changes = world.seen("deal_changes", look, "changed_at").sort_values(["changed_at", "seq"])
        amounts = changes[changes["field"] == "amount_base"]["new_value"].dropna().astype(float)
        if len(amounts):
            assert look["amount"] == pytest.approx(amounts.iloc[-1])
        close = changes[changes["field"] == "expected_close_date"]
        moved = (
            pd.to_datetime(close["new_value"]) - pd.to_datetime(close["old_value"])
        ).dt.days.dropna()
        assert look["f_pushes"] == (moved > 0).sum()
        assert look["f_days_pushed"] == moved.sum()
        acts = world.seen("activities", look, "at")
        ago = (look["as_of"] - acts["at"]) / DAY
        assert look["f_activities"] == len(acts)
        assert look["f_activities_30d"] == (ago < 30).sum()
        assert look["f_kind_meeting"] == (acts["kind"] == "meeting").sum()
        if len(acts):
            assert look["f_days_since_activity"] == pytest.approx(ago.min(), abs=2e-5)
        quotes = world.seen("quotes", look, "sent_at").sort_values(["sent_at", "quote_id"])
        assert look["f_quotes"] == len(quotes)
        if len(quotes):
            assert look["f_quote_status"] == quotes.iloc[-1]["status"]


def test_looks_are_weekly_while_the_deal_is_open(world: World) -> None:
    data, deals = world.data, world.tables["deals"].set_index("deal_id")
    assert not data.duplicated(["deal_id", "as_of"]).any()
    age = (data["as_of"] - data["created_at"]) / DAY
    assert np.allclose(age % 7, 0)
    assert (data["as_of"] <= world.end).all()
    closed = data["deal_id"].map(deals["closed_at"])
    assert (closed.isna() | (data["as_of"] < closed)).all()
    last = np.where(closed.isna(), np.datetime64(world.end, "us"), closed)
    expected = np.ceil(((pd.to_datetime(last) - data["created_at"]) / DAY) / 7)
    counts = data.groupby("deal_id")["as_of"].transform("size")
    assert (np.abs(counts - np.maximum(expected, 1)) <= 1).all()


def test_outcomes_are_those_of_the_deals(world: World) -> None:
    deals = world.tables["deals"].set_index("deal_id")
    assert (world.data["outcome"] == world.data["deal_id"].map(deals["status"])).all()
    ended = world.data["as_of"] + pd.to_timedelta(world.data["days_to_outcome"], unit="D")
    closed = world.data["deal_id"].map(deals["closed_at"])
    gap = (ended - closed).dropna().abs()
    assert gap.max() < pd.Timedelta(seconds=2)


def test_one_day_equals_the_same_looks_built_any_other_way(world: World) -> None:
    day = world.end - timedelta(days=100)
    told = open_deals(world.warehouse, world.spec, as_of=day)
    assert len(told) > 10
    other = snapshot(world.warehouse, world.spec, told[["deal_id", "as_of"]])
    pd.testing.assert_frame_equal(told, other)
    both = open_deals_on(world.warehouse, world.spec, [day, day - timedelta(days=30)])
    same = both[both["as_of"] == pd.Timestamp(day)].reset_index(drop=True)
    pd.testing.assert_frame_equal(told, same)


def test_no_days_give_the_same_columns_without_rows(world: World, standing: pd.DataFrame) -> None:
    none = open_deals_on(world.warehouse, world.spec, [])
    assert none.empty
    pd.testing.assert_series_equal(none.dtypes, standing.dtypes)


@pytest.mark.parametrize("anchor", ["calendar", "every_event"])
def test_other_anchors(world: World, anchor: str) -> None:
    settings = parse({"snapshots": {"anchor": anchor}})
    data = build_dataset(world.warehouse, settings, world.spec, as_of=world.end)
    assert not data.duplicated(["deal_id", "as_of"]).any()
    if anchor == "calendar":
        assert (data["as_of"].dt.dayofweek == 0).all()
    else:
        moments = set(world.tables["stage_events"]["recorded_at"])
        assert set(data["as_of"]) <= moments


def test_own_written_fields_are_never_read_as_history(world: World) -> None:
    changes = world.tables["deal_changes"]
    mine = changes.drop_duplicates("deal_id").assign(
        field="salesops_win_probability", old_value="0.1", new_value="0.9"
    )
    tables = {n: f for n, f in world.tables.items() if n != "deal_changes"}
    import pyarrow as pa

    arrow = {n: pa.Table.from_pandas(f, preserve_index=False) for n, f in tables.items()}
    arrow["deal_changes"] = pa.Table.from_pandas(pd.concat([changes, mine]), preserve_index=False)
    attributes = world.warehouse.attributes()
    with Warehouse.in_memory(CanonicalTables(arrow, no_rejects(), attributes)) as warehouse:
        day = world.end - timedelta(days=60)
        told = open_deals(warehouse, world.spec, as_of=day)
    pd.testing.assert_frame_equal(told, open_deals(world.warehouse, world.spec, as_of=day))


def test_a_specification_survives_json_and_lists_what_the_tables_carry(world: World) -> None:
    assert FeatureSpec.from_json(world.spec.to_json()) == world.spec
    assert "quotes" in world.spec.blocks
    assert "meeting" in world.spec.kinds


def test_without_histories_there_are_still_features() -> None:
    import pyarrow as pa

    start = datetime(2026, 1, 1)
    rows = [
        {
            "deal_id": f"d{i}", "status": ["won", "lost", "open"][i % 3], "lead_source": "web",
            "created_at": start + timedelta(days=i),
            "closed_at": start + timedelta(days=i + 30) if i % 3 < 2 else None,
        }
        for i in range(30)
    ]  # fmt: skip
    tables = CanonicalTables({"deals": pa.Table.from_pylist(rows)}, no_rejects())
    settings = parse({})
    with Warehouse.in_memory(tables) as warehouse:
        end = datetime(2026, 3, 1)
        spec = learn_spec(warehouse, settings, as_of=end)
        data = build_dataset(warehouse, settings, spec, as_of=end)
    assert spec.blocks == ()
    assert {"f_age_days", "f_lead_source"} <= set(data.columns)
    assert data["amount"].isna().all()
    assert set(data["outcome"]) == {"won", "lost", "open"}


def test_deals_without_dates_are_looked_at_once_and_told_by_their_attributes() -> None:
    import pyarrow as pa

    deals = pa.table(
        {"deal_id": ["a", "b", "c"], "status": ["open", "won", "lost"], "lead_source": list("xyx")}
    )
    settings, day = parse({}), datetime(2026, 1, 1)
    with Warehouse.in_memory(CanonicalTables({"deals": deals}, no_rejects())) as warehouse:
        spec = learn_spec(warehouse, settings, as_of=day)
        data = build_dataset(warehouse, settings, spec, as_of=day)
        told = open_deals(warehouse, spec, as_of=day)
        with pytest.raises(DataError, match="say `as_of`"):
            record_end(warehouse)
    assert data["outcome"].tolist() == ["open", "won", "lost"]
    assert data["f_lead_source"].tolist() == ["x", "y", "x"]
    assert told["deal_id"].tolist() == ["a"]
