"""One deal's outlook: how likely it is won or lost by each day ahead."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from salesops_ml.figures import style
from salesops_ml.figures.numbers import day, percent
from salesops_ml.figures.style import sheet, styled


@styled
def draw_win_curve(
    days: npt.ArrayLike,
    cif_won: npt.ArrayLike,
    cif_lost: npt.ArrayLike,
    *,
    as_of: datetime,
    width: float = 5.6,
) -> Figure:
    """Won from below, lost from above, and what is still open between them; they fill one together.

    Args:
        days: (k,) days after `as_of`, rising.
        cif_won: (k,) chance of being won by each day.
        cif_lost: (k,) chance of being lost by each day.
        as_of: the day of the score.
        width: inches.
    """
    at = np.concatenate([[0.0], np.asarray(days, dtype=np.float64)])
    won = np.concatenate([[0.0], np.asarray(cif_won, dtype=np.float64)])
    lost = np.concatenate([[0.0], np.asarray(cif_lost, dtype=np.float64)])
    figure = sheet(width, width * 0.52)
    axes = figure.subplots()
    axes.fill_between(at, 0, won, color=style.GOOD, alpha=0.85, lw=0)
    axes.fill_between(at, won, 1 - lost, color=style.GRID, lw=0)
    axes.fill_between(at, 1 - lost, 1, color=style.BAD, alpha=0.75, lw=0)
    ends = _apart(np.array([won[-1] / 2, (won[-1] + 1 - lost[-1]) / 2, 1 - lost[-1] / 2]))
    shares = (won[-1], 1 - won[-1] - lost[-1], lost[-1])
    for height, word, share in zip(ends, ("won", "open", "lost"), shares, strict=True):
        axes.annotate(
            f"{word} {percent(share)}", (at[-1], height), xytext=(6, 0), va="center",
            textcoords="offset points", fontweight="bold", annotation_clip=False,
        )  # fmt: skip
    axes.set(xlim=(0, at[-1]), ylim=(0, 1))
    axes.set_xlabel(f"days from {day(as_of)}; the last is {day(as_of + timedelta(days=at[-1]))}")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
    return figure


def _apart(heights: Any, gap: float = 0.12) -> Any:
    """Label heights, pushed apart to where they can be read, in order and inside 0..1."""
    low, middle, high = heights
    low = min(low, 1 - 2 * gap)
    middle = max(middle, low + gap)
    high = max(high, middle + gap)
    over = max(0.0, high - 0.98)
    high -= over
    middle = min(middle, high - gap)
    return np.array([min(low, middle - gap), middle, high])
