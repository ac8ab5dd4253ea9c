"""The open pipeline by chance of winning: how many deals, how much money, how much of it will come."""

from __future__ import annotations

from typing import Any

import numpy as np
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
    """Two panels of bars by band: deals, and money with the expected part of it dark.

    Args:
        scores: `band`, `p_win` and `amount` of each open deal, as in `scores.parquet`.
        currency: ISO code for the labels.
        width: inches.
    """
    table = band_table(scores).iloc[::-1]
    stacked = narrow(width)
    figure = sheet(width, 3.5 if stacked else 1.9)
    grid = (2, 1) if stacked else (1, 2)
    left, right = figure.subplots(*grid, sharey=not stacked)
    place = np.arange(len(table))
    left.barh(place, table["deals"], 0.62, color=style.OTHER)
    right.barh(place, table["amount"], 0.62, color=style.NEW)
    right.barh(place, table["expected"], 0.62, color=style.CLOSED)
    _label(left, place, table["deals"], [count(value) for value in table["deals"]])
    words = [
        f"{money(amount, currency)}, {money(expected, currency)} expected" if amount > 0 else "none"
        for amount, expected in zip(table["amount"], table["expected"], strict=True)
    ]
    _label(right, place, table["amount"], words)
    left.set_title("Open deals by chance of winning")
    right.set_title("Their money; dark: what we expect")
    for axes, room in ((left, 1.18), (right, 2.1)):
        axes.set_yticks(place, [f"{band}" for band in table.index])
        axes.tick_params(axis="y", labelcolor=style.INK)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_xlim(0, max(float(axes.dataLim.x1), 1e-9) * room)
    return figure


def _label(axes: Any, place: Any, values: pd.Series, words: list[str]) -> None:
    for at, value, text in zip(place, values, words, strict=True):
        axes.annotate(
            text, (value, at), xytext=(4, 0), textcoords="offset points", va="center",
            fontsize=style.SMALL,
        )  # fmt: skip
