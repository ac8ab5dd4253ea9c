"""One small company for all tests of features."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pytest

from salesops_ml.settings import parse
from salesops_ml.snapshots import build_dataset, learn_spec, open_deals, record_end
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.warehouse import Warehouse
from tests.snapshots.company import World


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    made = generate(WorldParameters(deals=700, seed=11))
    settings = parse({"company": {"holidays": ["2025-12-25", "2025-12-26", "2026-01-01"]}})
    with Warehouse.in_memory(made) as warehouse:
        end = record_end(warehouse)
        spec = learn_spec(warehouse, settings, as_of=end)
        data = build_dataset(warehouse, settings, spec, as_of=end)
        names = warehouse.names()
        frames = {n: warehouse.table(n).to_pyarrow().to_pandas() for n in names}
        yield World(frames, data, warehouse, spec, settings, end)


@pytest.fixture(scope="session")
def sample(world: World) -> pd.DataFrame:
    return world.data.sample(120, random_state=5)


@pytest.fixture(scope="session")
def standing(world: World) -> pd.DataFrame:
    """The open deals at the end of the record."""
    return open_deals(world.warehouse, world.spec, as_of=world.end)
