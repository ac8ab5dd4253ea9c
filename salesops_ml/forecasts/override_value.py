"""Did overriding help: every submission of a finished period beside what the model said at that moment.

The forecast value added of a submission is what it saved of the model's miss: |actual - model| less
|actual - submission|, in money; below zero the person was further off. The model's word is the last one
replayed before the submission, so the person always knew at least as much. Best cases and pipelines are
no forecasts of the result, and are not scored; nor is what was said when the period was over.

Source: Gilliland (2010), The Business Forecasting Deal, ch. 4 (forecast value added).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.forecasts.evidence import COMMIT

OURS = "ours"
UNNAMED = "unnamed"
"""Author of a submission that does not say whose it is."""
LATEST_MODEL = timedelta(days=8)
"""How long before a submission the model's word may have been spoken to stand beside it."""
COLUMNS = (
    "node", "level", "period", "author", "submitted_at", "reason", "origin", "amount", "model",
    "actual", "person_miss", "model_miss", "value",
)  # fmt: skip


def override_value(
    record: pd.DataFrame, submissions: pd.DataFrame, *, within: timedelta = LATEST_MODEL
) -> pd.DataFrame:
    """Score every submission that has a model's word beside it, one row each.

    Args:
        record: rows of `backtest_revenue`.
        submissions: node, period, submitted_at, author, amount, category, reason, as in the canonical
            table `forecast_submissions`; one that was `recorded_at` later counts from then on.
        within: how far back the model's word may lie.

    Returns:
        `COLUMNS`, by moment: `origin` is when the model spoke and `model` what it said, `actual` what
        came, `person_miss` and `model_miss` the distances from it, `value` what the person saved.

    Example:
        >>> said = pd.DataFrame({"node": "company", "period": "2026-Q1", "author": "ann",
        ...     "submitted_at": pd.to_datetime(["2026-01-09"]), "amount": [100.0],
        ...     "category": "commit", "reason": "a late deal"})
        >>> told = pd.DataFrame({"node": "company", "level": "company", "period": "2026-Q1",
        ...     "method": "ours", "origin": pd.to_datetime(["2026-01-08"]), "mean": [80.0],
        ...     "actual": [95.0], "days_to_end": [83.0]})
        >>> override_value(told, said)[["person_miss", "model_miss", "value"]].values.tolist()
        [[5.0, 15.0, 10.0]]
    """
    if submissions.empty or record.empty:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in COLUMNS})
    told = record[(record["method"] == OURS) & record["actual"].notna()]
    told = told.assign(
        origin=pd.to_datetime(told["origin"]).astype("datetime64[us]"), model=told["mean"]
    )
    told["over_at"] = told["origin"] + pd.to_timedelta(told["days_to_end"], unit="D")
    said = submissions[submissions["category"].isna() | (submissions["category"] == COMMIT)]
    said = said.assign(
        submitted_at=_known_since(said),
        amount=said["amount"].astype("float64"),
        author=said["author"].fillna(UNNAMED),
    )
    pairs = pd.merge_asof(
        said.sort_values(["submitted_at", "node", "period"], kind="stable"),
        told[["node", "level", "period", "origin", "model", "actual", "over_at"]].sort_values(
            ["origin", "node", "period"], kind="stable"
        ),
        left_on="submitted_at",
        right_on="origin",
        by=["node", "period"],
        tolerance=pd.Timedelta(within),
    )
    pairs = pairs[pairs["origin"].notna() & (pairs["submitted_at"] < pairs["over_at"])]
    pairs = pairs.assign(
        person_miss=(pairs["amount"] - pairs["actual"]).abs(),
        model_miss=(pairs["model"] - pairs["actual"]).abs(),
    )
    pairs["value"] = pairs["model_miss"] - pairs["person_miss"]
    return pairs[[*COLUMNS]].reset_index(drop=True)


def _known_since(said: pd.DataFrame) -> pd.Series[pd.Timestamp]:
    """When each word was said, or written down if that was later: nobody scores by hindsight."""
    moment = pd.to_datetime(said["submitted_at"]).astype("datetime64[us]")
    if "recorded_at" not in said.columns:
        return moment
    written = pd.to_datetime(said["recorded_at"]).astype("datetime64[us]").fillna(moment)
    return moment.where(moment >= written, written)


def value_added(values: pd.DataFrame, *, by: Sequence[str] = ()) -> pd.DataFrame:
    """Add up the value of submissions, one row per group; one row in all without `by`.

    Args:
        values: rows of `override_value`.
        by: columns to group by, such as `author` or `node`.

    Returns:
        The groups with `submissions`, `periods`, `nearer` (how many were nearer than the model),
        `person_wape`, `model_wape` (misses as a share of what came), `value` (money saved, summed) and
        `value_share` with its standard error `value_share_se`, clustered by period: the value as a
        share of the model's miss, above 0 where the person helped; NaN error where one period is known.
    """
    if values.empty:
        return pd.DataFrame(columns=[*by, *_figures(values)])
    groups: list[tuple[Any, pd.DataFrame]] = (
        list(values.groupby(list(by), sort=True)) if by else [((), values)]
    )
    return pd.DataFrame([dict(zip(by, key, strict=True)) | _figures(rows) for key, rows in groups])


def _figures(rows: pd.DataFrame) -> dict[str, float]:
    came = max(float(rows["actual"].abs().sum()), 1e-12)
    model, value = float(rows["model_miss"].sum()), float(rows["value"].sum())
    share = value / model if model > 0 else float("nan")
    return {
        "submissions": len(rows),
        "periods": int(rows["period"].nunique()),
        "nearer": int((rows["value"] > 0).sum()),
        "person_wape": float(rows["person_miss"].sum()) / came,
        "model_wape": model / came,
        "value": value,
        "value_share": share,
        "value_share_se": _error(rows, share, model),
    }


def _error(rows: pd.DataFrame, share: float, model: float) -> float:
    """Standard error of value over the model's miss, whose rows of one period belong together."""
    off = (rows["value"] - share * rows["model_miss"]).groupby(rows["period"]).sum()
    count = len(off)
    if count < 2 or not np.isfinite(share):
        return float("nan")
    return float(np.sqrt(float((off**2).sum()) * count / (count - 1)) / model)
