"""All KPIs at once: by period and node, beside their targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np
import pandas as pd

from salesops_ml.errors import UsageError
from salesops_ml.kpis.ageing import ageing
from salesops_ml.kpis.cycle import sales_cycle, typical_time_to_win
from salesops_ml.kpis.deal_size import deal_size, open_deal_size
from salesops_ml.kpis.definitions import DEFINITIONS, definition_of
from salesops_ml.kpis.facts import Facts
from salesops_ml.kpis.forecast_accuracy import forecast_accuracy
from salesops_ml.kpis.meetings import prospect_meetings
from salesops_ml.kpis.pipeline import (
    model_weighted_pipeline,
    open_pipeline,
    pipeline_coverage,
    pipeline_efficiency,
    weighted_pipeline,
)
from salesops_ml.kpis.quota import quota_achievement, quota_attainment
from salesops_ml.kpis.rows import COLUMNS
from salesops_ml.kpis.selling_time import selling_time, won_per_selling_hour
from salesops_ml.kpis.slippage import pushes, slippage
from salesops_ml.kpis.speed_to_lead import speed_to_lead
from salesops_ml.kpis.stages import expected_days, stage_conversion, stage_dwell, transition_dwell
from salesops_ml.kpis.undated import undated_kpis
from salesops_ml.kpis.velocity import sales_velocity
from salesops_ml.kpis.waterfall import waterfall
from salesops_ml.kpis.win_rate import win_rate
from salesops_ml.periods import Period
from salesops_ml.settings import Kpis, Settings
from salesops_ml.warehouse import Warehouse

Metric = Callable[[Facts], pd.DataFrame]
MODEL_METRIC = "weighted_pipeline_model"
NEAR = 0.1
TABLE = ["metric", "period", "node", "value", "unit", "target", "status", "n"]

METRICS: dict[Metric, tuple[str, ...]] = {
    quota_achievement: ("quota_achievement_rate",),
    quota_attainment: ("quota_attainment",),
    win_rate: ("win_rate", "win_rate_amount"),
    sales_cycle: ("cycle_mean", "cycle_median"),
    typical_time_to_win: ("cycle_typical",),
    deal_size: ("deal_size_mean", "deal_size_median"),
    open_deal_size: ("open_deal_size_mean", "open_deal_size_median"),
    selling_time: ("selling_time_share",),
    won_per_selling_hour: ("won_per_selling_hour",),
    open_pipeline: ("open_pipeline", "open_deals"),
    weighted_pipeline: ("weighted_pipeline_crm",),
    pipeline_efficiency: ("pipeline_efficiency",),
    pipeline_coverage: ("pipeline_coverage_start", "pipeline_coverage"),
    forecast_accuracy: ("forecast_accuracy", "forecast_bias"),
    prospect_meetings: ("meetings_per_rep",),
    stage_conversion: ("stage_conversion", "stage_win_rate"),
    stage_dwell: ("stage_dwell_p50", "stage_dwell_p90", "stage_overdue"),
    transition_dwell: ("transition_dwell_p50", "transition_dwell_p90"),
    sales_velocity: ("sales_velocity",),
    slippage: ("slippage_deals", "slippage_amount"),
    pushes: ("pushes_per_deal",),
    speed_to_lead: ("speed_to_lead_p50", "speed_to_lead_p90"),
    ageing: ("ageing_deals", "ageing_amount"),
    waterfall: ("waterfall",),
}
"""Each metric's function, and the metrics that it tells."""


def compute_kpis(
    warehouse: Warehouse,
    *,
    as_of: datetime,
    settings: Settings,
    probabilities: pd.DataFrame | None = None,
    periods: Sequence[Period] | None = None,
) -> pd.DataFrame:
    """Every KPI that the tables can answer, by period and node.

    Args:
        warehouse: the canonical tables.
        as_of: what was recorded later does not count, naive UTC.
        settings: hierarchy, calendar, `kpis` and `process`.
        probabilities: deal_id and p_win of the open deals at `as_of`; without them the pipeline is
            weighted by the CRM's probabilities only.
        periods: which periods; by default the last quarters and months that `kpis` asks for. Stage
            metrics, transitions and the waterfall are told of quarters only, where there are any.

    Returns:
        metric, period, node, value, unit, target, status (met, near or missed; empty without a
        target) and n, sorted by metric, period and node. Money is in company currency. Where the
        deals have no dates, the period is `all`.
    """
    missing = missing_metrics(warehouse, settings)
    if "win_rate" in missing:
        return _table(undated_kpis(warehouse), settings, {})
    with Facts.known(warehouse, as_of=as_of, settings=settings, periods=periods) as facts:
        parts = [metric(facts) for metric in _possible(missing)]
        if probabilities is not None and MODEL_METRIC not in missing:
            parts.append(model_weighted_pipeline(facts, probabilities))
        expected = expected_days(facts)
    rows = pd.concat(parts, ignore_index=True)
    told = rows["metric"].astype(str).str.split(":", n=1).str[0]
    return _table(rows[~told.isin(missing)], settings, expected)


