"""How transitions run: straight to the next stage, above the row to skip, below it to go back.

Between two rows of stages lies a channel. What runs along it has a lane of its own, so that lines
never lie on each other and each has room for its label. A channel holds, from top to bottom, the
ways back of the row above, ways between the two rows, the rail to the lost ends, the rail to the
won ends, and the skips of the row below. Deals that end leave by such a rail, which gets thicker
stage by stage, as a drain does.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from salesops_ml.figures.map_graph import LOST, OVER, Edge, Graph
from salesops_ml.figures.map_grid import Grid, Spot

BACK, CROSS, DRAIN, HARVEST, SKIP = range(5)
"""Sections of a channel, from top to bottom."""
STRAIGHT, LANE, RAIL, MARGIN, REOPENED, BRACKET = (
    "straight", "lane", "rail", "margin", "reopened", "bracket",
)  # fmt: skip
TOP, BOTTOM, LEFT, RIGHT = "top", "bottom", "left", "right"
_PORT_STEP = 15.0
_PORT_ROOM = 22.0
_FAR = 1e6


@dataclass
class Stop:
    """Where a route touches a stage: side, and how far along that side (filled in by `set_ports`).

    `towards` is the x at which the route's other end lies; `reach` how far its lane runs.
    """

    node: int
    side: str
    towards: float = 0.0
    reach: float = 0.0
    at: float = 0.0


@dataclass
class Run:
    """A stretch along a channel's lane; `lane` counts from the row it belongs to."""

    channel: int
    section: int
    begin: float = 0.0
    end: float = 0.0
    thickness: float = 1.0
    lane: int = 0

    @property
    def low(self) -> float:
        """Its left end."""
        return min(self.begin, self.end)

    @property
    def high(self) -> float:
        """Its right end."""
        return max(self.begin, self.end)


@dataclass
class Route:
    """One transition's way; a rail is shared by all who end at one place by one channel."""

    kind: str
    edges: list[Edge]
    start: list[Stop]
    end: Stop
    runs: list[Run] = field(default_factory=list)
    gutter: int = 0

    @property
    def count(self) -> int:
        """Moves along it."""
        return sum(edge.count for edge in self.edges)


def plan_routes(graph: Graph, grid: Grid, row_of_main: int) -> list[Route]:
    """A route for every transition of the graph."""
    routes: list[Route] = []
    rails: dict[tuple[int, int], Route] = {}
    for edge in sorted(graph.edges, key=lambda edge: (edge.source, edge.target)):
        source, target = grid.spots[edge.source], grid.spots[edge.target]
        if source.is_end:
            routes.append(_from_end(edge, source, target))
        elif target.is_end:
            _to_end(edge, source, target, grid, row_of_main, routes, rails)
        else:
            routes.append(_between(edge, source, target))
    return routes


def _between(edge: Edge, source: Spot, target: Spot) -> Route:
    """From an open stage, or the beginning, to an open stage."""
    step = target.row - source.row
    if step == 0 and target.column == source.column + 1:
        return Route(STRAIGHT, [edge], [Stop(edge.source, RIGHT)], Stop(edge.target, LEFT))
    if step == 0 and target.column > source.column:
        return _along(edge, source, target, TOP, TOP, Run(source.row, SKIP))
    if step == 0:
        return _along(edge, source, target, BOTTOM, BOTTOM, Run(source.row + 1, BACK))
    if step == 1:
        return _along(edge, source, target, BOTTOM, TOP, Run(source.row + 1, CROSS))
    if step == -1:
        return _along(edge, source, target, TOP, BOTTOM, Run(source.row, CROSS))
    sides = (BOTTOM, TOP) if step > 0 else (TOP, BOTTOM)
    first, last = (source.row + 1, target.row) if step > 0 else (source.row, target.row + 1)
    route = _along(edge, source, target, *sides, Run(first, CROSS))
    route.kind, route.runs = MARGIN, [*route.runs, Run(last, CROSS)]
    route.start[0].towards = route.end.towards = -_FAR
    return route


