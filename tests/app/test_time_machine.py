"""The record of past quarters as files and a page: whole, in agreement, and honest about overrides."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from salesops_ml.app.report_overrides import override_words
from salesops_ml.app.time_machine import WeeklyRecord, level_table, replay_weeks
from salesops_ml.forecasts.override_value import COLUMNS, value_added
from salesops_ml.settings import Settings
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.warehouse import Warehouse
from tests.app.page import Page, broken, raw

END = datetime(2026, 7, 1)
SETTINGS = Settings.model_validate(
    {"company": {"name": "Small Co"}, "forecast": {"samples": 100, "months": 3}, "threads": 1}
)


@pytest.fixture(scope="module")
def record() -> WeeklyRecord:
    world = generate(WorldParameters(deals=700, years=2.0, seed=3))
    with Warehouse.in_memory(world) as warehouse:
        return replay_weeks(warehouse, SETTINGS, as_of=END, quarters=2, every="month")


@pytest.mark.slow
def test_the_record_is_laid_as_files_and_a_page(record: WeeklyRecord, tmp_path: Path) -> None:
    page = record.write(tmp_path / "record").read_text(encoding="utf-8")
    folder = tmp_path / "record"
    assert sorted(path.name for path in folder.iterdir()) == [
        "forecast_backtest.parquet", "forecast_parts.parquet", "forecast_record.parquet",
        "override_value.parquet", "record.html", "record.svg",
    ]  # fmt: skip
    assert (folder / "record.svg").read_text(encoding="utf-8").startswith("<svg")
    assert broken(page, sections=("record", "skill", "levels", "overrides"), files=[]) == []
    assert raw(page, allowed=set()) == set()
    told = Page(page).words
    assert "2 quarters, forecast again from every week" in told
    assert "Did overriding help?" in told
    weeks = pd.read_parquet(folder / "forecast_record.parquet")
    assert sorted(weeks["week"].unique()) == [1, 5, 9, 13]


@pytest.mark.slow
def test_overrides_are_scored_by_what_the_replay_says(record: WeeklyRecord) -> None:
    values = record.overrides
    assert values.columns.tolist() == list(COLUMNS)
    assert {"company"} < set(values["node"])
    ours = record.replayed[record.replayed["method"] == "ours"]
    keys = ["node", "period", "origin"]
    joined = values.merge(ours[[*keys, "mean", "actual"]], on=keys, suffixes=("", "_replayed"))
    assert len(joined) == len(values) > 10
    np.testing.assert_allclose(joined["model"], joined["mean"])
    np.testing.assert_allclose(joined["actual"], joined["actual_replayed"])
    assert (values["origin"] <= values["submitted_at"]).all()


@pytest.mark.slow
def test_levels_are_told_from_the_top(record: WeeklyRecord) -> None:
    table = level_table(record.weeks, ["company", "region", "team", "rep"])
    assert table is not None
    assert [row[0] for row in table.rows] == ["Company", "Region", "Team", "Rep"]


def test_whether_people_helped_is_a_sentence() -> None:
    assert override_words(pd.DataFrame(columns=list(COLUMNS)), "EUR") == ""
    one = {
        "period": "2026-Q1",
        "actual": 100.0,
        "person_miss": 5.0,
        "model_miss": 10.0,
        "value": 5.0,
    }
    helped = pd.DataFrame([one, one | {"period": "2026-Q2"}])
    assert override_words(helped, "EUR") == (
        "2 submissions of 2 periods can be held against what the model said at that moment: 100% were"
        " nearer. In all, people saved €10 of miss, 50% ± 0% of the model's."
    )
    hurt = helped.assign(person_miss=30.0, value=-20.0).head(1)
    assert override_words(hurt, "EUR").endswith("people lost €20 of miss, 200% of the model's.")
    assert value_added(hurt)["nearer"].item() == 0
