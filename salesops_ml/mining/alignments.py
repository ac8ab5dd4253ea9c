"""Alignments: for each path, the fewest deviations that explain it against a process model.

An alignment walks through path and model side by side. Steps taken by both cost nothing; an event
that the model has no place for, or a step of the model that the path skipped, costs one deviation.
(Van der Aalst, Adriansyah and van Dongen (2012), Replaying history on process models for conformance
checking and performance analysis, WIREs Data Mining and Knowledge Discovery 2, 182-192.)

The search is exact. Paths are laid into a tree, so that a beginning which many of them share is
searched once; at each node of the tree the cheapest way into every state of the model is known, for
all nodes of one depth together. The work is (nodes x steps of the model), known beforehand and
bounded by `max_work`: paths beyond it, the rarest, and paths of more than 50,000 events are left
unaligned and counted.

Costs are told apart as pm4py does it: a deviation costs 10,000 and a silent step of the model 1, so
that among the ways with equal deviations one with the fewest silent steps is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salesops_ml.mining.petri_net import SILENT, StateGraph

Ints = npt.NDArray[np.int64]
Costs = npt.NDArray[np.int32]

DEVIATION, SILENT_STEP = 10_000, 1
UNALIGNED = -1
MAX_WORK = 20_000_000_000
_CHUNK_CELLS = 20_000_000
_NEVER = np.int32(1_000_000_000)
_LONGEST = 50_000
_ELSEWHERE = -1

Move = tuple[str | None, str | None]
"""What the path did and what the model did; None where only the other one moved."""


@dataclass(frozen=True)
class Alignments:
    """The cheapest alignment of each path.

    Attributes:
        cost: (p,) total cost, as pm4py counts it; `UNALIGNED` where the bound left the path out.
        worst: (p,) cost of the worst explanation: every event and every step a deviation.
        moves: of each path, its moves in order; silent steps are left out; empty where unaligned.
    """

    cost: Ints
    worst: Ints
    moves: tuple[tuple[Move, ...], ...]

    @property
    def deviations(self) -> Ints:
        """(p,) how many deviations; `UNALIGNED` where the path is left out."""
        return np.where(self.cost == UNALIGNED, UNALIGNED, self.cost // DEVIATION)

    @property
    def fitness(self) -> npt.NDArray[np.float64]:
        """(p,) one minus deviations over the worst, 0..1; NaN where the path is left out."""
        worst = np.maximum(self.worst // DEVIATION, 1)
        return np.where(self.cost == UNALIGNED, np.nan, 1 - self.deviations / worst)


def align_paths(
    paths: Sequence[Sequence[str]],
    graph: StateGraph,
    *,
    complete: Sequence[bool] | None = None,
    max_work: int = MAX_WORK,
) -> Alignments:
    """The cheapest alignment of each path with the model whose states are `graph`.

    Args:
        paths: activities in order; the most important first, since the last are left out first.
        graph: see `state_graph`.
        complete: (p,) whether the path is over, and so must reach the model's end; a path that still
            goes on is held against the model's beginnings only. All are over by default.
        max_work: bound on nodes x steps.

    Example:
        >>> from salesops_ml.mining.petri_net import net_of_moves, state_graph
        >>> net = net_of_moves({"Lead": ["Offer"], "Offer": ["Won"]}, starts=["Lead"], ends=["Won"])
        >>> found = align_paths([["Lead", "Offer", "Won"], ["Lead", "Call", "Won"]], state_graph(net))
        >>> found.deviations.tolist(), found.moves[1]
        ([0, 2], (('Lead', 'Lead'), ('Call', None), (None, 'Offer'), ('Won', 'Won')))
    """
    over = np.ones(len(paths), dtype=bool) if complete is None else np.array(complete, dtype=bool)
    codes = {name: code for code, name in enumerate(graph.labels)}
    coded = [np.array([codes.get(name, _ELSEWHERE) for name in path], np.int64) for path in paths]
    search = _Search(graph)
    cost = np.full(len(paths), UNALIGNED, dtype=np.int64)
    moves: list[tuple[Move, ...]] = [()] * len(paths)
    kept = _within(coded, len(graph.source) + graph.states, max_work)
    for chunk in _chunks(sorted(kept, key=lambda one: tuple(coded[one])), coded, graph.states):
        forest = _Forest.of([coded[one] for one in chunk])
        table = search.fill(forest)
        for row, one in enumerate(chunk):
            cost[one], walked = search.best(table, forest.nodes_of(row), coded[one], over[one])
            moves[one] = _named(walked, paths[one], graph.labels)
    empty, _ = search.best([search.beginning()], [0], coded[0][:0] if coded else None, True)
    lengths = np.array([len(path) for path in paths], dtype=np.int64)
    return Alignments(cost, lengths * DEVIATION + np.where(over, empty, 0), tuple(moves))


def _within(coded: Sequence[Ints], steps: int, max_work: int) -> list[int]:
    """The paths that can be searched within the bound, counted as if none shared a beginning."""
    kept, spent = [], 0
    for one, path in enumerate(coded):
        spent += (len(path) + 1) * steps
        if spent > max_work:
            break
        if len(path) <= _LONGEST:
            kept.append(one)
    return kept


def _chunks(order: Sequence[int], coded: Sequence[Ints], states: int) -> Iterator[list[int]]:
    """Neighbours in the order of their paths, as many as fit into memory together."""
    chunk: list[int] = []
    cells = 0
    for one in order:
        need = (len(coded[one]) + 1) * states
        if chunk and cells + need > _CHUNK_CELLS:
            yield chunk
            chunk, cells = [], 0
        chunk.append(one)
        cells += need
    if chunk:
        yield chunk


@dataclass(frozen=True)
class _Forest:
    """Paths laid into a tree; the nodes of one depth are numbered from 0.

    Attributes:
        node: of each depth (from 1), (p,) the node that each path passes; -1 where it is over.
        parent, symbol: of each depth, (nodes,) the node above, and the activity that leads here.
    """

    node: list[Ints]
    parent: list[Ints]
    symbol: list[Ints]
    lengths: Ints

    @classmethod
    def of(cls, paths: Sequence[Ints]) -> _Forest:
        lengths = np.array([len(path) for path in paths], dtype=np.int64)
        above = np.zeros(len(paths), dtype=np.int64)
        nodes, parents, symbols = [], [], []
        for depth in range(int(lengths.max(initial=0))):
            rows = np.flatnonzero(lengths > depth)
            step = np.array([paths[row][depth] for row in rows.tolist()], dtype=np.int64)
            width = int(step.max()) - _ELSEWHERE + 1
            keys, place = np.unique(above[rows] * width + step - _ELSEWHERE, return_inverse=True)
            here = np.full(len(paths), -1, dtype=np.int64)
            here[rows] = place.reshape(-1)
            nodes.append(here)
            parents.append(keys // width)
            symbols.append(keys % width + _ELSEWHERE)
            above = here
        return cls(nodes, parents, symbols, lengths)

    def nodes_of(self, path: int) -> list[int]:
        """The nodes that a path passes, the root first."""
        return [0, *(int(self.node[depth][path]) for depth in range(self.lengths[path]))]


class _Search:
    """Cheapest ways into every state of the model."""

    def __init__(self, graph: StateGraph) -> None:
        self.graph = graph
        price = np.where(graph.label == SILENT, SILENT_STEP, DEVIATION).astype(np.int32)
        order = np.argsort(graph.target, kind="stable")
        self._from, self._into = graph.source[order], graph.target[order]
        self._price = price[order][:, None]
        self._starts = np.flatnonzero(np.diff(self._into, prepend=-1))
        self._by_label = [order[graph.label[order] == code] for code in range(len(graph.labels))]
        self._model_steps: list[list[tuple[int, int, int]]] = [[] for _ in range(graph.states)]
        self._joint_steps: dict[tuple[int, int], list[int]] = {}
        for source, target, label, cost in zip(
            graph.source.tolist(), graph.target.tolist(), graph.label.tolist(), price.tolist(),
            strict=True,
        ):  # fmt: skip
            self._model_steps[target].append((cost, source, label))
            self._joint_steps.setdefault((target, label), []).append(source)
        for steps in self._model_steps:
            steps.sort()

    def beginning(self) -> Costs:
        """(states, 1) the cost of each state before the first event."""
        costs = np.full((self.graph.states, 1), _NEVER, dtype=np.int32)
        costs[0] = 0
        return self._closed(costs)

    def fill(self, forest: _Forest) -> list[Costs]:
        """Of each depth, (states, nodes) the cheapest cost of being there in each state."""
        table = [self.beginning()]
        for parent, symbol in zip(forest.parent, forest.symbol, strict=True):
            before = table[-1][:, parent]
            here = before + np.int32(DEVIATION)
            for code in np.unique(symbol[symbol >= 0]):
                self._together(before, here, np.flatnonzero(symbol == code), int(code))
            table.append(self._closed(np.minimum(here, _NEVER)))
        return table

    def _together(self, before: Costs, here: Costs, nodes: Ints, code: int) -> None:
        """Path and model take the activity together, at no cost."""
        edges = self._by_label[code]
        if not len(edges):
            return
        into = self.graph.target[edges]
        starts = np.flatnonzero(np.diff(into, prepend=-1))
        came = before[np.ix_(self.graph.source[edges], nodes)]
        cheapest = np.minimum.reduceat(came, starts, axis=0)
        where = np.ix_(into[starts], nodes)
        here[where] = np.minimum(here[where], cheapest)

    def _closed(self, costs: Costs) -> Costs:
        """The model moves on alone, as far as that makes a state cheaper."""
        states = self._into[self._starts]
        while len(states):
            ways = np.minimum.reduceat(costs[self._from] + self._price, self._starts, axis=0)
            if not (ways < costs[states]).any():
                break
            costs[states] = np.minimum(costs[states], ways)
        return costs

    def best(
        self, table: Sequence[Costs], nodes: Sequence[int], path: Ints | None, over: bool
    ) -> tuple[int, list[tuple[int, int]]]:
        """Cost and moves of one path: (place in the path or -1, label or `SILENT`), in order."""
        last = table[len(nodes) - 1][:, nodes[-1]]
        state = self.graph.final if over else int(last.argmin())
        total = int(last[state])
        depth, moves = len(nodes) - 1, []
        while depth or state or int(table[depth][state, nodes[depth]]):
            depth, state, move = self._back(table, nodes, path, depth, state)
            if move is not None:
                moves.append(move)
        return total, moves[::-1]

    def _back(
        self,
        table: Sequence[Costs],
        nodes: Sequence[int],
        path: Ints | None,
        depth: int,
        state: int,
    ) -> tuple[int, int, tuple[int, int] | None]:
        """One move back along a cheapest way: depth and state before it, and the move."""
        here = table[depth][:, nodes[depth]]
        cost = int(here[state])
        if depth and path is not None:
            before = table[depth - 1][:, nodes[depth - 1]]
            step = int(path[depth - 1])
            for source in self._joint_steps.get((state, step), ()) if step >= 0 else ():
                if int(before[source]) == cost:
                    return depth - 1, source, (depth - 1, step)
        for price, source, label in self._model_steps[state]:
            if int(here[source]) + price == cost:
                return depth, source, None if label == SILENT else (-1, label)
        return depth - 1, state, (depth - 1, SILENT)


def _named(
    moves: Sequence[tuple[int, int]], path: Sequence[str], labels: Sequence[str]
) -> tuple[Move, ...]:
    return tuple(
        (path[place] if place >= 0 else None, labels[label] if label != SILENT else None)
        for place, label in moves
    )
