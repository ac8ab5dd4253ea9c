"""Fixtures of the tests of reading sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crm.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An empty folder to write files in."""
    return Desk(tmp_path)
