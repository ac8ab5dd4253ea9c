"""The synthetic company of these tests, built once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from salesops_ml.schema import CanonicalTables
from salesops_ml.synthetic import generate
from salesops_ml.warehouse import Warehouse
from tests.forecasts.companies import WORLD, Scorer, truth_scorer


@pytest.fixture(scope="session")
def world() -> CanonicalTables:
    return generate(WORLD)


@pytest.fixture(scope="session")
def company(world: CanonicalTables) -> Iterator[Warehouse]:
    with Warehouse.in_memory(world) as warehouse:
        yield warehouse


@pytest.fixture(scope="session")
def scorer(world: CanonicalTables, company: Warehouse) -> Scorer:
    return truth_scorer(world, company)
