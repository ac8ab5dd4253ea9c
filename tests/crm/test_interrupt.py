"""Ctrl-C at any moment of a load leaves the last good warehouse and nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from salesops_ml.crm import ingest
from salesops_ml.schema import CanonicalTables, no_rejects
from salesops_ml.warehouse import publish, truth_folder
from tests.crm.desk import LOADED_AT
from tests.needs import ROOT

LOAD = """
import sys
from datetime import datetime
from salesops_ml.crm import ingest
from salesops_ml.settings import load
print("ready", flush=True)
print(ingest(load(sys.argv[1]), ingested_at=datetime(2026, 6, 1)).changed, flush=True)
"""


def many_deals(count: int) -> str:
    rows = (f"d{n},ann,New,2026-01-05,,{n}.00\n" for n in range(count))
    return "id,owner,state,opened,closed,value\n" + "".join(rows)


def start(config: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", LOAD, str(config)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_an_interrupted_load_leaves_the_last_good_warehouse(desk: Any, share: float) -> None:
    settings = desk.settings({"deals": desk.deals(many_deals(60_000))})
    config = desk.write("config.yaml", settings.to_yaml())
    began = time.monotonic()
    whole = start(config)
    assert whole.communicate(timeout=120)[0] == "True\n"
    took = time.monotonic() - began
    (desk.folder / "store" / "w.duckdb").unlink()
    small = {"deals": desk.deals()}
    ingest(desk.settings(small), ingested_at=LOADED_AT)
    before = (desk.folder / "store" / "w.duckdb").read_bytes()
    desk.deals(many_deals(60_000))
    child = start(config)
    time.sleep(share * took * 0.8)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=120)
    if child.returncode == 0:
        assert out == "True\n"
        return
    assert "KeyboardInterrupt" in err
    assert (desk.folder / "store" / "w.duckdb").read_bytes() == before
    assert desk.left_overs() == []
    assert sorted(path.name for path in (desk.folder / "store").iterdir()) == ["w.duckdb"]


@pytest.mark.parametrize("moment", ["truth in place", "file in place"])
def test_interrupted_between_file_and_truth_both_stay_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The two renames are the only moment at which one could be new and the other old."""
    url = f"duckdb:///{tmp_path}/w.duckdb"

    def world(status: str) -> CanonicalTables:
        deals = pa.table({"deal_id": ["a"], "status": [status]})
        return CanonicalTables(
            {"deals": deals}, no_rejects(), truth={"p": pa.table({"p": [status]})}
        )

    publish(url, world("open"), ingested_at=LOADED_AT)
    before = (tmp_path / "w.duckdb").read_bytes()
    truth = (truth_folder(url) / "p.parquet").read_bytes()
    place = os.replace

    goal = truth_folder(url) if moment == "truth in place" else tmp_path / "w.duckdb"

    def interrupted(source: Any, target: Any) -> None:
        if Path(target) == goal:
            monkeypatch.setattr(os, "replace", place)
            raise KeyboardInterrupt
        place(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish(url, world("won"), ingested_at=LOADED_AT)
    assert (tmp_path / "w.duckdb").read_bytes() == before
    assert (truth_folder(url) / "p.parquet").read_bytes() == truth
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.duckdb", "w.truth"]
