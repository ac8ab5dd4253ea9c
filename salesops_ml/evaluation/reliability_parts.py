"""Promised against won, by parts of the business: where can the score be trusted, and where not?"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from salesops_ml.evaluation.bootstrap import interval
from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.measure import Judged

LEAST_DEALS = 30
AGES_DAYS = (0.0, 7.0, 14.0, 30.0, 60.0, 120.0)
WORDED = {
    "stage": "stage",
    "product": "product",
    "lead source": "f_lead_source",
    "region": "f_rep_region",
    "deal type": "f_deal_type",
}
SIZES = ("smallest quarter", "second quarter", "third quarter", "largest quarter")


def reliability_by(judged: Judged, p_win: Floats) -> dict[str, dict[str, dict[str, Any]]]:
    """By stage, segment, deal size and age: what was promised, what happened, and its interval.

    Returns:
        dimension -> value -> `deals`, `rows`, `mean_promised`, `share_won` and `share_won_interval`
        (95 %, by deal). Values with fewer than `LEAST_DEALS` deals that count are left out.
    """
    done = {}
    for dimension, values in _dimensions(judged.rows).items():
        found = {}
        for value in sorted({value for value in values if value is not None}, key=_place):
            told = _part(judged, p_win, values == value)
            if told is not None:
                found[value] = told
        if found:
            done[dimension] = found
    return done


def _place(value: str) -> tuple[int, str]:
    """Sizes and ages in their order, other values by their name."""
    ordered = (*SIZES, *_age_names())
    return (ordered.index(value) if value in ordered else len(ordered), value)


def _dimensions(rows: pd.DataFrame) -> dict[str, npt.NDArray[np.object_]]:
    found = {
        name: _named(rows[column]) for name, column in WORDED.items() if column in rows.columns
    }
    if "amount" in rows.columns and rows["amount"].nunique() > len(SIZES):
        quarter = pd.qcut(rows["amount"].rank(method="first"), len(SIZES), labels=list(SIZES))
        found["deal size"] = _named(quarter)
    if "f_age_days" in rows.columns and rows["f_age_days"].nunique() > 1:
        place = np.searchsorted(AGES_DAYS, rows["f_age_days"].to_numpy(float), side="right") - 1
        names = np.array(_age_names(), dtype=object)
        found["age"] = names[np.clip(place, 0, len(names) - 1)]
    return found


def _named(values: pd.Series) -> npt.NDArray[np.object_]:
    """Values as text; None where there is none."""
    told = values.astype(str).to_numpy(dtype=object)
    told[values.isna().to_numpy()] = None
    return told


def _age_names() -> list[str]:
    pairs = zip(AGES_DAYS, (*AGES_DAYS[1:], None), strict=True)
    return [f"{low:.0f} days and more" if high is None else f"{low:.0f} to {high:.0f} days"
            for low, high in pairs]  # fmt: skip


def _part(judged: Judged, p_win: Floats, inside: npt.NDArray[np.bool_]) -> dict[str, Any] | None:
    weight = judged.weight * inside
    deals = judged.rows["deal_id"].to_numpy(dtype=object)
    counted = weight > 0
    if len(np.unique(deals[counted])) < LEAST_DEALS:
        return None
    won = judged.won[counted].astype(float)
    low, high = interval(won, weight[counted], deals[counted])
    return {
        "deals": len(np.unique(deals[inside])),
        "rows": int(inside.sum()),
        "mean_promised": float(np.average(p_win, weights=weight)),
        "share_won": float(np.average(judged.won, weights=weight)),
        "share_won_interval": [low, high],
    }
