"""How moves run on the process map: bands of cards, ports on their sides, lanes between them.

Stages stand from left to right in the order of the process, in as many bands as a page needs. A move
to the next stage is a straight line; one that skips stages runs on a lane above the cards, one that
goes back on a lane below; moves that close deals share a trunk a closing stage.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from salesops_ml.figures.map_facts import LOST, OPEN, MapEdge, MapFacts
from salesops_ml.figures.map_words import short_count, short_time, text_width

CARD_WIDTH, CARD_HEIGHT, GAP = 164.0, 92.0, 72.0
PITCH = CARD_WIDTH + GAP
COLUMNS = 7
LABEL_SIZE, LABEL_HEIGHT = 11.5, 16.0
WIDEST, THINNEST = 10.0, 1.3
FEW = 0.004
"""Moves below this share of the busiest are drawn without a label."""
_LANE, _AIR, _PORT_ROOM = 10.0, 14.0, 14.0
_BAND_GAP, _ENTRY = 26.0, 58.0
ABOVE, BELOW = "above", "below"


@dataclass
class Run:
    """A horizontal stretch of a move on a lane of one side of one band."""

    band: int
    side: str
    left: float
    right: float
    edge: MapEdge
    label: str = ""
    lane: int = 0
    y: float = 0.0

    @property
    def room(self) -> float:
        return self.right - self.left


@dataclass
class Plan:
    """The map while it is laid out; x counts from the left side of the first column."""

    facts: MapFacts
    spot: dict[int, tuple[int, int]]
    columns: int
    bands: int
    routes: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    ports: dict[tuple[int, str, str], float] = field(default_factory=dict)
    row_y: list[float] = field(default_factory=list)
    trunk_y: dict[tuple[int, int], float] = field(default_factory=dict)
    height: float = 0.0

    @property
    def right(self) -> float:
        return self.columns * PITCH - GAP

    def card_x(self, place: int) -> float:
        return self.spot[place][1] * PITCH


def plan_map(facts: MapFacts) -> Plan:
    """Bands of equal length, filled in the order of the process, and the lanes of their moves."""
    inner = [place for place, node in enumerate(facts.nodes) if node.kind == OPEN]
    bands = max(-(-len(inner) // COLUMNS), 1)
    columns = max(-(-len(inner) // bands), 1)
    spot = {place: divmod(turn, columns) for turn, place in enumerate(inner)}
    plan = Plan(facts, spot, columns, bands)
    plan.routes = {edge.key: _route(plan, edge) for edge in facts.edges}
    _set_ports(plan)
    _set_runs(plan)
    _set_lanes(plan)
    return plan


def _route(plan: Plan, edge: MapEdge) -> str:
    """How a move runs: straight, wrap, skip, back, far, return, door or trunk."""
    if edge.target not in plan.spot:
        last = edge.source == max(plan.spot)
        won = plan.facts.nodes[edge.target].kind != LOST
        return "door" if last and won else "trunk"
    band, column = plan.spot[edge.source]
    to_band, to_column = plan.spot[edge.target]
    if band == to_band:
        step = to_column - column
        return "straight" if step == 1 else "skip" if step > 1 else "back"
    if edge.target - edge.source == 1:
        return "wrap"
    return "far" if to_band > band else "return"


_SIDES = {"skip": ABOVE, "far": ABOVE, "back": BELOW, "return": BELOW}


def _side(plan: Plan, route: str, edge: MapEdge) -> str:
    if route == "trunk":
        return BELOW if plan.facts.nodes[edge.target].kind == LOST else ABOVE
    return _SIDES.get(route, "")


def _set_ports(plan: Plan) -> None:
    """Where on a card's upper or lower side each move begins or ends, so that few lines cross.

    Lines to the left stand left, the nearest outermost; lines to the right stand right, likewise.
    """
    ways: dict[tuple[int, str], list[tuple[float, str, str]]] = defaultdict(list)
    for edge in plan.facts.edges:
        side = _side(plan, plan.routes[edge.key], edge)
        if not side:
            continue
        reach = _reach(plan, plan.routes[edge.key], edge)
        ways[edge.source, side].append((reach[0], edge.key, "out"))
        if plan.routes[edge.key] != "trunk":
            ways[edge.target, side].append((reach[1], edge.key, "in"))
    for (place, side), found in ways.items():
        lefts = sorted((way for way in found if way[0] < 0), key=lambda way: (-way[0], way[1:]))
        rights = sorted((way for way in found if way[0] >= 0), key=lambda way: (-way[0], way[1:]))
        step = (CARD_WIDTH - 2 * _PORT_ROOM) / (len(found) + 1)
        for turn, (_, key, end) in enumerate([*lefts, *rights]):
            x = plan.card_x(place) + _PORT_ROOM + step * (turn + 1)
            plan.ports[place, key, end] = x


def _reach(plan: Plan, route: str, edge: MapEdge) -> tuple[float, float]:
    """How far to the right (or, negative, left) a move runs from its source, and from its target."""
    if route == "trunk":
        return 1000.0 + edge.target, 0.0
    if route == "far":
        return 500.0, 500.0
    if route == "return":
        return -500.0, -500.0
    step = plan.spot[edge.target][1] - plan.spot[edge.source][1]
    if step == 0:
        return 0.5, -0.5
    return float(step), float(-step)


def _set_runs(plan: Plan) -> None:
    """The horizontal stretches that need a lane."""
    busiest = max((edge.count for edge in plan.facts.edges), default=1)
    for edge in plan.facts.edges:
        route = plan.routes[edge.key]
        label = _words(edge) if edge.count >= FEW * busiest or edge.dear else ""
        band, to_band = plan.spot[edge.source][0], plan.spot.get(edge.target, (0, 0))[0]
        if route in ("skip", "back"):
            ends = sorted((_port(plan, edge, "out"), _port(plan, edge, "in")))
            plan.runs.append(Run(band, _SIDES[route], *ends, edge, label))
        elif route in ("far", "return"):
            for one, end, words in ((band, "out", label), (to_band, "in", "")):
                x = _port(plan, edge, end)
                span = (x, plan.right + GAP) if route == "far" else (-GAP, x)
                plan.runs.append(Run(one, _SIDES[route], *span, edge, words))
        elif route == "wrap":
            plan.runs.append(Run(to_band, ABOVE, -GAP, plan.right + GAP, edge, label))
    for run in plan.runs:
        if text_width(run.label, LABEL_SIZE) + 12 > run.room:
            run.label = ""


def _port(plan: Plan, edge: MapEdge, end: str) -> float:
    return plan.ports[edge.source if end == "out" else edge.target, edge.key, end]


def _words(edge: MapEdge) -> str:
    count = short_count(edge.count)
    return count if edge.median is None else f"{count} · {short_time(edge.median)}"


def flow_width(facts: MapFacts, count: int) -> float:
    """Width of a line through which so many deals run."""
    busiest = max((edge.count for edge in facts.edges), default=1)
    return max(WIDEST * count / max(busiest, 1), THINNEST)


def _set_lanes(plan: Plan) -> None:
    """Lanes for the runs, nearest for the shortest; then the heights of bands and of their rows."""
    y = 0.0
    for band in range(plan.bands):
        y += _lanes_height(plan, band, ABOVE)
        plan.row_y.append(y)
        _settle(plan, band, ABOVE, y)
        y += CARD_HEIGHT
        _settle(plan, band, BELOW, y)
        y += _lanes_height(plan, band, BELOW) + _BAND_GAP
    plan.height = y - _BAND_GAP


def _lanes_height(plan: Plan, band: int, side: str) -> float:
    lanes = _lanes(plan, band, side)
    heights = sum(lanes) + _AIR * (len(lanes) > 0)
    return heights + sum(_trunk_heights(plan, band, side).values())


def _lanes(plan: Plan, band: int, side: str) -> list[float]:
    """Heights of the lanes, the nearest first; sets the lane of each run."""
    runs = [run for run in plan.runs if (run.band, run.side) == (band, side)]
    taken: list[list[Run]] = []
    for run in sorted(runs, key=lambda run: (run.room, run.left, run.edge.key)):
        free = (
            turn for turn, lane in enumerate(taken) if not any(_touch(run, other) for other in lane)
        )
        run.lane = next(free, len(taken))
        if run.lane == len(taken):
            taken.append([])
        taken[run.lane].append(run)
    return [
        max(max(flow_width(plan.facts, run.edge.count) + 6,
                LABEL_HEIGHT + 2 if run.label else _LANE) for run in lane)
        for lane in taken
    ]  # fmt: skip


def _touch(one: Run, other: Run) -> bool:
    return one.left < other.right + 8 and other.left < one.right + 8


def _trunk_heights(plan: Plan, band: int, side: str) -> dict[int, float]:
    """Closing stages with a trunk on this side of the band, and the height of each trunk."""
    flow: dict[int, int] = defaultdict(int)
    for edge in plan.facts.edges:
        if edge.target in plan.spot or plan.routes[edge.key] != "trunk":
            continue
        if plan.spot[edge.source][0] == band and _side(plan, "trunk", edge) == side:
            flow[edge.target] += edge.count
    return {target: flow_width(plan.facts, flow[target]) + _LANE for target in sorted(flow)}


def _settle(plan: Plan, band: int, side: str, edge_y: float) -> None:
    """y of every lane and trunk on one side of a band, going away from the cards."""
    away = -1.0 if side == ABOVE else 1.0
    y = edge_y + away * _AIR
    for lane, height in enumerate(_lanes(plan, band, side)):
        for run in plan.runs:
            if (run.band, run.side, run.lane) == (band, side, lane):
                run.y = y + away * height / 2
        y += away * height
    for target, height in _trunk_heights(plan, band, side).items():
        plan.trunk_y[band, target] = y + away * height / 2
        y += away * height
