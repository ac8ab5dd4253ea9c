"""The usual paths as rows of chevrons: how many deals take each, how many are won, how long it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from salesops_ml.figures import style
from salesops_ml.figures.map_text import WIDE_FONTS, fit_name, short_count, short_time
from salesops_ml.figures.map_text import width as text_width
from salesops_ml.figures.numbers import known, percent
from salesops_ml.figures.style import WIDE, empty, narrow, sheet, styled

MOST = 10
MOST_LINES = 3
_PIXELS = 96.0
_EDGE, _GAP, _POINT = 0.06, 0.16, 0.1
_HIGH, _BETWEEN = 0.34, 0.05
_SIZES = (8.0, 7.5, 7.0, 6.5)
_LEAST_WIDE, _MOST_WIDE = 0.8, 1.25
_LEFT, _RIGHT = 1.0, 1.35
FILLS = {
    "open": (style.NEW, style.NEW, style.INK),
    "again": (style.PAPER, style.CHANGED, style.INK),
    "won": (style.PAPER, style.GOOD, style.INK),
    "lost": (style.PAPER, style.OTHER, style.MUTED),
    "more": (style.PAPER, style.PAPER, style.MUTED),
}
"""Fill, rim and ink of a stage, of one entered again, of an end, and of what does not fit."""
SIGNS = {"won": "✓\u00a0", "lost": "✕\u00a0"}


@dataclass(frozen=True)
class Chevron:
    """One step of a path: its name, how it looks, its line and its place on the line."""

    name: str
    look: str
    line: int
    place: int


@styled
def draw_variant_paths(
    variants: pd.DataFrame,
    stages: pd.DataFrame | None = None,
    *,
    most: int = MOST,
    width: float = WIDE,
) -> Figure:
    """The most frequent paths, each a row of chevrons with its share, win rate and median time.

    A stage that the path has entered before has a dashed rim. A path that needs more than
    `MOST_LINES` lines is cut, and says how many steps are left out.

    Args:
        variants: as `mining.variants` gives it.
        stages: as `mining.stage_dwell` gives it; it says which stages win or lose a deal.
        most: how many paths.
        width: inches; a narrow picture puts the numbers above the path.
    """
    rows = variants.sort_values("variant").head(most)
    if rows.empty:
        return empty(sheet(width, 1.2), "no deal has a path yet")
    stacked = narrow(width)
    room = width - 2 * _EDGE - (0.0 if stacked else _LEFT + _RIGHT)
    columns = max(int(room // _LEAST_WIDE), 1)
    ends = _ends(stages)
    paths = [list(_chevrons(row, columns, ends)) for row in rows["steps"]]
    heights = [_height(path) + (0.26 if stacked else 0.0) for path in paths]
    high = 0.34 + sum(heights) + _GAP * len(rows) + 0.24
    figure = Figure(figsize=(width, high))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(high, 0))
    axes.axis("off")
    _head(axes, width, stacked)
    y, step = 0.34, min(room / columns, _MOST_WIDE)
    top = float(rows["share"].max())
    for (_, row), path, height in zip(rows.iterrows(), paths, heights, strict=True):
        _numbers(axes, row, y, height, width, stacked, top)
        left = _EDGE + (0.0 if stacked else _LEFT)
        for one in path:
            _draw(axes, one, left, y + (0.26 if stacked else 0.0), step)
        y += height + _GAP
    these = f"these {len(rows)} paths" if len(rows) > 1 else "this path"
    told = f"{percent(rows['share'].sum())} of all deals take {these}"
    axes.text(_EDGE, high - 0.1, told, fontsize=style.SMALL, color=style.MUTED, va="center")
    return figure


def _ends(stages: pd.DataFrame | None) -> dict[str, str]:
    if stages is None:
        return {}
    closed = stages[stages["is_closed"].astype(bool)]
    return {
        str(name): "won" if won else "lost"
        for name, won in zip(closed["stage"], closed["is_won"], strict=True)
    }


def _chevrons(path: Sequence[str], columns: int, ends: dict[str, str]) -> Iterator[Chevron]:
    """The steps of a path, line by line; what does not fit is one chevron that counts it."""
    most = columns * MOST_LINES
    shown = list(path) if len(path) <= most else list(path[: most - 1])
    seen: set[str] = set()
    for turn, name in enumerate(shown):
        look = ends.get(name) or ("again" if name in seen else "open")
        seen.add(name)
        yield Chevron(name, look, *divmod(turn, columns))
    if len(shown) < len(path):
        yield Chevron(
            f"+{len(path) - len(shown):,}\u00a0more", "more", *divmod(len(shown), columns)
        )


def _height(path: Sequence[Chevron]) -> float:
    lines = path[-1].line + 1
    return lines * _HIGH + (lines - 1) * _BETWEEN


def _head(axes: Any, width: float, stacked: bool) -> None:
    if stacked:
        axes.text(_EDGE, 0.14, "deals · won · median time", color=style.MUTED, fontsize=style.SMALL,
                  va="center")  # fmt: skip
        return
    right = width - _EDGE - _RIGHT
    for x, words in ((_EDGE, "deals"), (right + 0.16, "won"), (right + 0.7, "median time")):
        axes.text(x, 0.14, words, color=style.MUTED, fontsize=style.SMALL, va="center")


def _numbers(
    axes: Any, row: pd.Series, y: float, height: float, width: float, stacked: bool, top: float
) -> None:
    """Share and count, win rate, and median time of a path."""
    share, deals = percent(row["share"]), short_count(row["count"])
    won, lasting = _or_dash(row["win_rate"], percent), short_time(row["duration_p50_days"])
    if stacked:
        told = f"{share} · {deals} deals · {won} won · {lasting}"
        axes.text(_EDGE, y + 0.1, told, fontsize=style.SMALL, fontweight="bold", va="center")
        return
    middle, right = y + height / 2, width - _EDGE - _RIGHT
    axes.text(_EDGE, middle - 0.05, share, fontweight="bold", va="center")
    axes.text(_EDGE + 0.46, middle - 0.05, deals, fontsize=style.SMALL, color=style.MUTED,
              va="center")  # fmt: skip
    bar = (_LEFT - 0.2) * float(row["share"]) / top
    axes.add_patch(Rectangle((_EDGE, middle + 0.06), bar, 0.05, color=style.OURS, lw=0))
    axes.text(right + 0.16, middle, won, va="center")
    axes.text(right + 0.7, middle, lasting, va="center")


def _or_dash(value: Any, say: Any) -> str:
    return "–" if known(value) is None else str(say(value))


def _draw(axes: Any, one: Chevron, left: float, top: float, step: float) -> None:
    fill, rim, ink = FILLS[one.look]
    x, y = left + one.place * step, top + one.line * (_HIGH + _BETWEEN)
    right, notch = x + step - 0.035, 0.0 if one.place == 0 and one.line == 0 else _POINT
    corners = [
        (x, y), (right - _POINT, y), (right, y + _HIGH / 2), (right - _POINT, y + _HIGH),
        (x, y + _HIGH), (x + notch, y + _HIGH / 2),
    ]  # fmt: skip
    dashes = (0, (3, 1.6)) if one.look == "again" else "solid"
    thick = 1.8 if one.look == "won" else 1.1
    axes.add_patch(Polygon(corners, facecolor=fill, edgecolor=rim, lw=thick, linestyle=dashes))
    lines, points = _fitted(
        SIGNS.get(one.look, "") + one.name, (right - x - _POINT) * _PIXELS / WIDE_FONTS
    )
    for turn, line in enumerate(lines):
        down = (turn - (len(lines) - 1) / 2) * 0.125
        axes.text((x + notch + right - _POINT) / 2, y + _HIGH / 2 + down, line, color=ink, ha="center",
                  va="center", fontsize=points)  # fmt: skip


def _fitted(name: str, room: float) -> tuple[list[str], float]:
    """The name in one line or two of at most `room` pixels, and its size in points."""
    for points in _SIZES:
        if " " not in name and text_width(name, points * _PIXELS / 72) <= room:
            return [name], points
    lines, size = fit_name(name, room * 0.94)
    return lines, min(size * 72 / _PIXELS, style.SMALL)
