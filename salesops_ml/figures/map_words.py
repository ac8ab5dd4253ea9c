"""Words on the process map: how wide they are, how they are cut, and times as people say them.

A picture without a layout engine must know how much room its words take. Widths are those of a wide
sans-serif face, so that with any usual face the words fit.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from salesops_ml.figures.numbers import UNKNOWN, known

ELLIPSIS = "…"
_NARROW = frozenset("iljtfrI.,:;'|!()[]/ ·")
_WIDE = frozenset("mwMWGOQ@%&—…→⟲")
_BOLD = 1.1


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Width of `text` in the unit of `size`, told rather too wide than too narrow.

    Example:
        >>> text_width("ill", 10) < text_width("mmm", 10)
        True
    """
    ems = sum(_ems(character) for character in text)
    return ems * size * (_BOLD if bold else 1.0)


def _ems(character: str) -> float:
    if character in _NARROW:
        return 0.39
    if character in _WIDE:
        return 0.95
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return 1.05
    return 0.71 if character.isupper() else 0.63


def clipped(text: str, width: float, size: float, *, bold: bool = False) -> str:
    """`text`, or as much of it as fits, with an ellipsis.

    Example:
        >>> clipped("Negotiation", 40, 12)
        'Nego…'
    """
    if text_width(text, size, bold=bold) <= width:
        return text
    kept = text
    while kept and text_width(kept + ELLIPSIS, size, bold=bold) > width:
        kept = kept[:-1]
    return kept.rstrip() + ELLIPSIS


def wrapped(text: str, width: float, size: float, *, lines: int, bold: bool = False) -> list[str]:
    """`text` in at most so many lines, broken at spaces and underscores, cut where it does not fit.

    Example:
        >>> wrapped("Legal review by counsel", 80, 12, lines=2)
        ['Legal', 'review by…']
    """
    done: list[str] = []
    line = ""
    for word in _words(text):
        if line and text_width((line + word).rstrip(), size, bold=bold) > width:
            done.append(line.rstrip())
            line = word
        else:
            line += word
    done.append(line.rstrip())
    kept = done[:lines]
    if len(done) > lines:
        kept[-1] = clipped(" ".join([kept[-1], *done[lines:]]), width, size, bold=bold)
    return [clipped(one, width, size, bold=bold) for one in kept]


def _words(text: str) -> list[str]:
    """Pieces that may stand on lines of their own, each with the mark that ends it."""
    pieces, piece = [], ""
    for character in " ".join(text.split()):
        piece += character
        if character in " _-/":
            pieces.append(piece)
            piece = ""
    return [*pieces, piece]


def short_time(days: Any) -> str:
    """A duration in its own unit, shortly.

    Example:
        >>> short_time(12.4), short_time(3.25), short_time(0.3), short_time(0.0005), short_time(None)
        ('12 d', '3.2 d', '7.2 h', '43 s', 'not known')
    """
    value = known(days)
    if value is None:
        return UNKNOWN
    for length, unit in ((1.0, "d"), (1 / 24, "h"), (1 / 1440, "min")):
        if value >= length:
            return f"{_two_figures(value / length)} {unit}"
    return f"{_two_figures(value * 86_400)} s" if value >= 0.5 / 86_400 else "at once"


def short_count(count: Any) -> str:
    """A count in at most six characters.

    Example:
        >>> short_count(2950), short_count(123456), short_count(4.2e6)
        ('2,950', '123k', '4.2M')
    """
    value = known(count)
    if value is None:
        return UNKNOWN
    if value < 99_999.5:
        return f"{value:,.0f}"
    size, letter = (1e6, "M") if value >= 999_500 else (1e3, "k")
    return f"{_two_figures(value / size)}{letter}"


def _two_figures(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 or value == round(value) else f"{value:.1f}"
