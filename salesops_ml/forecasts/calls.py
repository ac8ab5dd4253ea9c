"""The call: commit, best case and pipeline by the model, beside what the reps' own categories add up to.

The model's commit is what will be reached in nine quarters of ten, its best case what only one in ten
exceeds; both are the forecast's own quantiles. The reps' commit is what is booked and what they hold in
the category `commit` and expect to close in the period; their best case adds the category `best_case`,
their pipeline everything else that is due.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from salesops_ml.forecasts.evidence import Evidence
from salesops_ml.forecasts.hierarchy import sums_at_nodes
from salesops_ml.forecasts.history import History, due_in
from salesops_ml.periods import Period

COLUMNS = (
    "node", "period", "closed", "model_commit", "model_expected", "model_best", "reps_commit",
    "reps_best", "reps_pipeline", "submitted", "submitted_at", "author",
)  # fmt: skip
COMMIT, BEST = "commit", "best_case"


def calls(
    forecast: pd.DataFrame, history: History, evidence: Evidence, periods: Sequence[Period]
) -> pd.DataFrame:
    """Commit, best case and pipeline of every node, by the model and by people.

    Args:
        forecast: rows of `forecast_revenue` of the same day.
        history: the deals as known then.
        evidence: categories, expected closes and submissions; what was recorded later is left out.
        periods: which periods of the forecast.

    Returns:
        `COLUMNS`, one row per node and period, money in company currency. The reps' columns are NaN
        where the CRM keeps no categories, the submitted ones where nobody said anything.
    """
    known = evidence.known(history.as_of)
    rows = forecast[forecast["period"].isin([period.label for period in periods])]
    told = rows[["node", "period", "closed"]].assign(
        model_commit=rows["p10"], model_expected=rows["mean"], model_best=rows["p90"]
    )
    held = [_by_category(history, known, period) for period in periods]
    reps = pd.concat([rows for rows in held if len(rows)] or held[:1])
    told = told.merge(reps, on=["node", "period"], how="left")
    names = ["reps_commit", "reps_best", "reps_pipeline"]
    if (known.fields["field"] == "forecast_category").any():
        told[names] = told[names].fillna(0.0).add(told["closed"], axis=0)
    else:
        told[names] = np.nan
    said = known.last_submissions.rename(columns={"amount": "submitted"})
    told = told.merge(
        said[["node", "period", "submitted", "submitted_at", "author"]],
        on=["node", "period"],
        how="left",
    )
    return told[[*COLUMNS]].reset_index(drop=True)


def _by_category(history: History, known: Evidence, period: Period) -> pd.DataFrame:
    """What open deals due in the period hold in each category, added up to every node."""
    deals = history.open
    deals = deals[due_in(deals["expected_close_date"], period)]
    category = deals["deal_id"].map(known.at("forecast_category", history.as_of))
    worth = deals["amount"].fillna(0.0)
    leaf = pd.DataFrame(
        {
            "node": deals["node"],
            "reps_commit": worth.where(category == COMMIT, 0.0),
            "reps_best": worth.where(category.isin([COMMIT, BEST]), 0.0),
            "reps_pipeline": worth,
        }
    )
    sums = leaf.groupby("node").sum()
    if sums.empty:
        return pd.DataFrame(columns=["node", "period", *sums.columns])
    return sums_at_nodes(sums).assign(period=period.label)
