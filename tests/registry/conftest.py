"""A registry in a folder whose path has spaces, and versions of a tiny model in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from salesops_ml import registry
from salesops_ml.settings import Settings, parse
from tests.registry.tiny_model import EXAMPLE, TinyModel


@pytest.fixture
def settings(tmp_path: Path, empty_book: Path) -> Settings:
    place = tmp_path / "a folder with spaces"
    (place / "book").mkdir(parents=True)
    shutil.copyfile(empty_book, place / "book" / "mlflow.db")
    return parse(
        {
            "registry": {
                "tracking_uri": f"sqlite:///{place}/book/mlflow.db",
                "artifacts": str(place / "artifacts"),
            },
            "write_back": {"url": "postgresql://ada:s3cret@db/crm"},
        }
    )


@pytest.fixture
def add_version(settings: Settings, tmp_path: Path) -> Callable[[float], int]:
    """Train, log and register one more version; returns its number."""

    def add(shift: float) -> int:
        folder = tmp_path / f"model {shift}"
        folder.mkdir()
        (folder / "model.json").write_text(json.dumps({"shift": shift}))
        predicted = TinyModel(shift).predict(EXAMPLE)
        with registry.run(settings, name="train") as run:
            logged = registry.log_deal_model(run, folder, example=EXAMPLE, predicted=predicted)
        return registry.register(settings, logged)

    return add
