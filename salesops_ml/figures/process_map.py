"""The bottleneck map: how deals move through the stages, and where delay costs money.

Stages run from left to right, won and lost at the right. A line is as wide as its flow; a card is as
dark as the money that delay in it costs a month, which is also written on it, and the dearest carry
a number. The picture needs no layout program and no fonts of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

import pandas as pd

from salesops_ml.figures.map_facts import LOST, OPEN, SHADES, MapEdge, MapFacts, MapNode, map_facts
from salesops_ml.figures.map_places import Box, Label, Layout, Line, lay_out
from salesops_ml.figures.map_words import (
    clipped,
    short_count,
    short_time,
    text_width,
    wrapped,
)
from salesops_ml.figures.numbers import money, percent, plain
from salesops_ml.figures.style import GRID, INK, MUTED, PAPER

COST = ("#ffffff", "#fff1cc", "#fed98e", "#fba03f", "#d95f0e", "#8f2d04")
WAITING = ("#ffffff", "#e7f0f9", "#c6dcf0", "#8fbde0", "#4a8fc7", "#1d5a94")
LOOKS = {"on": "#8497ac", "back": "#7a5ea8", "lost": "#c3cbd4", "dear": "#b8480a"}
_MARGIN, _TITLE, _SMALL, _RADIUS = 24.0, 21.0, 12.0, 9.0
_LEGEND = 64.0
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def draw_map(
    transitions: pd.DataFrame,
    stages: pd.DataFrame,
    bottlenecks: pd.DataFrame,
    *,
    title: str,
    currency: str,
) -> str:
    """The map as an SVG document.

    Args:
        transitions, stages, bottlenecks: as `mining.run.MiningResult` holds them.
        title: what stands above it.
        currency: ISO code of the company's money.
    """
    return draw_facts(map_facts(transitions, stages, bottlenecks, currency=currency),
                      title=title, currency=currency)  # fmt: skip


def map_page(
    transitions: pd.DataFrame,
    stages: pd.DataFrame,
    bottlenecks: pd.DataFrame,
    *,
    title: str,
    currency: str,
) -> str:
    """The map as a page that stands alone: evidence by click or key, rare moves hidden by sliders.

    Args:
        transitions, stages, bottlenecks: as `mining.run.MiningResult` holds them.
        title: of the page.
        currency: ISO code of the company's money.
    """
    from salesops_ml.figures.map_page import page

    facts = map_facts(transitions, stages, bottlenecks, currency=currency)
    picture = draw_facts(facts, title=title, currency=currency)
    return page(picture, facts, (transitions, stages, bottlenecks), title=title, currency=currency)


def draw_facts(facts: MapFacts, *, title: str, currency: str) -> str:
    """The map of `facts` as an SVG document."""
    layout = lay_out(facts)
    width = max(layout.width + 2 * _MARGIN, 760.0)
    room = width - 2 * _MARGIN
    heading = wrapped(title, room, _TITLE, lines=2, bold=True)
    finding = wrapped(facts.headline, room, 15, lines=3)
    top = _MARGIN + 27 * len(heading) + 21 * len(finding) + 16
    height = top + layout.height + _LEGEND + _MARGIN
    x = _MARGIN + (room - layout.width) / 2
    body = [
        *_heading(heading, finding),
        f'<g transform="translate({_n(x)} {_n(top)})">',
        *_lines(facts, layout),
        *_labels(layout),
        *_cards(facts, layout, currency),
        "</g>",
        *_legend(facts, currency, width, top + layout.height + 22),
    ]
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="map" viewBox="0 0 {_n(width)} {_n(height)}" '
        f'width="{_n(width)}" height="{_n(height)}" role="img" aria-label={quoteattr(_safe(title))} '
        f"font-family={quoteattr(_FONT)}>"
    )
    paper = f'<rect class="map-paper" width="100%" height="100%" fill="{PAPER}"/>'
    return "\n".join([opening, f"<desc>{_text(facts.headline)}</desc>", paper, *body, "</svg>", ""])


def _heading(heading: Sequence[str], finding: Sequence[str]) -> list[str]:
    done, y = [], _MARGIN
    for line in heading:
        y += 27
        done.append(_words(_MARGIN, y - 7, line, _TITLE, INK, bold=True))
    for line in finding:
        y += 21
        done.append(_words(_MARGIN, y - 4, line, 15, INK))
    return done


def _lines(facts: MapFacts, layout: Layout) -> list[str]:
    """Lines, each on a rim of paper that keeps crossings apart; what is dear is drawn last."""
    edges = {edge.key: edge for edge in facts.edges}
    turn = {"lost": 0, "on": 1, "back": 2, "dear": 3}
    ordered = sorted(layout.lines, key=lambda line: (bool(line.key), turn[line.look]))
    return [_line(line, edges.get(line.key), facts) for line in ordered]


def _line(line: Line, edge: MapEdge | None, facts: MapFacts) -> str:
    points = list(line.points)
    head = ""
    if line.arrow:
        head, points[-1] = _arrowhead(line)
    path = _rounded(points)
    colour = LOOKS[line.look]
    dash = ' stroke-dasharray="7 4"' if line.look == "back" else ""
    shapes = (
        f'<path class="map-rim" d="{path}" fill="none" stroke="{PAPER}" '
        f'stroke-width="{_n(line.width + 4)}"/>'
        f'<path class="map-{line.look}" d="{path}" fill="none" stroke="{colour}" '
        f'stroke-width="{_n(line.width)}"{dash}/>'
        + (f'<path class="map-tip-{line.look}" d="{head}" fill="{colour}"/>' if head else "")
    )
    ends = f'data-from="{line.ends[0]}" data-to="{line.ends[1]}"'
    if edge is None:
        return f'<g class="map-trunk" {ends}>{shapes}</g>'
    said = edge_words(edge, facts)
    return (
        f'<g class="map-edge" data-key="{edge.key}" data-count="{edge.count}" {ends}>'
        f"<title>{_text(said)}</title>{shapes}</g>"
    )


def edge_words(edge: MapEdge, facts: MapFacts) -> str:
    """A move in words.

    Returns:
        Such as `Lead to Qualified: 2,950 times, 13 d at the median`.
    """
    said = (
        f"{facts.nodes[edge.source].name} to {facts.nodes[edge.target].name}: {edge.count:,} times"
    )
    return said if edge.median is None else f"{said}, {short_time(edge.median)} at the median"


def _arrowhead(line: Line) -> tuple[str, tuple[float, float]]:
    """The head's path, and where the line itself stops."""
    (x0, y0), (x1, y1) = line.points[-2:]
    length = max(abs(x1 - x0) + abs(y1 - y0), 1e-9)
    dx, dy = (x1 - x0) / length, (y1 - y0) / length
    long, half = 7 + line.width * 0.6, 3.5 + line.width * 0.62
    back = (x1 - dx * long, y1 - dy * long)
    one = (back[0] - dy * half, back[1] + dx * half)
    other = (back[0] + dy * half, back[1] - dx * half)
    corners = " L".join(f"{_n(x)} {_n(y)}" for x, y in ((x1, y1), one, other))
    return f"M{corners}Z", (back[0] + dx, back[1] + dy)


