"""What the whole suite shares: the root on the path, hypothesis without a clock, an empty run book."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

settings.register_profile(
    "suite",
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")

# Building an expression makes thousands of small objects that all live on: looking for garbage among
# them at the usual pace costs a tenth of the time.
gc.set_threshold(100_000, 50, 50)


@pytest.fixture(scope="session")
def empty_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with tables and no rows: making one takes seconds, copying one does not."""
    from salesops_ml import registry
    from salesops_ml.settings import parse

    path = tmp_path_factory.mktemp("book") / "mlflow.db"
    book = {"tracking_uri": f"sqlite:///{path}", "experiment": "another"}
    registry.tracking(parse({"registry": book}))
    return path
