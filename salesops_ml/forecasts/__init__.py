"""Revenue forecasts: what is closed, what is open, what is still to come, and what the past says."""

from salesops_ml.forecasts.backtest import backtest_revenue, default_origins
from salesops_ml.forecasts.backtest_scores import backtest_summary
from salesops_ml.forecasts.combine import Weights, learn_weights
from salesops_ml.forecasts.forecast_change import ForecastDay, forecast_change
from salesops_ml.forecasts.hierarchical import forecast_hierarchy, sample_hierarchy
from salesops_ml.forecasts.history import read_history
from salesops_ml.forecasts.model import RevenueModel
from salesops_ml.forecasts.pipeline_roll_up import ScoredPipeline
from salesops_ml.forecasts.quota_chance import quota_chance
from salesops_ml.forecasts.revenue import fit_revenue_model, forecast_revenue
from salesops_ml.forecasts.series import forecast_series, series_rules
from salesops_ml.forecasts.waterfall import pipeline_waterfall
from salesops_ml.forecasts.what_if import Change, parse_change, what_if

__all__ = [
    "Change",
    "ForecastDay",
    "RevenueModel",
    "ScoredPipeline",
    "Weights",
    "backtest_revenue",
    "backtest_summary",
    "default_origins",
    "fit_revenue_model",
    "forecast_change",
    "forecast_hierarchy",
    "forecast_revenue",
    "forecast_series",
    "learn_weights",
    "parse_change",
    "pipeline_waterfall",
    "quota_chance",
    "read_history",
    "sample_hierarchy",
    "series_rules",
    "what_if",
]
