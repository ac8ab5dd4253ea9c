"""Where everything on the process map stands: cards, lines and labels, in points from the upper left.

Won and lost stand at the right. No two lines share a stretch of a lane, and each label stands on its
own line's lane or in the gap between two cards, so that labels cannot overlap, however large the map.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from salesops_ml.figures.map_facts import LOST, OPEN, MapEdge
from salesops_ml.figures.map_plan import (
    CARD_HEIGHT, CARD_WIDTH, GAP, LABEL_HEIGHT, LABEL_SIZE, PITCH, Plan, Run, flow_width, plan_map,
)  # fmt: skip
from salesops_ml.figures.map_facts import MapFacts
from salesops_ml.figures.map_words import short_count, short_time, text_width

ENTRY = 62.0
_SLOT, _STACK = 7.0, 18.0


@dataclass(frozen=True)
class Box:
    """A rectangle: left, top, width, height."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> float:
        return self.y + self.height / 2

    def overlaps(self, other: Box) -> bool:
        """Whether they share more than an edge."""
        return (
            self.x < other.right and other.x < self.right
            and self.y < other.bottom and other.y < self.bottom
        )  # fmt: skip


Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A line of a move, or a stretch of a trunk.

    Attributes:
        key: of the move; empty for a trunk.
        points: its corners.
        width: by flow.
        look: on, back, lost or dear.
        arrow: whether it ends in an arrowhead.
        ends: keys of the stages that it joins.
    """

    key: str
    points: tuple[Point, ...]
    width: float
    look: str
    arrow: bool
    ends: tuple[str, str]


@dataclass(frozen=True)
class Label:
    """Words in a box of their own.

    Attributes:
        key: of the move that they speak of.
        box: their place.
        lines: the words, from above.
    """

    key: str
    box: Box
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """Places of all that is drawn, the upper left corner being (0, 0).

    Attributes:
        cards: by place of the stage in the facts.
        lines, labels: see there.
        width, height: of the whole.
    """

    cards: tuple[Box, ...]
    lines: tuple[Line, ...]
    labels: tuple[Label, ...]
    width: float
    height: float


@dataclass
class _Draft:
    """The layout while it grows.

    Attributes:
        plan: bands, ports and lanes.
        cards: by place.
        right, left: x of each vertical lane beside the bands, by what runs on it.
    """

    plan: Plan
    cards: dict[int, Box] = field(default_factory=dict)
    right: dict[str, float] = field(default_factory=dict)
    left: dict[str, float] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)

    def key(self, place: int) -> str:
        return self.plan.facts.nodes[place].key

    def width(self, count: int) -> float:
        return flow_width(self.plan.facts, count)


def lay_out(facts: MapFacts) -> Layout:
    """Places for the cards, lines and labels of `facts`."""
    draft = _Draft(plan_map(facts))
    _place_cards(draft)
    _draw_trunks(draft)
    for edge in facts.edges:
        _draw_move(draft, edge)
    _draw_entry(draft)
    _label_runs(draft)
    return _shifted(draft)


def _place_cards(draft: _Draft) -> None:
    """Open stages in their bands; closing stages stacked at the right of the last band."""
    plan = draft.plan
    for place, (band, _) in plan.spot.items():
        draft.cards[place] = Box(plan.card_x(place), plan.row_y[band], CARD_WIDTH, CARD_HEIGHT)
    y = plan.row_y[-1]
    closing = [place for place in range(len(plan.facts.nodes)) if place not in plan.spot]
    for place in closing:
        trunk = plan.trunk_y.get((plan.bands - 1, place))
        if plan.facts.nodes[place].kind == LOST and trunk is not None:
            y = max(y, trunk - CARD_HEIGHT / 2)
        draft.cards[place] = Box(0.0, y, CARD_WIDTH, CARD_HEIGHT)
        y += CARD_HEIGHT + _STACK
    reach = _set_slots(draft, closing)
    for place in closing:
        draft.cards[place] = replace(draft.cards[place], x=reach + 30)


def _set_slots(draft: _Draft, closing: Sequence[int]) -> float:
    """Vertical lanes at both sides of the bands; x where those at the right end."""
    plan = draft.plan
    right: list[tuple[float, float, str, float]] = []
    left: list[tuple[float, float, str, float]] = []
    for place in closing:
        flow = sum(edge.count for edge in plan.facts.edges if edge.target == place)
        ys = [y for (_, target), y in plan.trunk_y.items() if target == place]
        ys.append(draft.cards[place].middle)
        ys += [_door_y(draft, edge) for edge in plan.facts.edges
               if edge.target == place and plan.routes[edge.key] == "door"]  # fmt: skip
        right.append((min(ys), max(ys), draft.key(place), draft.width(flow)))
    for edge in plan.facts.edges:
        runs = [run for run in plan.runs if run.edge is edge]
        width = draft.width(edge.count)
        if plan.routes[edge.key] == "wrap":
            band = plan.spot[edge.source][0]
            middle = plan.row_y[band] + CARD_HEIGHT / 2, plan.row_y[band + 1] + CARD_HEIGHT / 2
            right.append((middle[0], runs[0].y, edge.key, width))
            left.append((runs[0].y, middle[1], edge.key, width))
        elif plan.routes[edge.key] in ("far", "return"):
            ys = sorted(run.y for run in runs)
            side = right if plan.routes[edge.key] == "far" else left
            side.append((ys[0], ys[1], edge.key, width))
    start = plan.right + GAP
    draft.right, reach = _slots(right, start, 1.0)
    draft.left, _ = _slots(left, -20.0, -1.0)
    return max(reach, start)


def _slots(
    spans: Sequence[tuple[float, float, str, float]], start: float, away: float
) -> tuple[dict[str, float], float]:
    """x of each vertical line, short ones nearest, no two on the same stretch; and where they end."""
    lanes: list[list[tuple[float, float, str, float]]] = []
    for span in sorted(spans, key=lambda span: (span[1] - span[0], span)):
        for lane in lanes:
            if all(span[0] > other[1] + 8 or other[0] > span[1] + 8 for other in lane):
                lane.append(span)
                break
        else:
            lanes.append([span])
    places, x = {}, start
    for lane in lanes:
        width = max(span[3] for span in lane) + _SLOT
        for span in lane:
            places[span[2]] = x + away * width / 2
        x += away * width
    return places, x


def _door_y(draft: _Draft, edge: MapEdge) -> float:
    """Height at which a move leaves the last card for a closing stage."""
    plan = draft.plan
    doors = sorted(
        (one for one in plan.facts.edges if plan.routes[one.key] == "door"),
        key=lambda one: one.target,
    )
    card = draft.cards[edge.source]
    if len(doors) == 1:
        return card.middle
    return card.y + CARD_HEIGHT * (doors.index(edge) + 0.5) / len(doors)


def _draw_trunks(draft: _Draft) -> None:
    """For each closing stage, what all moves into it share."""
    plan = draft.plan
    for place in [place for place in draft.cards if place not in plan.spot]:
        entering = [edge for edge in plan.facts.edges if edge.target == place]
        if not entering:
            continue
        card, x = draft.cards[place], draft.right[draft.key(place)]
        look = "lost" if plan.facts.nodes[place].kind == LOST else "on"
        ends = ("", draft.key(place))
        joined: list[tuple[float, int]] = []
        for band in range(plan.bands):
            stems = sorted(
                (plan.ports[edge.source, edge.key, "out"], edge.count) for edge in entering
                if plan.routes[edge.key] == "trunk" and plan.spot[edge.source][0] == band
            )  # fmt: skip
            if not stems:
                continue
            y, flow = plan.trunk_y[band, place], 0
            for turn, (stem, count) in enumerate(stems):
                flow += count
                following = stems[turn + 1][0] if turn + 1 < len(stems) else x
                _add(draft, "", [(stem, y), (following, y)], flow, look, ends)
            joined.append((y, flow))
        joined += [(_door_y(draft, edge), edge.count) for edge in entering
                   if plan.routes[edge.key] == "door"]  # fmt: skip
        for side in (-1, 1):
            _draw_fall(draft, x, card.middle, side, joined, look, ends)
        total = sum(edge.count for edge in entering)
        _add(draft, "", [(x, card.middle), (card.x, card.middle)], total, look, ends, arrow=True)


def _draw_fall(
    draft: _Draft, x: float, entry: float, side: int, joined: Sequence[tuple[float, int]],
    look: str, ends: tuple[str, str],
) -> None:  # fmt: skip
    """A trunk's vertical, from the farthest joint on one side to the closing card's height."""
    ys = sorted(
        (one for one in joined if (one[0] - entry) * side > 0.5), key=lambda one: -side * one[0]
    )
    flow = 0
    for turn, (y, count) in enumerate(ys):
        flow += count
        following = ys[turn + 1][0] if turn + 1 < len(ys) else entry
        _add(draft, "", [(x, y), (x, following)], flow, look, ends)


def _draw_move(draft: _Draft, edge: MapEdge) -> None:
    plan = draft.plan
    route = plan.routes[edge.key]
    source, target = draft.cards[edge.source], draft.cards[edge.target]
    ends = draft.key(edge.source), draft.key(edge.target)
    look = "dear" if edge.dear else "back" if route in ("back", "return") else "on"
    runs = [run for run in plan.runs if run.edge is edge]
    if route == "straight":
        points = [(source.right, source.middle), (target.x, target.middle)]
        _label_gap(draft, edge, source.right, source.middle, GAP)
    elif route == "door":
        y, x = _door_y(draft, edge), draft.right[ends[1]]
        points = [(source.right, y), (x, y)]
        _label_gap(draft, edge, source.right, y, CARD_HEIGHT / _doors(plan))
    elif route == "trunk":
        x = plan.ports[edge.source, edge.key, "out"]
        y = plan.trunk_y[plan.spot[edge.source][0], edge.target]
        lost = plan.facts.nodes[edge.target].kind == LOST
        points = [(x, source.bottom if lost else source.y), (x, y)]
        look = "dear" if edge.dear else "lost" if lost else "on"
    elif route == "wrap":
        right, left, y = draft.right[edge.key], draft.left[edge.key], runs[0].y
        points = [(source.right, source.middle), (right, source.middle), (right, y), (left, y),
                  (left, target.middle), (target.x, target.middle)]  # fmt: skip
    else:
        points = _around(draft, edge, route, runs)
    arrow = route not in ("door", "trunk")
    _add(draft, edge.key, points, edge.count, look, ends, arrow=arrow)


def _doors(plan: Plan) -> int:
    return sum(route == "door" for route in plan.routes.values())


def _around(draft: _Draft, edge: MapEdge, route: str, runs: Sequence[Run]) -> list[Point]:
    """A move over or under the cards: up to its lane, along, and down to the other card."""
    plan = draft.plan
    out, into = plan.ports[edge.source, edge.key, "out"], plan.ports[edge.target, edge.key, "in"]
    source, target = draft.cards[edge.source], draft.cards[edge.target]
    above = route in ("skip", "far")
    start, end = (source.y, target.y) if above else (source.bottom, target.bottom)
    if len(runs) == 1:
        return [(out, start), (out, runs[0].y), (into, runs[0].y), (into, end)]
    x = (draft.right if route == "far" else draft.left)[edge.key]
    return [(out, start), (out, runs[0].y), (x, runs[0].y), (x, runs[1].y), (into, runs[1].y),
            (into, end)]  # fmt: skip


def _add(
    draft: _Draft, key: str, points: Sequence[Point], count: int, look: str, ends: tuple[str, str],
    *, arrow: bool = False,
) -> None:  # fmt: skip
    draft.lines.append(Line(key, tuple(points), draft.width(count), look, arrow, ends))


def _label_gap(draft: _Draft, edge: MapEdge, x: float, y: float, height: float) -> None:
    """Count above a straight line and days below it, where there is room."""
    line = draft.width(edge.count)
    lines = [short_count(edge.count)]
    if edge.median is not None:
        lines.append(short_time(edge.median))
    box = Box(x + 3, y - line / 2 - 14, GAP - 14, line + 28)
    fits = all(text_width(text, LABEL_SIZE) <= box.width for text in lines)
    if fits and box.height <= height:
        draft.labels.append(Label(edge.key, box, tuple(lines)))


def _draw_entry(draft: _Draft) -> None:
    """New deals, coming in at the first stage."""
    plan = draft.plan
    first = next((node for node in plan.facts.nodes if node.kind == OPEN), None)
    if first is None or not first.starts:
        return
    card = draft.cards[0]
    _add(draft, "", [(-ENTRY, card.middle), (0.0, card.middle)], first.starts, "on",
         ("", first.key), arrow=True)  # fmt: skip
    line = draft.width(first.starts)
    box = Box(-ENTRY, card.middle - line / 2 - 14, ENTRY - 12, line + 28)
    draft.labels.append(Label("", box, (short_count(first.starts), "new")))


def _label_runs(draft: _Draft) -> None:
    """Words on the lanes, where no line crosses, as far as there is such a place."""
    crossings: dict[tuple[int, str], list[tuple[float, float, float]]] = defaultdict(list)
    for run in draft.plan.runs:
        for x in (run.left, run.right):
            crossings[run.band, run.side].append((x, run.y, 0.0))
    stems = [
        (one[0], *sorted((one[1], other[1])))
        for line in draft.lines
        for one, other in zip(line.points, line.points[1:], strict=False)
        if one[0] == other[0]
    ]
    for run in draft.plan.runs:
        if not run.label:
            continue
        width = text_width(run.label, LABEL_SIZE) + 8
        crossed = [x for x, top, bottom in stems if top < run.y < bottom]
        x = _free_place(
            max(run.left, 0.0) + 6, min(run.right, draft.plan.right) - 6, width, crossed
        )
        box = Box(x, run.y - LABEL_HEIGHT / 2, width, LABEL_HEIGHT)
        draft.labels.append(Label(run.edge.key, box, (run.label,)))


def _free_place(left: float, right: float, width: float, crossed: Sequence[float]) -> float:
    """Where between `left` and `right` a label hides fewest crossing lines, near the middle."""
    middle = (left + right - width) / 2
    steps = max(int((right - left - width) / 2 // 6), 0)
    places = [middle + sign * 6 * turn for turn in range(steps + 1) for sign in (1, -1)]
    return min(places, key=lambda x: (sum(x - 2 < one < x + width + 2 for one in crossed),
                                      abs(x - middle)))  # fmt: skip


def _shifted(draft: _Draft) -> Layout:
    """The same, with the upper left corner at (0, 0)."""
    xs = [x for line in draft.lines for x, _ in line.points]
    xs += [side for card in draft.cards.values() for side in (card.x, card.right)]
    ys = [y for line in draft.lines for _, y in line.points]
    ys += [side for card in draft.cards.values() for side in (card.y, card.bottom)]
    ys += [side for label in draft.labels for side in (label.box.y, label.box.bottom)]
    dx, dy = -min(xs, default=0.0) + 6, -min(ys, default=0.0) + 6
    cards = [draft.cards[place] for place in range(len(draft.plan.facts.nodes))]
    return Layout(
        tuple(replace(card, x=card.x + dx, y=card.y + dy) for card in cards),
        tuple(replace(line, points=tuple((x + dx, y + dy) for x, y in line.points))
              for line in draft.lines),
        tuple(replace(label, box=replace(label.box, x=label.box.x + dx, y=label.box.y + dy))
              for label in draft.labels),
        max(xs, default=0.0) + dx + 6,
        max(ys, default=0.0) + dy + 6,
    )  # fmt: skip
