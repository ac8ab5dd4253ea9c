"""Where the stages stand: open ones in rows from left to right, the ends of a deal at the right."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from salesops_ml.figures.map_graph import BEGIN, LOST, OPEN, OVER, WON, Edge, Graph, Node
from salesops_ml.figures.map_text import NAME_SIZES, WIDE_FONTS, fit_name, width

MOST_COLUMNS = 7
NODE_WIDTH, NODE_HEIGHT = (122.0, 150.0), 88.0
"""Open stages are as wide as their names ask for, between these."""
END_HEIGHT = 50.0
GAP = 60.0
BEGIN_SIZE = 34.0
_ENDS = (WON, LOST, OVER)


@dataclass(frozen=True)
class Box:
    """A rectangle: its upper left corner and its size."""

    x: float
    y: float
    w: float
    h: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.w

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.h

    @property
    def middle(self) -> tuple[float, float]:
        """Its centre."""
        return self.x + self.w / 2, self.y + self.h / 2

    def overlaps(self, other: Box) -> bool:
        """Whether the two share more than an edge."""
        apart = (
            self.right <= other.x or other.right <= self.x
            or self.bottom <= other.y or other.bottom <= self.y
        )  # fmt: skip
        return not apart


@dataclass(frozen=True)
class Spot:
    """A stage's place: row and column of an open stage; ends stand in the column after the last."""

    node: Node
    row: int
    column: int
    x: float
    w: float
    h: float
    lines: tuple[str, ...]
    type_size: float

    @property
    def is_end(self) -> bool:
        """Whether it is one of the ends at the right."""
        return self.node.kind in _ENDS

    @property
    def centre(self) -> float:
        """The middle of its width."""
        return self.x + self.w / 2


@dataclass(frozen=True)
class Grid:
    """All places; `right` is where the last column ends."""

    spots: dict[int, Spot]
    rows: int
    columns: int
    right: float

    def ends(self) -> list[Spot]:
        """The ends, in the order of the process: won first."""
        return sorted(
            (spot for spot in self.spots.values() if spot.is_end), key=lambda spot: spot.node.key
        )


def build_grid(graph: Graph, *, left: float) -> Grid:
    """Places for the stages of a map; `left` is where it may begin."""
    stages = [node for node in graph.nodes if node.kind == OPEN]
    rows = max(ceil(len(stages) / MOST_COLUMNS), 1)
    columns = ceil(len(stages) / rows) if stages else 0
    spots: dict[int, Spot] = {}
    wide = _card_width(graph)
    begins = [node for node in graph.nodes if node.kind == BEGIN]
    for node in begins:
        spots[node.key] = Spot(node, 0, -1, left, BEGIN_SIZE, BEGIN_SIZE, (), 0.0)
    first = left + (BEGIN_SIZE + GAP if begins else 0.0)
    for turn, node in enumerate(stages):
        row, column = divmod(turn, columns)
        x = first + column * (wide + GAP)
        spots[node.key] = _spot(node, row, column, x, wide, NODE_HEIGHT)
    right = first + columns * (wide + GAP) - (GAP if columns else 0.0)
    for node in graph.nodes:
        if node.kind in _ENDS:
            spots[node.key] = _spot(node, -1, columns, right + GAP, wide, END_HEIGHT)
    return Grid(spots, rows, columns, right)


def _card_width(graph: Graph) -> float:
    """The width that lets every name stand in its usual type, within bounds."""
    least, most = NODE_WIDTH
    needed = [
        width(part, NAME_SIZES[0], bold=True) * WIDE_FONTS + (46 if node.kind in _ENDS else 14)
        for node in graph.nodes
        for part in node.name.split(" ")
    ]
    return min(max([least, *needed]), most)


def _spot(node: Node, row: int, column: int, x: float, wide: float, height: float) -> Spot:
    lines, size = fit_name(node.name, (wide - (44 if node.kind in _ENDS else 10)) / WIDE_FONTS)
    return Spot(node, row, column, x, wide, height, tuple(lines), size)


def main_row(grid: Grid, edges: tuple[Edge, ...]) -> int:
    """The row from which most deals are won or over: the first end stands beside it."""
    ends = grid.ends()
    if not ends:
        return 0
    into = [edge for edge in edges if edge.target == ends[0].node.key]
    into = [edge for edge in into if not grid.spots[edge.source].is_end]
    if not into:
        return grid.rows - 1
    return max(grid.spots[max(into, key=lambda edge: edge.count).source].row, 0)
