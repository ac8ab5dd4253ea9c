"""Promised beside won, part by part: in which stage, region or size of deal do the chances hold?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from salesops_ml.figures.numbers import count, percent
from salesops_ml.figures.style import (
    BAD,
    GRID,
    INK,
    MUTED,
    OURS,
    PAPER,
    SMALL,
    empty,
    sheet,
    styled,
)

LONGEST = 22


@styled
def draw_promised_and_won(rows: Sequence[Mapping[str, Any]], *, width: float = 3.6) -> Figure:
    """One line a part: the share won with its interval, and a tick at what was promised.

    A part whose promise lies outside the interval stands out.

    Args:
        rows: `value` (name of the part), `mean_promised`, `share_won`, `interval` (low, high),
            `deals`, `outside`; drawn from top to bottom.
        width: inches.
    """
    figure = sheet(width, 0.72 + 0.27 * max(len(rows), 1))
    if not rows:
        return empty(figure, "no deal could be judged yet")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        _line(axes, place, row)
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows])
    for label in axes.get_yticklabels():
        label.set(color=INK, fontsize=SMALL)
    axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel="share won (dot), chance promised (bar)")
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    axes.grid(axis="x", color=GRID)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
    return figure


def _line(axes: Any, place: int, row: Mapping[str, Any]) -> None:
    colour = BAD if row["outside"] else OURS
    low, high = row["interval"]
    axes.plot([low, high], [place, place], color=colour, linewidth=2.2, alpha=0.7, zorder=2)
    axes.scatter([row["share_won"]], [place], s=34, color=colour, edgecolors=PAPER, zorder=3)
    axes.plot([row["mean_promised"]] * 2, [place - 0.32, place + 0.32], color=MUTED, zorder=4)


def _label(row: Mapping[str, Any]) -> str:
    name = str(row["value"])
    short = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
    return f"{short} ({count(row['deals'])})"
