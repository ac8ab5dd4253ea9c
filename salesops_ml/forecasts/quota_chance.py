"""Will the number be made: the chance of reaching a quota, and what is missing, at every node.

The chance is read off the published quantiles, so that it can contradict neither the forecast nor its
intervals: between two quantiles the normal score rises in a straight line with the amount, beyond the
outer ones it goes on as it did between the last two.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from salesops_ml.errors import DataError
from salesops_ml.forecasts.batch import Floats
from salesops_ml.forecasts.combine import LEVELS, QUANTILES

KEY = ["node", "period"]


def quota_chance(forecast: pd.DataFrame, quotas: pd.DataFrame) -> pd.DataFrame:
    """The chance that each node reaches its quota, by period.

    Args:
        forecast: rows of `forecast_revenue`, money in company currency.
        quotas: `node`, `period` and `quota`, one row each (`kpis.quota.node_quotas`).

    Returns:
        One row per quota of a forecast period: `node`, `period`, `quota`, `closed` (booked), `mean`
        (expected), `to_go` (quota less booked, at least 0), `gap` (quota less expected; below 0 a
        surplus) and `p_reach`, 0..1. Quotas of other periods are left out.

    Raises:
        DataError: a quota is not a finite number, or stands twice.

    Example:
        >>> levels = dict(zip(QUANTILES, norm.ppf(LEVELS) * 10 + 100))
        >>> where = {"node": "company", "period": "2026-Q3"}
        >>> told = pd.DataFrame([{**where, "mean": 100.0, "closed": 40.0, **levels}])
        >>> quota = pd.DataFrame([{**where, "quota": 105.0}])
        >>> quota_chance(told, quota)[["to_go", "gap", "p_reach"]].round(3).values.tolist()
        [[65.0, 5.0, 0.309]]
    """
    wrong = ~np.isfinite(pd.to_numeric(quotas["quota"], errors="coerce").to_numpy(np.float64))
    wrong |= quotas.duplicated(KEY).to_numpy()
    if wrong.any():
        row = quotas[wrong].iloc[0]
        raise DataError(
            f"quota of `{row.node}` in {row.period} is {row.quota}: give one finite number a node"
            " and period"
        )
    rows = quotas[[*KEY, "quota"]].merge(forecast, on=KEY).sort_values(KEY, ignore_index=True)
    quota = rows["quota"].to_numpy(np.float64)
    amounts = rows[[*QUANTILES]].to_numpy(np.float64)
    booked = rows["closed"].to_numpy(np.float64)
    chance = np.array([_exceeds(*pair) for pair in zip(amounts, quota, strict=True)], dtype=float)
    chance[(quota <= booked) & (amounts[:, 0] >= booked)] = 1.0
    columns: dict[str, Any] = {
        "to_go": np.maximum(quota - booked, 0.0),
        "gap": quota - rows["mean"].to_numpy(np.float64),
        "p_reach": chance,
    }
    return rows[[*KEY, "quota", "closed", "mean"]].assign(**columns)


def _exceeds(amounts: Floats, quota: float) -> float:
    """The chance of at least `quota` where `amounts` are the quantiles at LEVELS, not falling."""
    score = norm.ppf(LEVELS)
    values, first = np.unique(amounts, return_index=True)
    if len(values) == 1:
        return float(quota <= values[0])
    at = score[first]
    if quota < values[0]:
        slope, edge = (at[1] - at[0]) / (values[1] - values[0]), 0
    elif quota > values[-1]:
        slope, edge = (at[-1] - at[-2]) / (values[-1] - values[-2]), -1
    else:
        return float(norm.sf(np.interp(quota, values, at)))
    return float(norm.sf(at[edge] + slope * (quota - values[edge])))
