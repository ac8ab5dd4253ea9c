"""The record in one table: how far off, which way, and whether the intervals held."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from salesops_ml.forecasts.batch import Floats
from salesops_ml.forecasts.combine import LEVELS, QUANTILES

_INTERVALS = {"coverage_80": ("p10", "p90"), "coverage_95": ("p025", "p975")}


def backtest_summary(
    backtest: pd.DataFrame, *, by: Sequence[str] = ("method", "grain", "level")
) -> pd.DataFrame:
    """Score a backtest's rows, one row per group.

    Args:
        backtest: rows of `backtest_revenue`.
        by: columns to group by; add `horizon` for skill by distance.

    Returns:
        The groups with

        - `pairs`: forecasts held against an actual; `origins`: days they were made on;
        - `wape`: sum of |mean - actual| / sum of |actual|;
        - `bias`: sum of (mean - actual) / sum of |actual|, positive where too much was promised;
        - `scrps`: twice the mean pinball loss over the seven quantiles / mean |actual|; a method
          without quantiles is scored as if certain of its mean;
        - `coverage_80`, `coverage_95` and their standard errors `..._se`, clustered by origin or by
          period, whichever is larger; NaN for methods without quantiles.

    Example:
        >>> rows = pd.DataFrame({"method": "ours", "grain": "month", "level": "company",
        ...     "origin": [1, 2], "period": ["a", "b"], "mean": [9.0, 12.0], "actual": [10.0, 10.0]})
        >>> rows = rows.assign(**{name: rows["mean"] for name in QUANTILES})
        >>> backtest_summary(rows)[["pairs", "wape", "bias", "coverage_80"]].to_dict("records")
        [{'pairs': 2, 'wape': 0.15, 'bias': 0.05, 'coverage_80': 0.0}]
    """
    rows = []
    for key, group in backtest.groupby(list(by), sort=True):
        names = key if isinstance(key, tuple) else (key,)
        rows.append(dict(zip(by, names, strict=True)) | _scores(group))
    return pd.DataFrame(rows)


def pinball(actual: Floats, quantiles: Floats) -> Floats:
    """Mean pinball loss over the seven published quantiles, (rows,)."""
    levels = np.array(LEVELS)
    gap = actual[:, None] - quantiles
    return np.asarray(np.maximum(levels * gap, (levels - 1.0) * gap).mean(axis=1))


def _scores(group: pd.DataFrame) -> dict[str, float]:
    actual = group["actual"].to_numpy(dtype=np.float64)
    mean = group["mean"].to_numpy(dtype=np.float64)
    size = max(float(np.abs(actual).sum()), 1e-12)
    quantiles = group[[*QUANTILES]].to_numpy(dtype=np.float64)
    told = ~np.isnan(quantiles).any(axis=1)
    filled = np.where(told[:, None], quantiles, mean[:, None])
    scores = {
        "pairs": len(group),
        "origins": int(group["origin"].nunique()),
        "wape": float(np.abs(mean - actual).sum()) / size,
        "bias": float((mean - actual).sum()) / size,
        "scrps": 2.0 * float(pinball(actual, filled).sum()) / size,
    }
    for name, (low, high) in _INTERVALS.items():
        inside = group["actual"].between(group[low], group[high]).astype("float64")
        scores[name] = float(inside[told].mean()) if told.any() else np.nan
        scores[f"{name}_se"] = _clustered_error(inside[told], group[told])
    return scores


def _clustered_error(inside: pd.Series[float], group: pd.DataFrame) -> float:
    """Standard error of a mean whose rows of one origin, or of one period, belong together."""
    if inside.empty:
        return float("nan")
    gap = inside - inside.mean()
    found = 0.0
    for cluster in ("origin", "period"):
        sums = gap.groupby(group[cluster]).sum()
        count = len(sums)
        if count > 1:
            spread = float((sums**2).sum()) * count / (count - 1)
            found = max(found, float(np.sqrt(spread)) / len(inside))
    return found if found > 0 or group["origin"].nunique() > 1 else float("nan")
