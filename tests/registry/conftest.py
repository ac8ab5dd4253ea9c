"""A registry in a folder whose path has spaces, and versions of a tiny model in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from salesops_ml.settings import Settings, parse
from tests.registry.tiny_model import registered


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
            "write_back": {"url": "postgresql://ada@db/crm", "password": "env:OUR_CRM"},
        }
    )


@pytest.fixture
def add_version(settings: Settings, tmp_path: Path) -> Callable[[float], int]:
    """Train, log and register one more version; returns its number."""

    return lambda shift: registered(settings, tmp_path / f"model {shift}", shift)
