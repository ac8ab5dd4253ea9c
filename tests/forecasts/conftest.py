"""The synthetic company of these tests, built once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

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


@pytest.fixture(scope="session")
def small() -> Iterator[Warehouse]:
    """A company small enough for loops by hand."""
    with Warehouse.in_memory(generate(replace(WORLD, deals=300))) as warehouse:
        yield warehouse
