"""How every picture looks: a calm palette that colour-blind readers can tell apart, type, and grid.

Blue runs from what is certain (dark) to what is still to come (light); orange warns, teal is well,
grey is what we compare with. Each colour has one role, so that a page can give it another value in
the dark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Patch

INK = "#1f2a37"
MUTED = "#5c6977"
GRID = "#e1e6ec"
PAPER = "#fffffe"
CLOSED = "#1d4e79"
OPEN = "#5b95c7"
NEW = "#b8d3ea"
CHANGED = "#d69a2d"
OURS = "#1f6fb2"
OTHER = "#8d98a5"
GOOD = "#1a877c"
BAD = "#c2541a"
ROLES = {
    "ink": INK, "muted": MUTED, "grid": GRID, "paper": PAPER, "closed": CLOSED, "open": OPEN,
    "new": NEW, "changed": CHANGED, "ours": OURS, "other": OTHER, "good": GOOD, "bad": BAD,
}  # fmt: skip
DARK = {
    "ink": "#e6ebf1", "muted": "#9fabb8", "grid": "#2f3945", "paper": "#182029",
    "closed": "#8fc4f2", "open": "#4d89bf", "new": "#2b4d6c", "changed": "#e0b050",
    "ours": "#6db3f2", "other": "#84919f", "good": "#46c0b2", "bad": "#f08a52",
}  # fmt: skip
"""The same roles on a dark page."""

WIDE = 7.4
NARROW = 3.6
"""Widths in inches: of a page, and of a telephone."""

SMALL, TEXT, LOUD = 8.0, 9.0, 10.5
"""Sizes of type, in points."""

_RC: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.labelsize": SMALL,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": TEXT,
    "axes.titleweight": "bold",
    "axes.unicode_minus": True,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
    "figure.constrained_layout.hspace": 0.04,
    "figure.constrained_layout.wspace": 0.04,
    "figure.dpi": 100,
    "figure.facecolor": PAPER,
    "font.family": ["DejaVu Sans"],
    "font.size": TEXT,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "hatch.linewidth": 0.7,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "savefig.facecolor": "auto",
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": GRID,
    "xtick.labelcolor": MUTED,
    "xtick.labelsize": SMALL,
    "xtick.major.size": 0,
    "ytick.color": GRID,
    "ytick.labelcolor": MUTED,
    "ytick.labelsize": SMALL,
    "ytick.major.size": 0,
}
_OF_THE_SESSION = ("backend", "backend_fallback", "interactive", "toolbar")
P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Let `draw` run in this style alone, whatever the user has set; nothing is left changed."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context():
            defaults = matplotlib.rcParamsDefault.items()
            matplotlib.rcParams.update({k: v for k, v in defaults if k not in _OF_THE_SESSION})
            matplotlib.rcParams.update(_RC)
            return draw(*args, **kwargs)

    return drawn


def sheet(width: float, height: float) -> Figure:
    """An empty figure of so many inches, laid out so that nothing is cut off."""
    return Figure(figsize=(width, height), layout="constrained")


def narrow(width: float) -> bool:
    """Whether a picture of this width should stack what stands side by side on a page."""
    return width < 5.0


def key(figure: Figure, entries: Sequence[tuple[str, str]], *, columns: int) -> None:
    """Name the colours above the picture: (words, colour) from left to right."""
    patches = [Patch(facecolor=colour, label=words) for words, colour in entries]
    figure.legend(
        handles=patches, loc="outside upper left", ncols=columns, handlelength=1.0,
        handleheight=1.0, columnspacing=1.4, borderaxespad=0.2,
    )  # fmt: skip


def empty(figure: Figure, words: str) -> Figure:
    """The figure with a sentence in place of a picture that has no data."""
    figure.text(0.5, 0.5, words, ha="center", va="center", color=MUTED, fontsize=TEXT)
    return figure
