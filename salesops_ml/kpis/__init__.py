"""KPIs: one definition a metric, by period and node of the company."""

from salesops_ml.kpis.catalogue import compute_kpi, compute_kpis, missing_metrics, model_kpis
from salesops_ml.kpis.definitions import DEFINITIONS, Definition, definition_of
from salesops_ml.kpis.facts import Facts, recent_periods

__all__ = [
    "DEFINITIONS",
    "Definition",
    "Facts",
    "compute_kpi",
    "compute_kpis",
    "definition_of",
    "missing_metrics",
    "model_kpis",
    "recent_periods",
]