def _rounded(points: Sequence[tuple[float, float]]) -> str:
    """A path along the points with rounded corners."""
    done = [f"M{_n(points[0][0])} {_n(points[0][1])}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        start, end = _towards(corner, before), _towards(corner, after)
        done.append(f"L{start}Q{_n(corner[0])} {_n(corner[1])} {end}")
    done.append(f"L{_n(points[-1][0])} {_n(points[-1][1])}")
    return "".join(done)


def _towards(corner: tuple[float, float], other: tuple[float, float]) -> str:
    """The point at the corner's radius on the way to the other."""
    length = abs(other[0] - corner[0]) + abs(other[1] - corner[1])
    share = min(_RADIUS, length / 2) / max(length, 1e-9)
    x = corner[0] + (other[0] - corner[0]) * share
    y = corner[1] + (other[1] - corner[1]) * share
    return f"{_n(x)} {_n(y)}"


def _labels(layout: Layout) -> list[str]:
    return [_label(label) for label in layout.labels]


def _label(label: Label) -> str:
    box, middle = label.box, label.box.x + label.box.width / 2
    key = f' data-key="{label.key}"' if label.key else ""
    if len(label.lines) == 1 and box.height < 20:
        chip = (f'<rect class="map-chip" x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" '
                f'height="{_n(box.height)}" rx="4" fill="{PAPER}"/>')  # fmt: skip
        words = _words(middle, box.y + 12, label.lines[0], 11.5, INK, anchor="middle")
        return f'<g class="map-label"{key}>{chip}{words}</g>'
    words = _words(middle, box.y + 10, label.lines[0], 11.5, INK, anchor="middle")
    words += "".join(
        _words(middle, box.bottom - 3, line, 11.5, MUTED, anchor="middle")
        for line in label.lines[1:]
    )
    return f'<g class="map-label"{key}>{words}</g>'


def _cards(facts: MapFacts, layout: Layout, currency: str) -> list[str]:
    return [_card(node, box, facts) for node, box in zip(facts.nodes, layout.cards, strict=True)]


def _card(node: MapNode, box: Box, facts: MapFacts) -> str:
    shades = WAITING if facts.by == "waiting" else COST
    family = "w" if facts.by == "waiting" else "c"
    light = node.shade >= SHADES - 1
    ink, soft = ("#ffffff", "#ffffff") if light else (INK, MUTED)
    outline = {OPEN: "#aab4c0", LOST: "#8d98a5"}.get(node.kind, "#1a877c")
    tone = f"map-{family}{node.shade}"
    extra = ' stroke-dasharray="5 3"' if node.kind == LOST else ""
    parts = [
        f"<title>{_text(node_words(node))}</title>",
        f'<rect class="map-card {tone}" x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" '
        f'height="{_n(box.height)}" rx="10" fill="{shades[node.shade]}" stroke="{outline}" '
        f'stroke-width="{1.4 if node.kind == OPEN else 2}"{extra}/>',
        *_card_words(node, box, ink, soft, tone),
    ]
    if node.rank:
        parts.append(_badge(node.rank, box))
    return (
        f'<g class="map-node map-{node.kind}" data-key="{node.key}" data-cases="{node.cases}">'
        + "".join(parts) + "</g>"
    )  # fmt: skip


def _card_words(node: MapNode, box: Box, ink: str, soft: str, tone: str) -> list[str]:
    """Name, deals and days, what is lost, and the money."""
    room, x = box.width - 24, box.x + 12
    names = wrapped(node.name, room - (14 if node.rank else 0), 14, lines=2 if not node.figure else 1,
                    bold=True)  # fmt: skip
    small = [_deals(node, room)]
    aside = _aside(node)
    if aside:
        small.append(clipped(aside, room, _SMALL))
    heights = [18] * len(names) + [16] * len(small) + [20] * bool(node.figure)
    y = box.y + (box.height - sum(heights)) / 2
    done = []
    for line in names:
        y += 18
        done.append(_words(x, y - 4, line, 14, ink, bold=True, tone=f"{tone}-ink"))
    for line in small:
        y += 16
        done.append(_words(x, y - 4, line, _SMALL, soft, tone=f"{tone}-soft"))
    if node.figure:
        y += 20
        size = 14 if text_width(node.figure, 14, bold=True) <= room else 12
        figure = clipped(node.figure, room, size, bold=True)
        done.append(_words(x, y - 4, figure, size, ink, bold=True, tone=f"{tone}-ink"))
    return done


def _deals(node: MapNode, room: float) -> str:
    """Deals and median days, as far as there is room."""
    deals = f"{short_count(node.cases)} deals"
    if node.kind != OPEN or node.median is None:
        return deals
    full = f"{deals} · {short_time(node.median)}"
    return full if text_width(full, _SMALL) <= room else clipped(full, room, _SMALL)


def _aside(node: MapNode) -> str:
    """What no line shows: deals lost from here, begun or ended here."""
    if node.kind != OPEN:
        return ""
    said = []
    if node.lost:
        said.append(f"{percent(node.lost / max(node.cases, 1))} lost")
    if node.starts and node.key != "n0":
        said.append(f"{short_count(node.starts)} start")
    if node.ends:
        said.append(f"{short_count(node.ends)} end")
    return " · ".join(said)


def node_words(node: MapNode) -> str:
    """A stage in words.

    Returns:
        Such as `Contract: 1,278 deals, 8.7 d at the median, €19.9k a month`.
    """
    said = f"{node.name}: {node.cases:,} deals"
    if node.kind == OPEN and node.median is not None:
        said += f", {short_time(node.median)} at the median"
    return f"{said}, {node.figure}" if node.figure else said


def _badge(rank: int, box: Box) -> str:
    x, y = box.right - 6, box.y + 6
    return (
        f'<circle class="map-badge" cx="{_n(x)}" cy="{_n(y)}" r="13" fill="{INK}" stroke="{PAPER}" '
        f'stroke-width="2.5"/>'
        f'<text class="map-badge-ink" x="{_n(x)}" y="{_n(y + 5)}" font-size="14" font-weight="700" '
        f'fill="#ffffff" text-anchor="middle">{rank}</text>'
    )


def _legend(facts: MapFacts, currency: str, width: float, y: float) -> list[str]:
    """What colours, widths and strokes mean."""
    shades = WAITING if facts.by == "waiting" else COST
    family = "w" if facts.by == "waiting" else "c"
    what = {"cost": "Cost of delay a month", "wins": "Wins lost to delay a month",
            "waiting": "Share of all waiting"}[facts.by]  # fmt: skip
    top = {"cost": money(facts.top, currency), "wins": plain(facts.top, 1),
           "waiting": percent(facts.top)}[facts.by]  # fmt: skip
    x = _MARGIN
    done = [_words(x, y + 11, what, _SMALL, MUTED)]
    x += text_width(what, _SMALL) + 10
    done.append(_words(x, y + 11, "0", _SMALL, MUTED))
    x += 12
    for shade in range(SHADES + 1):
        done.append(f'<rect class="map-card map-{family}{shade}" x="{_n(x)}" y="{_n(y)}" width="26" '
                    f'height="14" fill="{shades[shade]}" stroke="{GRID}"/>')  # fmt: skip
        x += 26
    done.append(_words(x + 6, y + 11, top, _SMALL, MUTED))
    return [*done, *_keys(facts, width, y + 34)]


def _keys(facts: MapFacts, width: float, y: float) -> list[str]:
    done, x = [], _MARGIN
    for look, words in (
        ("on", "moves on (width: deals)"), ("back", "goes back"), ("lost", "is lost"),
        ("dear", "passes a costly delay"),
    ):  # fmt: skip
        if look == "dear" and not any(edge.dear for edge in facts.edges):
            continue
        dash = ' stroke-dasharray="7 4"' if look == "back" else ""
        done.append(f'<path class="map-{look}" d="M{_n(x)} {_n(y + 7)}h26" stroke="{LOOKS[look]}" '
                    f'stroke-width="4" fill="none"{dash}/>')  # fmt: skip
        done.append(_words(x + 32, y + 11, words, _SMALL, MUTED))
        x += 32 + text_width(words, _SMALL) + 18
    moves, times = facts.hidden
    said = "numbers on lines: deals · median time before the move"
    if moves:
        said += f"; {moves} rare moves ({times:,} times) are not drawn"
    done.append(_words(x, y + 11, clipped(said, width - x - _MARGIN, _SMALL), _SMALL, MUTED))
    return done


def _words(
    x: float, y: float, text: str, size: float, colour: str, *, bold: bool = False,
    anchor: str = "", tone: str = "",
) -> str:  # fmt: skip
    names = {INK: "map-ink", MUTED: "map-muted"}
    role = tone or names.get(colour, "map-ink")
    weight = ' font-weight="700"' if bold else ""
    place = f' text-anchor="{anchor}"' if anchor else ""
    return (
        f'<text class="{role}" x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" fill="{colour}"'
        f"{weight}{place}>{_text(text)}</text>"
    )


def _text(text: str) -> str:
    return escape(_safe(text))


def _safe(text: str) -> str:
    """Without the control characters that XML does not allow."""
    return "".join(one for one in text if one >= " " and one not in "\ufffe\uffff")


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
