"""What some tests need of the machine: skipped with a reason where absent, a failure in CI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


def shared_data(*parts: str) -> Path:
    """A file of the real data sets beside the project; skips the test where there is none."""
    path = SHARED_DATA.joinpath(*parts)
    if not path.exists():
        missing(f"{path} is not here; the real data sets lie beside the project only in CI")
    return path


def program(name: str) -> str:
    """The path of a program; skips the test where it is not installed."""
    found = shutil.which(name)
    if found is None:
        missing(f"`{name}` is not installed")
    return str(found)


def missing(reason: str) -> None:
    """Skip for `reason`, or fail where CI promises that nothing is missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must provide it: {reason}")
    pytest.skip(reason)
