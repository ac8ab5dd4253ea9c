"""A small company, its looks, and a model of it, made once."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import pytest

from salesops_ml.evaluation.splits import Borders, split_by_time
from salesops_ml.models import DealScores, fit_deal_scores
from salesops_ml.settings import Settings, parse
from salesops_ml.snapshots import FeatureSpec, build_dataset, learn_spec, record_end
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.warehouse import Warehouse


@dataclass(frozen=True)
class Company:
    """Everything that the tests of the deal model need."""

    data: pd.DataFrame
    block: pd.Series
    borders: Borders
    spec: FeatureSpec
    settings: Settings
    model: DealScores

    @property
    def test(self) -> pd.DataFrame:
        return self.data[self.block == "test"]


@pytest.fixture(scope="session")
def company() -> Company:
    models = {"trees": 40, "max_period_rows": 20_000, "max_classifier_rows": 8_000}
    settings = parse({"threads": 1, "models": models})
    with Warehouse.in_memory(generate(WorldParameters(deals=2_000, seed=3))) as warehouse:
        as_of = record_end(warehouse)
        spec = learn_spec(warehouse, settings, as_of=as_of)
        data = build_dataset(warehouse, settings, spec, as_of=as_of)
    block, borders = split_by_time(data, settings.split)
    model = fit_deal_scores(data, block, borders, spec=spec, settings=settings)
    return Company(data, block, borders, spec, settings, model)
