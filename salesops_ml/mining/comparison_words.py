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
        '50 % of the deals that leave Lead go to Offer in lost, 25 % in won.'
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
        f"{names[0]} ({row['first']:.1f} against {row['second']:.1f})."
    )


def _win_rate(row: Mapping[Any, Any], names: tuple[str, str]) -> str:
    place = row["source"] if row["kind"] == "stage" else f"{row['source']} to {row['target']}"
    return (
        f"{percent(row['second'])} of the deals that come by {place} are won in {names[1]}, "
        f"{percent(row['first'])} in {names[0]}."
    )


def percent(share: float) -> str:
    """A share with as many digits as it deserves.

    Example:
        >>> percent(0.256), percent(0.0042), percent(0.0)
        ('26 %', '0.42 %', '0 %')
    """
    return f"{100 * share:.0f} %" if share >= 0.095 or share == 0 else f"{100 * share:.2g} %"


def lasting(days: float) -> str:
    """Days in words.

    Example:
        >>> lasting(7.14), lasting(0.2)
        ('7.1 days', '4.8 hours')
    """
    return f"{days:.1f} days" if days >= 1 else f"{24 * days:.1f} hours"
