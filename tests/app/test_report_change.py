"""Why the forecast changed, in the report: told of the quarter that runs, and only where a run knows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from salesops_ml.app.report import render
from salesops_ml.app.report_change import build_change
from salesops_ml.app.report_files import RunFiles
from salesops_ml.forecasts.forecast_change import CAUSES
from tests.app.conftest import lay_bare, lay_run


def changes() -> pd.DataFrame:
    """A month and the quarter that runs; the company and its two regions."""
    rows = []
    for period in ("2026-11", "2026-Q4"):
        for node, size in {"company": 3.0, "company/EMEA": 2.0, "company/North A": 1.0}.items():
            row = dict.fromkeys(CAUSES, 0.0) | {
                "start": 9e5 * size, "won": 2e5 * size, "lost": -1e5 * size, "amount": 0.2,
                "re-scored": -3e4 * size, "new business": -2e4 * size, "end": 9.5e5 * size + 0.2,
            }  # fmt: skip
            rows.append(
                {"node": node, "period": period, "since": pd.Timestamp("2026-11-13"), **row}
            )
    return pd.DataFrame(rows)


def test_the_quarter_that_runs_is_told_from_then_to_now(tmp_path: Path) -> None:
    run = lay_run(tmp_path / "run")
    run.write_frame("forecast_change", changes())
    section = build_change(RunFiles(run))
    assert section is not None
    assert "forecast of 2026-Q4 is €150k more than on" in section.picture.caption
    assert "12 November 2026" in section.picture.caption
    for words in ("A week before", "Re-scored", "New business", "Now"):
        assert words in section.picture.narrow
        assert words.rsplit(" ", 1)[-1] in section.picture.wide
    assert "Amount" not in section.picture.wide, "what moved next to nothing has no bar"
    assert section.nodes is not None
    assert section.nodes.heads == (
        ["", "A week before", "Won", "Lost", "Re-scored", "New business", "Others", "Now"]
    )
    assert section.nodes.rows[0] == [
        "EMEA", "€1.80M", "€400k", "−€200k", "−€60k", "−€40k", "€0", "€1.90M",
    ]  # fmt: skip
    assert "Why it changed since a week before" in render(run)


def test_a_run_without_a_week_before_says_nothing(tmp_path: Path) -> None:
    run = lay_bare(tmp_path / "run")
    assert build_change(RunFiles(run)) is None
    run.write_frame("forecast_change", pd.DataFrame())
    assert build_change(RunFiles(run)) is None
    assert "Why it changed" not in render(run)
