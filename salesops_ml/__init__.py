"""Forecast sales and mine the sales process.

The names here are the front door; each package below has its own. They are imported when first
used, so that `import salesops_ml` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salesops_ml.app.run_folder import RunFolder, latest_run
    from salesops_ml.forecasts.series import forecast_series
    from salesops_ml.mining.log_files import read_log
    from salesops_ml.models.deal_scores import DealScores
    from salesops_ml.settings import Settings
    from salesops_ml.settings import load as load_settings
    from salesops_ml.warehouse import Warehouse

__version__ = "0.1.0"
__all__ = [
    "DealScores",
    "RunFolder",
    "Settings",
    "Warehouse",
    "__version__",
    "forecast_series",
    "latest_run",
    "load_settings",
    "read_log",
]

_HOMES = {
    "DealScores": "models.deal_scores:DealScores",
    "RunFolder": "app.run_folder:RunFolder",
    "Settings": "settings:Settings",
    "Warehouse": "warehouse:Warehouse",
    "forecast_series": "forecasts.series:forecast_series",
    "latest_run": "app.run_folder:latest_run",
    "load_settings": "settings:load",
    "read_log": "mining.log_files:read_log",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    home, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(f"{__name__}.{home}"), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
