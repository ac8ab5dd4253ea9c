"""The registry: training runs in MLflow, and which model is in use. Nothing else imports mlflow."""

from salesops_ml.registry.champion import (
    Champion,
    champion_version,
    load_champion,
    promote,
    register,
    rollback,
)
from salesops_ml.registry.pyfunc import (
    LoggedModel,
    conform_to_example,
    log_deal_model,
    log_model,
    log_revenue_model,
)
from salesops_ml.registry.tracking import Run, Tracking, check_store, run, tracking

__all__ = [
    "Champion",
    "LoggedModel",
    "Run",
    "Tracking",
    "champion_version",
    "check_store",
    "conform_to_example",
    "load_champion",
    "log_deal_model",
    "log_model",
    "log_revenue_model",
    "promote",
    "register",
    "rollback",
    "run",
    "tracking",
]
