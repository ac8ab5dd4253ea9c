"""How well each model tells winners from losers in advance, with how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from salesops_ml.figures.numbers import plain
from salesops_ml.figures.style import GRID, INK, OTHER, OURS, PAPER, WIDE, empty, sheet, styled
from salesops_ml.figures.words import model_name


@styled
def draw_score_comparison(scores: Mapping[str, Mapping[str, Any]], *, width: float = 5.6) -> Figure:
    """Log-loss of each model with its 95 % interval by deal, best first; lower is better.

    Args:
        scores: by model name, `log_loss` and `log_loss_interval` as in `evaluation.json`; ours is
            `deal_scores`. A model without a score is left out.
        width: inches.
    """
    told = {name: row for name, row in scores.items() if row.get("log_loss") is not None}
    figure = sheet(width, 0.75 + 0.36 * max(len(told), 1))
    if not told:
        return empty(figure, "no deal could be judged yet")
    axes = figure.subplots()
    order = sorted(told, key=lambda name: (-float(told[name]["log_loss"]), name))
    for place, name in enumerate(order):
        _row(axes, place, name, told[name])
    axes.set_yticks(range(len(order)), [model_name(name) for name in order])
    for label, name in zip(axes.get_yticklabels(), order, strict=True):
        label.set(color=INK, fontweight="bold" if name == "deal_scores" else "normal")
    axes.set(ylim=(-0.6, len(order) - 0.4), xlabel="log-loss (less is better)")
    axes.margins(x=0.08)
    axes.grid(axis="x", color=GRID)
    axes.xaxis.set_major_locator(MaxNLocator(4 if width < WIDE else 6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2f}"))
    return figure


def _row(axes: Any, place: int, name: str, row: Mapping[str, Any]) -> None:
    colour = OURS if name == "deal_scores" else OTHER
    value = float(row["log_loss"])
    interval = row.get("log_loss_interval") or (value, value)
    low, high = (value if edge is None else float(edge) for edge in interval)
    axes.plot([low, high], [place, place], color=colour, linewidth=2.4)
    axes.scatter([value], [place], s=44, color=colour, edgecolors=PAPER, zorder=3)
    axes.annotate(
        plain(value), (high, place), xytext=(6, 0), textcoords="offset points", va="center",
        color=INK, fontweight="bold" if colour == OURS else "normal", annotation_clip=False,
    )  # fmt: skip
