"""Nothing sees the future: features are what was recorded, and the audit finds a planted leak."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from salesops_ml.app.leakage import audit_record
from salesops_ml.crm.ingest import ingest
from salesops_ml.quality.leakage import audit
from salesops_ml.quality.ranking import ranking_power
from salesops_ml.quality.time_travel import compare, copy_tables, without_future
from salesops_ml.schema import TABLES, TODAYS_VALUES, CanonicalTables, conform
from salesops_ml.settings import Settings, load
from salesops_ml.snapshots import build_dataset, learn_spec, open_deals, record_end
from salesops_ml.snapshots.features import FeatureSpec
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.warehouse import Warehouse
from tests.needs import shared_data

DEALS = TABLES["deals"]
LEAK = "f_x_onboarding_team"
WAYS = ("delete", "corrupt", "without later deals")
"""How the future is another one."""


@cache
def world(seed: int, deals: int = 250) -> CanonicalTables:
    """A small company, with accounts and reps of which nobody knows since when."""
    made = generate(WorldParameters(deals=deals, years=1.5, seed=seed))
    undated = {name: _of_no_date(name, made.tables[name]) for name in ("accounts", "reps")}
    return replace(made, tables={**made.tables, **undated})


def _of_no_date(name: str, table: pa.Table) -> pa.Table:
    """The first value of every tenth is known, but not since when."""
    table = conform(name, table)
    places = np.arange(table.num_rows) % 10 == 3
    for column in ("valid_from", "recorded_at"):
        place = table.schema.get_field_index(column)
        values = pc.if_else(
            pa.array(places), pa.scalar(None, table.schema.types[place]), table[column]
        )
        table = table.set_column(place, table.schema.field(place), values)
    return table


def without_later_deals(tables: CanonicalTables, t: datetime) -> CanonicalTables:
    """Deals made after `t` are gone, and what is said of the others today is said no more."""
    deals = conform("deals", tables.tables["deals"], tables.attributes)
    deals = deals.filter(pc.less_equal(deals["created_at"], pa.scalar(t, pa.timestamp("us"))))
    gone = {
        name: pa.nulls(deals.num_rows, DEALS.arrow().field(name).type) for name in TODAYS_VALUES
    }
    gone["status"] = pa.array(["open"] * deals.num_rows)
    for name, values in gone.items():
        deals = deals.set_column(deals.schema.get_field_index(name), name, values)
    kept = {name: _up_to(name, table, t) for name, table in tables.tables.items()}
    return replace(tables, tables={**kept, "deals": deals})


def _up_to(name: str, table: pa.Table, t: datetime) -> pa.Table:
    """Rows recorded up to `t`; a value known, but not since when, is another one now."""
    if "recorded_at" not in TABLES[name].names:
        return table
    table = conform(name, table)
    recorded = table["recorded_at"]
    table = table.filter(
        pc.fill_null(pc.less_equal(recorded, pa.scalar(t, pa.timestamp("us"))), True)
    )
    undated = table["recorded_at"].is_null()
    for column in ("industry", "region", "team"):
        if name in ("accounts", "reps") and column in table.column_names:
            values = pc.if_else(undated, pa.scalar("elsewhere"), table[column])
            table = table.set_column(table.schema.get_field_index(column), column, values)
    return table


def changed(tables: CanonicalTables, t: datetime, how: str, seed: int) -> CanonicalTables:
    """`tables` with another future and another today."""
    if how == "without later deals":
        return without_later_deals(tables, t)
    return without_future(tables, as_of=t, how=how, seed=seed)  # type: ignore[arg-type]


def moment(tables: CanonicalTables, share: float) -> datetime:
    """A moment of the record, told as the share of its deals that had begun."""
    began = tables.tables["deals"]["created_at"].drop_null().to_numpy()
    return pd.Timestamp(np.sort(began)[int(share * (len(began) - 1))]).to_pydatetime()


def looks(tables: CanonicalTables, t: datetime) -> tuple[FeatureSpec, pd.DataFrame]:
    """What a job that runs at `t` learns to look at, and what it sees."""
    with Warehouse.in_memory(tables) as warehouse:
        spec = learn_spec(warehouse, Settings(), as_of=t)
        return spec, open_deals(warehouse, spec, as_of=t)


@pytest.mark.slow
@hypothesis_settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(st.integers(1, 2), st.floats(0.15, 1.0), st.integers(0, 10**6))
def test_what_is_seen_at_a_moment_depends_on_nothing_recorded_later(seed, share, nonsense) -> None:
    tables = world(seed)
    t = moment(tables, share)
    spec, before = looks(tables, t)
    assert len(before) > 0
    for how in WAYS:
        spec_after, after = looks(changed(tables, t, how, nonsense), t)
        assert spec_after == spec
        pd.testing.assert_frame_equal(before, after)


@pytest.mark.slow
def test_the_training_rows_up_to_a_moment_are_those_of_a_job_that_ran_then() -> None:
    """Every look up to t, built from the whole record, and from what was known at t alone."""
    tables, settings = world(3), Settings()
    t = moment(tables, 0.6)
    frames = []
    for known in (tables, *(changed(tables, t, how, 5) for how in WAYS[1:])):
        with Warehouse.in_memory(known) as warehouse:
            spec = learn_spec(warehouse, settings, as_of=t)
            data = build_dataset(warehouse, settings, spec, as_of=t)
            frames.append(data[data["as_of"] <= t].reset_index(drop=True))
    whole, *others = frames
    assert len(whole) > 300
    for known_then in others:
        pd.testing.assert_frame_equal(whole, known_then)


def test_another_future_is_another_world_after_all() -> None:
    """The experiment would prove nothing if it changed nothing."""
    tables = world(1)
    t = moment(tables, 0.6)
    for how in WAYS:
        after = changed(tables, t, how, 3)
        today = conform("deals", after.tables["deals"], after.attributes)
        was = conform("deals", tables.tables["deals"], tables.attributes)
        both = set(today["deal_id"].to_pylist())
        was = was.filter(pc.is_in(was["deal_id"], pa.array(sorted(both))))
        for column in ("amount", "rep_id", "status"):
            assert not today[column].equals(was[column])
        events = conform("stage_events", after.tables["stage_events"])
        later = pc.greater(events["recorded_at"], pa.scalar(t, pa.timestamp("us")))
        assert pc.any(later).as_py() == (how == "corrupt")


@pytest.mark.slow
def test_time_travel_notices_a_feature_that_looks_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rule of visibility switched off, both experiments must see features move."""
    import salesops_ml.snapshots.stage_features as stage_features

    def everything(spine: Any, history: Any, *, at: str) -> Any:
        seen = spine.select("deal_id", "as_of").join(history, "deal_id")
        return seen.drop("deal_id_right") if "deal_id_right" in seen.columns else seen

    monkeypatch.setattr(stage_features, "visible", everything)
    tables = world(1)
    t = moment(tables, 0.7)
    _, before = looks(tables, t)
    for how in ("delete", "corrupt"):
        _, after = looks(changed(tables, t, how, 1), t)
        assert compare(before, after)


