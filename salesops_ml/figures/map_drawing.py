"""A layout of the map as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from math import hypot

from salesops_ml.figures.map_colours import step_of, stylesheet
from salesops_ml.figures.map_graph import BEGIN, LOST, OPEN, WON, Graph, Node
from salesops_ml.figures.map_grid import Box, Spot
from salesops_ml.figures.map_labels import SIZE as LABEL_SIZE
from salesops_ml.figures.map_labels import Label
from salesops_ml.figures.map_layout import Layout, lay_out
from salesops_ml.figures.map_legend import LEGEND_HEIGHT, legend
from salesops_ml.figures.map_lines import DRAINING, FORWARD, Line
from salesops_ml.figures.map_text import (
    WIDE_FONTS,
    cut,
    markup,
    short_count,
    short_time,
    width,
    wrapped,
)
from salesops_ml.figures.map_words import headline, price, spoken, spoken_edge
from salesops_ml.figures.numbers import known, money

NARROWEST = 960.0
_SIDE = 20.0
_TITLE, _LEAD, _REST = 15.0, 21.0, 14.0
_RADIUS = 9.0
_PRICE_SIZES = (14.0, 13.0, 12.0, 11.0, 10.0)
_STATS_SIZES = (11.5, 11.0, 10.0, 9.0)


def draw(graph: Graph, *, title: str, currency: str, interactive: bool, styled: bool = True) -> str:
    """The map as an SVG element.

    Args:
        graph: what to show.
        title: a line above the headline.
        currency: ISO code of the money.
        interactive: let stages and transitions take the focus, for a page that listens.
        styled: carry the stylesheet along, for a picture that stands alone.
    """
    lead, rest = headline(graph, currency)
    room = max(lay_out(graph).width, NARROWEST) - 2 * _SIDE
    lines = wrapped(rest, room, _REST)
    top = 92.0 + 20.0 * len(lines)
    layout = lay_out(graph, top=top)
    wide = max(layout.width, NARROWEST)
    below = layout.height + 26
    high = below + (LEGEND_HEIGHT if layout.lines else 0.0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="pm" viewBox="0 0 {wide:.0f} {high:.0f}" '
        f'width="{wide:.0f}" height="{high:.0f}" role="{"group" if interactive else "img"}" '
        f'aria-label="{markup(f"{title}. {lead}. {rest}")}" '
        'style="max-width:100%;height:auto">',
        f"<style>{stylesheet()}</style>" if styled else "",
        f'<rect class="paper" width="{wide:.0f}" height="{high:.0f}"/>',
        *_header(cut(title, room, _TITLE), cut(lead, room / WIDE_FONTS, _LEAD), lines),
        *_body(layout, currency, interactive),
    ]
    if layout.lines:
        parts += legend(layout, currency, x=_SIDE, y=below, right=wide - _SIDE, both=interactive)
    return "".join([*parts, "</svg>\n"])


def _header(title: str, lead: str, rest: list[str]) -> Iterator[str]:
    yield _text(_SIDE, 32, title, _TITLE, kind="m")
    yield _text(_SIDE, 62, lead, _LEAD, bold=True)
    for turn, line in enumerate(rest):
        yield _text(_SIDE, 86 + 20 * turn, line, _REST, kind="m")


def _body(layout: Layout, currency: str, interactive: bool) -> Iterator[str]:
    order = sorted(
        layout.lines,
        key=lambda line: (line.style != DRAINING, line.style == FORWARD, len(line.points) == 2),
    )
    for line in order:
        yield _line(line, layout.graph, interactive)
    for label in layout.labels:
        yield _label(label)
    most = max([node.weight for node in layout.graph.nodes], default=0.0)
    longest = max([known(n.half) or 0.0 for n in layout.graph.nodes if n.kind == OPEN], default=0.0)
    for node in layout.graph.nodes:
        body = _node(layout, node, currency, most, longest, interactive)
        if not interactive or node.kind == BEGIN:
            yield f"<g>{body}<title>{markup(spoken(node, currency))}</title></g>"
        else:
            yield (
                f'<g tabindex="0" role="button" data-of="n{node.key}" '
                f'aria-label="{markup(spoken(node, currency))}">{body}</g>'
            )


def _line(line: Line, graph: Graph, interactive: bool) -> str:
    head = 5.0 + 0.55 * line.width if line.arrow else 0.0
    path = _path(line.points, head)
    drawn = f'<path class="l {line.style}" stroke-width="{line.width:.1f}" d="{path}"/>'
    if line.arrow:
        drawn += f'<path class="h {line.style}" d="{_head(line.points, head, line.width)}"/>'
    if line.edge is None or line.style == DRAINING:
        casing = ""
    else:
        casing = f'<path class="c" stroke-width="{line.width + 4:.1f}" d="{path}"/>'
    if not interactive or line.edge is None:
        return casing + drawn
    wide = f'<path d="{path}" stroke="transparent" stroke-width="{max(line.width, 14):.0f}"/>'
    edge = line.edge
    return (
        f'{casing}<g tabindex="0" role="button" data-of="e{edge.source}_{edge.target}" '
        f'aria-label="{markup(spoken_edge(edge, graph))}">{drawn}{wide}</g>'
    )


def _path(points: tuple[tuple[float, float], ...], head: float) -> str:
    """A polyline with rounded corners, cut short by the length of its arrow head."""
    kept = [points[0]]
    for point in points[1:]:
        if hypot(point[0] - kept[-1][0], point[1] - kept[-1][1]) > 0.5:
            kept.append(point)
    if len(kept) > 1:
        kept[-1] = _towards(kept[-1], kept[-2], max(head - 1, 0.0))
    text = [f"M{kept[0][0]:.1f} {kept[0][1]:.1f}"]
    for before, corner, after in zip(kept[:-2], kept[1:-1], kept[2:], strict=True):
        radius = min(_RADIUS, _distance(before, corner) / 2, _distance(corner, after) / 2)
        a, b = _towards(corner, before, radius), _towards(corner, after, radius)
        text.append(f"L{a[0]:.1f} {a[1]:.1f}Q{corner[0]:.1f} {corner[1]:.1f} {b[0]:.1f} {b[1]:.1f}")
    return "".join([*text, f"L{kept[-1][0]:.1f} {kept[-1][1]:.1f}"])


def _head(points: tuple[tuple[float, float], ...], length: float, thickness: float) -> str:
    tip = points[-1]
    before = next(p for p in reversed(points[:-1]) if _distance(p, tip) > 0.5)
    base = _towards(tip, before, length)
    half = 3.2 + thickness * 0.62
    dx, dy = (tip[0] - base[0]) / length, (tip[1] - base[1]) / length
    corners = (tip, (base[0] - dy * half, base[1] + dx * half),
               (base[0] + dy * half, base[1] - dx * half))  # fmt: skip
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners) + "Z"


def _towards(
    start: tuple[float, float], goal: tuple[float, float], length: float
) -> tuple[float, float]:
    whole = _distance(start, goal) or 1.0
    share = min(length / whole, 1.0)
    return start[0] + (goal[0] - start[0]) * share, start[1] + (goal[1] - start[1]) * share


def _distance(a: tuple[float, float], b: tuple[float, float]) -> float:
    return hypot(a[0] - b[0], a[1] - b[1])


def _label(label: Label) -> str:
    box = label.box
    return (
        f'<rect class="t" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.w:.1f}" '
        f'height="{box.h:.1f}" rx="4"/>'
        + _text(box.middle[0], box.y + 11.5, label.text, LABEL_SIZE, middle=True)
    )


def _node(
    layout: Layout, node: Node, currency: str, most: float, longest: float, interactive: bool
) -> str:
    box, spot = layout.boxes[node.key], layout.spots[node.key]
    if node.kind == BEGIN:
        return _begin(box)
    if node.kind != OPEN:
        return "".join(_end_card(box, spot, currency))
    by_time = "card"
    if longest > 0 and known(node.half) is not None:
        by_time = f"time{step_of(node.half / longest)}"
    look = by_time
    if most > 0:
        look = f"cost{step_of(0.1 + 0.9 * node.weight / most)}" if node.weight > 0 else "card"
    other = by_time if interactive and most > 0 else ""
    return "".join(_card(box, spot, currency, look, other))


def _begin(box: Box) -> str:
    x, y = box.middle
    return (
        f'<circle class="card f" cx="{x:.1f}" cy="{y:.1f}" r="{box.w / 2:.1f}" stroke-width="1.2"/>'
        f'<path class="h forward" d="M{x - 5:.1f} {y - 8:.1f}L{x + 9:.1f} {y:.1f}'
        f'L{x - 5:.1f} {y + 8:.1f}Z"/>'
    )


def _card(box: Box, spot: Spot, currency: str, look: str, by_time: str) -> Iterator[str]:
    """An open stage; `by_time` is how it looks when a page asks for colours by time instead."""
    node, lines = spot.node, spot.lines
    first = node.rank == 1
    plain = "m" if look == "card" else ""
    other = f'data-time="{by_time}" ' if by_time else ""
    yield (
        f'<rect {other}class="{look} f{" first" if first else ""}" x="{box.x:.1f}" y="{box.y:.1f}" '
        f'width="{box.w:.1f}" height="{box.h:.1f}" rx="10" '
        f'stroke-width="{2.6 if first else 1.2}"/>'
    )
    third = node.weight > 0 or node.open_now > 0
    x, y = box.middle[0], box.y + (24 if len(lines) == 1 else 20) + (0 if third else 12)
    for turn, line in enumerate(lines):
        yield _text(x, y + 15 * turn, line, spot.type_size, bold=True, middle=True)
    y += 15 * (len(lines) - 1) + 19
    stats = f"{short_count(node.cases)} deals · {short_time(node.half)}"
    yield _text(x, y, stats, _fitting(stats, box.w - 10, _STATS_SIZES), middle=True, kind=plain)
    if node.weight > 0:
        told = f"−{price(node, currency)} / month"
        size = _fitting(told, box.w - 10, _PRICE_SIZES, bold=True)
        yield _text(x, y + 23, told, size, bold=True, middle=True)
    elif node.open_now:
        worth = known(node.amount_now)
        told = f"{short_count(node.open_now)} open"
        told += f" · {money(worth, currency)}" if worth else ""
        size = _fitting(told, box.w - 10, _STATS_SIZES[1:])
        yield _text(x, y + 20, told, size, middle=True, kind=plain)
    if node.rank:
        yield (
            f'<circle class="badge" cx="{box.x + 3:.1f}" cy="{box.y + 3:.1f}" r="12"/>'
            + _text(box.x + 3, box.y + 7.5, str(node.rank), 13, bold=True, middle=True)
        )


def _fitting(words: str, room: float, sizes: tuple[float, ...], *, bold: bool = False) -> float:
    """The largest of the sizes, in falling order, in which the words fit; else the smallest."""
    fits = (size for size in sizes if width(words, size, bold=bold) * WIDE_FONTS <= room)
    return next(fits, sizes[-1])


def _end_card(box: Box, spot: Spot, currency: str) -> Iterator[str]:
    node, lines = spot.node, spot.lines
    look = {WON: "won", LOST: "lost"}.get(node.kind, "card")
    yield (
        f'<rect class="{look} f" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.w:.1f}" '
        f'height="{box.h:.1f}" rx="{box.h / 2:.0f}" stroke-width="1.6"/>'
    )
    x, y = box.x + 21, box.middle[1]
    if node.kind == WON:
        yield _stroke("iw", f"M{x - 6:.1f} {y:.1f}l5 5.5l9 -11")
    elif node.kind == LOST:
        yield _stroke("il", f"M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10")
    worth = known(node.facts.get("amount")) if node.kind == WON else None
    told = f"{short_count(node.cases)} · {money(worth, currency)}" if worth else ""
    told = told or f"{short_count(node.cases)} deals"
    middle, first = box.x + 35 + (box.w - 45) / 2, y - 8 * (len(lines) - 1) - 3
    for turn, line in enumerate(lines):
        yield _text(middle, first + 13 * turn, line, spot.type_size, bold=True, middle=True)
    yield _text(middle, first + 13 * len(lines) + 3, told, 11, middle=True, kind="m")


def _stroke(kind: str, path: str) -> str:
    return f'<path class="{kind}" stroke-width="2.6" stroke-linecap="round" d="{path}"/>'


def _text(
    x: float, y: float, words: str, size: float, *, bold: bool = False, middle: bool = False,
    kind: str = "",
) -> str:  # fmt: skip
    looks = f' class="{kind}"' if kind else ""
    looks += ' font-weight="600"' if bold else ""
    looks += ' text-anchor="middle"' if middle else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"{looks}>{markup(words)}</text>'