def _along(edge: Edge, source: Spot, target: Spot, leave: str, enter: str, run: Run) -> Route:
    distance = abs(target.centre - source.centre)
    loop = 1.0 if edge.source == edge.target else 0.0
    start = Stop(edge.source, leave, target.centre - loop, distance)
    return Route(
        LANE, [edge], [start], Stop(edge.target, enter, source.centre + loop, distance), [run]
    )


def _to_end(
    edge: Edge, source: Spot, target: Spot, grid: Grid, row_of_main: int, routes: list[Route],
    rails: dict[tuple[int, int], Route],
) -> None:  # fmt: skip
    """Straight from the last stage to the first end, else along the rail of that end."""
    first = grid.ends()[0].node.key == edge.target
    if first and source.row == row_of_main and source.column == grid.columns - 1:
        routes.append(Route(STRAIGHT, [edge], [Stop(edge.source, RIGHT)], Stop(edge.target, LEFT)))
        return
    drains = target.node.kind in (LOST, OVER)
    channel = source.row + 1 if drains else source.row
    stop = Stop(edge.source, BOTTOM if drains else TOP, _FAR, _FAR)
    rail = rails.get((channel, edge.target))
    if rail is None:
        run = Run(channel, DRAIN if drains else HARVEST)
        rail = Route(RAIL, [], [], Stop(edge.target, LEFT), [run])
        rails[channel, edge.target] = rail
        routes.append(rail)
    rail.edges.append(edge)
    rail.start.append(stop)


def _from_end(edge: Edge, source: Spot, target: Spot) -> Route:
    """Out of an end: to another end by a bracket at its right, or back into an open stage."""
    if target.is_end:
        return Route(BRACKET, [edge], [Stop(edge.source, RIGHT)], Stop(edge.target, RIGHT))
    stop = Stop(edge.target, BOTTOM, _FAR, source.centre - target.centre)
    run = Run(target.row + 1, BACK)
    return Route(REOPENED, [edge], [Stop(edge.source, LEFT)], stop, [run])


def set_ports(routes: list[Route], grid: Grid) -> None:
    """Spread the routes along the tops and bottoms of the stages so that few of them cross.

    From left to right: routes to the left, near ones first, then routes to the right, far ones
    first.
    """
    sides: dict[tuple[int, str], list[Stop]] = defaultdict(list)
    for route in routes:
        for stop in (*route.start, route.end):
            if stop.side in (TOP, BOTTOM):
                sides[stop.node, stop.side].append(stop)
    for (key, _), stops in sides.items():
        spot = grid.spots[key]
        stops.sort(key=lambda stop: _turn(stop, spot.centre))
        room = spot.w - 2 * _PORT_ROOM if spot.w > 2 * _PORT_ROOM else spot.w / 2
        step = min(_PORT_STEP, room / max(len(stops) - 1, 1))
        for turn, stop in enumerate(stops):
            stop.at = spot.centre + (turn - (len(stops) - 1) / 2) * step


def _turn(stop: Stop, centre: float) -> tuple[int, float]:
    if stop.towards < centre:
        return 0, stop.reach
    return 1, -stop.reach


def set_runs(routes: list[Route], left: dict[int, float], right: dict[int, float]) -> None:
    """Where each run begins and ends, given the x of the gutter lanes at either side."""
    for route in routes:
        if route.kind == LANE:
            route.runs[0].begin, route.runs[0].end = route.start[0].at, route.end.at
        elif route.kind == RAIL:
            route.runs[0].begin = min(stop.at for stop in route.start)
            route.runs[0].end = right[route.gutter]
        elif route.kind == MARGIN:
            route.runs[0].begin, route.runs[0].end = route.start[0].at, left[route.gutter]
            route.runs[1].begin, route.runs[1].end = left[route.gutter], route.end.at
        elif route.kind == REOPENED:
            route.runs[0].begin, route.runs[0].end = right[route.gutter], route.end.at
