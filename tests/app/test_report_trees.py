"""The forecast cut other ways, in the report: each tree is told, with how its ranges held."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from salesops_ml.app.report import render
from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.report_trees import MOST_NODES, build_trees
from tests.app.conftest import forecast, lay_run
from tests.app.page import HOSTILE, Page, broken


def trees(parts: int) -> pd.DataFrame:
    """A tree of products and one of regions by product, the last product of an ugly name."""
    usual = forecast()
    company = usual[usual["node"] == "company"]
    names = [f"Product {number}" for number in range(parts - 1)] + [HOSTILE.replace("/", "%2F")]
    frames = []
    for place, name in enumerate(names):
        scaled = company.copy()
        numbers = company.select_dtypes("number").columns
        scaled[numbers] = company[numbers] * (parts - place) / parts
        frames.append(scaled.assign(tree="product", node=f"company/{name}"))
        frames.append(scaled.assign(tree="region and product", node=f"company/EMEA/{name}"))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture
def run(tmp_path: Path):
    folder = lay_run(tmp_path / "run")
    rows = trees(MOST_NODES + 2)
    folder.write_frame("forecast_trees", rows)
    record = rows.assign(method="ours", origin=pd.Timestamp("2026-07-01"), actual=rows["p90"])
    missed = (record["tree"] == "product") & (record["grain"] == "month")
    record.loc[missed, "actual"] = record["p90"] * 2
    folder.write_frame("forecast_trees_backtest", record)
    return folder


def test_each_tree_is_told_with_its_largest_parts_and_its_record(run) -> None:
    told = build_trees(RunFiles(run))
    assert [one.name for one in told] == ["product", "region and product"]
    assert [len(one.table.rows) for one in told] == [MOST_NODES, MOST_NODES]
    assert told[0].table.rows[0][0] == "Product 0"
    assert told[1].table.rows[0][0] == "EMEA · Product 0"
    assert "2 smaller parts not listed" in told[0].words
    held = [one.words.split("%")[0] for one in told]
    assert held == ["On past days 50", "On past days 100"]


def test_the_page_shows_them_and_stays_whole(run) -> None:
    text = render(run)
    assert Page(text).said("The same revenue by region and product")
    assert broken(text, sections=("forecast",), files=["process_map.html"]) == []


def test_without_trees_nothing_is_said(tmp_path: Path) -> None:
    assert build_trees(RunFiles(lay_run(tmp_path / "run"))) == []
