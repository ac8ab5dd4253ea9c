"""Differences between two populations as sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salesops_ml.mining.transitions import END, START


def in_words(row: Mapping[Any, Any], names: tuple[str, str]) -> str:
    """A row of `comparison.COLUMNS` as a sentence; `names` are those of the two populations.

    Example:
        >>> row = {"kind": "step", "source": "Lead", "target": "Offer", "measure": "share",
        ...     "first": 0.25, "second": 0.5, "difference": 0.25}
        >>> in_words(row, ("won", "lost"))
        '50% of the deals that leave Lead go to Offer in lost, 25% in won.'
    """
    return {"share": _share, "dwell": _dwell, "win_rate": _win_rate}[row["measure"]](row, names)


def _share(row: Mapping[Any, Any], names: tuple[str, str]) -> str:
    first, second = percent(row["first"]), percent(row["second"])
    if row["kind"] == "stage":
        told = f"of the deals come to {row['source']}"
    elif row["source"] == START:
        told = f"of the deals begin in {row['target']}"
    elif row["target"] == END:
        told = f"of the deals that leave {row['source']} end there"
    elif row["target"] == row["source"]:
        told = f"of the deals that leave {row['source']} enter it again"
    else:
        told = f"of the deals that leave {row['source']} go to {row['target']}"
    return f"{second} {told} in {names[1]}, {first} in {names[0]}."


def _dwell(row: Mapping[Any, Any], names: tuple[str, str]) -> str:
    way = "longer" if row["difference"] > 0 else "shorter"
    place = row["source"]
    if row["kind"] != "stage":
        then = "the end" if row["target"] == END else row["target"]
        place += f" before {then}"
    return (
        f"Deals stay {lasting(abs(row['difference']))} {way} in {place} in {names[1]} than in "
        f"{names[0]} ({lasting(row['second'])} against {lasting(row['first'])})."
    )


def _win_rate(row: Mapping[Any, Any], names: tuple[str, str]) -> str:
    place = row["source"] if row["kind"] == "stage" else f"{row['source']} to {row['target']}"
    return (
        f"{percent(row['second'])} of the deals that come by {place} are won in {names[1]}, "
        f"{percent(row['first'])} in {names[0]}."
    )


def percent(share: float) -> str:
    """A share with as many digits as it deserves; words where it is not known.

    Example:
        >>> percent(0.256), percent(0.0042), percent(0.0), percent(0.998), percent(float("nan"))
        ('26%', '0.42%', '0%', '99.8%', 'none seen')
    """
    if share != share:
        return "none seen"
    if share in (0, 1):
        return f"{100 * share:.0f}%"
    digits = 2 if share < 0.95 else 3
    return f"{float(f'{100 * share:.{digits}g}'):g}%"


def lasting(days: float) -> str:
    """Days in words, in the unit in which they are a small number.

    Example:
        >>> lasting(7.14), lasting(0.2), lasting(0.002), lasting(0.00001)
        ('7.1 days', '4.8 hours', '2.9 minutes', '0.9 seconds')
    """
    for unit, size in (("days", 1), ("hours", 24), ("minutes", 1440)):
        if days * size >= 1 or days == 0:
            return f"{days * size:.1f} {unit}"
    return f"{days * 86_400:.1f} seconds"
