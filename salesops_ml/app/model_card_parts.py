"""Parts of the deals, such as a stage or a region, in which the chances hold or do not.

A part whose promised chance lies outside the 95 % interval of its share won is not to be trusted; nor
is one with too few deals to tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.app.report_files import RunFiles
from salesops_ml.evaluation.measure import LEAST_DEALS, SEGMENTS

NORMAL_95 = 1.96
INTERVALS = ("share_won_interval", "interval")
"""Names under which an interval of the share won may stand in `evaluation.json`."""


def parts_of_deals(files: RunFiles, data: pd.DataFrame) -> list[dict[str, Any]]:
    """One row a part: `dimension`, `value`, `deals`, `mean_promised`, `share_won`, `interval`, and
    `trusted`: yes, no, or too few.

    Parts without figures (too few deals to be judged) have nulls there.
    """
    judged = files.evaluation
    told: Mapping[str, Any] = judged.get("reliability_by") or judged.get("segments") or {}
    parts = [
        _judged(str(dimension), str(value), row)
        for dimension, rows in told.items()
        for value, row in rows.items()
    ]
    known = {(part["dimension"], part["value"]) for part in parts}
    few = [part for part in _too_few(data) if (part["dimension"], part["value"]) not in known]
    return _ordered([*parts, *few], files.stage_places)


def _judged(dimension: str, value: str, row: Mapping[str, Any]) -> dict[str, Any]:
    deals, won, promised = int(row["deals"]), float(row["share_won"]), float(row["mean_promised"])
    span = next((row[name] for name in INTERVALS if row.get(name)), None)
    low, high = span if span and None not in span else _binomial(won, deals)
    trusted = "yes" if low <= promised <= high else "no"
    return {
        "dimension": dimension, "value": value, "deals": deals, "rows": row.get("rows"),
        "mean_promised": promised, "share_won": won, "interval": [float(low), float(high)],
        "trusted": trusted if deals >= LEAST_DEALS else "too few",
    }  # fmt: skip


def _binomial(share: float, deals: int) -> tuple[float, float]:
    """Wilson's interval (1927) of a share of deals."""
    spread = NORMAL_95**2 / deals
    middle = (share + spread / 2) / (1 + spread)
    half = np.sqrt(spread * share * (1 - share) + spread**2 / 4) / (1 + spread)
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def _too_few(data: pd.DataFrame) -> list[dict[str, Any]]:
    """Values of the test rows with too few deals to be judged."""
    if "split" not in data.columns:
        return []
    test = data[data["split"] == "test"]
    found = []
    for column in SEGMENTS:
        if column not in test.columns:
            continue
        deals: pd.Series = (
            test.dropna(subset=[column]).groupby(column, observed=True)["deal_id"].nunique()
        )
        found += [
            _unjudged(column.removeprefix("f_"), str(value), int(count))
            for value, count in deals.items()
            if count < LEAST_DEALS
        ]
    return found


def _unjudged(dimension: str, value: str, deals: int) -> dict[str, Any]:
    nothing = dict.fromkeys(("rows", "mean_promised", "share_won", "interval"))
    return {"dimension": dimension, "value": value, "deals": deals, **nothing, "trusted": "too few"}


def _ordered(parts: list[dict[str, Any]], stages: Mapping[str, int]) -> list[dict[str, Any]]:
    """Dimensions as they came; stages in the order of the process, the rest as they came."""
    names = list(dict.fromkeys(part["dimension"] for part in parts))
    return sorted(
        parts,
        key=lambda part: (
            names.index(part["dimension"]),
            stages.get(part["value"], len(stages)) if part["dimension"] == "stage" else 0,
        ),
    )