@pytest.fixture(scope="module")
def audited() -> dict[bool, dict[str, Any]]:
    """The audit of a clean company and of one with a planted leak, which hundreds of deals show."""
    settings, told = Settings(), {}
    for leaky in (False, True):
        made = generate(WorldParameters(deals=600, plant_leak=leaky))
        with Warehouse.in_memory(made) as warehouse:
            end = record_end(warehouse)
            spec = learn_spec(warehouse, settings, as_of=end)
            data = build_dataset(warehouse, settings, spec, as_of=end)
            days = [end - timedelta(days=400)]
            told[leaky] = audit(warehouse, data, spec, settings, days=days)
    return told


@pytest.mark.slow
def test_a_clean_company_passes_the_audit(audited: dict[bool, dict[str, Any]]) -> None:
    findings = audited[False]["findings"]
    assert [finding for finding in findings if finding["verdict"] == "fail"] == []
    assert {"time travel", "own write-back"} <= {finding["check"] for finding in findings}
    assert audited[False]["verdict"] == "ok"
    assert len(audited[False]["checks"]) == 10


@pytest.mark.slow
def test_a_planted_leak_fails_the_audit_by_name(audited: dict[bool, dict[str, Any]]) -> None:
    assert audited[True]["verdict"] == "fail"
    failed = {
        (f["check"], f["column"]) for f in audited[True]["findings"] if f["verdict"] == "fail"
    }
    assert failed == {("filled after closing", LEAK), ("knows too much", LEAK)}


MAVEN_FILE = "maven_crm/sales_pipeline.csv"
AS_ATTRIBUTE = {"attributes": {"close_value": {"known": "at_creation"}}}
AS_HISTORY = {
    "columns": {
        "deal_id": "opportunity_id",
        "changed_at": "engage_date",
        "new_value": "close_value",
    },
    "constants": {"field": "amount"},
    "dates": {"changed_at": "%d-%m-%Y"},
    "select": {"deal_stage": ["Won", "Lost", "Engaging"]},
}


