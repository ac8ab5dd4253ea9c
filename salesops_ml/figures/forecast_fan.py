"""What we will book, month by month and quarter by quarter: what it is made of and how sure it is."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from salesops_ml.figures import style
from salesops_ml.figures.numbers import money
from salesops_ml.figures.style import WIDE, empty, key, narrow, sheet, styled

PARTS = (("closed", style.CLOSED), ("from_open", style.OPEN), ("from_new", style.NEW))
LEGEND = (
    ("already won", style.CLOSED),
    ("from open deals", style.OPEN),
    ("from deals to come", style.NEW),
    ("corrected by the trend", style.CHANGED),
)
_BAR = 0.64
_LABEL = 0.44
"""Inches that a bar's label takes."""


@styled
def draw_forecast_fan(
    forecast: pd.DataFrame, *, node: str = "company", currency: str = "EUR", width: float = WIDE
) -> Figure:
    """Stacked parts of each period's forecast with its 80 % (thick) and 95 % (thin) range.

    Args:
        forecast: rows as in `forecast.parquet`.
        node: whose forecast.
        currency: ISO code for the labels.
        width: inches; a narrow picture puts quarters below months.
    """
    rows = forecast[forecast["node"] == node].sort_values("period_start")
    grains = [grain for grain in ("month", "quarter") if (rows["grain"] == grain).any()]
    stacked = narrow(width)
    figure = sheet(width, 0.6 + (2.3 * max(len(grains), 1) if stacked else 2.7))
    if not grains:
        return empty(figure, "no forecast")
    counts = [int((rows["grain"] == grain).sum()) for grain in grains]
    if stacked:
        panels = figure.subplots(len(grains), 1, squeeze=False).ravel()
    else:
        ratios = [count + 0.6 for count in counts]
        panels = figure.subplots(1, len(grains), squeeze=False, width_ratios=ratios).ravel()
    room = (width - 0.6) if stacked else (width - 1.2) / (sum(counts) + 0.6 * len(counts))
    for axes, grain, bars in zip(panels, grains, counts, strict=True):
        every = max(1, ceil(_LABEL / (room / bars if stacked else room)))
        _panel(axes, rows[rows["grain"] == grain], grain, currency, every)
    corrected = rows["adjustment"].abs().max() > 0
    key(figure, LEGEND if corrected else LEGEND[:3], columns=2 if stacked else 4)
    return figure


def _panel(axes: Any, rows: pd.DataFrame, grain: str, currency: str, every: int) -> None:
    """The bars of one grain; every so many of them are labelled, as far as there is room."""
    place = np.arange(len(rows))
    base = np.zeros(len(rows))
    for part, colour in PARTS:
        height = rows[part].to_numpy(dtype=np.float64)
        axes.bar(place, height, _BAR, bottom=base, color=colour, edgecolor=style.PAPER, lw=0.6)
        base = base + height
    _correction(axes, place, base, rows["adjustment"].to_numpy(dtype=np.float64))
    slim = min(1.0, 12 / len(rows))
    for low, high, thickness in (("p025", "p975", 1.1), ("p10", "p90", 3.6)):
        axes.vlines(place, rows[low], rows[high], color=style.INK, linewidth=thickness * slim)
    axes.scatter(
        place, rows["mean"], s=26 * slim, color=style.PAPER, edgecolors=style.INK, zorder=4
    )
    top = np.maximum(rows["p975"], rows["mean"])
    told = slice(None, None, every) if every < 3 else slice(0)
    for at, height, mean in list(zip(place, top, rows["mean"], strict=True))[told]:
        axes.annotate(
            money(mean, currency), (at, height), xytext=(0, 4), textcoords="offset points",
            ha="center", fontweight="bold", fontsize=style.SMALL,
        )  # fmt: skip
    axes.set_xticks(place[::every], _names(rows.iloc[::every], grain))
    axes.set(title=f"By {grain}", xlim=(-0.6, len(rows) - 0.4))
    axes.set_ylim(min(0.0, float(rows["p025"].min())), float(top.max()) * 1.13 or 1.0)
    axes.grid(axis="y", color=style.GRID)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: money(value, currency, trim=True))
    )


def _correction(axes: Any, place: Any, base: Any, change: Any) -> None:
    """What the trend adds on top, or takes off, hatched."""
    if not np.abs(change).max(initial=0.0) > 0:
        return
    axes.bar(
        place, np.abs(change), _BAR, bottom=np.minimum(base, base + change), facecolor=style.PAPER,
        edgecolor=style.CHANGED, hatch="/////", linewidth=0.8,
    )  # fmt: skip


def _names(rows: pd.DataFrame, grain: str) -> list[str]:
    """What stands under the bars: Nov, Dec, Jan (or P01, P02 of weeks), and the year where it begins."""
    starts = pd.to_datetime(rows["period_start"])
    labels = rows["period"].astype(str)
    if grain == "quarter":
        return ["\n".join(label.split("-")[::-1]) for label in labels]
    of_weeks = labels.str.contains("-P").any()
    years = labels.str.split("-").str[0] if of_weeks else starts.dt.strftime("%Y")
    names = labels.str.split("-").str[-1] if of_weeks else starts.dt.strftime("%b")
    return [
        f"{name}\n{year}" if fresh else name
        for name, year, fresh in zip(names, years, years.ne(years.shift()), strict=True)
    ]
