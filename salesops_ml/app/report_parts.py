"""What sections of the report are made of: pictures in two widths, and tables of words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup, escape

from salesops_ml.figures.style import NARROW, WIDE
from salesops_ml.figures.svg import svg, themed

_HYPHENED = re.compile(r"(?=[\w-]*\d)\w+(?:-\w+)+")
"""Words of parts joined by hyphens, with a digit somewhere."""


@dataclass(frozen=True)
class Picture:
    """One picture, drawn for a page and for a telephone.

    Attributes:
        wide, narrow: SVG elements.
        caption: the sentence below it.
        shape: class of its frame: `full`, or `half` where two stand side by side.
    """

    wide: Markup
    narrow: Markup
    caption: str = ""
    shape: str = "full"


@dataclass(frozen=True)
class Table:
    """A table of words.

    Attributes:
        heads: names of the columns.
        rows: cells, as texts.
        numeric: places of the columns that are set to the right.
        strong: whether the last row is a total.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[int] = field(default_factory=tuple)
    strong: bool = False


def picture(
    name: str,
    title: str,
    draw: Callable[[float], Any],
    *,
    widths: tuple[float, float] = (WIDE, NARROW),
    caption: str = "",
    shape: str = "full",
) -> Picture:
    """Draw a figure in both widths.

    Args:
        name: unique on the page; letters and dashes.
        title: what a screen reader says.
        draw: the figure for a width in inches.
        widths: of the page and of the telephone.
    """
    wide, narrow = (
        Markup(themed(svg(draw(width), name=f"{name}-{kind}", title=title)))
        for kind, width in zip(("wide", "narrow"), widths, strict=True)
    )
    return Picture(wide, narrow, caption, shape)


def whole(text: object) -> Markup:
    """The text, escaped, whose ids and dates do not break at their hyphens.

    Example:
        >>> whole("Begin with D-018805 & co.")
        Markup('Begin with <span class="whole">D-018805</span> &amp; co.')
    """
    return Markup(_HYPHENED.sub(r'<span class="whole">\g<0></span>', str(escape(text))))


def listed(parts: Sequence[str], *, last: str = "and") -> str:
    """Words in a row.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    return f" {last} ".join(", ".join(parts).rsplit(", ", 1)) if len(parts) > 1 else "".join(parts)


def counted(number: int, one: str, many: str = "") -> str:
    """A count and its noun.

    Example:
        >>> counted(1, "deal"), counted(1200, "deal")
        ('1 deal', '1,200 deals')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
