"""What others build on: public names, the layout, and words that must not creep in."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import salesops_ml
from tests.needs import ROOT

PUBLIC = {
    "DealScores", "RunFolder", "Settings", "Warehouse", "__version__", "forecast_series",
    "latest_run", "load_settings", "read_log",
}  # fmt: skip


def test_the_front_door_is_pinned() -> None:
    assert set(salesops_ml.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(salesops_ml, name) is not None
    with pytest.raises(AttributeError, match="no attribute `nothing`"):
        _ = salesops_ml.nothing


@pytest.mark.parametrize("module", ["salesops_ml", "salesops_ml.cli"])
def test_importing_is_light(module: str) -> None:
    heavy = "{'pandas', 'ibis', 'mlflow', 'pm4py', 'lightgbm', 'sklearn', 'matplotlib'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_stay_short_and_named_for_what_they_know() -> None:
    long = {}
    for folder in ("salesops_ml", "pipelines"):
        for path in (ROOT / folder).rglob("*.py"):
            assert path.name not in {"utils.py", "helpers.py", "common.py"}
            lines = len(path.read_text().splitlines())
            if lines > 420:
                long[str(path)] = lines
    assert long == {}


def test_the_lock_names_versions_and_hashes_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?://|--index|--find-links", lock)
    names = re.findall(r"^([a-z0-9][a-z0-9._-]*)==", lock, flags=re.MULTILINE)
    assert {"lightgbm", "mlflow", "pm4py", "ibis-framework", "optuna"} <= set(names)
    blocks = re.split(r"\n(?=[a-z0-9])", lock)
    assert all("--hash=sha256:" in block for block in blocks if "==" in block)
