"""A smaller graph of states that allows the same sequences of activities.

What a path deviates by depends on the sequences that a model allows, not on how it is drawn. Branches
side by side, skipped steps and loops of a Petri net make many states of the same future; here states
are followed as sets (Rabin and Scott 1959) and those whose futures are the same become one (Moore 1956).
"""

from __future__ import annotations

from collections import defaultdict, deque

import numpy as np

from salesops_ml.mining.petri_net import SILENT, Ints, StateGraph

_NOWHERE = -1


def reduced(graph: StateGraph) -> StateGraph:
    """The smallest graph with one way for each sequence, where it is smaller than `graph`; else `graph`.

    Both allow the same sequences from start to end, and the same beginnings. Silent steps remain only
    into the end, so that what alignments count as deviations stays as it is.

    Example:
        >>> from salesops_ml.mining.petri_net import Net, Transition, state_graph
        >>> steps = (Transition(None, (0,), (1,)), Transition("Call", (1,), (0,)),
        ...     Transition(None, (1,), (2,)))
        >>> graph = state_graph(Net(("a", "b", "c"), steps, (0,), (2,)))
        >>> small = reduced(graph)
        >>> graph.states, small.states, small.label.tolist()
        (3, 2, [0, -1])
    """
    found = _sets_of_states(graph)
    if found is None:
        return graph
    table, accepting = found
    group = _same_futures(table, accepting)
    size = int(group.max()) + 1
    example = np.unique(group, return_index=True)[1]
    edges = []
    for state in range(size):
        for label, target in enumerate(table[example[state]]):
            if target != _NOWHERE:
                edges.append((state, int(group[target]), label))
        if accepting[example[state]]:
            edges.append((state, size, SILENT))
    if size + 1 >= graph.states:
        return graph
    columns = np.array(sorted(edges), dtype=np.int64).reshape(-1, 3).T
    return StateGraph(size + 1, size, columns[0], columns[1], columns[2], graph.labels)


def _sets_of_states(graph: StateGraph) -> tuple[Ints, Ints] | None:
    """(sets, labels) the set that each activity leads to, and whether it may end there.

    None where there would be more sets than states.
    """
    silent: dict[int, list[int]] = defaultdict(list)
    visible: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for source, target, label in zip(
        graph.source.tolist(), graph.target.tolist(), graph.label.tolist(), strict=True
    ):
        if label == SILENT:
            silent[source].append(target)
        else:
            visible[source].append((label, target))
    first = _with_silent(frozenset([0]), silent)
    number = {first: 0}
    waiting, rows = deque([first]), []
    while waiting:
        row = [_NOWHERE] * len(graph.labels)
        onward: dict[int, set[int]] = defaultdict(set)
        for state in waiting.popleft():
            for label, target in visible[state]:
                onward[label].add(target)
        for label, targets in sorted(onward.items()):
            after = _with_silent(frozenset(targets), silent)
            if after not in number:
                if len(number) >= graph.states:
                    return None
                number[after] = len(number)
                waiting.append(after)
            row[label] = number[after]
        rows.append(row)
    accepting = [int(graph.final in states) for states in number]
    return np.array(rows, dtype=np.int64).reshape(len(rows), -1), np.array(accepting)


def _with_silent(states: frozenset[int], silent: dict[int, list[int]]) -> frozenset[int]:
    """These states and all that silent steps lead to."""
    found, waiting = set(states), list(states)
    while waiting:
        for target in silent[waiting.pop()]:
            if target not in found:
                found.add(target)
                waiting.append(target)
    return frozenset(found)


def _same_futures(table: Ints, accepting: Ints) -> Ints:
    """(sets,) number of each set's class of equal futures; that of the beginning is 0."""
    group, count = accepting, 0
    while True:
        onward = np.where(table == _NOWHERE, _NOWHERE, group[table])
        group = np.unique(np.column_stack([group, onward]), axis=0, return_inverse=True)[1].reshape(
            -1
        )
        if int(group.max()) + 1 == count:
            break
        count = int(group.max()) + 1
    first = np.unique(group, return_index=True)[1]
    return np.argsort(np.argsort(first))[group]
