"""Who passes deals to whom: a ring of reps, arrows as wide as hand-overs are many, and a list."""

from __future__ import annotations

from math import cos, pi, sin
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch

from salesops_ml.figures import style
from salesops_ml.figures.map_text import short_count, short_time
from salesops_ml.figures.numbers import known, percent
from salesops_ml.figures.plot_room import shortened
from salesops_ml.figures.style import NARROW, WIDE, empty, narrow, sheet, styled

MOST_REPS, MOST_ARROWS, MOST_PAIRS = 12, 24, 8
SLOWEST = 0.75
"""Pairs whose median wait is above this quantile of the pairs shown are dashed."""
_HIGH, _RING, _TALL = 3.5, 0.9, 1.38
_ROW = 0.36


@styled
def draw_handover_network(handovers: pd.DataFrame, *, width: float = WIDE) -> Figure:
    """The reps with most hand-overs in a ring, and the pairs with most of them in words.

    At most `MOST_REPS` reps and `MOST_ARROWS` arrows are drawn, and the picture says what share of the
    hand-overs that is.

    Arrows bend to the right of their way, so that the two ways between a pair are told apart. Dashes
    mark the quarter of the pairs that wait longest.

    Args:
        handovers: as `mining.handovers.handovers` gives it.
        width: inches; a narrow picture puts the pairs below the ring.
    """
    if handovers.empty:
        return empty(sheet(width, 1.2), "no deal has been handed from one rep to another")
    stacked = narrow(width)
    listed = handovers.head(MOST_PAIRS)
    below = 0.5 + _ROW * len(listed) if stacked else 0.0
    high = _HIGH + below
    figure = Figure(figsize=(width, high))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(high, 0))
    axes.axis("off")
    ring = (NARROW if not stacked else width) / 2
    shown, reps = _shown(handovers)
    slow = _slow(shown)
    _draw_ring(axes, shown, reps, slow, ring)
    left, top = (0.1, _HIGH + 0.1) if stacked else (NARROW + 0.2, 0.3)
    _list(axes, listed, left, top, width - left - 0.1, slow)
    total = int(handovers["count"].sum())
    told = f"{short_count(shown['count'].sum())} of {short_count(total)} hand-overs shown"
    axes.text(0.1, _HIGH - 0.08, f"{told}; dashed: longest waits", fontsize=style.SMALL,
              color=style.MUTED, va="center")  # fmt: skip
    return figure


def _shown(handovers: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The pairs among the reps who hand over and take over most, and those reps, busiest first."""
    traffic = handovers.groupby("source")["count"].sum().add(
        handovers.groupby("target")["count"].sum(), fill_value=0
    )  # fmt: skip
    order = sorted(traffic.index, key=lambda rep: (-traffic[rep], str(rep)))[:MOST_REPS]
    inside = handovers["source"].isin(order) & handovers["target"].isin(order)
    return handovers[inside].head(MOST_ARROWS), [str(rep) for rep in order]


def _slow(shown: pd.DataFrame) -> float:
    """The wait beyond which a pair is among the slowest; none where there are few pairs."""
    if len(shown) < 4:
        return float("inf")
    return float(np.nanquantile(shown["wait_p50_days"].to_numpy(dtype=np.float64), SLOWEST))


def _draw_ring(axes: Any, shown: pd.DataFrame, reps: list[str], slow: float, middle: float) -> None:
    places = _places(reps, middle)
    most = float(shown["count"].max()) if len(shown) else 1.0
    for _, row in shown.iloc[::-1].iterrows():
        late = float(row["wait_p50_days"]) > slow
        thick = 0.6 + 4.4 * float(row["count"]) / most
        axes.add_patch(FancyArrowPatch(
            places[str(row["source"])], places[str(row["target"])], connectionstyle="arc3,rad=0.22",
            arrowstyle=f"-|>,head_length={3 + thick:.2f},head_width={1.5 + 0.7 * thick:.2f}", lw=thick,
            color=style.BAD if late else style.OPEN, shrinkA=7, shrinkB=7,
            linestyle=(0, (2.0, 1.0)) if late else "solid", mutation_scale=1,
            capstyle="butt",
        ))  # fmt: skip
    for rep, (x, y) in places.items():
        axes.add_patch(Circle((x, y), 0.07, facecolor=style.INK, edgecolor=style.PAPER, lw=1.0))
        right = x >= middle
        room = middle - abs(x - middle) - 0.14
        axes.text(x + (0.12 if right else -0.12), y, shortened(rep, room), fontsize=style.SMALL,
                  ha="left" if right else "right", va="center")  # fmt: skip


def _places(reps: list[str], middle: float) -> dict[str, tuple[float, float]]:
    """Around the ring from the upper right on, clear of the top and the foot."""
    turn = 2 * pi / max(len(reps), 1)
    return {
        rep: (
            middle + _RING * sin(turn * (k + 0.5)),
            _HIGH / 2 - 0.08 - _TALL * cos(turn * (k + 0.5)),
        )
        for k, rep in enumerate(reps)
    }


def _list(axes: Any, rows: pd.DataFrame, left: float, top: float, room: float, slow: float) -> None:
    axes.text(left, top, "Most hand-overs", fontsize=style.TEXT, fontweight="bold", va="center")
    for turn, (_, row) in enumerate(rows.iterrows()):
        y = top + 0.3 + turn * _ROW
        half = (room - 0.75) / 2
        pair = f"{shortened(row['source'], half)} → {shortened(row['target'], half)}"
        axes.text(left, y, pair, fontsize=style.SMALL, va="center")
        axes.text(left + room, y, short_count(row["count"]), fontsize=style.SMALL, fontweight="bold",
                  ha="right", va="center")  # fmt: skip
        late = float(row["wait_p50_days"]) > slow
        axes.text(left, y + 0.15, _told(row, late), fontsize=style.SMALL - 1, va="center",
                  color=style.BAD if late else style.MUTED)  # fmt: skip


def _told(row: pd.Series, late: bool) -> str:
    parts = [f"{'long' if late else 'median'} wait {short_time(row['wait_p50_days'])}"]
    if known(row["win_rate_after"]) is not None:
        parts.append(f"{percent(row['win_rate_after'])} won after")
    return " · ".join(parts)
