"""Process mining: where deals get stuck, and what that costs.

The functions take the warehouse's event log, or a pandas, Arrow or Ibis table with pm4py's columns.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salesops_ml.mining.bottlenecks import bottlenecks
    from salesops_ml.mining.event_log import event_log, read_log
    from salesops_ml.mining.stages import stage_dwell
    from salesops_ml.mining.transitions import transitions
    from salesops_ml.mining.variants import variants

__all__ = ["bottlenecks", "event_log", "read_log", "stage_dwell", "transitions", "variants"]

_HOMES = {
    "bottlenecks": "bottlenecks",
    "event_log": "event_log",
    "read_log": "event_log",
    "stage_dwell": "stages",
    "transitions": "transitions",
    "variants": "variants",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
