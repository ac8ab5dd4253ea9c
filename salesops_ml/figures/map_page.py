"""The map as a page of its own: click a stage or a line for the evidence, slide to see less or more.

The page holds a finished drawing for each position of the sliders, so that every one of them is laid
out well, and needs nothing from anywhere else. Its address says what is shown, so that a link leads
to the same view: `process_map.html#edges=2&nodes=1&colour=time&at=n3` (positions of the sliders from
0, what colours mean, and the stage or transition whose evidence is open).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salesops_ml.figures.map_colours import stylesheet
from salesops_ml.figures.map_drawing import draw
from salesops_ml.figures.map_graph import BEGIN, OPEN, SHARES, Edge, Graph, Node, build_graph
from salesops_ml.figures.map_text import short_time
from salesops_ml.figures.map_words import edge_facts, node_facts, price
from salesops_ml.figures.numbers import UNKNOWN, count, days, known, money, percent

if TYPE_CHECKING:
    import pandas as pd

NODE_SHARES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5)
EDGE_SHARES = tuple(share for share in SHARES if share in (0.5, 0.7, 0.85, 0.95, 0.995))
_TEMPLATE = Path(__file__).with_name("map_page.html.j2")


def map_page(
    transitions: pd.DataFrame,
    stages: pd.DataFrame,
    bottlenecks: pd.DataFrame,
    *,
    title: str = "How deals move",
    currency: str = "EUR",
) -> str:
    """The page as HTML: stand-alone, by mouse and by keyboard, light and dark, and on paper.

    Args:
        transitions, stages, bottlenecks: frames of `salesops_ml.mining`.
        title: of the page.
        currency: ISO code of the company's money.
    """
    from jinja2 import Environment

    frames = (transitions, stages, bottlenecks)
    levels = _levels(frames)
    pictures, numbers = _pictures(levels, title, currency)
    start = _start(levels)
    fullest = build_graph(*frames, edge_share=1.0)
    told = [node for node in fullest.nodes if node.facts]
    ways = len(fullest.edges) + fullest.hidden_edges
    open_stages = _open_count(fullest) + fullest.hidden_nodes
    data = {
        "edges": [[f"{len(graph.edges)} of {ways} shown" for graph in row] for row in levels],
        "nodes": [f"{_open_count(graph)} of {open_stages} shown" for graph in levels[0]],
        "pictures": numbers,
        "facts": _facts(fullest, levels, currency),
        "first": f"n{_first(told).key}" if told else "",
    }
    page = Environment(autoescape=True).from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return page.render(
        title=title,
        edge_levels=data["edges"],
        node_levels=data["nodes"],
        start=start,
        first=pictures[numbers[start[0]][start[1]]],
        table=_table(told, currency),
        order="dearest" if fullest.priced else "longest waits",
        pictures=pictures,
        style=stylesheet(),
        priced=fullest.priced,
        data=json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"),
    )


def _levels(frames: tuple[pd.DataFrame, ...]) -> list[list[Graph]]:
    """Graphs by position of the sliders: from few transitions to many, from all stages to few."""
    shares = sorted({*EDGE_SHARES, build_graph(*frames).edge_share})
    rows = [
        [build_graph(*frames, edge_share=share, node_share=least) for least in NODE_SHARES]
        for share in shares
    ]
    rows = _distinct(rows, lambda row: [graph.edges for graph in row])
    columns = _distinct(
        list(range(len(NODE_SHARES))),
        lambda turn: [[node.key for node in row[turn].nodes] for row in rows],
    )
    return [[row[turn] for turn in columns] for row in rows]


def _distinct(values: list[Any], key: Any) -> list[Any]:
    """The values whose key differs from the one before."""
    return [
        value
        for turn, value in enumerate(values)
        if not turn or key(value) != key(values[turn - 1])
    ]


def _pictures(
    levels: list[list[Graph]], title: str, currency: str
) -> tuple[list[str], list[list[int]]]:
    """Each distinct drawing once, and which one each position of the sliders shows."""
    drawn: dict[str, int] = {}
    numbers: list[list[int]] = []
    for row in levels:
        numbers.append([])
        for graph in row:
            picture = draw(graph, title=title, currency=currency, interactive=True, styled=False)
            numbers[-1].append(drawn.setdefault(picture, len(drawn)))
    return list(drawn), numbers


def _start(levels: list[list[Graph]]) -> tuple[int, int]:
    """The position that shows as many transitions as stay readable, and every stage."""
    readable = [turn for turn, row in enumerate(levels) if row[0].readable]
    return (readable[-1] if readable else 0), 0


def _open_count(graph: Graph) -> int:
    return sum(node.kind == OPEN for node in graph.nodes)


def _first(nodes: list[Node]) -> Node:
    """The stage whose evidence is shown first: the dearest, else where deals stay longest."""
    return max(nodes, key=lambda n: (n.weight, n.kind == OPEN, known(n.half) or 0.0))


def _facts(fullest: Graph, levels: list[list[Graph]], currency: str) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    names = {node.key: node.name for node in fullest.nodes}
    for node in fullest.nodes:
        if node.kind != BEGIN and node.facts:
            facts[f"n{node.key}"] = _node_entry(node, currency)
    for graph in [fullest, *(graph for row in levels for graph in row)]:
        names |= {node.key: node.name for node in graph.nodes}
        for edge in graph.edges:
            facts[f"e{edge.source}_{edge.target}"] = _edge_entry(edge, names, currency)
    return facts


def _node_entry(node: Node, currency: str) -> dict[str, Any]:
    rows = [[label, value, label == "Cost of delay" and node.weight > 0]
            for label, value in node_facts(node, currency)]  # fmt: skip
    found = node.facts.get("examples")
    return {
        "title": node.name,
        "what": "Stage" if node.kind == OPEN else "End of a deal",
        "rows": rows,
        "examples": [str(one) for one in found] if isinstance(found, Iterable) else [],
    }


def _edge_entry(edge: Edge, names: dict[int, str], currency: str) -> dict[str, Any]:
    rows = [[label, value, label == "Cost of delay"] for label, value in edge_facts(edge, currency)]
    found = edge.facts.get("examples")
    return {
        "title": f"{names[edge.source]} → {names[edge.target]}",
        "what": "Back to an earlier stage" if edge.back else "Transition",
        "rows": rows,
        "examples": [str(one) for one in found] if isinstance(found, Iterable) else [],
    }


def _table(nodes: list[Node], currency: str) -> list[list[str]]:
    """Every open stage, dearest first, in words."""
    ranked = [node for node in nodes if known(node.facts.get("rank")) is not None]
    return [
        [
            count(node.facts["rank"]),
            node.name,
            price(node, currency) if node.weight else "–",
            f"{money(node.low, currency)} to {money(node.high, currency)}" if node.cost else "–",
            f"deals with {node.facts['segment']}" if node.weight else "–",
            days(node.facts["delay_days"]) if node.weight else "–",
            short_time(node.half),
            _or_dash(percent(node.facts.get("share_past_target"))),
            count(node.open_now),
            _or_dash(money(node.amount_now, currency)),
        ]
        for node in sorted(ranked, key=lambda node: float(node.facts["rank"]))
    ]


def _or_dash(told: str) -> str:
    return "–" if told == UNKNOWN else told
