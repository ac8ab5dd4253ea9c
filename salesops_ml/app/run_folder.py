"""The run folder: what a run leaves behind, and a public interface.

A run writes into a hidden folder beside its final place and appears there all at once when it is
done; `latest` points to the last run that finished.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from salesops_ml.errors import DataError, UsageError

LATEST = "latest"


@dataclass(frozen=True)
class RunFolder:
    """One run's files, by name."""

    path: Path
    run_id: str

    def has(self, name: str) -> bool:
        """Whether the run has made this file."""
        return (self.path / name).exists()

    def write_frame(self, name: str, frame: pd.DataFrame) -> None:
        """A frame as `<name>.parquet`."""
        frame.to_parquet(self.path / f"{name}.parquet", index=False)

    def read_frame(self, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The frame `<name>.parquet`; `DataError` names the phase that makes it.

        Args:
            columns: those to read, where they are there; all by default.
        """
        self._must_have(f"{name}.parquet")
        path = self.path / f"{name}.parquet"
        if columns is None:
            return pd.read_parquet(path)
        there = set(pq.read_schema(path).names)
        return pd.read_parquet(path, columns=[one for one in columns if one in there])

    def write_json(self, name: str, value: Any) -> None:
        """Plain values as `<name>.json`; numbers that are not numbers become null."""
        text = json.dumps(_plain(value), indent=1, ensure_ascii=False, default=str)
        (self.path / f"{name}.json").write_text(text + "\n", encoding="utf-8")

    def read_json(self, name: str) -> Any:
        """The values of `<name>.json`."""
        self._must_have(f"{name}.json")
        return json.loads((self.path / f"{name}.json").read_text(encoding="utf-8"))

    def write_text(self, name: str, text: str) -> None:
        """A text file, under its full name."""
        (self.path / name).write_text(text, encoding="utf-8")

    def folder(self, name: str) -> Path:
        """A folder inside the run, made where it is missing."""
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _must_have(self, name: str) -> None:
        if not self.has(name):
            phase = MADE_BY.get(name, "an earlier phase")
            raise DataError(f"{self.path / name}: not there; run phase `{phase}` first")


MADE_BY = {
    "config.yaml": "business_understanding",
    "dataset.parquet": "data_preparation",
    "feature_spec.json": "data_preparation",
    "predictions.parquet": "modeling",
    "forecast.parquet": "modeling",
    "evaluation.json": "evaluation",
    "scores.parquet": "deployment",
}


@contextmanager
def new_run(runs: Path, run_id: str, *, based_on: Path | None = None) -> Iterator[RunFolder]:
    """A run in the making; it appears as `runs/run_id`, and as `latest`, when the block ends well.

    A `KeepRun` raised in the block keeps the folder, and makes it the latest only where the run has all
    its files; any other error removes it.

    Args:
        based_on: an earlier run whose files are the starting point.

    Raises:
        UsageError: there is a run of that name already.
        DataError: the folder cannot be written.
    """
    final = runs / run_id
    if final.exists():
        raise UsageError(f"{final}: there is a run of that name; choose another")
    scratch = runs / f".{run_id}.partial"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        if based_on is None:
            scratch.mkdir()
        else:
            shutil.copytree(based_on, scratch)
    except OSError as error:
        raise DataError(f"{scratch}: cannot be written: {error}; check `runs`") from error
    try:
        yield RunFolder(scratch, run_id)
    except KeepRun as kept:
        os.replace(scratch, final)
        if kept.complete:
            _point(runs / LATEST, run_id)
        raise
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    os.replace(scratch, final)
    _point(runs / LATEST, run_id)


class KeepRun(Exception):
    """Stop the run and keep its folder: it says why. Carries the error to be told.

    Attributes:
        reason: the error.
        complete: whether the run has made all its files, so that it may be the latest.
    """

    def __init__(self, reason: Exception, *, complete: bool = False) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.complete = complete


def latest_run(runs: Path) -> RunFolder:
    """The last run that finished.

    Raises:
        DataError: there is none.
    """
    link = runs / LATEST
    if not link.exists():
        raise DataError(f"{link}: no finished run yet; start one with `salesops run`")
    path = link.resolve()
    return RunFolder(path, path.name)


def _point(link: Path, target: str) -> None:
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    os.replace(fresh, link)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, float) and value != value:
        return None
    return value
