"""Labels of the map's lines: how many deals, and how long they take; never one upon another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from salesops_ml.figures.map_graph import Edge
from salesops_ml.figures.map_grid import GAP, Box
from salesops_ml.figures.map_lines import Line, Plan
from salesops_ml.figures.map_routes import BRACKET, RAIL, STRAIGHT, Route
from salesops_ml.figures.map_text import short_count, short_time, width

SIZE, HEIGHT = 11.0, 15.0
LEAST_SHARE = 0.01
_SIDE = 3.0
_AFTER_JOINT = 16.0


@dataclass(frozen=True)
class Label:
    """Words on a line: their box, the text, and the transition that they tell of."""

    box: Box
    text: str
    edge: Edge


def place_labels(routes: list[Route], lines: list[Line], plan: Plan) -> list[Label]:
    """A label for every line that carries at least `LEAST_SHARE` of the busiest, where it fits."""
    most = max((edge.count for route in routes for edge in route.edges), default=0)
    uprights = list(_uprights(lines))
    labels: list[Label] = []
    taken = list(plan.boxes.values())
    for route in sorted(routes, key=lambda route: -route.count):
        for label in _proposed(route, plan, uprights):
            often = label.edge.count >= LEAST_SHARE * most
            if often and not any(label.box.overlaps(box) for box in taken):
                labels.append(label)
                taken.append(label.box)
    return labels


def _proposed(
    route: Route, plan: Plan, uprights: list[tuple[float, float, float]]
) -> Iterator[Label]:
    if route.kind == STRAIGHT:
        yield from _in_the_gap(route, plan)
    elif route.kind == RAIL:
        yield from _along_the_rail(route, plan, uprights)
    elif route.kind != BRACKET:
        run = max(route.runs, key=lambda run: run.high - run.low)
        found = _on_lane(plan.lane(run), run.low + 8, run.high - 8, _words(route.edges[0]),
                         uprights)  # fmt: skip
        if found:
            yield Label(found, _words(route.edges[0]), route.edges[0])


def _in_the_gap(route: Route, plan: Plan) -> Iterator[Label]:
    """Above and below a straight line between two neighbours."""
    edge = route.edges[0]
    source = plan.boxes[edge.source]
    middle, y = source.right + GAP / 2, source.middle[1]
    off = plan.thickness(edge.count) / 2 + 2
    for text, top in ((short_count(edge.count), y - off - HEIGHT), (_time(edge), y + off)):
        if text:
            yield Label(_box(middle, top + HEIGHT / 2, text), text, edge)


def _along_the_rail(
    route: Route, plan: Plan, uprights: list[tuple[float, float, float]]
) -> Iterator[Label]:
    """Behind each stage's joint with a rail: how many it loses, and after how long."""
    joined = sorted(zip(route.start, route.edges, strict=True), key=lambda pair: pair[0].at)
    y = plan.lane(route.runs[0])
    ends = [stop.at for stop, _ in joined[1:]] + [plan.right[route.gutter]]
    for (stop, edge), end in zip(joined, ends, strict=True):
        text = _words(edge)
        found = _on_lane(y, stop.at + _AFTER_JOINT, end - 8, text, uprights)
        if found is None:
            text = short_count(edge.count)
            found = _on_lane(y, stop.at + _AFTER_JOINT, end - 8, text, uprights)
        if found:
            yield Label(found, text, edge)


def _on_lane(
    y: float, low: float, high: float, text: str, uprights: list[tuple[float, float, float]]
) -> Box | None:
    """A box on a lane, as near to its middle as crossings allow; None where there is no room."""
    need = width(text, SIZE) + 2 * _SIDE
    if high - low < need:
        return None
    cuts = sorted(x for x, top, bottom in uprights if top < y < bottom and low < x < high)
    middle = (low + high) / 2
    best: float | None = None
    edges = [low, *cuts, high]
    for begin, end in pairwise(edges):
        room = end - begin - 2 * _SIDE
        if room >= need:
            at = min(max(middle, begin + _SIDE + need / 2), end - _SIDE - need / 2)
            if best is None or abs(at - middle) < abs(best - middle):
                best = at
    return _box(best if best is not None else middle, y, text)


def _uprights(lines: list[Line]) -> Iterator[tuple[float, float, float]]:
    """(x, top, bottom) of every upright stretch."""
    for line in lines:
        for (x, y), (other_x, other_y) in pairwise(line.points):
            if x == other_x:
                yield x, min(y, other_y), max(y, other_y)


def _words(edge: Edge) -> str:
    time = _time(edge)
    return f"{short_count(edge.count)} · {time}" if time else short_count(edge.count)


def _time(edge: Edge) -> str:
    time = short_time(edge.half)
    return "" if time == "–" else time


def _box(middle: float, y: float, text: str) -> Box:
    wide = width(text, SIZE) + 2 * _SIDE
    return Box(middle - wide / 2, y - HEIGHT / 2, wide, HEIGHT)
