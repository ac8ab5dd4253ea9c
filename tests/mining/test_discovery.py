"""The discovered model: what a plain process must give, and files that other tools read."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from lxml import etree

from salesops_ml.errors import DataError, UsageError
from salesops_ml.mining.alignments import align_paths
from salesops_ml.mining.discovery import (
    MINERS,
    QUALITY_COLUMNS,
    Miner,
    discover,
    discover_all,
    load_pm4py,
    quality_table,
)
from salesops_ml.mining.event_log import event_log
from salesops_ml.mining.model_files import read_bpmn, read_pnml
from salesops_ml.mining.petri_net import state_graph
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


@pytest.mark.parametrize("miner", MINERS)
def test_a_chain_is_found_as_a_chain(tmp_path: Path, miner: Miner) -> None:
    found = discover(chain(30), miner=miner)
    if miner == "inductive":
        assert (found.transitions, found.places, found.arcs) == (3, 4, 6)
    assert found.fitness == pytest.approx(1)
    assert found.alignment_fitness == pytest.approx(1)
    assert found.precision == pytest.approx(1)
    assert found.simplicity == pytest.approx(1)
    bpmn, net = found.write(tmp_path / "model")
    tasks = etree.parse(str(bpmn)).iter("{*}task")
    assert {task.get("name") for task in tasks} == {"Lead", "Offer", "Won"}
    read, _, _ = load_pm4py().read_pnml(str(net))
    labels = {transition.label for transition in read.transitions}
    assert labels - {None} == {"Lead", "Offer", "Won"}
    drawn = load_pm4py().read_bpmn(str(bpmn))
    assert {node.get_name() for node in drawn.get_nodes()} >= {"Lead", "Offer", "Won"}
    assert "bpmn" not in found.summary()
    assert json.loads(json.dumps(found.to_dict()))["bpmn"] == bpmn.read_text(encoding="utf-8")


@pytest.mark.parametrize("miner", MINERS)
def test_both_files_of_a_model_allow_the_same(tmp_path: Path, miner: Miner) -> None:
    log = chain(30)
    odd = log.query("`case:concept:name` != 'c3' or `concept:name` != 'Offer'")
    bpmn, net = discover(odd, miner=miner, noise_threshold=0.0).write(tmp_path)
    name = {"inductive": "process", "heuristics": "process_heuristics"}[miner]
    assert (bpmn.name, net.name) == (f"{name}.bpmn", f"{name}.pnml")
    paths = [["Lead", "Offer", "Won"], ["Lead", "Won"], ["Won", "Lead"], ["Offer"], []]
    costs = [
        align_paths(paths, state_graph(model)).deviations.tolist()
        for model in (read_bpmn(bpmn), read_pnml(net))
    ]
    assert costs[0] == costs[1]
    assert costs[0][0] == 0


def test_token_replay_and_alignments_agree_on_what_fits_and_say_when_it_does_not(
    tmp_path: Path,
) -> None:
    for found in discover_all(made_log(40, 9), noise_threshold=0.0):
        if found.miner == "inductive":  # without a threshold it promises to replay everything
            assert found.fitness == pytest.approx(1)
            assert found.alignment_fitness == pytest.approx(1)
    noisy = discover(made_log(40, 9, names=6), noise_threshold=0.8)
    assert noisy.alignment_fitness is not None
    assert noisy.alignment_fitness < 1
    assert noisy.fitness < 1


def test_alignment_fitness_is_that_of_pm4py() -> None:
    log = made_log(25, 12, length=5)
    found = discover(log, noise_threshold=0.5)
    tree = load_pm4py().discover_process_tree_inductive(
        log=log, noise_threshold=0.5, multi_processing=False
    )
    net = load_pm4py().convert_to_petri_net(tree)
    theirs = load_pm4py().conformance_diagnostics_alignments(log, *net, multi_processing=False)
    deviations = sum(one["cost"] // 10_000 for one in theirs)
    worst = sum(one["bwc"] // 10_000 for one in theirs)
    assert found.alignment_fitness == pytest.approx(1 - deviations / worst)


def test_the_miners_stand_side_by_side_with_their_quality() -> None:
    found = discover_all(made_log(60, 4), max_cases=20, seed=1)
    table = quality_table(found)
    assert list(table.columns) == list(QUALITY_COLUMNS)
    assert table["miner"].tolist() == ["inductive", "heuristics"]
    assert table["cases"].tolist() == [20, 20]
    for one, finding in zip(found, table["finding"], strict=True):
        assert f"{one.fitness:.0%}" in finding
        assert (
            one.summary()
            == discover(made_log(60, 4), miner=one.miner, max_cases=20, seed=1).summary()
        )


def test_an_unknown_miner_is_named() -> None:
    with pytest.raises(UsageError, match="`miner` is `alpha`; give one of inductive, heuristics"):
        discover(chain(3), miner="alpha")  # type: ignore[arg-type]


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
