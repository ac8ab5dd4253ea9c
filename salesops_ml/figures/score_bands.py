"""The open pipeline by chance of winning: how many deals, how much money, how much of it will come."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from salesops_ml.figures import style
from salesops_ml.figures.numbers import count, money
from salesops_ml.figures.style import WIDE, narrow, sheet, styled

BANDS = ("very low", "low", "medium", "high")


def band_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Deals, amount and expected amount (amount x chance) by band, highest band first.

    Example:
        >>> scores = pd.DataFrame(
        ...     {"band": ["high", "low"], "p_win": [0.9, 0.2], "amount": [100.0, 50.0]})
        >>> band_table(scores)["expected"].tolist()
        [90.0, 0.0, 10.0, 0.0]
    """
    amount = scores["amount"].astype("float64").fillna(0.0)
    told = pd.DataFrame(
        {"deals": 1, "amount": amount, "expected": amount * scores["p_win"]}
    ).groupby(scores["band"].astype(str)).sum()  # fmt: skip
    return told.reindex(BANDS[::-1], fill_value=0)


@styled
def draw_score_bands(scores: pd.DataFrame, *, currency: str = "EUR", width: float = WIDE) -> Figure:
    """Bars by band: deals, and, where amounts are known, money with the expected part of it.

    Args:
        scores: `band`, `p_win` and `amount` of each open deal, as in `scores.parquet`.
        currency: ISO code for the labels.
        width: inches.
    """
    table = band_table(scores).iloc[::-1]
    panels = [_deals, _money] if table["amount"].any() else [_deals]
    stacked = narrow(width)
    figure = sheet(width, 1.75 * len(panels) if stacked else 1.9)
    grid = (len(panels), 1) if stacked else (1, len(panels))
    for axes, fill in zip(figure.subplots(*grid, squeeze=False).ravel(), panels, strict=True):
        fill(axes, table, currency)
        axes.set_yticks(range(len(table)), list(table.index))
        axes.tick_params(axis="y", labelcolor=style.INK)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
    return figure


def _deals(axes: Any, table: pd.DataFrame, currency: str) -> None:
    axes.set_title("Open deals by chance of winning")
    axes.barh(range(len(table)), table["deals"], 0.62, color=style.OTHER)
    axes.set_xlim(0, max(float(table["deals"].max()), 1.0) * 1.18)
    _label(axes, table["deals"], [count(value) for value in table["deals"]])


def _money(axes: Any, table: pd.DataFrame, currency: str) -> None:
    axes.set_title("Their money, and the part we expect")
    axes.barh(range(len(table)), table["amount"], 0.62, color=style.NEW)
    axes.barh(range(len(table)), table["expected"], 0.62, color=style.CLOSED)
    axes.set_xlim(0, float(table["amount"].max()) * 2.1)
    words = [
        f"{money(amount, currency)}, {money(expected, currency)} expected" if amount > 0 else "none"
        for amount, expected in zip(table["amount"], table["expected"], strict=True)
    ]
    _label(axes, table["amount"], words)


def _label(axes: Any, values: pd.Series, words: list[str]) -> None:
    for at, (value, text) in enumerate(zip(values, words, strict=True)):
        axes.annotate(
            text, (value, at), xytext=(4, 0), textcoords="offset points", va="center",
            fontsize=style.SMALL,
        )  # fmt: skip
