"""How sure each figure on the card is: intervals that draw whole deals, for ours and every baseline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.app.report_files import RunFiles
from salesops_ml.evaluation.bootstrap import interval
from salesops_ml.evaluation.censoring import Floats
from salesops_ml.evaluation.measure import Judged
from salesops_ml.evaluation.proper_scores import log_losses

OURS = "deal_scores"
DRAWS = 200
TAIL = 0.025
SEED = 7
NEEDED = ["deal_id", "as_of", "outcome", "days_to_outcome", "days_observed", "split"]


def score_intervals(files: RunFiles, data: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """By model, 95 % intervals by deal: `brier_interval`, `auc_interval`, and what ours saves.

    `saved` is the log-loss that ours saves beside a baseline on the same rows, with
    `saved_interval`: an interval above nought says that ours is better. Nothing where the run holds no
    judged rows.
    """
    judged, said = judged_rows(files, data), files.frame("predictions")
    if judged is None or said.empty:
        return {}
    chances = _chances(judged, said)
    if OURS not in chances:
        return {}
    deals = judged.rows["deal_id"].to_numpy(dtype=object)
    ours = log_losses(judged.won, chances[OURS])
    told: dict[str, dict[str, Any]] = {}
    for name, p in chances.items():
        missed = (p - judged.won) ** 2
        told[name] = {
            "brier_interval": list(interval(missed, judged.weight, deals, draws=DRAWS)),
            "auc_interval": auc_interval(judged, p),
        }
        if name != OURS:
            saved = log_losses(judged.won, p) - ours
            told[name] |= {
                "saved": float(np.average(saved, weights=judged.weight)),
                "saved_interval": list(interval(saved, judged.weight, deals, draws=DRAWS)),
            }
    return told


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


def auc_interval(judged: Judged, p: Floats) -> list[float | None]:
    """95 % interval of the AUC over samples of deals; empty where a sample holds one outcome only."""
    _, deal = np.unique(judged.rows["deal_id"].to_numpy(dtype=object), return_inverse=True)
    _, place = np.unique(p, return_inverse=True)
    deals, levels = deal.max() + 1, place.max() + 1
    random = np.random.default_rng(SEED)
    areas = []
    for picks in random.multinomial(deals, np.full(deals, 1 / deals), size=DRAWS):
        weight = judged.weight * picks[deal]
        wins = np.bincount(place, weights=weight * judged.won, minlength=levels)
        others = np.bincount(place, weights=weight * ~judged.won, minlength=levels)
        pairs = wins.sum() * others.sum()
        ranked = (wins * (np.cumsum(others) - others / 2)).sum()
        areas.append(ranked / pairs if pairs > 0 else np.nan)
    if np.isnan(areas).any():
        return [None, None]
    low, high = np.quantile(areas, [TAIL, 1 - TAIL])
    return [float(low), float(high)]