def maven(folder: Path, **overrides: Any) -> dict[str, str]:
    """The worst verdict by column of the audit of the Maven file, mapped as the overrides say."""
    root = Path(__file__).parents[2]
    shared_data(MAVEN_FILE)
    settings = load(root / "configs" / "maven.yaml", overrides=overrides)
    settings = settings.model_copy(update={"warehouse": f"duckdb:///{folder / 'maven.duckdb'}"})
    ingest(settings, ingested_at=datetime(2026, 1, 1))
    with Warehouse.open(settings.warehouse) as warehouse:
        told = audit_record(warehouse, settings, as_of=record_end(warehouse))
    verdicts = {f["column"]: f["verdict"] for f in reversed(told["findings"])}
    worst = max(verdicts.values(), key=["ok", "warn", "fail"].index)
    assert told["verdict"] == worst
    return {column: verdict for column, verdict in verdicts.items() if verdict != "ok"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "columns"),
    [
        (
            {"snapshots": {"known_at_creation": ["account_id", "rep_id", "product", "amount"]}},
            {"f_amount"},
        ),
        (
            {
                "source": {"tables": {"deals": AS_ATTRIBUTE, "deal_changes": AS_HISTORY}},
                "snapshots": {"known_at_creation": ["account_id", "status", "closed_at"]},
            },
            {"f_x_close_value", "f_log_amount", "f_status", "f_closed_at"},
        ),
    ],
    ids=["a fixed amount", "an attribute, a tracked amount, the end itself"],
)
def test_the_sum_of_the_closed_deal_is_caught_however_it_is_mapped(
    overrides: dict[str, Any], columns: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    history = overrides.get("source", {}).get("tables", {}).get("deal_changes")
    if history:
        history["path"] = str(shared_data(MAVEN_FILE))
    found = maven(tmp_path, **overrides)
    assert columns <= {column for column, verdict in found.items() if verdict == "fail"}


@pytest.mark.slow
def test_maven_as_it_is_configured_does_not_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed deals all have an account there, a third of the open ones: as a feature, that is told."""
    monkeypatch.chdir(Path(__file__).parents[2])
    assert maven(tmp_path) == {}
    with_account = {"snapshots": {"known_at_creation": ["account_id", "rep_id", "product"]}}
    assert maven(tmp_path, **with_account) == {"account_id": "warn"}


def pairs_ranked(values: Any, won: Any) -> float:
    """The share of pairs (won, lost) in which the won one is higher, ties counting half."""
    above = [
        (one > other) + 0.5 * (one == other)
        for one, wins in zip(values, won, strict=True) if wins
        for other, also in zip(values, won, strict=True) if not also
    ]  # fmt: skip
    share = sum(above) / len(above)
    return max(share, 1 - share)


@hypothesis_settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
def test_ranking_power_of_numbers_is_the_share_of_pairs_ranked_right(pairs) -> None:
    values = [float(value) for value, _ in pairs]
    won = np.array([wins for _, wins in pairs])
    expected = pairs_ranked(values, won) if 0 < won.sum() < len(won) else 0.5
    assert ranking_power(pd.Series(values), won) == pytest.approx(expected)


def test_a_gap_in_numbers_tells_as_much_as_a_number() -> None:
    won = np.array([True, True, False, False])
    assert ranking_power(pd.Series([np.nan, np.nan, 1.0, 2.0]), won) == 1.0
    assert ranking_power(pd.Series([np.nan] * 4), won) == 0.5


def test_unique_words_tell_nothing_and_words_of_one_outcome_all() -> None:
    won = np.arange(400) % 2 == 0
    shuffled = np.random.default_rng(0).permutation(won)
    unique = pd.Series([f"id-{n}" for n in range(400)])
    assert ranking_power(unique, shuffled) == pytest.approx(0.5, abs=0.02)
    assert ranking_power(pd.Series(np.where(shuffled, "signed", "gone")), shuffled) == 1.0


def test_a_copy_of_some_deals_holds_their_rows_only() -> None:
    with Warehouse.in_memory(world(1)) as warehouse:
        some = (
            warehouse.table("deals").select("deal_id").limit(5).to_pyarrow()["deal_id"].to_pylist()
        )
        copy = copy_tables(warehouse, some)
    for table in copy.tables.values():
        if "deal_id" in table.column_names:
            assert set(table["deal_id"].to_pylist()) <= set(some)
    assert copy.tables["deals"].num_rows == 5
    assert copy.tables["reps"].num_rows > 0
