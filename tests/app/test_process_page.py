"""The process page: whole, self-contained, made of what mining found, on ugly companies too."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from salesops_ml.app.process_page import render_process, write_pages
from salesops_ml.app.process_tables import cause_sentences
from salesops_ml.app.report_advice import advice
from salesops_ml.errors import ConfigError
from salesops_ml.mining.run import MiningResult, mine
from salesops_ml.settings import Settings, merge, parse
from salesops_ml.synthetic import WorldParameters, generate
from salesops_ml.warehouse import Warehouse
from tests.app.page import HOSTILE, Page, broken

WORLD = WorldParameters(deals=2_500, years=2.0, seed=23)
END = datetime.combine(WORLD.end, datetime.min.time()) + timedelta(days=1)
SETTINGS = parse({
    "company": {"name": "Small Co"},
    "mining": {"bootstrap": 20, "discovery_cases": 50, "compare": ["rep_team", "Team 1", "Team 2"]},
    "process": {"conformance": {"required": ["Proposal"], "allowed": {"Lead": ["Qualified", "Lost"]}}},
})  # fmt: skip
SECTIONS = ("advice", "causes", "agreed", "ways", "compared", "drift", "people", "time", "models")


@pytest.fixture(scope="module")
def warehouse():
    with Warehouse.in_memory(generate(WORLD)) as held:
        yield held


@pytest.fixture(scope="module")
def mined(warehouse: Warehouse) -> MiningResult:
    return mine(warehouse, as_of=END, settings=SETTINGS)


def test_the_page_is_whole_and_asks_for_nothing(mined: MiningResult, tmp_path: Path) -> None:
    path = write_pages(mined, SETTINGS, tmp_path)
    text = path.read_text(encoding="utf-8")
    assert broken(text, sections=SECTIONS, files=["process_map.html"]) == []
    assert (tmp_path / "process_map.svg").stat().st_size < 300_000
    assert path.stat().st_size < 4_000_000


def test_what_mining_found_stands_in_it(mined: MiningResult) -> None:
    page = Page(render_process(mined, SETTINGS))
    told = advice(mined.more["recommendations"], "EUR")
    assert "discount above 20%" in told[0].finding
    for words in (
        told[0].finding, told[0].what_to_do, "Team 1 deals beside Team 2 ones",
        "Lead was followed by", "inductive miner",
        cause_sentences(mined.more["causes"], "slow")[0],
    ):  # fmt: skip
        assert page.said(words), words


def test_each_property_is_told_once(mined: MiningResult) -> None:
    causes = mined.more["causes"]
    told = cause_sentences(causes, "lost")
    found = causes[causes["text"].isin(told)]
    assert not found.duplicated(["attribute", "value"]).any()


def test_hostile_names_are_text(mined: MiningResult) -> None:
    ugly = {"Negotiation": HOSTILE, "Contract": "Contract " + "and more words " * 12}
    frames = {
        name: frame.replace(ugly) if len(frame) else frame for name, frame in mined.more.items()
    }
    renamed = replace(
        mined, more=frames, **{
            name: getattr(mined, name).replace(ugly)
            for name in ("transitions", "stages", "bottlenecks", "variants")
        },
    )  # fmt: skip
    assert (
        broken(render_process(renamed, SETTINGS), sections=SECTIONS, files=["process_map.html"])
        == []
    )


def test_a_company_of_one_open_deal_has_a_page(tmp_path: Path) -> None:
    tables = generate(WORLD)
    one = {
        name: table.filter(pd.Series(table["deal_id"].to_pylist()).eq("D-002500").to_numpy())
        if "deal_id" in table.column_names else table
        for name, table in tables.tables.items()
    }  # fmt: skip
    with Warehouse.in_memory(replace(tables, tables=one)) as held:
        found = mine(held, as_of=END, settings=Settings())
    text = write_pages(found, Settings(), tmp_path).read_text(encoding="utf-8")
    assert broken(text, sections=SECTIONS, files=["process_map.html"]) == []
    assert Page(text).said("No process is agreed")


@pytest.mark.parametrize(
    ("compare", "words"),
    [
        (["shoe_size", "1", "2"], "names `shoe_size`, which is not known of deals"),
        (["rep_team", "Team 1", "Team 99"], "no deal has `Team 99` as `rep_team`; it has: Team 1"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_named(warehouse, compare, words) -> None:
    asked = parse(merge(SETTINGS.model_dump(mode="json"), {"mining": {"compare": compare}}))
    with pytest.raises(ConfigError, match=words):
        mine(warehouse, as_of=END, settings=asked)
