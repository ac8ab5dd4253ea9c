"""The quarter's forecast week by week: what carried it, whether it held, and who was nearer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from salesops_ml.figures import style
from salesops_ml.figures.numbers import percent
from salesops_ml.figures.style import WIDE, empty, narrow, sheet, styled
from salesops_ml.figures.words import method_name

OURS = "ours"
OTHERS = (
    "submitted", "crm_weighted_pipeline", "by_category", "by_stage", "existing_plus_new",
    "run_rate", "run_rate_3", "series",
)  # fmt: skip
PARTS = (
    ("closed", "closed", style.CLOSED), ("from_open", "open", style.OPEN),
    ("from_new", "to come", style.NEW),
)  # fmt: skip
PROMISE = 0.8


@styled
def draw_record_by_week(
    weeks: pd.DataFrame, parts: pd.DataFrame, *, level: str = "company", width: float = WIDE
) -> Figure:
    """A panel each for what carries the forecast, for its 80 % range, and for every other method.

    In a method's panel the line is the mean miss of the quarter by the week in which it was forecast;
    ours is blue and stands in every panel.

    Args:
        weeks: as `forecasts.skill.record_by_week` gives it.
        parts: as `forecasts.skill.parts_by_week`.
        level: of the hierarchy.
        width: inches.
    """
    rows = weeks[weeks["level"] == level] if len(weeks) else weeks
    ours = rows[rows["method"] == OURS] if len(rows) else rows
    if ours.empty:
        return empty(sheet(width, 1.6), "no quarter has been replayed yet")
    others = [name for name in OTHERS if (rows["method"] == name).any()]
    columns = 1 if narrow(width) else 3
    lines = -(-(2 + len(others)) // columns)
    figure = sheet(width, 1.75 * lines + 0.1)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    _carried(panels[0], parts)
    _held(panels[1], ours)
    top = 1.08 * float(rows[rows["method"].isin([OURS, *others])]["wape"].max())
    for axes, name in zip(panels[2:], others, strict=False):
        _beside(axes, ours, rows[rows["method"] == name], name, top)
    for axes in panels[2 + len(others) :]:
        axes.set_visible(False)
    for axes in panels[: 2 + len(others)]:
        _frame(axes, int(ours["week"].max()))
    return figure


def _carried(axes: Any, parts: pd.DataFrame) -> None:
    """Shares of the forecast, stacked; the adjustment is left to the gap below or above 100 %."""
    weeks = parts["week"].to_numpy()
    bottom = np.zeros(len(parts))
    for name, said, colour in PARTS:
        top = bottom + parts[name].to_numpy()
        axes.fill_between(weeks, bottom, top, color=colour, linewidth=0, label=said)
        bottom = top
    axes.set_title("What carries the forecast", fontsize=style.SMALL)
    axes.set_ylim(0, 1.42)
    axes.legend(loc="upper left", ncols=3, handlelength=0.8, columnspacing=0.7, handletextpad=0.3,
                borderaxespad=0.1)  # fmt: skip
    axes.set_yticks([0, 0.5, 1.0])


def _held(axes: Any, ours: pd.DataFrame) -> None:
    weeks, held = ours["week"].to_numpy(), ours["coverage_80"].to_numpy(dtype=float)
    error = np.nan_to_num(ours["coverage_80_se"].to_numpy(dtype=float))
    axes.axhline(PROMISE, color=style.MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
    low, high = np.clip(held - error, 0, 1), np.clip(held + error, 0, 1)
    axes.vlines(weeks, low, high, color=style.OURS, linewidth=1.6)
    axes.scatter(weeks, held, s=18, color=style.OURS, zorder=3)
    axes.set_title("How often the 80% range held", fontsize=style.SMALL)
    axes.set_ylim(0, 1.08)
    axes.set_yticks([0, 0.4, 0.8])


def _beside(axes: Any, ours: pd.DataFrame, theirs: pd.DataFrame, name: str, top: float) -> None:
    axes.plot(theirs["week"], theirs["wape"], color=style.OTHER, linewidth=1.8)
    if len(theirs) < len(ours):
        axes.scatter(theirs["week"], theirs["wape"], color=style.OTHER, s=16, zorder=3)
    axes.plot(ours["week"], ours["wape"], color=style.OURS, linewidth=2.2)
    both = ours.merge(theirs[["week", "wape"]], on="week", suffixes=("", "_theirs"))
    told = f"{method_name(name)}: {percent(float(theirs['wape'].mean()))} off"
    axes.set_title(f"{told}\nthis forecast: {percent(float(both['wape'].mean()))}",
                   fontsize=style.SMALL, linespacing=1.35)  # fmt: skip
    axes.set_ylim(0, top)
    axes.yaxis.set_major_locator(MaxNLocator(3))


def _frame(axes: Any, last: int) -> None:
    axes.grid(axis="y", color=style.GRID)
    axes.set_xlim(0.6, last + 0.4)
    axes.set_xticks([week for week in (1, 4, 7, 10, 13) if week <= last])
    axes.set_xlabel("week")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
