"""A submission from the command line to the report: stored, beside the model, and never in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from salesops_ml.app.overrides import known_words, standing_words, submit_forecast
from salesops_ml.app.report import render
from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.report_overrides import submitted_table, value_table
from salesops_ml.app.run_folder import RunFolder
from salesops_ml.cli import main
from salesops_ml.errors import UsageError
from salesops_ml.forecasts.override_value import value_added
from salesops_ml.forecasts.submissions import read_submissions
from salesops_ml.settings import Settings
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.warehouse import Warehouse, publish
from tests.app.conftest import lay_run

DAY = datetime(2026, 11, 20)
SAID = datetime(2026, 11, 20, 8, 30)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A company of 300 deals in a warehouse, and a finished run with a forecast."""
    asked = Settings.model_validate(
        {
            "warehouse": f"duckdb:///{tmp_path}/store/small.duckdb", "runs": tmp_path / "runs",
            "company": {"name": "Small Co", "base_currency": "EUR"},
        }
    )  # fmt: skip
    publish(
        asked.warehouse, generate(WorldParameters(deals=300, years=1.0, seed=2)), ingested_at=DAY
    )
    run = lay_run(tmp_path / "runs" / "20261120")
    run.write_text("config.yaml", asked.to_yaml())
    (tmp_path / "runs" / "latest").symlink_to("20261120")
    return asked


@pytest.fixture
def warehouse(settings: Settings) -> Iterator[Warehouse]:
    with Warehouse.open(settings.warehouse) as opened:
        yield opened


def say(warehouse: Warehouse, settings: Settings, **changed: Any) -> dict[str, Any]:
    words: dict[str, Any] = {
        "node": "company", "period": "2026-Q4", "amount": 3e6, "category": "commit",
        "reason": "two <large> deals", "author": "ann",
    }  # fmt: skip
    at = changed.pop("submitted_at", SAID)
    return submit_forecast(warehouse, settings, as_of=DAY, submitted_at=at, **(words | changed))


def files(settings: Settings) -> RunFiles:
    return RunFiles(RunFolder(settings.runs / "20261120", "20261120"))


def test_a_word_is_told_beside_the_model_and_changes_nothing_of_it(warehouse, settings):
    before = files(settings).forecast
    told = say(warehouse, settings)
    assert told["model"] == {"mean": 2.85e6, "p10": 0.85 * 2.85e6, "p90": 1.15 * 2.85e6}
    assert say(warehouse, settings, period="2028-Q1")["model"] is None
    pd.testing.assert_frame_equal(before, files(settings).forecast)
    page = render(files(settings).folder)
    assert "What people say, beside the model" in page
    assert "two &lt;large&gt; deals" in page
    assert "€150k more (5%)" in page


def test_the_last_word_of_each_person_stands(warehouse, settings):
    say(warehouse, settings, amount=1.0)
    say(warehouse, settings, amount=2e6, submitted_at=datetime(2026, 11, 21))
    say(warehouse, settings, author="bob", category="best_case", amount=4e6)
    rows = standing_words(files(settings))
    assert rows[["author", "amount"]].to_numpy().tolist() == [["ann", 2e6], ["bob", 4e6]]
    table = submitted_table(files(settings))
    assert table is not None
    assert [row[4] for row in table.rows] == ["€2.00M", "€4.00M, best case"]
    assert read_submissions(settings.warehouse).num_rows == 3


def test_without_words_the_report_is_silent(settings):
    assert standing_words(files(settings)).empty
    assert "What people say" not in render(files(settings).folder)


def test_a_bad_word_is_not_stored(warehouse, settings):
    with pytest.raises(UsageError, match="`reason` is empty"):
        say(warehouse, settings, reason="")
    assert read_submissions(settings.warehouse).num_rows == 0


def test_the_run_keeps_what_was_known_by_its_day(settings):
    with Warehouse.open(settings.warehouse) as warehouse:
        kept = known_words(warehouse, as_of=datetime(2026, 3, 1))
    assert len(kept) > 0
    assert kept["submitted_at"].max() <= pd.Timestamp("2026-03-01")
    assert kept["amount"].dtype == "float64"


def test_the_command_stores_and_tells(settings, tmp_path, capsys):
    config = tmp_path / "small.yaml"
    config.write_text(settings.to_yaml())
    words = [
        "submit", "--config", str(config), "--node", "company", "--period", "2026-Q4", "--amount",
        "3000000", "--reason", "a large deal", "--author", "vp", "--as-of", "2026-11-20",
    ]  # fmt: skip
    with pytest.raises(SystemExit) as done:
        main([*words, "--json", "-"])
    assert done.value.code == 0
    assert json.loads(capsys.readouterr().out)["amount"] == 3e6
    with pytest.raises(SystemExit) as done:
        main([*words, "--period", "2020-Q1"])
    assert done.value.code == 2
    assert "`period` is `2020-Q1`" in capsys.readouterr().err
    assert read_submissions(settings.warehouse)["author"].to_pylist() == ["vp"]
    shutil.rmtree(tmp_path / "runs")
    with pytest.raises(SystemExit):
        main(words)
    assert "the latest run says" not in capsys.readouterr().out


def test_what_words_were_worth():
    rows = pd.DataFrame(
        {"author": ["ann", "ann", "vp"], "period": ["2026-Q1", "2026-Q2", "2026-Q1"],
         "actual": [100.0, 100.0, 100.0], "person_miss": [10.0, 30.0, 5.0],
         "model_miss": [20.0, 10.0, 20.0]}
    )  # fmt: skip
    rows = rows.assign(value=rows["model_miss"] - rows["person_miss"])
    table = value_table(value_added(rows, by=["author"]), "author", "Who", "EUR")
    assert table is not None
    assert [row[:3] for row in table.rows] == [["ann", "2", "1"], ["vp", "1", "1"]]
    assert table.rows[0][3:6] == ["20%", "15%", "−€10"]
    assert table.rows[1][5:] == ["€15", "75%"]
    assert value_table(value_added(rows[:0], by=["author"]), "author", "Who", "EUR") is None
