"""The legend of the map: what colour, width and dashes mean."""

from __future__ import annotations

from collections.abc import Iterator

from salesops_ml.figures.map_colours import STEPS
from salesops_ml.figures.map_graph import OPEN, Graph
from salesops_ml.figures.map_layout import Layout
from salesops_ml.figures.map_text import markup, short_count, short_time, width
from salesops_ml.figures.numbers import known, money, plain

LEGEND_HEIGHT = 96.0
_SWATCH = 26.0


def legend(
    layout: Layout, currency: str, *, x: float, y: float, right: float, both: bool = False
) -> Iterator[str]:
    """The legend as SVG, from (x, y) on, under a rule that ends at `right`.

    With `both`, a map that is coloured by cost carries the colours by time as well, hidden, for a page
    that can switch.
    """
    yield f'<path class="rule" d="M{x} {y}H{right:.0f}"/>'
    told = "on a line: moves · median time before the move, waiting deals counted in"
    yield _words(told, x, y + 60)
    yield _words(_left_out(layout.graph), x, y + 78)
    for part, wide in (
        _ramps(layout.graph, currency, x, y + 32, both),
        _sample("forward", 8.0, f"{short_count(layout.most)} moves", x + 1, y + 32),
        _sample("back", 2.5, "back, or again", x + 1, y + 32),
        _sample("drain", 6.0, "to an end without a win", x + 1, y + 32),
    ):
        yield f'<g transform="translate({x - 20:.0f} 0)">{part}</g>'
        x += wide


def _ramps(graph: Graph, currency: str, x: float, y: float, both: bool) -> tuple[str, float]:
    """The colours that are used, and with `both` those of the other scale in the same place."""
    shown, wide = _ramp(graph, currency, x, y, by_cost=graph.priced)
    if not both or not graph.priced:
        return shown, wide
    hidden, other = _ramp(graph, currency, x, y, by_cost=False)
    return (
        f'<g data-scale="cost">{shown}</g><g data-scale="time" style="display:none">{hidden}</g>',
        max(wide, other),
    )


def _left_out(graph: Graph) -> str:
    """What the map does not show, so that nobody takes it for everything."""
    stages, moves = graph.hidden_nodes, graph.hidden_edges
    if not stages and not moves:
        return "every stage and every transition is shown"
    parts = [f"{count:,} {word}{'' if count == 1 else 's'}"
             for count, word in ((stages, "stage"), (moves, "transition")) if count]  # fmt: skip
    return f"not shown, being rare: {' and '.join(parts)}"


def _ramp(graph: Graph, currency: str, x: float, y: float, *, by_cost: bool) -> tuple[str, float]:
    """The colours of a scale with their lowest and highest value."""
    scale = "cost" if by_cost else "time"
    low, high, title = _cost_ends(graph, currency) if by_cost else _time_ends(graph)
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


def _cost_ends(graph: Graph, currency: str) -> tuple[str, str, str]:
    """The least and the most that the colours by cost stand for, and what that is."""
    most = max([node.weight for node in graph.nodes], default=0.0)
    if graph.in_money:
        return money(0, currency), money(most, currency), "won amount that delay costs a month"
    return "0", plain(most, 1), "won deals that delay costs a month"


def _time_ends(graph: Graph) -> tuple[str, str, str]:
    longest = max([known(n.half) or 0.0 for n in graph.nodes if n.kind == OPEN], default=0.0)
    return "0", short_time(longest), "median time in the stage"


def _sample(style: str, thickness: float, told: str, x: float, y: float) -> tuple[str, float]:
    line = f'<path class="l {style}" stroke-width="{thickness}" d="M{x} {y}h38"/>'
    return line + _words(told, x + 46, y + 4), 46 + width(told, 11) + 30


def _words(told: str, x: float, y: float) -> str:
    return f'<text class="m" x="{x:.1f}" y="{y:.1f}" font-size="11">{markup(told)}</text>'
