"""What adds up to what: trees, and totals that cross each other, as one summing matrix.

A region over its teams over their reps is a tree; the same reps by product beside it is a second way to
add them up. Both are a mapping from each total to its parts; a part may belong to several totals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import numpy as np

from salesops_ml.errors import DataError
from salesops_ml.forecasts.batch import Floats, Ints
from salesops_ml.forecasts.hierarchy import Tree, depth

Parts = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Structure:
    """Nodes, leaves, and which leaves make up each node.

    Attributes:
        nodes: every node, widest first; the leaves stand last.
        leaves: nodes without parts, sorted.
        matrix: 1 where the leaf is part of the node. Shape (nodes, leaves).
        level: steps down to the node along the longest way from a total at the top. (nodes,).
    """

    nodes: tuple[str, ...]
    leaves: tuple[str, ...]
    matrix: Floats
    level: Ints

    @classmethod
    def of(cls, tree: Tree | Parts) -> Structure:
        """The structure of a tree of paths, or of a mapping from each total to its parts.

        Raises:
            DataError: a total has no parts, names a part twice, or is part of itself.

        Example:
            >>> Structure.of({"all": ["north", "south"], "north": ["a", "b"], "south": ["c"]}).nodes
            ('all', 'north', 'south', 'a', 'b', 'c')
        """
        if isinstance(tree, Tree):
            told = {node: depth(node) for node in tree.nodes}
            place = {node: row for row, node in enumerate(tree.nodes)}
            made = tree.summing.toarray()
            held = {node: made[place[node]] for node in tree.nodes}
            return cls._ordered(held, tree.leaves, told)
        told = _levels(tree)
        leaves = tuple(sorted(node for node in told if node not in tree))
        held = dict(zip(leaves, np.eye(len(leaves)), strict=True))
        for node in sorted(tree, key=lambda node: -told[node]):
            held[node] = np.sum([held[part] for part in tree[node]], axis=0)
        return cls._ordered(held, leaves, told)

    @classmethod
    def _ordered(
        cls, held: Mapping[str, Floats], leaves: tuple[str, ...], told: Mapping[str, int]
    ) -> Structure:
        """By level, however the tree was told: a node lies below every node that holds more of it."""
        inner = sorted(
            (node for node in held if node not in set(leaves)),
            key=lambda n: (-held[n].sum(), told[n]),
        )
        nodes = [*inner, *leaves]
        rows = np.array([held[node] for node in nodes])
        _check_once(inner, leaves, rows)
        size = rows.sum(axis=1)
        inside = (rows @ rows.T == size[:, None]) & (size[:, None] < size)
        level = np.array([told[node] for node in nodes])
        for place in range(len(nodes)):
            above = level[inside[place]]
            level[place] = max(level[place], above.max(initial=-1) + 1)
        order = [*sorted(range(len(inner)), key=lambda p: (level[p], nodes[p]))]
        order += range(len(inner), len(nodes))
        return cls(tuple(nodes[p] for p in order), leaves, rows[order], level[order])

    def aggregate(self, leaf_values: Floats) -> Floats:
        """Sums at every node of values at the leaves; (leaves, ...) -> (nodes, ...)."""
        return np.asarray(np.tensordot(self.matrix, leaf_values, axes=1))


def _levels(parts: Parts) -> dict[str, int]:
    """Steps below the top of every node, by the longest way down."""
    for total, below in parts.items():
        if isinstance(below, str) or not len(below):
            raise DataError(f"node `{total}` has no children; list its parts, or leave it out")
    try:
        upwards = list(TopologicalSorter(parts).static_order())
    except CycleError as error:
        way = " > ".join(reversed(error.args[1]))
        raise DataError(f"the tree has a cycle: {way}; a node cannot be part of itself") from None
    level = dict.fromkeys(upwards, 0)
    for total in reversed(upwards):
        for part in parts.get(total, ()):
            level[part] = max(level[part], level[total] + 1)
    return level


def _check_once(inner: Sequence[str], leaves: Sequence[str], rows: Floats) -> None:
    twice = np.argwhere(rows > 1)
    if len(twice):
        node, leaf = inner[twice[0][0]], leaves[twice[0][1]]
        raise DataError(f"node `{node}` holds `{leaf}` twice, by two ways down; keep one of them")
