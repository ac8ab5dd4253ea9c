"""The legend of the map: what colour, width and dashes mean."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from salesops_ml.figures.map_colours import STEPS
from salesops_ml.figures.map_graph import OPEN
from salesops_ml.figures.map_layout import Layout
from salesops_ml.figures.map_text import short_count, short_time, width
from salesops_ml.figures.numbers import known, money

LEGEND_HEIGHT = 58.0
_SWATCH = 26.0


def legend(layout: Layout, currency: str, *, x: float, y: float) -> Iterator[str]:
    """The legend as SVG, from (x, y) on."""
    yield f'<path class="l" stroke="var(--rim)" d="M{x} {y}H{layout.width - x:.0f}"/>'
    for part, wide in (
        _ramp(layout, currency, x, y + 32),
        _sample("forward", 8.0, f"{short_count(layout.most)} moves", x + 1, y + 32),
        _sample("back", 2.5, "back, or again", x + 1, y + 32),
        _sample("drain", 6.0, "to an end without a win", x + 1, y + 32),
        _note(
            "on a line: moves · median time before the move, waiting deals counted in", x, y + 32
        ),
    ):
        yield f'<g transform="translate({x - 20:.0f} 0)">{part}</g>'
        x += wide


def _ramp(layout: Layout, currency: str, x: float, y: float) -> tuple[str, float]:
    """The colours with their lowest and highest value."""
    graph = layout.graph
    most = max([node.cost for node in graph.nodes], default=0.0)
    scale = "cost" if graph.priced else "time"
    longest = max([known(n.half) or 0.0 for n in graph.nodes if n.kind == OPEN], default=0.0)
    low = money(0, currency) if graph.priced else "0"
    high = money(most, currency) if graph.priced else short_time(longest)
    title = "won amount that delay costs a month" if graph.priced else "median time in the stage"
    parts, at = [_words(low, x, y + 4)], x + width(low, 11) + 8
    for step in range(STEPS):
        parts.append(
            f'<g><rect class="{scale}{step}" x="{at:.1f}" y="{y - 7:.1f}" width="{_SWATCH}" '
            'height="14"/></g>'
        )
        at += _SWATCH
    told = f"{high} {title}"
    parts.append(_words(told, at + 8, y + 4))
    return "".join(parts), at + 8 + width(told, 11) + 30 - x


def _sample(style: str, thickness: float, told: str, x: float, y: float) -> tuple[str, float]:
    line = f'<path class="l {style}" stroke-width="{thickness}" d="M{x} {y}h38"/>'
    return line + _words(told, x + 46, y + 4), 46 + width(told, 11) + 30


def _note(told: str, x: float, y: float) -> tuple[str, float]:
    return _words(told, x, y + 4), width(told, 11)


def _words(told: str, x: float, y: float) -> str:
    return f'<text class="m" x="{x:.1f}" y="{y:.1f}" font-size="11">{escape(told)}</text>'
