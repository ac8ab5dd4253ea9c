"""The record: what each method said on past days, beside what came."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from salesops_ml.figures import style
from salesops_ml.figures.numbers import money, percent
from salesops_ml.figures.style import WIDE, empty, narrow, sheet, styled
from salesops_ml.figures.words import method_name

FIRST = "ours"
SHOWN = ("ours", "crm_weighted_pipeline", "run_rate", "run_rate_3", "series", "bottom_up")


def miss(rows: pd.DataFrame) -> float:
    """WAPE: sum of |forecast - actual| as a share of the sum of |actual|.

    Example:
        >>> miss(pd.DataFrame({"mean": [9.0, 12.0], "actual": [10.0, 10.0]}))
        0.15
    """
    size = float(rows["actual"].abs().sum())
    return float((rows["mean"] - rows["actual"]).abs().sum()) / size if size > 0 else float("nan")


@styled
def draw_forecast_record(
    backtest: pd.DataFrame,
    *,
    node: str = "company",
    grain: str = "month",
    currency: str = "EUR",
    width: float = WIDE,
) -> Figure:
    """A panel a method: the actual amounts (ink), and a line from each origin for what was said then.

    Ours comes first, with the 80 % range of the period that each origin lies in; then the baselines
    in the order of `SHOWN`. Every title tells the miss: the mean distance as a share of the amounts.

    Args:
        backtest: rows as in `forecast_backtest.parquet`.
        node: whose record.
        grain: month or quarter.
        currency: ISO code for the labels.
        width: inches.
    """
    rows = backtest[(backtest["node"] == node) & (backtest["grain"] == grain)]
    methods = [method for method in SHOWN if (rows["method"] == method).any()]
    columns = 2 if narrow(width) else 3
    lines = max(1, -(-len(methods) // columns))
    figure = sheet(width, 0.35 + (1.5 if narrow(width) else 1.85) * lines)
    if not methods:
        return empty(figure, "no past forecast to judge by")
    periods = sorted(rows["period_start"].unique())
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, method in zip(panels, methods, strict=False):
        _panel(axes, rows[rows["method"] == method], periods, method)
    for axes in panels[len(methods) :]:
        axes.set_visible(False)
    _frame(panels[: len(methods)], rows, periods, currency, grain)
    return figure


def _panel(axes: Any, rows: pd.DataFrame, periods: list[Any], method: str) -> None:
    place = {period: at for at, period in enumerate(periods)}
    ours = method == FIRST
    colour = style.OURS if ours else style.OTHER
    actual = rows.groupby("period_start")["actual"].last().sort_index()
    axes.plot([place[p] for p in actual.index], actual, color=style.INK, linewidth=1.5, zorder=3)
    for _, said in rows.groupby("origin", sort=True):
        said = said.sort_values("period_start")
        at = [place[period] for period in said["period_start"]]
        axes.plot(at, said["mean"], color=colour, linewidth=1.0, alpha=0.7, zorder=2)
        axes.scatter(at[:1], said["mean"].iloc[:1], s=14, color=colour, zorder=4)
        if ours and said["p10"].notna().iloc[0]:
            axes.vlines(at[:1], said["p10"].iloc[:1], said["p90"].iloc[:1], color=colour, lw=2.4)
    axes.set_title(
        f"{method_name(method)}\nmissed by {percent(miss(rows))}", linespacing=1.35, va="bottom",
        color=style.OURS if ours else style.INK, fontsize=style.SMALL,
    )  # fmt: skip


def _frame(panels: Any, rows: pd.DataFrame, periods: list[Any], currency: str, grain: str) -> None:
    step = max(1, -(-len(periods) // 4))
    shown = list(range(0, len(periods), step))
    names = [_name(rows, periods[at], grain) for at in shown]
    for axes in panels:
        axes.grid(axis="y", color=style.GRID)
        axes.set_xticks(shown, names)
        axes.set_xlim(-0.4, len(periods) - 0.6)
        axes.tick_params(labelbottom=True)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_formatter(
            FuncFormatter(lambda value, _: money(value, currency, trim=True))
        )
    panels[0].set_ylim(0.0 if float(np.nanmin(rows[["mean", "actual"]])) >= 0 else None, None)


def _name(rows: pd.DataFrame, start: Any, grain: str) -> str:
    label = str(rows.loc[rows["period_start"] == start, "period"].iloc[0])
    if grain == "month" and "-P" not in label:
        return f"{pd.Timestamp(start):%b\n%Y}"
    return "\n".join(label.split("-")[::-1])
