"""Alignments: the costs of pm4py on any net, and a slow search by hand on open paths."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.errors import DataError
from salesops_ml.mining.alignments import DEVIATION, UNALIGNED, align_paths
from salesops_ml.mining.discovery import load_pm4py, variant_counts
from salesops_ml.mining.model_files import to_pm4py
from salesops_ml.mining.petri_net import (
    SILENT,
    Net,
    StateGraph,
    Transition,
    from_pm4py,
    net_of_moves,
    state_graph,
)
from tests.mining.conftest import made_log

CHAIN = net_of_moves({"Lead": ["Offer"], "Offer": ["Won"]}, starts=["Lead"], ends=["Won"])
PATHS = st.lists(st.lists(st.sampled_from("ABCX"), max_size=7), min_size=1, max_size=8)


def as_log(paths: Sequence[Sequence[str]]) -> pd.DataFrame:
    rows = [
        (f"c{case:04d}", name, pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(minutes=turn))
        for case, path in enumerate(paths)
        for turn, name in enumerate(path)
    ]
    return pd.DataFrame(rows, columns=["case:concept:name", "concept:name", "time:timestamp"])


@st.composite
def nets_of_moves(draw: st.DrawFn) -> Net:
    stages = "ABC"
    moves = {
        stage: draw(st.lists(st.sampled_from(stages), unique=True, max_size=3)) for stage in stages
    }
    start = draw(st.sampled_from(stages))
    reached = [start]
    for stage in reached:
        reached += [to for to in moves[stage] if to not in reached]
    return net_of_moves(moves, starts=[start], ends=[draw(st.sampled_from(reached))])


def slow_cost(path: Sequence[str], graph: StateGraph, *, complete: bool) -> int:
    """Dijkstra over (events done, state), one path at a time."""
    edges = list(zip(graph.source.tolist(), graph.target.tolist(), graph.label.tolist(),
                     strict=True))  # fmt: skip
    waiting, done = [(0, 0, 0)], set()
    while True:
        cost, place, state = heapq.heappop(waiting)
        if (place, state) in done:
            continue
        done.add((place, state))
        if place == len(path) and (state == graph.final or not complete):
            return cost
        if place < len(path):
            heapq.heappush(waiting, (cost + DEVIATION, place + 1, state))
        for source, target, label in edges:
            if source == state:
                price = 1 if label == SILENT else DEVIATION
                heapq.heappush(waiting, (cost + price, place, target))
                if label != SILENT and place < len(path) and graph.labels[label] == path[place]:
                    heapq.heappush(waiting, (cost, place + 1, target))


@pytest.mark.parametrize("seed", range(4))
def test_costs_and_fitness_are_those_of_pm4py(seed: int) -> None:
    pm4py = load_pm4py()
    tree = pm4py.discover_process_tree_inductive(
        log=made_log(12, seed + 100, length=5, names=4), noise_threshold=0.0,
        multi_processing=False,
    )  # fmt: skip
    drawn = pm4py.convert_to_petri_net(tree)
    net = from_pm4py(*drawn)
    paths = list(variant_counts(made_log(30, seed, length=6, names=5)))
    found = align_paths(paths, state_graph(net))
    for model in (drawn, to_pm4py(net)):
        theirs = pm4py.conformance_diagnostics_alignments(
            as_log(paths), *model, multi_processing=False
        )
        assert found.cost.tolist() == [one["cost"] for one in theirs]
        assert found.worst.tolist() == [one["bwc"] for one in theirs]
        np.testing.assert_allclose(found.fitness, [one["fitness"] for one in theirs])


@settings(max_examples=150, deadline=None)
@given(PATHS, nets_of_moves(), st.booleans())
def test_costs_are_those_of_a_slow_search_and_moves_explain_the_path(
    paths: list[list[str]], net: Net, complete: bool
) -> None:
    graph = state_graph(net)
    found = align_paths(paths, graph, complete=[complete] * len(paths))
    for path, cost, moves in zip(paths, found.cost.tolist(), found.moves, strict=True):
        assert cost == slow_cost(path, graph, complete=complete)
        assert [did for did, _ in moves if did is not None] == path
        apart = [move for move in moves if move[0] != move[1]]
        assert len(apart) == cost // DEVIATION
        assert all(None in move for move in apart)
        assert complete or not path or all(did is not None for did, _ in moves[-1:])
    assert ((found.fitness >= 0) & (found.fitness <= 1)).all()


def test_a_path_that_goes_on_is_not_blamed_for_what_is_still_to_come() -> None:
    graph = state_graph(CHAIN)
    found = align_paths([["Lead"], ["Lead"], ["Offer"]], graph, complete=[True, False, False])
    assert found.deviations.tolist() == [2, 0, 1]
    assert found.moves[2] in (((None, "Lead"), ("Offer", "Offer")), (("Offer", None),))


def test_paths_beyond_the_bound_are_left_out_the_last_first() -> None:
    graph = state_graph(CHAIN)
    found = align_paths([["Lead", "Offer", "Won"], ["Won"]], graph, max_work=50)
    assert found.deviations.tolist() == [0, UNALIGNED]
    assert np.isnan(found.fitness[1])
    assert found.moves[1] == ()


def test_a_very_long_path_is_left_out_and_the_others_are_not() -> None:
    found = align_paths([["Lead"] * 50_001, ["Lead", "Won"]], state_graph(CHAIN))
    assert found.deviations.tolist() == [UNALIGNED, 1]


def test_no_paths_and_an_empty_path() -> None:
    graph = state_graph(CHAIN)
    assert len(align_paths([], graph).cost) == 0
    empty = align_paths([[], []], graph, complete=[True, False])
    assert empty.deviations.tolist() == [3, 0]
    assert empty.fitness.tolist() == [0.0, 1.0]


def test_branches_side_by_side_may_come_in_any_order() -> None:
    steps = (
        Transition(None, (0,), (1, 2)),
        Transition("Legal", (1,), (3,)),
        Transition("Finance", (2,), (4,)),
        Transition(None, (3, 4), (5,)),
    )
    graph = state_graph(Net(tuple("abcdef"), steps, (0,), (5,)))
    found = align_paths([["Legal", "Finance"], ["Finance", "Legal"], ["Legal"]], graph)
    assert found.deviations.tolist() == [0, 0, 1]


def test_a_net_without_end_or_bound_is_refused() -> None:
    with pytest.raises(DataError, match="no way from its start to its end"):
        state_graph(Net(("a", "b"), (Transition("Lead", (0,), (0,)),), (0,), (1,)))
    grows = Net(("a", "b"), (Transition("Lead", (0,), (0, 1)),), (0,), (1,))
    with pytest.raises(DataError, match=r"more than 100 states.*parallel"):
        state_graph(grows, max_states=100)


@pytest.mark.slow
def test_all_of_bpi_2012_is_aligned(bpi_2012: pd.DataFrame) -> None:
    counts = variant_counts(bpi_2012)
    paths = sorted(counts, key=lambda path: (-counts[path], path))
    stages = ["A_SUBMITTED", "A_PARTLYSUBMITTED", "A_PREACCEPTED", "A_ACCEPTED", "O_SELECTED",
              "A_FINALIZED", "O_CREATED", "O_SENT", "O_SENT_BACK", "O_ACCEPTED", "A_APPROVED",
              "A_ACTIVATED"]  # fmt: skip
    moves = {stage: [to] for stage, to in itertools.pairwise(stages)}
    net = net_of_moves(moves, starts=stages[:1], ends=stages[-1:])
    found = align_paths(paths, state_graph(net))
    assert (len(paths), int((found.cost == UNALIGNED).sum())) == (4366, 0)
    for path, deviations in zip(paths, found.deviations.tolist(), strict=True):
        assert deviations == len(path) + len(stages) - 2 * _longest_common(path, stages)


def _longest_common(path: Sequence[str], stages: Sequence[str]) -> int:
    """Against a chain, the steps taken together are the longest common subsequence."""
    row = [0] * (len(stages) + 1)
    for name in path:
        before = list(row)
        for turn, stage in enumerate(stages):
            row[turn + 1] = before[turn] + 1 if name == stage else max(before[turn + 1], row[turn])
    return row[-1]
