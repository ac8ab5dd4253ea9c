"""The dotted chart as a picture: a row a deal, a mark an event, its shape and colour the outcome."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from salesops_ml.figures import style
from salesops_ml.figures.numbers import count
from salesops_ml.figures.plot_room import date_ticks
from salesops_ml.figures.style import WIDE, empty, narrow, sheet, styled

MARKS = {
    "lost": ("tick", "|", style.BAD), "open": ("dash", "_", style.OURS),
    "won": ("dot", "o", style.GOOD), "over": ("dot", "o", style.OTHER),
}  # fmt: skip
"""How the events of a deal are drawn, the mark in the key, and their colour, by outcome: the last lie
uppermost."""
_REACH, _SMALL_REACH, _MANY = 1.6, 1.0, 400
"""Points from the middle of a mark to its rim, with few rows and with many."""
_NEARLY = 0.03
"""A dot is a very short stroke with round ends: one of no length is left out by some programs."""
_DAY = pd.Timedelta(days=1)


@styled
def draw_dotted_chart(
    dots: pd.DataFrame, *, since_start: bool = False, width: float = WIDE
) -> Figure:
    """Every event as a mark: a dot where the deal was won, a stroke where lost, a dash while open.

    Args:
        dots: as `mining.dotted_chart.dotted_chart` gives it.
        since_start: days since each deal's first event to the right, in place of the calendar.
        width: inches.
    """
    height = 3.6 if narrow(width) else 4.4
    if dots.empty:
        return empty(sheet(width, 1.2), "the log holds no events")
    figure = sheet(width, height)
    axes = figure.subplots()
    rows = int(dots["row"].max()) + 1
    x = dots["days"] if since_start else (dots["at"] - dots["at"].min()) / _DAY
    x = x.to_numpy(dtype=np.float64)
    span = max(float(x.max()), 1e-6)
    reach = _REACH if rows <= _MANY else _SMALL_REACH
    unit = (reach * span / ((width - 0.9) * 72), reach * rows / ((height - 1.0) * 72))
    for outcome, (shape, _, colour) in MARKS.items():
        chosen = (dots["outcome"] == outcome).to_numpy()
        if chosen.any():
            marks = _marks(shape, x[chosen], dots["row"].to_numpy()[chosen], unit)
            wide = 2 * reach if shape == "dot" else 0.9
            axes.add_patch(PathPatch(marks, facecolor="none", edgecolor=colour, lw=wide,
                                     capstyle="round"))  # fmt: skip
    axes.set(xlim=(-0.02 * span, 1.02 * span), ylim=(rows - 0.5 + rows * 0.01, -0.5 - rows * 0.01))
    axes.set_yticks([])
    axes.set_ylabel(_told(dots, rows))
    _time_axis(axes, dots, since_start, width)
    _key(figure, dots, narrow(width))
    return figure


def _marks(shape: str, x: npt.NDArray[Any], y: npt.NDArray[Any], unit: tuple[float, float]) -> Path:
    """All marks of one shape as one path, so that thousands of them stay small."""
    right, down = {"dot": (_NEARLY * unit[0], 0.0), "dash": (unit[0], 0.0), "tick": (0.0, unit[1])}[
        shape
    ]
    begin, end = (np.stack([x + s * right, y + s * down], axis=1) for s in (-1, 1))
    ends = np.stack([begin, end], axis=1)
    codes = np.tile([Path.MOVETO, Path.LINETO], len(ends))
    return Path(ends.reshape(-1, 2), codes)


def _told(dots: pd.DataFrame, rows: int) -> str:
    """What the rows are, and what they stand for where the chart is thinned."""
    each = dots.drop_duplicates("case_id")["stands_for"]
    deals = int(each.sum())
    if deals == rows:
        return f"{count(rows)} {'deal' if rows == 1 else 'deals'}, by their begin"
    return f"{count(rows)} of {count(deals)} deals, evenly by their begin"


def _time_axis(axes: Any, dots: pd.DataFrame, since_start: bool, width: float) -> None:
    axes.grid(axis="x", color=style.GRID)
    if since_start:
        axes.set_xlabel("days since the deal's first event")
        axes.locator_params(axis="x", nbins=4 if narrow(width) else 8)
        return
    first, last = dots["at"].min(), dots["at"].max()
    ticks, labels = date_ticks(first, last, width - 0.9)
    axes.set_xticks([(tick - first) / _DAY for tick in ticks], labels)


def _key(figure: Figure, dots: pd.DataFrame, stacked: bool) -> None:
    present = [name for name in MARKS if (dots["outcome"] == name).any()]
    handles = [
        Line2D([], [], linestyle="none", marker=MARKS[name][1], color=MARKS[name][2], markersize=5,
               label=name)
        for name in present
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper left", ncols=2 if stacked else 4,
                  handletextpad=0.2, columnspacing=1.4, borderaxespad=0.2)  # fmt: skip
