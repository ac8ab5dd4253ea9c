"""BPMN and PNML files: what they draw is what deals are held against, and hostile ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from salesops_ml.errors import ConfigError, SourceError
from salesops_ml.mining.alignments import align_paths
from salesops_ml.mining.discovery import discover, load_pm4py
from salesops_ml.mining.model_files import net_as_pnml, read_bpmn, read_pnml, to_pm4py
from salesops_ml.mining.petri_net import net_of_moves, state_graph
from tests.mining.conftest import made_log

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" targetNamespace="x">'
    '<process id="p">'
)
TAIL = "</process></definitions>"


def bpmn(nodes: str, *flows: str) -> str:
    """A BPMN text: nodes as XML, flows as `from>to`."""
    ends = [flow.split(">") for flow in flows]
    drawn = [
        f'<sequenceFlow id="f{turn}" sourceRef="{source}" targetRef="{target}"/>'
        for turn, (source, target) in enumerate(ends)
    ]
    return HEAD + nodes + "".join(drawn) + TAIL


SALES = bpmn(
    '<startEvent id="s"/><task id="lead" name="Lead"/><parallelGateway id="split"/>'
    '<userTask id="legal" name="Legal"/><task id="price" name="Price"/>'
    '<parallelGateway id="join"/><exclusiveGateway id="or"/>'
    '<task id="won" name="Won"/><task id="lost" name="Lost"/><endEvent id="e"/><endEvent id="e2"/>',
    "s>lead", "lead>split", "split>legal", "split>price", "legal>join", "price>join", "join>or",
    "or>won", "or>lost", "won>e", "lost>e2",
)  # fmt: skip
PLAIN = '<startEvent id="s"/><task id="a" name="A"/><task id="b" name="B"/><endEvent id="e"/>'


def written(folder: Path, text: str, name: str = "process.bpmn") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_drawing_allows_what_it_draws_and_nothing_else(tmp_path: Path) -> None:
    net = read_bpmn(written(tmp_path, SALES))
    assert net.labels == ("Lead", "Legal", "Lost", "Price", "Won")
    paths = [
        ["Lead", "Legal", "Price", "Won"],
        ["Lead", "Price", "Legal", "Lost"],
        ["Lead", "Price", "Lost"],
        ["Lead", "Legal", "Price", "Won", "Lost"],
    ]
    assert align_paths(paths, state_graph(net)).deviations.tolist() == [0, 0, 1, 1]


def test_a_task_that_leaves_no_event_may_be_passed_unseen(tmp_path: Path) -> None:
    path = written(tmp_path, SALES)
    net = read_bpmn(path, unrecorded=["Legal"])
    found = align_paths([["Lead", "Price", "Won"]], state_graph(net))
    assert found.deviations.tolist() == [0]
    with pytest.raises(ConfigError, match="no task `Legl`; did you mean `Legal`"):
        read_bpmn(path, unrecorded=["Legl"])


def test_the_same_file_gives_the_same_net(tmp_path: Path) -> None:
    path = written(tmp_path, SALES)
    first, again = state_graph(read_bpmn(path)), state_graph(read_bpmn(path))
    assert (first.states, len(first.source)) == (again.states, len(again.source))
    paths = [["Lead", "Won"], ["Price", "Lead"], ["Won", "Lost", "Legal"]]
    assert align_paths(paths, first).cost.tolist() == align_paths(paths, again).cost.tolist()


def test_a_discovered_model_reads_back_from_both_of_its_files(tmp_path: Path) -> None:
    found = discover(made_log(30, 5))
    drawn, net_file = found.write(tmp_path)
    log = load_pm4py().get_variants(log=made_log(30, 6))
    paths = sorted(log)
    costs = [
        align_paths(paths, state_graph(net)).deviations.tolist()
        for net in (read_bpmn(drawn), read_pnml(net_file))
    ]
    assert costs[0] == costs[1]


def test_a_net_reads_back_equal_from_pnml(tmp_path: Path) -> None:
    net = net_of_moves({"Lead": ["Offer", "Lost"], "Offer": ["Won", "Lead"]}, starts=["Lead"],
                       ends=["Won", "Lost"])  # fmt: skip
    path = written(tmp_path, net_as_pnml(net), "net.pnml")
    first, second = state_graph(net), state_graph(read_pnml(path))
    assert (first.states, len(first.source)) == (second.states, len(second.source))
    assert first.labels == second.labels
    theirs = load_pm4py().read_pnml(file_path=str(path))
    assert len(theirs[0].transitions) == len(net.transitions)
    drawn, start, end = to_pm4py(net)
    assert (len(drawn.places), sum(start.values()), sum(end.values())) == (len(net.places), 1, 1)


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<definitions>&b;</definitions>"
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, r"line 1: declares a document type"),
        (HEAD, "is not well-formed XML"),
        ("", "is not well-formed XML"),
        ("<a>" * 200 + "</a>" * 200, "nested more than 100 deep"),
        (HEAD + TAIL, "holds no sequence flow"),
        (bpmn(PLAIN, "s>a", "a>gone"), r"the flow `f1` is tied to `gone`"),
        (bpmn(PLAIN, "s>a", "a>b", "a>e", "b>e"), r"2 flows leave the task `A` without a gateway"),
        (bpmn(PLAIN.replace(' name="B"', ""), "s>a", "a>b", "b>e"), "the task `b` has no name"),
        (bpmn(PLAIN.replace("startEvent", "exclusiveGateway"), "s>a", "a>b"), "has no startEvent"),
        (bpmn(PLAIN.replace('<task id="b"', '<subProcess id="b"').replace('"B"/>', '"B"/>'),
              "s>a", "a>b", "b>e"), "the subProcess `B` cannot be followed"),
        (bpmn(PLAIN.replace('<task id="b"', '<boundaryEvent id="b"'), "s>a", "a>b", "b>e"),
         "the boundaryEvent `B` cannot be followed"),
    ],
)  # fmt: skip
def test_what_cannot_be_trusted_or_followed_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SourceError, match=says) as caught:
        read_bpmn(written(tmp_path, text))
    assert "process.bpmn" in str(caught.value)


def test_a_file_that_is_absent_or_a_folder_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "no.bpmn", tmp_path):
        with pytest.raises(SourceError, match="cannot be read"):
            read_bpmn(path)
    with pytest.raises(SourceError, match="PNML"):
        read_pnml(written(tmp_path, "<pnml/>", "net.pnml"))
