"""The load of each rep over time, beside what the team carries and what is usual for the rep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from salesops_ml.figures import style
from salesops_ml.figures.map_text import short_count
from salesops_ml.figures.numbers import known, money
from salesops_ml.figures.plot_room import date_ticks, shortened
from salesops_ml.figures.style import NARROW, WIDE, empty, narrow, sheet, styled

MOST = 12
MOST_NARROW = 6


@styled
def draw_rep_load(
    load: pd.DataFrame, *, currency: str = "EUR", most: int | None = None, width: float = WIDE
) -> Figure:
    """A panel a rep: open deals by week, the band from the team's median to its 90 % quantile, and
    the rep's own usual most; weeks above it are marked.

    Args:
        load: as `mining.rep_load.rep_load` gives it.
        currency: ISO code of the company's money.
        most: how many reps, those with most open deals in their last week first.
        width: inches.
    """
    if load.empty:
        return empty(sheet(width, 1.2), "no rep has held a deal yet")
    most = most or (MOST_NARROW if narrow(width) else MOST)
    last = load.sort_values("week_start").groupby("rep").tail(1)
    last = last.sort_values(["week_start", "open_deals", "rep"], ascending=[False, False, True])
    reps = last["rep"].head(most).tolist()
    columns = min(1 if width <= NARROW else 3, len(reps))
    lines = -(-len(reps) // columns)
    figure = sheet(width, 0.6 + 1.35 * lines)
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    inches = (width - 0.3) / columns - 0.35
    first, end = load["week_start"].min(), load["week_start"].max()
    team = load.drop_duplicates("week_start").sort_values("week_start").dropna(subset=["team_p90"])
    for axes, rep in zip(panels, reps, strict=False):
        rows = load[load["rep"] == rep].sort_values("week_start")
        _panel(axes, rows, team, inches, currency)
        _frame(axes, first, end, inches)
    for axes in panels[len(reps) :]:
        axes.set_visible(False)
    panels[0].set_ylim(0, 1.08 * max(float(load["open_deals"].max()), 1))
    _key(figure, narrow(width))
    return figure


def _panel(axes: Any, rows: pd.DataFrame, team: pd.DataFrame, inches: float, currency: str) -> None:
    axes.fill_between(
        team["week_start"], team["team_p50"], team["team_p90"], color=style.GRID, lw=0
    )
    weeks, deals = rows["week_start"], rows["open_deals"].to_numpy(dtype=np.float64)
    axes.plot(weeks, deals, color=style.OURS, lw=1.5)
    axes.plot(weeks, rows["own_p90"], color=style.MUTED, lw=0.9, linestyle=(0, (4, 2)))
    above = rows[rows["above_usual"]]
    axes.scatter(
        above["week_start"], above["open_deals"], s=11, marker="^", color=style.BAD, zorder=3
    )
    if len(rows) == 1:
        axes.scatter(weeks, deals, s=16, color=style.OURS)
    now = rows.iloc[-1]
    told = f"{short_count(now['open_deals'])} open"
    if known(now["amount"]):
        told += f" · {money(now['amount'], currency)}"
    axes.set_title(
        f"{shortened(now['rep'], inches)}\n{told}", fontsize=style.SMALL, linespacing=1.35
    )


def _frame(axes: Any, first: Any, end: Any, inches: float) -> None:
    week = pd.Timedelta(days=7)
    axes.set_xlim(first - week / 4, max(end, first + week) + week / 4)
    axes.set_xticks(*date_ticks(first, max(end, first + week), inches))
    axes.grid(axis="y", color=style.GRID)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))


def _key(figure: Figure, stacked: bool) -> None:
    handles = [
        Line2D([], [], color=style.OURS, lw=1.5, label="open deals"),
        Line2D([], [], color=style.MUTED, lw=0.9, linestyle=(0, (4, 2)), label="own usual most"),
        Line2D(
            [], [], color=style.BAD, marker="^", markersize=4, linestyle="none", label="above it"
        ),
        Patch(facecolor=style.GRID, label="team, median to 90%"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2 if stacked else 4,
                  handlelength=1.4, columnspacing=1.2, borderaxespad=0.2)  # fmt: skip
