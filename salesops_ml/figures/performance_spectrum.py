"""The performance spectrum as a picture: a panel a segment, time to the right, the slow on top."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from salesops_ml.figures import style
from salesops_ml.figures.map_text import short_count, short_time
from salesops_ml.figures.plot_room import date_ticks, shortened
from salesops_ml.figures.style import WIDE, empty, narrow, sheet, styled

MOST = 8
CLASSES = (
    ("quickest", style.NEW, ""), ("quick", style.OPEN, ""), ("slow", style.CLOSED, ""),
    ("slowest", style.BAD, ""), ("waiting", style.OTHER, "////"),
)  # fmt: skip
"""From below: the quarters of the durations, and the deals that have not moved yet, hatched."""
MOST_LINES = 250
_DAY = pd.Timedelta(days=1)
_NEXT = {"day": "1D", "week": "7D", "month": "1MS", "quarter": "1QS"}


@styled
def draw_performance_spectrum(
    spectrum: pd.DataFrame, *, most: int = MOST, width: float = WIDE
) -> Figure:
    """How many deals began each segment in each bin of time, by how long they took.

    Args:
        spectrum: as `mining.performance_spectrum.performance_spectrum` gives it.
        most: how many segments, the busiest first.
        width: inches.
    """
    names = _segments(spectrum, most)
    if not names:
        return empty(sheet(width, 1.2), "no deal has gone from one stage to another yet")
    first, last = spectrum["bin_start"].min(), spectrum["bin_start"].max()
    grain = str(spectrum["grain"].iloc[0])
    bins = len(pd.date_range(first, last, freq=_NEXT[grain]))
    edges = pd.date_range(first, periods=bins + 1, freq=_NEXT[grain])
    figure, panels, inches = _panels(len(names), width)
    for axes, (source, target) in zip(panels, names, strict=True):
        rows = spectrum[(spectrum["source"] == source) & (spectrum["target"] == target)]
        _stack(axes, rows.set_index("bin_start").reindex(edges[:-1]).fillna({"count": 0}), edges)
        one = rows.iloc[0]
        told = " / ".join(short_time(one[f"p{level}_days"]) for level in (25, 50, 75))
        _frame(axes, source, target, f"{short_count(one['passings'])} · {told}", inches)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xticks(*date_ticks(edges[0], edges[-1], inches))
    figure.supylabel(f"deals begun a {grain}", fontsize=style.SMALL, color=style.MUTED)
    _key(figure, narrow(width))
    return figure


@styled
def draw_spectrum_lines(passings: pd.DataFrame, *, most: int = MOST, width: float = WIDE) -> Figure:
    """Every passing as a line from when it entered the source, above, to when it left, below.

    Steep lines are quick; lines that cross are deals that overtake; lines that end in one point moved
    together. Of more than `MOST_LINES` passings of a segment the last ones are drawn.

    Args:
        passings: as `mining.performance_spectrum.spectrum_passings` gives it.
        most: how many segments, the busiest first.
        width: inches.
    """
    names = _segments(passings, most)
    if not names:
        return empty(sheet(width, 1.2), "no deal has gone from one stage to another yet")
    shown = passings.groupby(["source", "target"], sort=False).tail(MOST_LINES)
    shown = shown[[pair in names for pair in zip(shown["source"], shown["target"], strict=True)]]
    first, last = shown["entered_at"].min(), shown["left_at"].max()
    figure, panels, inches = _panels(len(names), width)
    for axes, (source, target) in zip(panels, names, strict=True):
        rows = shown[(shown["source"] == source) & (shown["target"] == target)]
        for name, colour, _ in CLASSES[:4]:
            _lines(axes, rows[rows["class"] == name], first, colour)
        every = ((passings["source"] == source) & (passings["target"] == target)).sum()
        told = f"last {len(rows)} of " if every > len(rows) else ""
        _frame(
            axes,
            source,
            target,
            f"{told}{short_count(every)} {'passing' if every == 1 else 'passings'}",
            inches,
        )
        axes.set_yticks([])
        axes.set_ylim(0, 1)
        ticks, labels = date_ticks(first, last, inches)
        axes.set_xticks([(tick - first) / _DAY for tick in ticks], labels)
        axes.set_xlim(0, max((last - first) / _DAY, 1e-6))
    _key(figure, narrow(width), lines=True)
    return figure


def _segments(frame: pd.DataFrame, most: int) -> list[tuple[str, str]]:
    pairs = frame[["source", "target"]].drop_duplicates().head(most)
    return [(str(source), str(target)) for source, target in pairs.itertuples(index=False)]


def _panels(number: int, width: float) -> tuple[Figure, list[Any], float]:
    """A panel each in one or two columns, and how many inches wide a panel is."""
    columns = 1 if narrow(width) or number == 1 else 2
    lines = -(-number // columns)
    figure = sheet(width, 0.55 + 1.35 * lines)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in panels[number:]:
        axes.set_visible(False)
    return figure, list(panels[:number]), (width - 0.4) / columns - 0.45


def _stack(axes: Any, rows: pd.DataFrame, edges: pd.DatetimeIndex) -> None:
    base = np.zeros(len(rows))
    for name, colour, hatch in CLASSES:
        height = rows[name].fillna(0).to_numpy(dtype=np.float64)
        if height.any():
            looks: dict[str, Any] = {"facecolor": colour, "lw": 0}
            if hatch:
                looks = {"facecolor": style.PAPER, "edgecolor": colour, "hatch": hatch, "lw": 0}
            axes.stairs(base + height, edges.to_numpy(), baseline=base, fill=True, **looks)
        base = base + height
    axes.set_ylim(0, max(float(base.max()) * 1.05, 1))
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.grid(axis="y", color=style.GRID)


def _lines(axes: Any, rows: pd.DataFrame, first: Any, colour: str) -> None:
    """All lines of one class as one path."""
    if rows.empty:
        return
    begin, end = (
        ((rows[name] - first) / _DAY).to_numpy(dtype=np.float64)
        for name in ("entered_at", "left_at")
    )
    top, foot = np.ones(len(rows)), np.zeros(len(rows))
    ends = np.stack([np.stack([begin, top], axis=1), np.stack([end, foot], axis=1)], axis=1)
    path = Path(ends.reshape(-1, 2), np.tile([Path.MOVETO, Path.LINETO], len(rows)))
    axes.add_patch(PathPatch(path, facecolor="none", edgecolor=colour, lw=0.9))


def _frame(axes: Any, source: str, target: str, told: str, inches: float) -> None:
    """The segment's name and, below it, its numbers."""
    half = inches / 2 - 0.1
    name = f"{shortened(source, half)} → {shortened(target, half)}"
    axes.set_title(f"{name}\n{told}", fontsize=style.SMALL, linespacing=1.35)


def _key(figure: Figure, stacked: bool, *, lines: bool = False) -> None:
    shown = CLASSES[:4] if lines else CLASSES
    words = {
        "quickest": "quickest quarter",
        "slowest": "slowest quarter",
        "waiting": "not moved yet",
    }
    patches = [
        Patch(facecolor=style.PAPER if hatch else colour, edgecolor=colour, hatch=hatch, lw=0.6,
              label=words.get(name, name))
        for name, colour, hatch in shown
    ]  # fmt: skip
    figure.legend(handles=patches, loc="outside upper left", ncols=2 if stacked else 5,
                  handlelength=1.2, handleheight=1.0, columnspacing=1.2, borderaxespad=0.2)  # fmt: skip
