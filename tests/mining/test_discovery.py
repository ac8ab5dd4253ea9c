"""The discovered model: what a plain process must give, and files that other tools read."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from lxml import etree

from salesops_ml.errors import DataError
from salesops_ml.mining.discovery import discover, load_pm4py
from salesops_ml.mining.event_log import event_log
from salesops_ml.warehouse import Warehouse
from tests.mining.conftest import made_log

DAY = datetime(2026, 1, 1)


def chain(cases: int) -> pd.DataFrame:
    rows = [
        (f"c{case}", stage, DAY + timedelta(days=turn))
        for case in range(cases)
        for turn, stage in enumerate(["Lead", "Offer", "Won"])
    ]
    return pd.DataFrame(rows, columns=["case:concept:name", "concept:name", "time:timestamp"])


def test_a_chain_is_found_as_a_chain(tmp_path: Path) -> None:
    found = discover(chain(30))
    assert (found.transitions, found.places, found.arcs) == (3, 4, 6)
    assert found.fitness == pytest.approx(1)
    assert found.precision == pytest.approx(1)
    assert found.simplicity == pytest.approx(1)
    bpmn, net = found.write(tmp_path / "model")
    tasks = etree.parse(str(bpmn)).iter("{*}task")
    assert {task.get("name") for task in tasks} == {"Lead", "Offer", "Won"}
    read, _, _ = load_pm4py().read_pnml(str(net))
    assert {transition.label for transition in read.transitions} == {"Lead", "Offer", "Won"}
    assert "bpmn" not in found.summary()
    assert json.loads(json.dumps(found.to_dict()))["bpmn"] == bpmn.read_text(encoding="utf-8")


def test_a_large_log_is_sampled_by_case_and_the_seed_decides() -> None:
    log = made_log(60, 4)
    first = discover(log, max_cases=20, seed=1)
    assert (first.cases, first.sampled) == (20, True)
    again = discover(log.sample(frac=1, random_state=3).sort_index(), max_cases=20, seed=1)
    assert again.summary() == first.summary()


def test_nothing_is_printed_and_an_empty_log_is_refused(
    company: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="no events"):
        discover(event_log(company, as_of=DAY - timedelta(days=1)))
    found = discover(event_log(company, as_of=DAY + timedelta(days=20)))
    assert found.cases == 4
    assert 0 <= found.precision <= 1
    assert capsys.readouterr().out == ""
