"""Ctrl-C between any two steps of a load leaves a file and a truth that belong together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from salesops_ml.schema import CanonicalTables, no_rejects
from salesops_ml.warehouse import Warehouse, publish, truth_folder
from tests.crm.desk import LOADED_AT


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("had_truth", "step"), [(True, 0), (True, 1), (True, 2), (False, 0), (False, 1)]
)
def test_file_and_truth_are_both_the_old_ones_or_both_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, had_truth: bool, step: int, moment: str
) -> None:
    """Ctrl-C before or after each of the renames: old truth aside, new truth, and last the file."""
    url = f"duckdb:///{tmp_path}/w.duckdb"
    publish(url, world("open", truth=had_truth), ingested_at=LOADED_AT)
    before = found(url)
    steps, place = iter(range(9)), os.replace

    def interrupted(source: Any, target: Any) -> None:
        now = next(steps) == step
        if not now or moment == "after":
            place(source, target)
        if now:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish(url, world("won", truth=True), ingested_at=LOADED_AT)
    last = 2 if had_truth else 1
    in_place = step == last and moment == "after"
    assert found(url) == (("won", ["won"]) if in_place else before)
    assert {path.name for path in tmp_path.iterdir()} <= {"w.duckdb", "w.truth"}


def world(status: str, *, truth: bool) -> CanonicalTables:
    deals = pa.table({"deal_id": ["a"], "status": [status]})
    known = {"p": pa.table({"p": [status]})} if truth else {}
    return CanonicalTables({"deals": deals}, no_rejects(), truth=known)


def found(url: str) -> tuple[str, list[str] | None]:
    """The status in the file, and the truth beside it."""
    with Warehouse.open(url) as warehouse:
        status = warehouse.table("deals").to_pyarrow()["status"][0].as_py()
    truth = truth_folder(url) / "p.parquet"
    return status, pq.read_table(truth)["p"].to_pylist() if truth.exists() else None
