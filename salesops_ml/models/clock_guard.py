"""Features that are clocks in disguise: what they say about the past says nothing about tomorrow.

A month's number in a history of four months, or a count that only ever grows ("deals closed since the
record began"), names the day. A model learns from it what happened that day, and is then asked about
days on which the feature has values that were never seen. Such columns are left out of what is learned.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

MOST_ROWS = 20_000
CLOCKLIKE = 0.7
"""Rank correlation with the day of the look, of either sign, from which a column is a clock."""
CYCLES = 1.5
"""Cycles of a season that must have been seen before its position in the cycle means anything."""
SEASONS_DAYS = {
    "f_month": 365.25,
    "f_created_month": 365.25,
    "f_days_to_quarter_end": 91.3,
    "f_quarter_month": 91.3,
    "f_closes_this_quarter": 91.3,
}


def clocklike(frame: pd.DataFrame) -> list[str]:
    """Names of the numeric features of a training frame that tell the day rather than the deal.

    Rank correlation is taken over all looks, and over the first look of each deal, where a running
    count is at its barest. A frame without `as_of` and `deal_id`, or of one day, has no clocks.

    Example:
        >>> days = pd.date_range("2026-01-01", periods=60)
        >>> looks = pd.DataFrame({"deal_id": range(60), "as_of": days, "f_closed_so_far": range(60)})
        >>> clocklike(looks)
        ['f_closed_so_far']
    """
    if not {"as_of", "deal_id"} <= set(frame.columns) or frame["as_of"].nunique() < 2:
        return []
    span = (frame["as_of"].max() - frame["as_of"].min()).total_seconds() / 86_400
    found = {name for name, days in SEASONS_DAYS.items() if span < CYCLES * days}
    numeric = [
        name
        for name in frame.columns
        if name.startswith("f_") and pd.api.types.is_numeric_dtype(frame[name])
    ]
    keys = frame[["deal_id", "as_of"]].reset_index(drop=True).sort_values(["deal_id", "as_of"])
    for rows in (keys.index, keys.drop_duplicates("deal_id").index):
        part = frame.iloc[rows[:: max(len(rows) // MOST_ROWS, 1)]]
        day = part["as_of"].to_numpy().astype("datetime64[s]").astype(float)
        found |= {name for name in numeric if _follows(part[name].to_numpy(float), day)}
    return sorted(found & set(frame.columns))


def _follows(values: np.typing.NDArray[np.float64], day: np.typing.NDArray[np.float64]) -> bool:
    known = np.isfinite(values)
    if known.mean() < 0.2 or known.sum() < 30:
        return False
    ranks = rankdata(values[known])
    if ranks.std() == 0:
        return False
    return bool(abs(np.corrcoef(ranks, rankdata(day[known]))[0, 1]) > CLOCKLIKE)
