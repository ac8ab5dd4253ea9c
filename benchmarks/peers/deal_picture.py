"""The benchmark as a picture: log-loss of each model with its interval, one panel a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from salesops_ml.figures.style import GRID, INK, OTHER, OURS, PAPER, TEXT, sheet, styled

NAMES = {
    "ours": "This model", "truth": "Truth", "base_rate": "Base rate", "stage_age": "Stage and age",
    "aalen_johansen": "Aalen-Johansen", "logistic": "Logistic regression", "lightgbm": "LightGBM",
    "catboost": "CatBoost", "flaml": "FLAML", "cox": "Cox", "survival_forest": "Survival forests",
    "survival_boost": "SurvivalBoost", "lightgbm_hazards": "LightGBM hazards",
    "crm_probability": "CRM's stage probability", "lightgbm_l1": "LightGBM L1",
    "catboost_mae": "CatBoost MAE", "naive_bayes": "Naive Bayes",
}  # fmt: skip
TITLES = {
    "bpic2012_last20": "BPI 2012, last fifth",
    "bpic2012_mature": "BPI 2012, followed longer",
    "maven": "Maven, one look a deal",
}
ROWS = {
    "log_loss_k1": "log-loss of closed deals from day 7 on",
    "log_loss_k0": "log-loss of closed deals on day 0",
    "log_loss_all": "log-loss of closed deals",
    "ipcw_log_loss": "log-loss at the horizon",
}


@styled
def draw_deal_models(results: Mapping[str, Any]) -> Figure:
    """One panel a data set, best first; lower is better, ours is the coloured one."""
    jobs = [name for name in sorted(results) if not name.startswith("remaining")]
    across = min(len(jobs), 2)
    down = -(-len(jobs) // across)
    most = max(len(_told(results[name])) for name in jobs)
    figure = sheet(4.6 * across, down * (0.75 + 0.27 * most))
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, name in zip(panels, jobs, strict=False):
        _panel(axes, name, results[name])
    for axes in panels[len(jobs) :]:
        axes.set_visible(False)
    return figure


def _told(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    head = result["headline"]
    told = [(name, row[head]) for name, row in result["models"].items() if head in row]
    return sorted(told, key=lambda pair: -float(pair[1]["value"]))


def _panel(axes: Any, name: str, result: Mapping[str, Any]) -> None:
    told = _told(result)
    base = result["models"].get("base_rate", {}).get(result["headline"])
    edge = 1.25 * float(base["value"]) if base else np.inf
    inside = [row["interval"][1] for _, row in told if row["value"] <= edge]
    edge = min(edge, 1.02 * max(inside))
    for place, (model, row) in enumerate(told):
        _row(axes, place, row, edge, ours=model == "ours")
    axes.set_yticks(range(len(told)), [NAMES.get(model, model) for model, _ in told])
    for label, (model, _) in zip(axes.get_yticklabels(), told, strict=True):
        label.set(color=INK, fontweight="bold" if model == "ours" else "normal")
    seed = name.removeprefix("synthetic_")
    axes.set_title(TITLES.get(name, f"Synthetic company {seed}"))
    axes.set(ylim=(-0.6, len(told) - 0.4), xlabel=ROWS[result["headline"]])
    axes.margins(x=0.12)
    axes.grid(axis="x", color=GRID)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))


def _row(axes: Any, place: int, row: Mapping[str, Any], edge: float, *, ours: bool) -> None:
    """A point with its interval; beyond the edge an arrow stands for it, so that it squeezes none."""
    colour, value = OURS if ours else OTHER, float(row["value"])
    low, high = (min(float(end), edge) for end in row["interval"])
    beyond = value > edge
    axes.plot([low, high], [place, place], color=colour, linewidth=2.2)
    axes.scatter(
        [min(value, edge)], [place], s=30, color=colour, edgecolors=PAPER, zorder=3,
        marker=">" if beyond else "o",
    )  # fmt: skip
    axes.annotate(
        f"{value:.3f}", (high, place), xytext=(6, 0), textcoords="offset points", va="center",
        fontsize=TEXT - 1, fontweight="bold" if ours else "normal", color=INK,
        annotation_clip=False,
    )  # fmt: skip
