"""What could still fill the gap: the open deals whose fate in the period moves the most money.

A deal adds to the forecast its chance times its amount already. What it could add on top, if it were won
in the period for sure, is the rest; so a large deal at even odds matters more than a small one or one
that is as good as won. The list stops where the gap would be filled, or goes on to the end of it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import norm

from salesops_ml.errors import UsageError
from salesops_ml.forecasts.batch import Floats
from salesops_ml.forecasts.combine import LEVELS, QUANTILES
from salesops_ml.forecasts.history import History
from salesops_ml.forecasts.model import RevenueModel
from salesops_ml.forecasts.pipeline_roll_up import ScoredPipeline
from salesops_ml.forecasts.revenue import placed

COLUMNS = (
    "node", "period", "rank", "deal_id", "rep_id", "stage", "amount", "p_in_period", "p_later",
    "expected", "could_add", "filled", "gap", "pull_in", "expected_close_date",
)  # fmt: skip
MOST_DEALS = 25


def gap_deals(
    model: RevenueModel,
    pipeline: ScoredPipeline,
    history: History,
    forecast: pd.DataFrame,
    quotas: pd.DataFrame,
    *,
    chance: float = 0.5,
    most: int = MOST_DEALS,
) -> pd.DataFrame:
    """The deals that could fill each node's gap to its quota in the quarter of the day.

    Args:
        model, pipeline, history: of the same day.
        forecast: rows of `forecast_revenue`.
        quotas: `node`, `period`, `quota`; those of other periods are left aside.
        chance: how sure to be: the gap is the quota less what is reached with this chance.
        most: deals a node.

    Returns:
        `COLUMNS`: deals by what they could add, most first. `filled` is the sum so far, `gap` what is
        missing; a node's list ends with the deal that fills it. `p_later` is the chance of winning
        within the horizon but after the period, `pull_in` whether the deal is expected only then.

    Raises:
        UsageError: `chance` is not between 0 and 1.
    """
    if not 0 < chance < 1:
        raise UsageError(f"`chance` is {chance:g}; give a share between 0 and 1, such as 0.8")
    view = model.view
    quarter = view.quarters[0]
    pipeline = placed(pipeline, history)
    deals = _chances(model, pipeline, history)
    rows = forecast[forecast["period"] == quarter.label]
    wanted = quotas[quotas["period"] == quarter.label].merge(rows, on=["node", "period"])
    found = [pd.DataFrame(columns=[*COLUMNS])]
    for row in wanted.sort_values("node").to_dict(orient="records"):
        reached = quantile(np.array([row[name] for name in QUANTILES], dtype=float), 1 - chance)
        gap = float(row["quota"]) - reached
        if gap <= 0:
            continue
        node = str(row["node"])
        inside = deals[(deals["leaf"] == node) | deals["leaf"].str.startswith(f"{node}/")]
        best = inside.sort_values(["could_add", "deal_id"], ascending=[False, True])
        filled = best["could_add"].cumsum()
        needed = (filled.shift(fill_value=0.0) < gap).to_numpy()
        best = best[needed].head(most)
        told = best.assign(node=node, period=quarter.label, gap=gap, filled=filled)
        found.append(told.assign(rank=np.arange(1, len(told) + 1))[[*COLUMNS]])
    return pd.concat([frame for frame in found if len(frame)] or found, ignore_index=True)


def quantile(amounts: Floats, share: float) -> float:
    """The amount at a share, from the published quantiles: straight between normal scores.

    Example:
        >>> round(quantile(np.array([0.0, 1, 2, 5, 8, 9, 10]), 0.5), 6)
        5.0
    """
    return float(np.interp(norm.ppf(share), norm.ppf(LEVELS), amounts))


def _chances(model: RevenueModel, pipeline: ScoredPipeline, history: History) -> pd.DataFrame:
    """Every open deal with its chance in the quarter and what winning it would add."""
    view = model.view
    inside = view.months_of_quarters[0] > 0
    end = float(view.ends[inside][-1])
    days = np.array([end, max(end, float(pipeline.days[-1]))])
    by = pipeline.won_by(days, np.ones(2), model.late)
    amount = model.amounts.base(pipeline.amounts) * model.amounts.mean_ratio
    facts = history.open.set_index("deal_id")
    names = pipeline.deals["deal_id"]
    due = names.map(facts["expected_close_date"])
    return pd.DataFrame(
        {
            "deal_id": names,
            "leaf": pipeline.deals["node"].astype(str),
            "rep_id": names.map(facts["rep_id"]),
            "stage": names.map(facts["stage"]),
            "amount": amount,
            "p_in_period": by[:, 0],
            "p_later": np.maximum(by[:, 1] - by[:, 0], 0.0),
            "expected": by[:, 0] * amount,
            "could_add": (1.0 - by[:, 0]) * amount,
            "pull_in": due >= pd.Timestamp(view.quarters[0].end),
            "expected_close_date": due,
        }
    )
