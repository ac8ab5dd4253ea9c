"""What ours saves beside each baseline on the same rows, with an interval that draws whole deals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.app.report_files import RunFiles
from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.deal_intervals import DealDraws
from salesops_ml.evaluation.measure import Judged

OURS = "deal_scores"
DRAWS = 200
NEEDED = ["deal_id", "as_of", "outcome", "days_to_outcome", "days_observed", "split"]


def savings(files: RunFiles, data: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """By baseline, `saved`, the log-loss that ours saves, and `saved_interval`, 95 % by deal.

    An interval above nought says that ours is better. Nothing where the run holds no judged rows.
    """
    judged, said = judged_rows(files, data), files.frame("predictions")
    if judged is None or said.empty:
        return {}
    chances = _chances(judged, said)
    if OURS not in chances:
        return {}
    draws = DealDraws(judged.rows["deal_id"].to_numpy(dtype=object), draws=DRAWS)
    return draws.of_savings(judged.won, chances.pop(OURS), chances, judged.weight)


def judged_rows(files: RunFiles, data: pd.DataFrame) -> Judged | None:
    """The test rows with what became of them; None where none can be judged."""
    if not set(NEEDED) <= set(data.columns):
        return None
    test = data.loc[data["split"] == "test", NEEDED].reset_index(drop=True)
    if test.empty:
        return None
    judged = Judged.of(test, files.settings.models.horizon_days)
    return judged if (judged.weight > 0).any() else None


def _chances(judged: Judged, said: pd.DataFrame) -> dict[str, Floats]:
    """Each model's chances of the judged rows; a model that leaves a row out is left out."""
    key = judged.rows[["deal_id", "as_of"]]
    joined = {
        str(name): key.merge(rows, on=["deal_id", "as_of"], how="left")["p_win"].to_numpy(float)
        for name, rows in said.groupby("model", sort=True)
    }
    return {name: p for name, p in joined.items() if len(p) == len(key) and not np.isnan(p).any()}
