"""KPIs at a glance: the number, its target, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from salesops_ml.figures import style
from salesops_ml.figures.numbers import known, measure
from salesops_ml.figures.style import WIDE, empty, narrow, sheet, styled
from salesops_ml.figures.words import STATUS, metric_name

KEY_METRICS = (
    "quota_attainment", "win_rate", "cycle_median", "deal_size_mean", "open_pipeline",
    "pipeline_coverage_start", "sales_velocity", "slippage_amount",
)  # fmt: skip
COLOURS = {"met": style.GOOD, "near": style.CHANGED, "missed": style.BAD}


@styled
def draw_kpi_tiles(
    kpis: pd.DataFrame,
    *,
    metrics: Sequence[str] = KEY_METRICS,
    node: str = "company",
    width: float = WIDE,
) -> Figure:
    """A tile a KPI: its last value, the target with how it stands, and the line of the periods.

    Args:
        kpis: rows of periods that can be compared (all quarters, or all months), as in
            `kpis.parquet`; a metric without rows is left out.
        metrics: which, in order.
        node: whose.
        width: inches.
    """
    rows = kpis[kpis["node"] == node].sort_values("period")
    told = [metric for metric in metrics if (rows["metric"] == metric).any()]
    columns = 2 if narrow(width) else 4
    lines = max(1, -(-len(told) // columns))
    figure = sheet(width, 1.3 * lines)
    if not told:
        return empty(figure, "no KPI could be told")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, metric in zip(panels, told, strict=False):
        _tile(axes, rows[rows["metric"] == metric])
    for axes in panels[len(told) :]:
        axes.set_visible(False)
    return figure


@styled
def draw_sparkline(
    values: Sequence[float], *, target: float | None = None, status: str = "", width: float = 1.6
) -> Figure:
    """A line without axes, its last point marked, the target dashed.

    Args:
        values: one a period, in order.
        target: what it is held against.
        status: met, near or missed, which colours the last point.
        width: inches.
    """
    figure = Figure(figsize=(width, 0.36))
    axes = figure.add_axes((0.02, 0.1, 0.94, 0.8))
    _line(axes, np.asarray(values, dtype=np.float64), known(target), status)
    axes.set_axis_off()
    return figure


def target_words(target: float, unit: str, status: str) -> str:
    """How a KPI stands to its target.

    Example:
        >>> target_words(25.0, "%", "missed")
        'off target (25%)'
    """
    return f"{STATUS.get(status, 'target')} ({measure(target, unit, trim=True)})"


def _tile(axes: Any, rows: pd.DataFrame) -> None:
    last = rows.iloc[-1]
    status, target = str(last["status"] or ""), known(last["target"])
    _line(axes, rows["value"].to_numpy(dtype=np.float64), target, status)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + (high - low) * 1.5)
    axes.set_axis_off()
    words = metric_name(str(last["metric"]))
    axes.text(0, 1.0, words, transform=axes.transAxes, va="top", color=style.MUTED, fontsize=7.5)
    number = measure(last["value"], str(last["unit"]))
    axes.text(0, 0.84, number, transform=axes.transAxes, va="top", fontsize=12, fontweight="bold")
    if target is not None:
        said = target_words(target, str(last["unit"]), status)
        colour = COLOURS.get(status, style.MUTED)
        axes.text(0, 0.56, said, transform=axes.transAxes, va="top", color=colour, fontsize=7.5)


def _line(axes: Any, values: Any, target: float | None, status: str) -> None:
    place = np.arange(len(values))
    axes.plot(place, values, color=style.OTHER, linewidth=1.4, solid_joinstyle="round")
    axes.scatter(place[-1:], values[-1:], s=22, color=COLOURS.get(status, style.OURS), zorder=3)
    edges = [value for value in (*values, target) if value is not None and np.isfinite(value)]
    if target is not None:
        axes.axhline(target, color=style.MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
    low, high = (min(edges), max(edges)) if edges else (0.0, 1.0)
    room = (high - low) * 0.15 or abs(high) * 0.1 or 1.0
    axes.set(ylim=(low - room, high + room), xlim=(-0.3, max(len(values) - 1, 1) + 0.3))
