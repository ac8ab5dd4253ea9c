"""Figures as text for a page: the same bytes each time, words as words, colours that follow the page."""

from __future__ import annotations

import io
import re
from html import escape

import matplotlib
from matplotlib.figure import Figure

from salesops_ml.figures.style import ROLES, styled

_IDS = re.compile(r'(\bid="|url\(#|href="#)')
_FILL = re.compile(r'\bfill="(#[0-9a-f]{6})"')
_HEAD = re.compile(r"<svg\b[^>]*>")
_SIZE = re.compile(r' (?:width|height)="[^"]*"')


@styled
def svg(figure: Figure, *, name: str = "figure", title: str = "") -> str:
    """The figure as an SVG element to put into a page.

    Args:
        figure: the picture.
        name: what its inner ids start with; give each picture of a page its own.
        title: what a screen reader says.

    Returns:
        `<svg ...>...</svg>` without a fixed size, so that it fills its place.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = _IDS.sub(lambda found: found.group(1) + name + "-", text[text.index("<svg") :])
    text = _FILL.sub(r'style="fill: \1"', text)
    return _HEAD.sub(lambda found: _opened(found.group(0), title), text, count=1).rstrip()


def themed(picture: str) -> str:
    """An SVG whose colours are the page's own, `--figure-ROLE`, and the plain ones elsewhere.

    Example:
        >>> themed('<path style="fill: #1f6fb2"/>')
        '<path style="fill: var(--figure-ours, #1f6fb2)"/>'
    """
    for role, colour in ROLES.items():
        picture = picture.replace(f": {colour}", f": var(--figure-{role}, {colour})")
    return picture


def _opened(head: str, title: str) -> str:
    label = f' role="img" aria-label="{escape(title)}"' if title else ' aria-hidden="true"'
    return _SIZE.sub("", head)[:-1] + label + ">"
