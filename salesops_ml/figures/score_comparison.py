"""How well each model tells winners from losers in advance, with how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from salesops_ml.figures.numbers import plain
from salesops_ml.figures.style import GRID, INK, OTHER, OURS, PAPER, WIDE, empty, sheet, styled
from salesops_ml.figures.words import model_name

FAR = 2.0
"""So many times the next better log-loss, and a model lies beyond the rim."""


@styled
def draw_score_comparison(scores: Mapping[str, Mapping[str, Any]], *, width: float = 5.6) -> Figure:
    """Log-loss of each model with its 95 % interval by deal, best first; lower is better.

    Args:
        scores: by model name, `log_loss` and `log_loss_interval` as in `evaluation.json`; ours is
            `deal_scores`. A model without a score is left out; one that is twice as bad as the
            next is an arrow at the rim, so that the others can be told apart.
        width: inches.
    """
    told = {name: row for name, row in scores.items() if row.get("log_loss") is not None}
    figure = sheet(width, 0.75 + 0.36 * max(len(told), 1))
    if not told:
        return empty(figure, "no deal could be judged yet")
    axes = figure.subplots()
    order = sorted(told, key=lambda name: (-float(told[name]["log_loss"]), name))
    far = _far([float(told[name]["log_loss"]) for name in order])
    near = [_interval(told[name])[1] for name in order[far:]]
    for place, name in enumerate(order):
        if place < far:
            _beyond(axes, place, float(told[name]["log_loss"]), max(near))
        else:
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
    low, high = _interval(row)
    axes.plot([low, high], [place, place], color=colour, linewidth=2.4)
    axes.scatter([value], [place], s=44, color=colour, edgecolors=PAPER, zorder=3)
    axes.annotate(
        plain(value), (high, place), xytext=(6, 0), textcoords="offset points", va="center",
        color=INK, fontweight="bold" if colour == OURS else "normal", annotation_clip=False,
    )  # fmt: skip


def _interval(row: Mapping[str, Any]) -> tuple[float, float]:
    value = float(row["log_loss"])
    low, high = row.get("log_loss_interval") or (value, value)
    return (value if low is None else float(low)), (value if high is None else float(high))


def _far(losses: list[float]) -> int:
    """How many of the losses, worst first, lie beyond the rim."""
    gaps = pairwise(losses)
    return max(
        (place + 1 for place, (worse, next_) in enumerate(gaps) if worse > FAR * next_), default=0
    )


def _beyond(axes: Any, place: int, value: float, rim: float) -> None:
    axes.scatter([rim], [place], s=44, marker=">", color=OTHER, zorder=3)
    axes.annotate(
        plain(value), (rim, place), xytext=(8, 0), textcoords="offset points", va="center",
        color=INK, annotation_clip=False,
    )  # fmt: skip
