"""The insights of a run: what its model leans on, judged on the test block."""

from __future__ import annotations

from typing import Any

from salesops_ml.app.deal_model import Prepared
from salesops_ml.app.run_folder import RunFolder
from salesops_ml.evaluation.splits import labels_at
from salesops_ml.models import DealScores
from salesops_ml.models.insights import attribute_insights
from salesops_ml.settings import Settings


def write_insights(
    folder: RunFolder, prepared: Prepared, model: DealScores, settings: Settings
) -> dict[str, Any]:
    """Write `insights.json`; what it holds (see `models.insights`)."""
    test = prepared.data[prepared.block == "test"]
    told = attribute_insights(model, test, labels_at(test, None), seed=settings.seed)
    folder.write_json("insights", told)
    return told
