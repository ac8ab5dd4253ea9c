"""Small worlds, made once: a plain one, and one with every fault and a leak."""

from __future__ import annotations

import pandas as pd
import pytest

from salesops_ml.schema import CanonicalTables
from salesops_ml.synthetic import Bottleneck, WorldParameters, generate

PLANTED = (
    Bottleneck("Contract", "discount", slowdown=0.2),
    Bottleneck("Proposal", "product", "Enterprise", slowdown=0.3),
    Bottleneck("Discovery", "region", "APAC", slowdown=0.5),
)


@pytest.fixture(scope="session")
def parameters() -> WorldParameters:
    """A small world with three bottlenecks and a leak."""
    return WorldParameters(deals=1_500, seed=3, years=1.5, planted=PLANTED, plant_leak=True)


@pytest.fixture(scope="session")
def world(parameters: WorldParameters) -> CanonicalTables:
    """Its tables and truth."""
    return generate(parameters)


@pytest.fixture(scope="session")
def frames(world: CanonicalTables) -> dict[str, pd.DataFrame]:
    """Its tables as frames."""
    return {name: table.to_pandas() for name, table in world.tables.items()}


@pytest.fixture(scope="session")
def default_world() -> CanonicalTables:
    """The default company at a tenth of its default size."""
    return generate(WorldParameters(deals=4_000))
