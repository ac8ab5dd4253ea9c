"""Laying a workspace: the configs, pipelines and notebooks that a company starts from."""

from __future__ import annotations

import shutil
from pathlib import Path

from salesops_ml.errors import DataError, UsageError

PARTS = ("configs", "pipelines", "notebooks")


def lay_workspace(folder: Path) -> list[Path]:
    """Copy the starting files into `folder`; the paths that were made.

    Raises:
        UsageError: one of the parts is there already; nothing is overwritten.
        DataError: the folder cannot be written.
    """
    there = [folder / part for part in PARTS if (folder / part).exists()]
    if there:
        raise UsageError(f"{there[0]}: is there already; choose an empty folder")
    source = starting_files()
    made = []
    try:
        for part in PARTS:
            skip = shutil.ignore_patterns("__pycache__", "local.yaml", ".ipynb_checkpoints")
            shutil.copytree(source / part, folder / part, ignore=skip)
            made.append(folder / part)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error}") from error
    return made


def starting_files() -> Path:
    """Where the starting files lie: inside an installed package, or at the root of a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_workspace"
    return inside if inside.exists() else package.parent
