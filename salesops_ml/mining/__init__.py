"""Process mining: where deals get stuck, what that costs, why, and what would change.

The functions take the warehouse's event log, or a pandas, Arrow or Ibis table with pm4py's columns.

    from salesops_ml import mining

    log = mining.read_log("log.xes.gz")
    mining.transitions(log)

They are loaded when they are asked for: reading a log loads no statistics.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salesops_ml.mining.bottlenecks import bottlenecks
    from salesops_ml.mining.causes import causes
    from salesops_ml.mining.comparison import compare
    from salesops_ml.mining.conformance import conformance
    from salesops_ml.mining.discovery import discover
    from salesops_ml.mining.dotted_chart import dotted_chart
    from salesops_ml.mining.drift import drift
    from salesops_ml.mining.dwell_intervals import dwell_intervals
    from salesops_ml.mining.event_log import event_log
    from salesops_ml.mining.filters import (
        filter_outcome,
        filter_performance,
        filter_period,
        filter_segment,
        filter_until,
        filter_variants,
    )
    from salesops_ml.mining.first_pass import first_pass_yield
    from salesops_ml.mining.handovers import handovers
    from salesops_ml.mining.log_files import read_log, write_log
    from salesops_ml.mining.log_mapping import keep_complete, map_activities, service_times
    from salesops_ml.mining.performance_spectrum import performance_spectrum
    from salesops_ml.mining.ping_pong import ping_pong
    from salesops_ml.mining.recommendations import recommendations
    from salesops_ml.mining.rep_load import rep_load
    from salesops_ml.mining.rework import rework
    from salesops_ml.mining.rules import rule_list
    from salesops_ml.mining.skipped_stages import skipped_stages
    from salesops_ml.mining.stages import stage_dwell
    from salesops_ml.mining.steps import as_steps
    from salesops_ml.mining.transitions import transitions
    from salesops_ml.mining.usual_comparisons import recent_against_before, won_against_lost
    from salesops_ml.mining.variants import variants
    from salesops_ml.mining.waiting_kinds import waiting_kinds

__all__ = [
    "as_steps",
    "bottlenecks",
    "causes",
    "compare",
    "conformance",
    "discover",
    "dotted_chart",
    "drift",
    "dwell_intervals",
    "event_log",
    "filter_outcome",
    "filter_performance",
    "filter_period",
    "filter_segment",
    "filter_until",
    "filter_variants",
    "first_pass_yield",
    "handovers",
    "keep_complete",
    "map_activities",
    "performance_spectrum",
    "ping_pong",
    "read_log",
    "recent_against_before",
    "recommendations",
    "rep_load",
    "rework",
    "rule_list",
    "service_times",
    "skipped_stages",
    "stage_dwell",
    "transitions",
    "variants",
    "waiting_kinds",
    "won_against_lost",
    "write_log",
]

_ELSEWHERE = {
    "as_steps": "steps",
    "compare": "comparison",
    "discover": "discovery",
    "filter_outcome": "filters",
    "filter_performance": "filters",
    "filter_period": "filters",
    "filter_segment": "filters",
    "filter_until": "filters",
    "filter_variants": "filters",
    "first_pass_yield": "first_pass",
    "keep_complete": "log_mapping",
    "map_activities": "log_mapping",
    "read_log": "log_files",
    "recent_against_before": "usual_comparisons",
    "rule_list": "rules",
    "service_times": "log_mapping",
    "stage_dwell": "stages",
    "won_against_lost": "usual_comparisons",
    "write_log": "log_files",
}
"""Modules of the functions that are not named like their module."""


class _Surface(ModuleType):
    """The package: a name of `__all__` is always the function, never the module of that name."""

    def __getattribute__(self, name: str) -> Any:
        if name not in __all__:
            return super().__getattribute__(name)
        return getattr(import_module(f"{__name__}.{_ELSEWHERE.get(name, name)}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


sys.modules[__name__].__class__ = _Surface
