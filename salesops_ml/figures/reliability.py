"""Promised against happened: of the deals that were given 30 %, were three in ten won?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from salesops_ml.figures.numbers import count, percent
from salesops_ml.figures.style import GRID, MUTED, OURS, PAPER, empty, sheet, styled

_LARGEST = 150.0


@styled
def draw_reliability(rows: Sequence[Sequence[float]], *, width: float = 3.6) -> Figure:
    """The reliability diagram of one model.

    Args:
        rows: (mean promised, share won, weight) per group, as in `evaluation.json`.
        width: inches; the picture is about as high as wide.
    """
    table = np.asarray(rows, dtype=np.float64).reshape(-1, 3)
    figure = sheet(width, width * 0.96)
    if not len(table):
        return empty(figure, "no deal could be judged yet")
    axes = figure.subplots()
    top = min(1.0, _rounded_up(float(table[:, :2].max()) * 1.06))
    axes.plot([0, top], [0, top], color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    axes.plot(table[:, 0], table[:, 1], color=OURS, linewidth=1.0, alpha=0.5, zorder=2)
    area = _LARGEST * table[:, 2] / max(table[:, 2].max(), 1e-12) * (width / 3.6) ** 2 * 0.5
    axes.scatter(
        table[:, 0], table[:, 1], s=area, color=OURS, edgecolors=PAPER, zorder=3, clip_on=False
    )
    _frame(axes, top)
    axes.set_xlabel(f"chance that was promised\n{_sizes(table[:, 2])}")
    axes.set_ylabel("share that was won")
    return figure


def _sizes(weight: Any) -> str:
    """How many looks a group holds, in words."""
    low, high = count(weight.min()), count(weight.max())
    span = low if low == high else f"{low} to {high}"
    return f"{len(weight)} groups of {span} looks"


def _frame(axes: Any, top: float) -> None:
    axes.set(xlim=(-0.01 * top, top * 1.02), ylim=(-0.01 * top, top * 1.02), aspect="equal")
    axes.grid(color=GRID)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))


def _rounded_up(value: float) -> float:
    """The next round number above: tenths, or fiftieths for small chances."""
    step = 0.1 if value > 0.3 else 0.02
    return float(np.ceil(value / step) * step)
