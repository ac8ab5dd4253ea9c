"""The drawn lines of the map, corner by corner, from routes and lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from salesops_ml.figures.map_graph import LOST, OVER, Edge
from salesops_ml.figures.map_grid import Box, Grid, Spot
from salesops_ml.figures.map_lanes import Channels
from salesops_ml.figures.map_routes import (
    BOTTOM,
    BRACKET,
    LANE,
    LEFT,
    MARGIN,
    RAIL,
    STRAIGHT,
    TOP,
    Route,
    Run,
    Stop,
)  # fmt: skip

Point = tuple[float, float]

FORWARD, BACKWARD, DRAINING = "forward", "back", "drain"
_PORT = 13.0
_STACK_GAP = 14.0
_BRACKET = 16.0
_SHORTEST_STUB = 12.0


@dataclass(frozen=True)
class Line:
    """A drawn line: its corners, its width, and what it stands for.

    `edge` is the transition, None for the common stretch of a rail; `arrow` says whether it ends in
    an arrow head; `style` is forward, back or drain.
    """

    points: tuple[Point, ...]
    width: float
    style: str
    edge: Edge | None
    arrow: bool


@dataclass(frozen=True)
class Plan:
    """Everything that fixes the places of lines: boxes, channels and the lanes of the margins."""

    grid: Grid
    boxes: dict[int, Box]
    channels: Channels
    channel_tops: tuple[float, ...]
    left: dict[int, float]
    right: dict[int, float]
    thickness: Callable[[int], float]

    def lane(self, run: Run) -> float:
        """The y of a run."""
        return self.channel_tops[run.channel] + self.channels.of(run)


def place_boxes(
    grid: Grid, channels: Channels, routes: list[Route], main_row: int, top: float
) -> tuple[dict[int, Box], tuple[float, ...]]:
    """Boxes of all stages, and the tops of the channels.

    Rows lie below their channels; the first end beside its row, the others below it, lost ones at
    the height of their rail where that is free.
    """
    height = max([s.h for s in grid.spots.values() if not s.is_end], default=0.0)
    tops, rows, y = [], [], top
    for depth in channels.heights:
        tops.append(y)
        y += depth
        rows.append(y)
        y += height
    boxes = {
        key: Box(spot.x, rows[spot.row] + (height - spot.h) / 2, spot.w, spot.h)
        for key, spot in grid.spots.items()
        if not spot.is_end
    }
    ends = grid.ends()
    place = rows[main_row] + (height - ends[0].h) / 2 if ends else top
    for turn, spot in enumerate(ends):
        if turn:
            place = max(place, _rail_height(spot, routes, channels, tops) - spot.h / 2)
        boxes[spot.node.key] = Box(spot.x, place, spot.w, spot.h)
        place += spot.h + _STACK_GAP
    return boxes, tuple(tops)


def _rail_height(spot: Spot, routes: list[Route], channels: Channels, tops: list[float]) -> float:
    """The lowest rail that leads to a lost end; else nowhere."""
    if spot.node.kind not in (LOST, OVER):
        return 0.0
    runs = [r.runs[0] for r in routes if r.kind == RAIL and r.end.node == spot.node.key]
    return max((tops[run.channel] + channels.of(run) for run in runs), default=0.0)


def draw_lines(routes: list[Route], plan: Plan) -> list[Line]:
    """All lines; common stretches of rails before what joins them."""
    _set_side_ports(routes, plan)
    brackets = sorted(
        (route for route in routes if route.kind == BRACKET), key=lambda r: _height(r, plan)
    )
    lines: list[Line] = []
    for route in routes:
        if route.kind == RAIL and len(route.start) > 1:
            lines += _rail(route, plan)
        elif route.kind == BRACKET:
            lines.append(_line(route, plan, _bracket(route, plan, brackets.index(route))))
        else:
            lines.append(_line(route, plan, tuple(_corners(route, plan))))
    return lines


def _line(route: Route, plan: Plan, points: tuple[Point, ...]) -> Line:
    edge = route.edges[0]
    drains = plan.grid.spots[edge.target].node.kind in (LOST, OVER)
    style = BACKWARD if edge.back else DRAINING if drains else FORWARD
    return Line(points, plan.thickness(route.count), style, edge, True)


def _corners(route: Route, plan: Plan) -> Iterator[Point]:
    """The corners of a route with one start."""
    begin, end = _touch(route.start[0], plan), _touch(route.end, plan)
    yield begin
    if route.kind == STRAIGHT:
        yield end[0], begin[1]
        return
    lanes = [plan.lane(run) for run in route.runs]
    if route.kind == LANE:
        yield begin[0], lanes[0]
        yield end[0], lanes[0]
    elif route.kind == MARGIN:
        x = plan.left[route.gutter]
        yield from ((begin[0], lanes[0]), (x, lanes[0]), (x, lanes[1]), (end[0], lanes[1]))
    elif route.kind == RAIL:
        x = plan.right[route.gutter]
        yield from ((begin[0], lanes[0]), (x, lanes[0]), (x, end[1]))
    else:
        x = plan.right[route.gutter]
        yield from ((x, begin[1]), (x, lanes[0]), (end[0], lanes[0]))
    yield end


def _rail(route: Route, plan: Plan) -> list[Line]:
    """A rail: stretches that get thicker from stage to stage, and each stage's way onto it."""
    y, x_end = plan.lane(route.runs[0]), plan.right[route.gutter]
    end = _touch(route.end, plan)
    joined = sorted(zip(route.start, route.edges, strict=True), key=lambda pair: pair[0].at)
    style = DRAINING if plan.grid.spots[route.end.node].node.kind in (LOST, OVER) else FORWARD
    stretches, ways, total = [], [], 0
    for turn, (stop, edge) in enumerate(joined):
        total += edge.count
        thickness = plan.thickness(total)
        begin = _touch(stop, plan)
        ways.append(
            Line((begin, (stop.at, y), (stop.at + _SHORTEST_STUB, y)), plan.thickness(edge.count),
                 style, edge, False)
        )  # fmt: skip
        here, last = (stop.at + _SHORTEST_STUB, y), turn + 1 == len(joined)
        points: tuple[Point, ...] = (here, (x_end, y), (x_end, end[1]), end)
        if not last:
            points = (here, (joined[turn + 1][0].at + _SHORTEST_STUB, y))
        stretches.append(Line(points, thickness, style, None, last))
    return [*stretches, *ways]


