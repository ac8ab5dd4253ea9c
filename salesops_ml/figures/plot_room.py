"""Room on a chart: names made short enough for it, and few enough dates on an axis of time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.figures.map_text import WIDE_FONTS, cut
from salesops_ml.figures.style import SMALL

_PIXELS, _POINTS = 96.0, 72.0
_MONTHS: tuple[int, ...] = (1, 2, 3, 6, 12, 24, 48, 120, 240)
_DAYS: tuple[int, ...] = (1, 2, 5, 7, 10, 14, 20, 30)
_DATE = 0.62
"""Inches that a date such as `Nov 26` takes with its air."""


def shortened(name: Any, inches: float, points: float = SMALL) -> str:
    """The name, cut to so many inches in type of that size; without control characters.

    Example:
        >>> shortened("Legal review of terms", 2.0), shortened("Legal review of terms", 0.9)
        ('Legal review of terms', 'Legal revie…')
    """
    text = "".join(one if one >= " " else " " for one in str(name)).strip()
    return cut(text, inches * _PIXELS / WIDE_FONTS, points * _PIXELS / _POINTS)


def date_ticks(first: Any, last: Any, inches: float) -> tuple[list[pd.Timestamp], list[str]]:
    """Dates at starts of months (of days, where the time is short), as many as there is room for.

    Args:
        first, last: the ends of an axis of time.
        inches: how wide it is.

    Example:
        >>> date_ticks("2026-01-10", "2026-09-20", 2.2)[1]
        ['Mar 26', 'May 26', 'Jul 26']
    """
    first, last = pd.Timestamp(first), pd.Timestamp(last)
    most = max(int(inches / _DATE), 1)
    starts = pd.date_range(first.normalize(), last, freq="MS")
    turns, told, steps = starts.year * 12 + starts.month - 1, "%b %y", _MONTHS
    if len(starts) < 3:
        starts = pd.date_range(first.normalize(), last, freq="D")
        turns, told, steps = pd.RangeIndex(len(starts)), "%d %b", _DAYS
    air = (last - first) * min(0.5 * _DATE / max(inches, _DATE), 0.45)
    inside = np.asarray((starts >= first + air / 2) & (starts <= last - air))
    for step in steps:
        shown = starts[inside & np.asarray(turns % step == 0)]
        if len(shown) <= most:
            break
    kept = list(shown[:most]) or [first]
    return kept, [f"{one:{told}}" for one in kept]
