"""Putting a run to use: the book, the champion, tonight's scores, and their way into the CRM."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from salesops_ml.app.open_looks import OpenLooks
from salesops_ml.app.run_folder import RunFolder
from salesops_ml.kpis import model_kpis, recent_periods
from salesops_ml.models import DealScores
from salesops_ml.registry import (
    LoggedModel,
    Run,
    load_champion,
    log_deal_model,
    log_revenue_model,
    promote,
    register,
)
from salesops_ml.scoring import score_open_deals
from salesops_ml.settings import Settings
from salesops_ml.snapshots.features import CONTEXT
from salesops_ml.snapshots.visible import KEY
from salesops_ml.warehouse import Warehouse


def register_models(
    entry: Run,
    folder: RunFolder,
    settings: Settings,
    *,
    model: DealScores,
    example: pd.DataFrame,
    data_source: str,
) -> dict[str, int]:
    """Register the run's deal model and, where there is one, its revenue model.

    Args:
        entry: the run in the book.
        example: a few looks, for the signature.
        data_source: where the data set came from.

    Returns:
        Versions by registered name.
    """
    entry.log_dataset("dataset", **_dataset_facts(folder, data_source))
    deal = log_deal_model(
        entry, model_folder(folder), example=example, predicted=model.predict(example)
    )
    versions = {settings.registry.deal_model: register(settings, deal)}
    if folder.has("models/revenue_forecast"):
        versions[settings.registry.revenue_model] = register(settings, _log_revenue(entry, folder))
    return versions


def _log_revenue(entry: Run, folder: RunFolder) -> LoggedModel:
    from salesops_ml.forecasts.model import RevenueModel

    path = folder.folder("models/revenue_forecast")
    asked = pd.DataFrame({"months_ahead": [0.0, 1.0]})
    told = RevenueModel.load(path).predict(asked)
    return log_revenue_model(entry, path, example=asked, predicted=told)


def _dataset_facts(folder: RunFolder, source: str) -> dict[str, Any]:
    path = folder.path / "dataset.parquet"
    shape = pq.read_metadata(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "digest": digest, "source": source, "rows": shape.num_rows, "columns": shape.num_columns,
    }  # fmt: skip


def promote_versions(
    settings: Settings, versions: dict[str, int], *, failed_gates: list[str]
) -> None:
    """Make each version the champion of its name; `GateError` where a gate said no."""
    for name, version in versions.items():
        promote(settings, name, version, failed_gates=failed_gates)


def score_with_champion(
    warehouse: Warehouse, settings: Settings, *, as_of: datetime, looks: OpenLooks | None = None
) -> tuple[pd.DataFrame, DealScores]:
    """Tonight's scores of every open deal by the champion, and the champion.

    Args:
        looks: where the looks at open deals are remembered.
    """
    champion = load_champion(settings, settings.registry.deal_model)
    model: DealScores = champion.model
    (deals,) = (looks or OpenLooks()).on(warehouse, model.spec, [as_of])
    scores = score_open_deals(
        deals, model, as_of=as_of, model_version=champion.label, bands=settings.write_back.bands
    )
    context = deals[["deal_id", "stage", "rep_id", "amount", "expected_close_date"]]
    return scores.merge(context, on="deal_id", how="left", validate="1:1"), model


def example_looks(looks: pd.DataFrame) -> pd.DataFrame:
    """A few looks as the model takes them: what was known, not what became of the deals."""
    known = [name for name in looks.columns if name in (*KEY, *CONTEXT) or name.startswith("f_")]
    return looks[known].head(5)


def kpis_by_model(
    warehouse: Warehouse, scores: pd.DataFrame, settings: Settings, *, as_of: datetime
) -> pd.DataFrame:
    """The KPIs that need a model's probabilities, for the periods that `as_of` lies in."""
    now = [period for period in recent_periods(as_of, settings) if period.end > as_of.date()]
    chances = scores[["deal_id", "p_win"]]
    return model_kpis(warehouse, chances, as_of=as_of, settings=settings, periods=now)


def model_folder(folder: RunFolder) -> Path:
    """Where a run keeps its deal model."""
    return folder.folder("models/deal_scores")
