"""A smaller graph of states: every path deviates from it as from the one it stands for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_ml.mining.alignments import align_paths
from salesops_ml.mining.discovery import load_pm4py, variant_counts
from salesops_ml.mining.petri_net import (
    SILENT,
    Net,
    StateGraph,
    Transition,
    from_pm4py,
    state_graph,
)
from salesops_ml.mining.state_reduction import reduced
from tests.mining.conftest import made_log

PATHS = st.lists(st.lists(st.sampled_from("ABX"), max_size=6), min_size=1, max_size=6)
STEPS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 5), st.sampled_from(["A", "B", None])),
    min_size=1,
    max_size=10,
)


def same_deviations(paths: list[list[str]], graph: StateGraph, small: StateGraph) -> None:
    for complete in (True, False):
        over = [complete] * len(paths)
        first = align_paths(paths, graph, complete=over)
        second = align_paths(paths, small, complete=over)
        assert first.deviations.tolist() == second.deviations.tolist()
        assert (first.worst // 10_000).tolist() == (second.worst // 10_000).tolist()


@settings(max_examples=150, deadline=None)
@given(STEPS, PATHS)
def test_any_machine_of_states_keeps_its_sequences(
    steps: list[tuple[int, int, str | None]], paths: list[list[str]]
) -> None:
    ways = (*steps, (0, 1, None), (1, 5, None))  # so that the end is reached
    net = Net(
        tuple("abcdef"), tuple(Transition(name, (a,), (b,)) for a, b, name in ways), (0,), (5,)
    )
    graph = state_graph(net)
    small = reduced(graph)
    assert small.states <= graph.states
    same_deviations(paths, graph, small)


@pytest.mark.parametrize("seed", range(4))
def test_discovered_models_keep_their_sequences_and_become_small(seed: int) -> None:
    pm4py = load_pm4py()
    tree = pm4py.discover_process_tree_inductive(
        log=made_log(12, seed + 100, length=6, names=5), noise_threshold=0.0,
        multi_processing=False,
    )  # fmt: skip
    graph = state_graph(from_pm4py(*pm4py.convert_to_petri_net(tree)))
    small = reduced(graph)
    assert 3 * small.states < graph.states
    assert set(small.target[small.label == SILENT].tolist()) == {small.final}
    paths = [list(path) for path in variant_counts(made_log(20, seed, length=6, names=6))]
    same_deviations(paths, graph, small)


def test_a_graph_whose_sets_would_be_too_many_stays_as_it_is() -> None:
    """Which letter stood n places before the end needs 2**n sets, but n states."""
    places = tuple("abcdefgh")
    steps = [Transition("A", (0,), (0,)), Transition("B", (0,), (0,)), Transition("A", (0,), (1,))]
    steps += [Transition(name, (at,), (at + 1,)) for at in range(1, 7) for name in "AB"]
    graph = state_graph(Net(places, tuple(steps), (0,), (7,)))
    assert reduced(graph) is graph
