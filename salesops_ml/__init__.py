"""Forecast sales and mine the sales process."""
