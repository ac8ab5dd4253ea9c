"""All KPIs together: targets, what is missing, and the laws that hold on a whole company."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from salesops_ml.errors import ConfigError, UsageError
from salesops_ml.kpis import (
    DEFINITIONS,
    compute_kpi,
    compute_kpis,
    missing_metrics,
    model_kpis,
    recent_periods,
)
from salesops_ml.kpis.catalogue import METRICS, status_of
from salesops_ml.schema import TABLES, CanonicalTables, no_rejects
from salesops_ml.settings import parse
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.warehouse import Warehouse
from tests.kpis.tiny import AS_OF, Q1, company, deal, moves

SETTINGS = parse({"kpis": {"quarters": 3, "months": 2, "targets": {"win_rate": 30}}})
DAY = datetime(2026, 3, 15, 9)


@pytest.fixture(scope="module")
def world() -> CanonicalTables:
    return generate(WorldParameters(deals=1_500))


@pytest.fixture(scope="module")
def kpis(world: CanonicalTables) -> pd.DataFrame:
    with Warehouse.in_memory(world) as warehouse:
        return compute_kpis(warehouse, as_of=DAY, settings=SETTINGS)


def test_every_definition_is_told_of_a_whole_company(kpis: pd.DataFrame) -> None:
    told = set(kpis["metric"].str.partition(":")[0])
    assert told == set(DEFINITIONS) - {"weighted_pipeline_model"}
    assert {name for names in METRICS.values() for name in names} == told
    assert set(kpis["period"]) == {"2025-Q3", "2025-Q4", "2026-Q1", "2026-02", "2026-03"}
    assert not kpis.duplicated(["metric", "period", "node"]).any()
    assert np.isfinite(kpis["value"]).all()


def test_units_targets_and_status(world: CanonicalTables, kpis: pd.DataFrame) -> None:
    stages = world.tables["stages"].to_pandas().set_index("stage")
    at_company = kpis[(kpis["node"] == "company") & (kpis["period"] == "2025-Q4")]
    rows = at_company.set_index("metric")
    assert rows.loc["win_rate", "unit"] == "%"
    assert rows.loc["win_rate", "target"] == 30
    assert rows.loc["win_rate", "status"] == status_of(rows.loc["win_rate", "value"], 30, "up")
    assert rows.loc["sales_velocity", "unit"] == "EUR/day"
    assert rows.loc["stage_dwell_p50:Lead", "target"] == stages.loc["Lead", "expected_days"]
    assert np.isnan(rows.loc["open_deals", "target"])
    assert rows.loc["open_deals", "status"] == ""


@pytest.mark.parametrize(
    "metric", ["open_pipeline", "open_deals", "weighted_pipeline_crm", "ageing_deals"]
)
def test_children_add_up_to_their_parent(kpis: pd.DataFrame, metric: str) -> None:
    rows = kpis[kpis["metric"] == metric].copy()
    rows["parent"] = rows["node"].str.rpartition("/")[0]
    sums = rows[rows["parent"] != ""].groupby(["period", "parent"])["value"].sum()
    parents = rows.set_index(["period", "node"])["value"]
    assert len(sums) > 10
    pd.testing.assert_series_equal(parents.loc[sums.index], sums, check_names=False)


def test_the_waterfall_closes_at_every_node(kpis: pd.DataFrame) -> None:
    steps = kpis[kpis["metric"].str.startswith("waterfall:")]
    table = steps.pivot(index=["period", "node"], columns="metric", values="value")
    end = table.pop("waterfall:end")
    assert (table["waterfall:won"] < 0).any()
    np.testing.assert_allclose(table.sum(axis=1), end, atol=1e-6)


def _everything_later(tables: CanonicalTables, as_of: datetime) -> CanonicalTables:
    """The same company as it stood at `as_of`, with today's values of its deals scrambled.

    Values are swapped among the deals that have a history of the field: without any, today's value
    is all there is.
    """
    kept = {}
    for name, rows in tables.tables.items():
        spec = TABLES[name]
        if spec.event_time:
            known = pc.coalesce(rows["recorded_at"], rows[spec.event_time])
            visible = pc.less_equal(known, pa.scalar(as_of, pa.timestamp("us")))
            rows = rows.filter(pc.fill_null(visible, True))
        kept[name] = rows
    deals = kept["deals"]
    rng = np.random.default_rng(3)
    history = tables.tables["deal_changes"].to_pandas()
    frame = deals.to_pandas()
    for column in ("amount", "amount_base", "rep_id", "expected_close_date", "product", "status"):
        told = frame["deal_id"].isin(history.loc[history["field"] == column, "deal_id"])
        told |= column == "status"
        frame.loc[told, column] = rng.permutation(frame.loc[told, column].to_numpy())
    deals = pa.Table.from_pandas(frame, schema=deals.schema, preserve_index=False)
    kept["deals"] = deals
    return CanonicalTables(kept, no_rejects(), tables.attributes)


def test_nothing_sees_the_future(world: CanonicalTables, kpis: pd.DataFrame) -> None:
    with Warehouse.in_memory(_everything_later(world, DAY)) as warehouse:
        then = compute_kpis(warehouse, as_of=DAY, settings=SETTINGS)
    pd.testing.assert_frame_equal(then, kpis)


def test_row_order_does_not_matter(world: CanonicalTables, kpis: pd.DataFrame) -> None:
    rng = np.random.default_rng(4)
    mixed = {
        name: rows.take(pa.array(rng.permutation(len(rows)))) for name, rows in world.tables.items()
    }
    tables = CanonicalTables(mixed, no_rejects(), world.attributes)
    with Warehouse.in_memory(tables) as warehouse:
        again = compute_kpis(warehouse, as_of=DAY, settings=SETTINGS)
    pd.testing.assert_frame_equal(again, kpis, check_exact=True)


def test_one_kpi_of_one_period_equals_the_catalogue(
    world: CanonicalTables, kpis: pd.DataFrame
) -> None:
    period = recent_periods(DAY, SETTINGS)[1]
    with Warehouse.in_memory(world) as warehouse:
        alone = compute_kpi("win_rate", warehouse, as_of=DAY, period=period, settings=SETTINGS)
        with pytest.raises(UsageError, match="`luck` is no KPI"):
            compute_kpi("luck", warehouse, as_of=DAY, period=period, settings=SETTINGS)
    among = kpis[(kpis["metric"] == "win_rate") & (kpis["period"] == period.label)]
    pd.testing.assert_series_equal(alone["value"], among["value"].reset_index(drop=True))


def test_the_model_and_the_crm_weigh_side_by_side(world: CanonicalTables) -> None:
    deals = world.tables["deals"]["deal_id"].to_pylist()
    certain = pd.DataFrame({"deal_id": deals, "p_win": 1.0})
    with Warehouse.in_memory(world) as warehouse:
        rows = compute_kpis(warehouse, as_of=DAY, settings=SETTINGS, probabilities=certain)
    now = rows[(rows["period"] == "2026-Q1") & (rows["node"] == "company")].set_index("metric")
    assert now.loc["weighted_pipeline_model", "value"] == now.loc["open_pipeline", "value"]
    assert now.loc["weighted_pipeline_crm", "value"] < now.loc["open_pipeline", "value"]


def test_the_kpis_of_the_model_alone_are_those_among_all(world: CanonicalTables) -> None:
    deals = world.tables["deals"]["deal_id"].to_pylist()
    chances = pd.DataFrame({"deal_id": deals, "p_win": np.linspace(0, 1, len(deals))})
    with Warehouse.in_memory(world) as warehouse:
        rows = compute_kpis(warehouse, as_of=DAY, settings=SETTINGS, probabilities=chances)
        alone = model_kpis(warehouse, chances, as_of=DAY, settings=SETTINGS)
    among = rows[rows["metric"] == "weighted_pipeline_model"].reset_index(drop=True)
    assert len(alone)
    pd.testing.assert_frame_equal(alone, among)


def test_without_dates_no_kpi_needs_a_model() -> None:
    tables = {"deals": pa.table({"deal_id": ["a"], "status": ["open"]})}
    chances = pd.DataFrame({"deal_id": ["a"], "p_win": [0.5]})
    with Warehouse.in_memory(CanonicalTables(tables, no_rejects())) as warehouse:
        assert model_kpis(warehouse, chances, as_of=DAY, settings=SETTINGS).empty


def test_what_is_missing_is_named_and_the_rest_is_told() -> None:
    deals = [deal("a", "ann", "2026-01-01", "won", "2026-02-01"), deal("b", "bob", "2026-01-01")]
    with company(deals=deals, stages=[]) as warehouse:
        missing = missing_metrics(warehouse)
        rows = compute_kpis(warehouse, as_of=AS_OF, settings=SETTINGS, periods=[Q1])
    assert missing["quota_attainment"] == ("quotas",)
    assert missing["stage_conversion"] == ("stage_events", "stages")
    assert missing["selling_time_share"] == (
        "activities.duration_minutes", "activities@kpis.selling",
    )  # fmt: skip
    assert missing["slippage_deals"] == ("deal_changes:expected_close_date",)
    told = set(rows["metric"])
    assert {"win_rate", "cycle_median", "deal_size_mean", "open_deals"} <= told
    assert not told & set(missing)


def test_activities_of_other_kinds_tell_no_selling_time() -> None:
    """A log of phone campaigns has durations, but no kind that the settings call selling."""
    done = [
        {"activity_id": "1", "deal_id": "a", "rep_id": "ann", "kind": "W_Call", "at": "2026-01-02",
         "duration_minutes": 5.0}
    ]  # fmt: skip
    deals = [deal("a", "ann", "2026-01-01", "won", "2026-02-01")]
    with company(deals=deals, activities=done) as warehouse:
        named = parse({"kpis": {"selling": ["W_Call"]}})
        assert missing_metrics(warehouse)["selling_time_share"] == ("activities@kpis.selling",)
        assert "selling_time_share" not in missing_metrics(warehouse, named)
        assert "speed_to_lead_p50" not in missing_metrics(warehouse)


def test_without_amounts_only_counts_are_told() -> None:
    deals = [
        deal("a", "ann", "2026-01-01", "won", "2026-02-01", amount=None),
        deal("b", "bob", "2026-01-01", amount=None),
    ]
    with company(deals=deals, stage_events=moves("b", ("2026-01-01", "Lead"))) as warehouse:
        rows = compute_kpis(warehouse, as_of=AS_OF, settings=SETTINGS, periods=[Q1])
    told = set(rows["metric"].str.partition(":")[0])
    assert {"win_rate", "open_deals", "stage_dwell_p50", "ageing_deals"} - told == {
        "stage_dwell_p50"
    }
    assert not {"win_rate_amount", "deal_size_mean", "open_pipeline", "sales_velocity"} & told


def test_deals_without_dates_are_told_as_a_whole() -> None:
    deals = [
        {"deal_id": "a", "status": "won", "amount": "100"},
        {"deal_id": "b", "status": "lost", "amount": "300"},
        {"deal_id": "c", "status": "open", "amount": "50"},
    ]
    with company(deals=deals, stages=[], reps=[]) as warehouse:
        rows = compute_kpis(warehouse, as_of=AS_OF, settings=SETTINGS)
    told = rows.set_index("metric")
    assert set(told["period"]) == {"all"}
    assert told.loc["win_rate", "value"] == 50
    assert told.loc["win_rate_amount", "value"] == 25
    assert told.loc["deal_size_median", "value"] == 100
    assert told.loc["win_rate", "status"] == "met"


def test_an_unknown_level_is_named() -> None:
    settings = parse({"forecast": {"hierarchy": ["planet"]}})
    with (
        company(deals=[deal("a", "ann", "2026-01-01", "won", "2026-02-01")]) as warehouse,
        pytest.raises(ConfigError, match="`planet`"),
    ):
        compute_kpis(warehouse, as_of=AS_OF, settings=settings)


def test_recent_periods_follow_the_fiscal_year() -> None:
    settings = parse(
        {"company": {"fiscal_year_starts": "february"}, "kpis": {"quarters": 1, "months": 0}}
    )
    assert [period.label for period in recent_periods(datetime(2026, 5, 1), settings)] == [
        "2027-Q1"
    ]
    assert [period.label for period in recent_periods(datetime(2026, 5, 2), settings)] == [
        "2027-Q2"
    ]


def test_before_the_first_deal_there_is_nothing_to_tell(world: CanonicalTables) -> None:
    with Warehouse.in_memory(world) as warehouse:
        rows = compute_kpis(warehouse, as_of=datetime(1999, 1, 1), settings=SETTINGS)
    assert len(rows) == 0
    assert "status" in rows.columns
