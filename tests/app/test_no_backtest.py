"""`forecast.backtest_origins: 0`: no past day is replayed, and who reads the record says so."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from salesops_ml.app import commands
from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.report_forecast import build_forecast
from salesops_ml.app.revenue import judge_forecast
from salesops_ml.app.run_folder import RunFolder, latest_run, new_run
from salesops_ml.figures.forecast_record import draw_forecast_record
from salesops_ml.forecasts.backtest import backtest_revenue, default_origins
from salesops_ml.forecasts.combine import learn_weights
from salesops_ml.schema import CanonicalTables, no_rejects
from salesops_ml.settings import Settings, parse
from salesops_ml.warehouse import Warehouse

DAY = datetime(2026, 7, 1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return parse({"forecast": {"backtest_origins": 0}, "runs": str(tmp_path / "runs")})


@pytest.fixture
def run(settings: Settings) -> RunFolder:
    """A finished run whose record of past forecasts is empty."""
    origins = default_origins(as_of=DAY, settings=settings)
    with Warehouse.in_memory(CanonicalTables({}, no_rejects())) as warehouse:
        record = backtest_revenue(
            warehouse,
            lambda day: pytest.fail(f"{day} was scored"),
            origins=origins,
            settings=settings,
            as_of=DAY,
        )
    with new_run(settings.runs, "20260701") as folder:
        folder.write_text("config.yaml", settings.to_yaml())
        folder.write_frame("forecast_backtest", record)
    return latest_run(settings.runs)


def test_the_record_is_empty_and_teaches_nothing(run: RunFolder) -> None:
    record = run.read_frame("forecast_backtest")
    assert record.empty
    assert judge_forecast(record) == {}
    assert learn_weights(record, shock=0.1).origins == 0


def test_the_command_names_the_setting(run: RunFolder, settings: Settings) -> None:
    told = commands.latest_record(settings)
    assert "forecast.backtest_origins" in told.text
    assert told.values == []


def test_report_and_figure_tell_that_there_is_no_record(run: RunFolder) -> None:
    assert "no record to show" in build_forecast(RunFiles(run)).record_words
    figure = draw_forecast_record(run.read_frame("forecast_backtest"))
    words = " ".join(
        text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))
    )
    assert "no past forecast to judge by" in words