def _bracket(route: Route, plan: Plan, turn: int) -> tuple[Point, ...]:
    begin, end = _touch(route.start[0], plan), _touch(route.end, plan)
    x = max(begin[0], end[0]) + _BRACKET * (1 + turn)
    return begin, (x, begin[1]), (x, end[1]), end


def _height(route: Route, plan: Plan) -> float:
    boxes = plan.boxes
    return abs(boxes[route.start[0].node].y - boxes[route.end.node].y)


def _touch(stop: Stop, plan: Plan) -> Point:
    """The point at which a route touches a stage."""
    box = plan.boxes[stop.node]
    if stop.side == TOP:
        return stop.at, box.y
    if stop.side == BOTTOM:
        return stop.at, box.bottom
    return (box.x if stop.side == LEFT else box.right), box.middle[1] + stop.at


def _set_side_ports(routes: list[Route], plan: Plan) -> None:
    """Spread routes along the left and right sides of the ends; straight ones keep the middle."""
    for key, box in plan.boxes.items():
        if not plan.grid.spots[key].is_end:
            continue
        entering = [r for r in routes if r.end.node == key and r.end.side == LEFT]
        leaving = [r for r in routes if r.start and r.start[0].node == key and r.kind != BRACKET]
        straight = any(route.kind == STRAIGHT for route in entering)
        bent = [route for route in entering if route.kind != STRAIGHT]
        lowest = max((plan.lane(route.runs[0]) for route in bent), default=0.0)
        rails = [route.end for route in bent]
        above = rails if lowest < box.middle[1] else []
        below = [] if above else rails
        below += [route.start[0] for route in leaving]
        if straight or (above and below) or leaving:
            _spread(above, -1)
            _spread(below, 1)
        _set_brackets([r for r in routes if r.kind == BRACKET], key, plan)


def _spread(stops: list[Stop], sign: int) -> None:
    """Off the middle of a side; the rails of all channels enter an end together."""
    for stop in stops:
        stop.at = sign * _PORT


def _set_brackets(brackets: list[Route], key: int, plan: Plan) -> None:
    """Along the right side of an end: upward brackets above, downward ones below."""
    stops = [
        (plan.boxes[other].y, stop)
        for route in brackets
        for stop, other in (
            (route.start[0], route.end.node), (route.end, route.start[0].node)
        )
        if stop.node == key
    ]  # fmt: skip
    stops.sort(key=lambda pair: (pair[0] > plan.boxes[key].y, pair[0]))
    for turn, (_, stop) in enumerate(stops):
        stop.at = (turn - (len(stops) - 1) / 2) * min(12.0, 44.0 / max(len(stops), 1))
