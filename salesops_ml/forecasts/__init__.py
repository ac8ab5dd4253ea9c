"""Revenue forecasts: what is closed, what is open, what is still to come, and what the past says."""

from salesops_ml.forecasts.series import forecast_series, series_rules

__all__ = ["forecast_series", "series_rules"]
