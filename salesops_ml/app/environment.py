"""What a run stood on: versions, machine, seed and git revision."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from typing import Any

from salesops_ml.settings import Settings

LIBRARIES = (
    "salesops-ml", "duckdb", "ibis-framework", "lightgbm", "mlflow", "numpy", "pandas", "pm4py",
    "pyarrow", "scikit-learn", "statsmodels",
)  # fmt: skip


def describe_environment(settings: Settings, *, row_counts: dict[str, int]) -> dict[str, Any]:
    """Versions, machine, seed, git revision and row counts, for `environment.json`."""
    return {
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "machine": {"cores": os.cpu_count(), "system": platform.platform()},
        "seed": settings.seed,
        "threads": settings.threads,
        "git_revision": git_revision(),
        "row_counts": row_counts,
    }


def git_revision() -> str | None:
    """The revision of the workspace, with `+changes` where files differ; None outside git."""
    git = shutil.which("git")
    if git is None:
        return None
    found = _git(git, "rev-parse", "HEAD")
    changed = _git(git, "status", "--porcelain", "--untracked-files=no")
    return f"{found}+changes" if found and changed else found or None


def _git(git: str, *words: str) -> str:
    done = subprocess.run([git, *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
