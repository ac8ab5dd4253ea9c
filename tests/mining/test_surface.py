"""The package's front door: every name is the function, whatever was imported before."""

from __future__ import annotations

import subprocess
import sys

import pytest

from salesops_ml import mining

CHECK = """
import importlib
import {first}
from salesops_ml import mining
for name in mining.__all__:
    for _ in (1, 2):
        assert getattr(mining, name).__name__ == name, name
"""


@pytest.mark.parametrize("first", ["salesops_ml.mining.transitions", "salesops_ml.mining.run"])
def test_every_name_is_the_function_however_often_it_is_asked_for(first: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHECK.format(first=first)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_modules_are_there_as_modules_too() -> None:
    from salesops_ml.mining.variants import COLUMNS

    assert "share" in COLUMNS
    assert set(mining.__all__) <= set(dir(mining))
