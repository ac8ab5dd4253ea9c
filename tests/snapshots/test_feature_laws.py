"""What holds of every feature: no future, the same numbers on any thread count, odd words, gaps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa

from salesops_ml.quality.time_travel import copy_tables, without_future
from salesops_ml.schema import CanonicalTables, conform
from salesops_ml.settings import parse
from salesops_ml.snapshots import build_dataset, learn_spec, open_deals, snapshot
from salesops_ml.snapshots.feature_spec import FeatureSpec
from salesops_ml.snapshots.vocabulary import slugs
from salesops_ml.warehouse import Warehouse
from tests.snapshots.company import World


@contextmanager
def on_threads(tables: CanonicalTables, threads: int) -> Iterator[Warehouse]:
    with Warehouse.in_memory(tables) as warehouse:
        warehouse.connection.con.execute(f"SET threads = {threads}")
        yield warehouse


def mixed(tables: CanonicalTables) -> CanonicalTables:
    """The same rows in another order."""
    random = np.random.default_rng(3)
    done = {
        name: table.take(pa.array(random.permutation(table.num_rows)))
        for name, table in tables.tables.items()
    }
    return replace(tables, tables=done)


def test_threads_and_row_order_change_no_bit(world: World) -> None:
    tables = copy_tables(world.warehouse)
    for threads, rows in ((1, tables), (2, mixed(tables))):
        with on_threads(rows, threads) as warehouse:
            data = build_dataset(warehouse, world.settings, world.spec, as_of=world.end)
        pd.testing.assert_frame_equal(data, world.data, check_exact=True)


def late(tables: CanonicalTables) -> CanonicalTables:
    """A tenth of all history was written down up to 40 days after it happened."""
    random, done = np.random.default_rng(8), dict(tables.tables)
    for name, at in (
        ("stage_events", "entered_at"), ("deal_changes", "changed_at"), ("activities", "at"),
        ("quotes", "sent_at"),
    ):  # fmt: skip
        table = conform(name, done[name])
        told = table[at].to_numpy().astype("datetime64[us]")
        days = random.uniform(0, 40, len(told)) * (random.random(len(told)) < 0.1)
        told = told + (days * 86_400e6).astype("timedelta64[us]")
        place = table.schema.get_field_index("recorded_at")
        done[name] = table.set_column(
            place, table.schema.field(place), pa.array(told, pa.timestamp("us"))
        )
    return replace(tables, tables=done)


def test_what_was_written_down_late_was_not_known_before(world: World) -> None:
    tables = late(copy_tables(world.warehouse))
    day = world.end - timedelta(days=200)

    def seen(known: CanonicalTables) -> tuple[FeatureSpec, pd.DataFrame]:
        with Warehouse.in_memory(known) as warehouse:
            spec = learn_spec(warehouse, world.settings, as_of=day)
            return spec, open_deals(warehouse, spec, as_of=day)

    spec, before = seen(tables)
    assert len(before) > 50
    for how in ("delete", "corrupt"):
        changed = without_future(tables, as_of=day, how=how, seed=4, fixed=world.spec.fixed)  # type: ignore[arg-type]
        spec_then, then = seen(changed)
        assert spec_then == spec
        pd.testing.assert_frame_equal(before, then, check_exact=True)


def test_a_deal_of_no_age_has_features_that_are_numbers(world: World) -> None:
    deals = world.tables["deals"].head(40)
    looks = pd.DataFrame({"deal_id": deals["deal_id"], "as_of": deals["created_at"]})
    born = snapshot(world.warehouse, world.spec, looks)
    assert (born["f_age_days"] == 0).all()
    assert (born["f_promise_used"] == 0).all()
    assert (born["f_days_at_lead"] == 0).all()
    assert born["f_silence_of_rhythm"].isna().all()
    numbers = born.select_dtypes("number")
    assert not np.isinf(numbers.to_numpy(float)).any()


def test_stages_and_statuses_never_seen_before_are_survived(world: World) -> None:
    """A specification learned early, and a company that has since renamed everything."""
    spec = replace(
        world.spec, stages=("Gone",), kinds=("fax",), outcomes=("lunch",), statuses=("lapsed",)
    )
    told = open_deals(world.warehouse, spec, as_of=world.end)
    for name in ("f_days_at_gone", "f_kind_fax", "f_last_7_days_fax", "f_outcome_lunch"):
        assert (told[name] == 0).all()
    assert told["f_days_since_quote_lapsed"].isna().all()
    assert told["f_stage"].notna().all()


def test_the_vocabulary_of_a_day_knows_only_what_was_said_by_then(world: World) -> None:
    early = world.tables["activities"]["recorded_at"].min()
    before = learn_spec(world.warehouse, world.settings, as_of=early - timedelta(days=1))
    assert before.kinds == before.outcomes == before.statuses == ()
    now = learn_spec(world.warehouse, world.settings, as_of=world.end)
    assert {"Lead", "Negotiation"} <= set(now.stages)
    assert not {"Won", "Lost"} & set(now.stages)
    assert now == world.spec


def test_words_that_would_share_a_column_do_not() -> None:
    assert list(slugs(["A-B", "a b", "A/B", "?"]).values()) == ["a_b", "a_b_2", "a_b_3", "other"]


def test_a_kind_called_like_another_feature_does_not_hide_it(
    world: World, standing: pd.DataFrame
) -> None:
    activities = world.tables["activities"].assign(
        kind=world.tables["activities"]["kind"].replace(
            {"call": "Activity", "email": "Quote", "task": "quote sent"}
        )
    )
    tables = copy_tables(world.warehouse)
    renamed = pa.Table.from_pandas(activities, preserve_index=False)
    tables = replace(tables, tables={**tables.tables, "activities": renamed})
    before = standing
    with Warehouse.in_memory(tables) as warehouse:
        spec = learn_spec(warehouse, world.settings, as_of=world.end)
        after = open_deals(warehouse, spec, as_of=world.end)
    assert len(set(after.columns)) == len(after.columns)
    for name in ("f_days_since_activity", "f_days_since_quote", "f_days_since_quote_sent"):
        pd.testing.assert_series_equal(after[name], before[name])
    calls = after["f_days_since_activity_activity"].rename("f_days_since_call")
    pd.testing.assert_series_equal(calls, before["f_days_since_call"])


def test_a_specification_of_every_setting_survives_json() -> None:
    spec = FeatureSpec(
        ("stages",), stages=("A", "B"), outcomes=("x",), statuses=("sent",),
        rated=("product", "x_campaign"), dated=False, working_week=("sun",),
        holidays=("2026-01-01",), time_zone="Asia/Kolkata",
    )  # fmt: skip
    assert FeatureSpec.from_json(spec.to_json()) == spec


def test_deals_without_a_beginning_have_no_track_record() -> None:
    deals = pa.table(
        {
            "deal_id": ["a", "b", "c"], "status": ["open", "won", "lost"],
            "rep_id": ["r", "r", "r"], "product": ["p", "p", "q"],
            "closed_at": [None, datetime(2026, 1, 1), datetime(2026, 1, 2)],
        }
    )  # fmt: skip
    settings = parse({"snapshots": {"known_at_creation": ["rep_id", "product"]}})
    day = datetime(2026, 2, 1)
    tables = CanonicalTables({"deals": deals}, conform("rejects", pa.table({})))
    with Warehouse.in_memory(tables) as warehouse:
        spec = learn_spec(warehouse, settings, as_of=day)
        data = build_dataset(warehouse, settings, spec, as_of=day)
    assert spec.rated == ()
    assert not spec.dated
    assert not [name for name in data.columns if "win_rate" in name or name.endswith("_closed")]
    assert data["f_product"].tolist() == ["p", "p", "q"]
