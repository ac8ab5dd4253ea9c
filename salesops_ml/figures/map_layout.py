"""The finished layout of the map: boxes, lines and labels, in pixels, no label upon another.

Nothing here knows colours or SVG; `map_drawing` turns a layout into a picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from salesops_ml.figures.map_graph import Graph
from salesops_ml.figures.map_grid import GAP, Box, Grid, Spot, build_grid, main_row
from salesops_ml.figures.map_labels import Label, place_labels
from salesops_ml.figures.map_lanes import pack_lanes
from salesops_ml.figures.map_lines import Line, Plan, draw_lines, place_boxes
from salesops_ml.figures.map_routes import (
    MARGIN,
    RAIL,
    REOPENED,
    Route,
    plan_routes,
    set_ports,
    set_runs,
)  # fmt: skip

THINNEST, THICKEST = 1.5, 13.0
_GUTTER = 15.0
_MOST_GUTTERS = 12
_EDGE = 20.0


@dataclass(frozen=True)
class Layout:
    """Everything placed: spots and boxes by key of node, lines, labels, and the size of it all.

    `most` is the number of moves that the thickest line stands for.
    """

    graph: Graph
    spots: dict[int, Spot]
    boxes: dict[int, Box]
    lines: tuple[Line, ...]
    labels: tuple[Label, ...]
    width: float
    height: float
    most: int


def lay_out(graph: Graph, *, top: float = 0.0) -> Layout:
    """Place a graph; `top` is where it may begin.

    Rows, columns and routes come first, since these fix how many lanes each channel needs; then
    heights, then lines, and labels last, where there is room.
    """
    grid, routes, row = _routed(graph, _EDGE)
    margins = min(sum(route.kind == MARGIN for route in routes), _MOST_GUTTERS)
    if margins:
        grid, routes, row = _routed(graph, _EDGE + margins * _GUTTER)
    gutters = _number_gutters(routes, grid)
    at_left = {turn: _EDGE - 6 + turn * _GUTTER for turn in range(margins)}
    at_right = {turn: grid.right + GAP + 4 + turn * _GUTTER for turn in range(gutters)}
    grid = _with_ends_at(grid, grid.right + GAP + gutters * _GUTTER + (12 if gutters else 0))
    set_ports(routes, grid)
    set_runs(routes, at_left, at_right)
    most = max([route.count for route in routes], default=1)

    def thickness(count: int) -> float:
        return THINNEST + (THICKEST - THINNEST) * count / most

    channels = pack_lanes(routes, grid.rows, thickness)
    boxes, tops = place_boxes(grid, channels, routes, row, top)
    plan = Plan(grid, boxes, channels, tops, at_left, at_right, thickness)
    lines = draw_lines(routes, plan)
    labels = place_labels(routes, lines, plan)
    corners = [corner for line in lines for corner in line.points]
    all_boxes = [*boxes.values(), *(label.box for label in labels)]
    return Layout(
        graph, grid.spots, boxes, tuple(lines), tuple(labels),
        max([*(box.right for box in all_boxes), *(x + 8 for x, _ in corners)], default=0) + _EDGE,
        max([*(box.bottom for box in all_boxes), *(y + 8 for _, y in corners)], default=top),
        most,
    )  # fmt: skip


def _routed(graph: Graph, left: float) -> tuple[Grid, list[Route], int]:
    grid = build_grid(graph, left=left)
    row = main_row(grid, graph.edges)
    return grid, plan_routes(graph, grid, row), row


def _number_gutters(routes: list[Route], grid: Grid) -> int:
    """Number the upright lanes in the margins; how many there are at the right.

    At the right each end has one lane for all its rails, lower ends further to the left.
    """
    far = sorted((route for route in routes if route.kind == MARGIN), key=lambda r: -r.count)
    for turn, route in enumerate(far):
        route.gutter = min(turn, _MOST_GUTTERS - 1)
    used = {route.end.node for route in routes if route.kind == RAIL}
    ends = [spot.node.key for spot in reversed(grid.ends()) if spot.node.key in used]
    opened = [route for route in routes if route.kind == REOPENED]
    for route in routes:
        if route.kind == RAIL:
            route.gutter = ends.index(route.end.node)
    for turn, route in enumerate(opened):
        route.gutter = len(ends) + turn
    return len(ends) + len(opened)


def _with_ends_at(grid: Grid, x: float) -> Grid:
    spots = {key: replace(spot, x=x) if spot.is_end else spot for key, spot in grid.spots.items()}
    return Grid(spots, grid.rows, grid.columns, grid.right)
