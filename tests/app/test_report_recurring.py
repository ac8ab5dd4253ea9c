"""Recurring revenue in the report: past months, the running one and those ahead, where a run knows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from salesops_ml.app.report import render
from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.report_forecast import build_forecast
from tests.app.conftest import lay_run


def ledger() -> pd.DataFrame:
    """Five past months, the running one, two ahead; the company and a region, newest first."""
    rows, arr = [], 1e6
    for number in range(8):
        status = "actual" if number < 5 else "running" if number == 5 else "forecast"
        start = pd.Timestamp(2026, 6 + number, 1) if number < 7 else pd.Timestamp(2027, 1, 1)
        move = {"new": 5e4, "expansion": 1e4, "contraction": 5e3, "churn": 2e4}
        end = arr + 3.5e4
        row = {
            "period": f"{start:%Y-%m}", "period_start": start, "status": status, "arr_start": arr,
            **move, "arr_end": end, "renewals_due": 1e5,
        }  # fmt: skip
        rows += [{"node": node, **row} for node in ("company", "company/EMEA")]
        arr = end
    return pd.DataFrame(rows[::-1])


def test_three_past_months_and_all_ahead_are_told_of_the_company(tmp_path: Path) -> None:
    run = lay_run(tmp_path / "run")
    run.write_frame("renewals", ledger())
    table = build_forecast(RunFiles(run)).recurring
    assert table is not None
    assert [row[1] for row in table.rows] == ["actual"] * 3 + ["running"] + ["forecast"] * 2
    assert table.rows[0][0] == "2026-08"
    assert table.rows[0][2:] == [
        "€1.07M", "€50k", "€10k", "€5,000", "€20k", "€1.10M", "€100k",
    ]  # fmt: skip
    assert "Recurring revenue" in render(run)


def test_a_run_without_contracts_says_nothing_of_them(tmp_path: Path) -> None:
    run = lay_run(tmp_path / "run")
    assert build_forecast(RunFiles(run)).recurring is None
    assert "Recurring revenue" not in render(run)
