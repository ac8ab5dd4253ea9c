"""`salesops profile` and a run tell of leaks, with dates and without; a leak stops the run."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.phases import run_phases
from salesops_ml.app import commands
from salesops_ml.app.run_folder import RunFolder
from salesops_ml.crm.ingest import ingest
from salesops_ml.errors import GateError
from salesops_ml.settings import Settings, parse

ATTRIBUTES: dict[str, Any] = {
    "size": {"kind": "float", "known": "at_creation"},
    "paid": {"kind": "float", "known": "at_creation"},
}


def undated(folder: Path, *, leaky: bool) -> Settings:
    """Deals without a date; with a leak, what was paid is declared as known at creation."""
    random = np.random.default_rng(4)
    size = random.normal(size=900)
    won = random.random(900) < 1 / (1 + np.exp(-size))
    paid = np.where(won, random.uniform(100, 900, 900).round(2), 0.0)
    table = pd.DataFrame(
        {
            "deal_id": [f"d{n:03}" for n in range(900)], "size": size, "paid": paid,
            "status": np.where(won, "won", "lost"),
            "part": np.where(np.arange(900) % 4 == 0, "test", "train"),
        }
    )  # fmt: skip
    table.to_csv(folder / "deals.csv", index=False)
    known = {
        **ATTRIBUTES,
        "paid": {"kind": "float", "known": "at_creation" if leaky else "at_close"},
    }
    columns = {"deal_id": "deal_id", "status": "status"}
    deals = {"path": str(folder / "deals.csv"), "columns": columns, "attributes": known}
    return parse(
        {
            "source": {"type": "files", "tables": {"deals": deals}},
            "warehouse": f"duckdb:///{folder / 'w.duckdb'}", "runs": str(folder / "runs"),
            "split": {"column": "part"}, "models": {"trees": 20},
        }
    )  # fmt: skip


@pytest.mark.parametrize("leaky", [False, True])
def test_profile_audits_a_table_without_dates(leaky: bool, tmp_path: Path) -> None:
    settings = undated(tmp_path, leaky=leaky)
    ingest(settings, ingested_at=datetime(2026, 1, 1))
    told = commands.profile(settings)
    assert told.values["leakage_audit"]["verdict"] == ("fail" if leaky else "ok")
    lines = told.text.splitlines()
    assert any(line.startswith("fail  knows too much: f_x_paid") for line in lines) == leaky
    assert "ok    time travel: all features: no deal is dated: nothing to try" in lines


def test_a_leak_stops_the_run_before_anything_is_promoted(tmp_path: Path) -> None:
    settings = undated(tmp_path, leaky=True)
    phases = ["business_understanding", "data_understanding", "data_preparation", "modeling"]
    with pytest.raises(GateError, match="leakage audit failed") as stopped:
        run_phases(settings, phases=[*phases, "evaluation"])
    assert stopped.value.exit_code == 3
    kept = next(place for place in settings.runs.iterdir() if not place.name.startswith("."))
    audit = RunFolder(kept, kept.name).read_json("leakage_audit")
    failed = {found["column"] for found in audit["findings"] if found["verdict"] == "fail"}
    assert failed == {"f_x_paid"}
    assert audit["checks"]["single features that rank too well"] == 1
