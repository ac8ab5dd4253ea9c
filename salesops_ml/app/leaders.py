"""What leaders ask of the forecast, as tables of a run: the call, the gap's deals, and the pace."""

from __future__ import annotations

import pandas as pd

from salesops_ml.forecasts.calls import calls
from salesops_ml.forecasts.evidence import Evidence
from salesops_ml.forecasts.gap_deals import gap_deals
from salesops_ml.forecasts.history import read_history
from salesops_ml.forecasts.model import RevenueModel
from salesops_ml.forecasts.pacing import pacing
from salesops_ml.forecasts.pipeline_roll_up import ScoredPipeline
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Warehouse


def leader_answers(
    warehouse: Warehouse,
    model: RevenueModel,
    pipeline: ScoredPipeline,
    forecast: pd.DataFrame,
    quotas: pd.DataFrame,
    settings: Settings,
) -> dict[str, pd.DataFrame]:
    """`calls`, `gap_deals` and `pacing` of the forecast's day, by the name of their file.

    Args:
        warehouse: the company's history.
        model: learned on the day, with its weights.
        pipeline: the open deals, scored.
        forecast: rows of `forecast_revenue`.
        quotas: as `quota_outlook` gives them.
    """
    history = read_history(warehouse, as_of=model.as_of, settings=settings)
    periods = [model.view.months[0], *model.view.quarters[:2]]
    return {
        "calls": calls(forecast, history, Evidence.read(warehouse), periods),
        "gap_deals": gap_deals(
            model, pipeline, history, forecast, quotas[["node", "period", "quota"]]
        ),
        "pacing": pacing(warehouse, history, settings),
    }
