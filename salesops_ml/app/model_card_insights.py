"""What the model leans on, as two small tables of its card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salesops_ml.app.report_parts import Table
from salesops_ml.figures.numbers import plain
from salesops_ml.figures.words import sentence_case
from salesops_ml.models.wording import in_words

MOST = 10
PEOPLE = ("f_rep",)
"""Features that name people: the card is not made for ranking them."""


def leaned_on(insights: Mapping[str, Any] | None) -> Table | None:
    """Groups of facts, strongest first, with what the log-loss rises by without them."""
    groups = (insights or {}).get("groups") or []
    rows = [[sentence_case(one["name"]), _with_interval(one)] for one in groups[:MOST]]
    return Table(["Facts", "Log-loss rises by"], rows, numeric=(1,)) if rows else None


def bent_by(insights: Mapping[str, Any] | None) -> Table | None:
    """Of the strongest single facts where the chance is highest and where it is lowest."""
    rows = []
    for effect in (insights or {}).get("effects") or []:
        if effect["feature"] in PEOPLE:
            continue
        points = effect["points"]
        low = min(points, key=lambda point: float(point["effect"]))
        high = max(points, key=lambda point: float(point["effect"]))
        if low is not high:
            rows.append([_told(effect["feature"], high), _told(effect["feature"], low)])
    heads = ["Chance highest at", "Chance lowest at"]
    return Table(heads, rows, numeric=()) if rows else None


def _with_interval(one: Mapping[str, Any]) -> str:
    low, high = one["interval"]
    return f"{plain(one['increase'], 3)} ({plain(low, 3)} to {plain(high, 3)})"


def _told(feature: str, point: Mapping[str, Any]) -> str:
    """A value in words with its effect in percentage points."""
    words = in_words(feature, point["value"])
    return f"{words} ({100 * float(point['effect']):+.0f} points)".replace("(-", "(\N{MINUS SIGN}")