def model_kpis(
    warehouse: Warehouse,
    probabilities: pd.DataFrame,
    *,
    as_of: datetime,
    settings: Settings,
    periods: Sequence[Period] | None = None,
) -> pd.DataFrame:
    """Those of `compute_kpis` that need a model's probabilities; no row where they cannot be told."""
    if not {"win_rate", MODEL_METRIC}.isdisjoint(missing_metrics(warehouse, settings)):
        return pd.DataFrame(columns=TABLE)
    with Facts.known(warehouse, as_of=as_of, settings=settings, periods=periods) as facts:
        return _table(model_weighted_pipeline(facts, probabilities), settings, {})


def compute_kpi(
    name: str, warehouse: Warehouse, *, as_of: datetime, period: Period, settings: Settings
) -> pd.DataFrame:
    """One KPI of one period: metric, period, node, value, n.

    Raises:
        UsageError: there is no KPI of that name, or none that is told without a model.
    """
    found = [metric for metric, names in METRICS.items() if name in names]
    if not found:
        known = ", ".join(sorted(known for names in METRICS.values() for known in names))
        raise UsageError(f"`{name}` is no KPI; there are: {known}")
    with Facts.known(warehouse, as_of=as_of, settings=settings, periods=[period]) as facts:
        rows = found[0](facts)
    return rows[rows["metric"].astype(str).str.split(":", n=1).str[0] == name].reset_index(
        drop=True
    )


def missing_metrics(
    warehouse: Warehouse, settings: Settings | None = None
) -> dict[str, tuple[str, ...]]:
    """The KPIs that cannot be told, and what each of them lacks, as `Definition.needs` names it.

    Example:
        >>> import pyarrow as pa
        >>> from salesops_ml.schema import CanonicalTables, no_rejects
        >>> deals = pa.table({"deal_id": ["a"], "status": ["open"]})
        >>> with Warehouse.in_memory(CanonicalTables({"deals": deals}, no_rejects())) as warehouse:
        ...     missing_metrics(warehouse)["win_rate"]
        ('deals.closed_at',)
    """
    needs = {need for definition in DEFINITIONS.values() for need in definition.needs}
    kinds = settings.kpis if settings else Kpis()
    named = {"kpis.selling": kinds.selling, "kpis.meetings": kinds.meetings}
    absent = {
        need for need in needs if not any(_has(warehouse, one, named) for one in need.split("|"))
    }
    lacking = {
        name: tuple(need for need in definition.needs if need in absent)
        for name, definition in DEFINITIONS.items()
    }
    return {name: needs for name, needs in lacking.items() if needs}


def status_of(value: float, target: float, better: str) -> str:
    """met, near (within a tenth of the target) or missed; empty where no way is better.

    Example:
        >>> status_of(95.0, 100.0, "up"), status_of(12.0, 10.0, "down")
        ('near', 'missed')
    """
    if better == "neither" or np.isnan(target):
        return ""
    short = target - value if better == "up" else value - target
    if short <= 0:
        return "met"
    return "near" if short <= NEAR * abs(target) else "missed"


def _possible(missing: dict[str, tuple[str, ...]]) -> list[Metric]:
    return [metric for metric, names in METRICS.items() if not set(names) <= set(missing)]


def _has(warehouse: Warehouse, need: str, kinds: dict[str, tuple[str, ...]]) -> bool:
    """Whether the tables hold what `need` asks for (see `Definition.needs`)."""
    table, mark, what = next(
        (need.partition(mark) for mark in "@:." if mark in need), (need, "", "")
    )
    if not warehouse.has(table):
        return False
    rows = warehouse.table(table)
    if mark == "@":
        rows = rows.filter(rows.kind.isin(kinds[what]))
    elif mark == ":":
        rows = rows.filter(rows.field == what)
    elif mark == ".":
        rows = rows.filter(rows[what].notnull())
    return bool(rows.count().execute())


def _table(rows: pd.DataFrame, settings: Settings, expected: dict[str, float]) -> pd.DataFrame:
    """`rows` with unit, target and status."""
    metrics = rows["metric"].unique()
    currency = settings.company.base_currency
    units = {metric: definition_of(metric).unit.replace("money", currency) for metric in metrics}
    targets = {metric: _target(metric, settings, expected) for metric in metrics}
    better = {metric: definition_of(metric).better for metric in metrics}
    done = rows.sort_values(["metric", "period", "node"], ignore_index=True)
    done["unit"] = done["metric"].map(units)
    done["target"] = done["metric"].map(targets).astype("float64")
    done["status"] = [
        status_of(value, target, better[metric])
        for metric, value, target in zip(done["metric"], done["value"], done["target"], strict=True)
    ]
    return done[TABLE]


def _target(metric: str, settings: Settings, expected: dict[str, float]) -> float:
    """The target set for the metric with its detail, or without it, or the agreed days in a stage."""
    name, _, detail = metric.partition(":")
    targets = settings.kpis.targets
    agreed = expected.get(detail) if name == "stage_dwell_p50" else None
    found = targets.get(metric, targets.get(name, agreed))
    return float("nan") if found is None else float(found)


__all__ = [
    "COLUMNS",
    "METRICS",
    "compute_kpi",
    "compute_kpis",
    "missing_metrics",
    "model_kpis",
    "status_of",
]
