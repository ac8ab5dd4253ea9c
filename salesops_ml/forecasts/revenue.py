"""The revenue forecast: closed so far, open deals, deals to come, and what the past of totals adds."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pandas as pd

from salesops_ml.errors import DataError
from salesops_ml.forecasts.combine import Weights
from salesops_ml.forecasts.hierarchy import ROOT
from salesops_ml.forecasts.history import History, read_history
from salesops_ml.forecasts.model import RevenueModel, learn_revenue_model
from salesops_ml.forecasts.pipeline_roll_up import ScoredPipeline
from salesops_ml.forecasts.projection import COLUMNS as FORECAST_COLUMNS
from salesops_ml.forecasts.trees import COLUMN
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Warehouse


def forecast_revenue(
    warehouse: Warehouse,
    pipeline: ScoredPipeline,
    *,
    as_of: datetime,
    settings: Settings,
    weights: Weights | None = None,
) -> pd.DataFrame:
    """Revenue by node for the month of `as_of`, the months after it, and their quarters.

    Args:
        warehouse: the company's history.
        pipeline: the deals open at `as_of`, scored; placed in the tree here where they lack `node`.
        as_of: the day; nothing recorded later is seen.
        settings: `forecast`, `company` and `seed` are used.
        weights: lessons of a backtest (`learn_weights`); without them, bottom-up alone.

    Returns:
        The columns of forecast.parquet (`projection.COLUMNS`), money in company currency.

    Raises:
        DataError: nothing is known at `as_of`, or a scored deal is not open then.
        ModelError: the pipeline was scored on another day.
    """
    return fit_revenue_model(warehouse, pipeline, as_of=as_of, settings=settings, weights=weights)[
        1
    ]


def fit_revenue_model(
    warehouse: Warehouse,
    pipeline: ScoredPipeline,
    *,
    as_of: datetime,
    settings: Settings,
    weights: Weights | None = None,
) -> tuple[RevenueModel, pd.DataFrame]:
    """The model of `as_of`, holding the company's forecast, and the forecast of every node.

    Arguments and errors are those of `forecast_revenue`.
    """
    history = read_history(warehouse, as_of=as_of, settings=settings)
    model = learn_revenue_model(history, settings, weights)
    projection = model.project(placed(pipeline, history))
    frame = projection.frame(model.weights)
    return model.with_table(frame), frame


def forecast_trees(model: RevenueModel, pipeline: ScoredPipeline, history: History) -> pd.DataFrame:
    """The forecast over each further tree: `tree`, and the columns of `forecast_revenue`.

    The company stands in none of them: what the main tree says of it holds. Every month is scaled as in
    the main tree, so the nodes of a tree add up to the company.

    Args:
        model: learned on the day, with its trees.
        pipeline: the open deals, scored.
        history: what was known on the day.
    """
    ready = placed(pipeline, history)
    if not model.trees:
        return pd.DataFrame(columns=["tree", *FORECAST_COLUMNS])
    factors = model.project(ready).factors(model.weights)
    frames = [
        projection.frame(model.weights, factors=factors).assign(tree=name)
        for name, projection in model.project_trees(ready).items()
    ]
    rows = pd.concat(frames, ignore_index=True)
    return rows.loc[rows["node"] != ROOT, ["tree", *FORECAST_COLUMNS]].reset_index(drop=True)


def placed(pipeline: ScoredPipeline, history: History) -> ScoredPipeline:
    """The pipeline with each deal's leaf as known then, and its worth where deals are revalued.

    Raises:
        DataError: a scored deal is closed, or unknown, at that day.
    """
    known = history.open.set_index("deal_id")
    strange = ~pipeline.deals["deal_id"].isin(known.index)
    if strange.any():
        name = pipeline.deals.loc[strange, "deal_id"].iloc[0]
        raise DataError(
            f"scored pipeline: deal `{name}` (of {int(strange.sum())}) is not open at"
            f" {history.as_of}; score the deals that are open on that day"
        )
    deals = pipeline.deals
    if history.revalued:
        deals = deals.assign(amount=deals["deal_id"].map(known["amount"]))
    wanted = ["node", *(name for name in known.columns if name.startswith(COLUMN))]
    absent = {name: deals["deal_id"].map(known[name]) for name in wanted if name not in deals}
    return replace(pipeline, deals=deals.assign(**absent))
