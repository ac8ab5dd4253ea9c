"""Which places of a difference map are marked: how, with which number, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_SIGNS = {"rise": "▲", "fall": "▼", "both": "▲▼"}


@dataclass(frozen=True)
class Mark:
    """A stage or transition that differs.

    Attributes:
        number: 1 for the surest, 2, 3, ...
        look: rise, fall, or both where some figures rise and others fall.
        words: its findings as sentences.
    """

    number: int
    look: str
    words: str

    @property
    def badge(self) -> str:
        """The number with its signs."""
        return f"{self.number} {_SIGNS[self.look]}"


def place_key(row: Mapping[Any, Any]) -> tuple[str, str | None]:
    """The stage, or source and target, of a row of the comparison."""
    target = row["target"]
    return str(row["source"]), str(target) if isinstance(target, str) else None


def marks_of(comparison: pd.DataFrame) -> dict[tuple[str, str | None], Mark]:
    """The places with a finding, surest first.

    Example:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({"source": ["Lead"] * 2, "target": [None] * 2, "found": [True] * 2,
        ...     "measure": ["share", "dwell"], "difference": [0.2, -3.0], "p_value": [0.01, 0.002],
        ...     "finding": ["More come.", "They stay shorter."]})
        >>> [mark.badge for mark in marks_of(rows).values()]
        ['1 ▲▼']
    """
    found = comparison[comparison["found"].astype(bool)]
    found = found.sort_values(["p_value", "source", "target", "measure"], kind="stable")
    places: dict[tuple[str, str | None], list[Mapping[Any, Any]]] = {}
    for row in found.to_dict("records"):
        places.setdefault(place_key(row), []).append(row)
    marks = {}
    for turn, (key, rows) in enumerate(places.items()):
        rises = {bool(row["difference"] > 0) for row in rows}
        look = "both" if len(rises) == 2 else "rise" if True in rises else "fall"
        marks[key] = Mark(turn + 1, look, " ".join(str(row["finding"]) for row in rows))
    return marks
