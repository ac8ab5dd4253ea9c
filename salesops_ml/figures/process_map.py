"""The bottleneck map: where the money is lost, at one look.

Stages stand from left to right in the order of the process, won and lost at the right. A line is as
wide as deals are many, a stage as dark as its delay is dear, with the money written on it. What goes
back runs below the stages, what skips runs above, what ends runs along a rail that grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from salesops_ml.figures.map_drawing import draw
from salesops_ml.figures.map_graph import build_graph
from salesops_ml.figures.map_page import map_page

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["draw_map", "map_page"]


def draw_map(
    transitions: pd.DataFrame,
    stages: pd.DataFrame,
    bottlenecks: pd.DataFrame,
    *,
    title: str = "How deals move",
    currency: str = "EUR",
    edge_share: float | None = None,
    node_share: float = 0.0,
) -> str:
    """The map as SVG: stand-alone, without scripts, fonts or links; it follows light and dark.

    Args:
        transitions, stages, bottlenecks: frames of `salesops_ml.mining`.
        title: a line above the headline.
        currency: ISO code of the company's money.
        edge_share: show the most frequent transitions that carry this share of all moves, and the
            busiest way into and out of each stage; by default as many as stay readable.
        node_share: hide stages that fewer than this share of the deals reach.
    """
    graph = build_graph(
        transitions, stages, bottlenecks, edge_share=edge_share, node_share=node_share
    )
    return draw(graph, title=title, currency=currency, interactive=False)
