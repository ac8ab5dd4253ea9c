"""Words on the map: how wide they are, how a long name is broken, how times and counts are said."""

from __future__ import annotations

from html import escape
from typing import Any

from salesops_ml.figures.numbers import known

_NARROW = "fijlt.,:;|!'()[]{}I-·/ "
_WIDE = "mwMW@%—→"
_CAPITALS = "ABCDEFGHKLNOPQRSTUVXYZ_&€£$~#"
_ADVANCE = {"narrow": 0.30, "wide": 0.90, "capital": 0.665, "other": 0.56}
_BOLD = 1.06
_BREAKS = " _-/."
NAME_SIZES = (13.0, 12.0, 11.0, 10.0)
WIDE_FONTS = 1.12
"""How much wider than the usual fonts those are that some systems put in their place."""


def width(text: str, size: float, *, bold: bool = False) -> float:
    """Width of a line in pixels, on the safe side of Arial, Segoe UI, Roboto and Helvetica.

    Example:
        >>> width("Contract", 12) < width("CONTRACT", 12) < 12 * len("CONTRACT")
        True
    """
    total = 0.0
    for letter in text:
        if letter in _NARROW:
            kind = "narrow"
        elif letter in _WIDE:
            kind = "wide"
        elif letter in _CAPITALS:
            kind = "capital"
        else:
            kind = "other" if letter.isascii() or letter.islower() else "wide"
        total += _ADVANCE[kind]
    return total * size * (_BOLD if bold else 1.0)


def markup(text: str) -> str:
    """The text as markup, without the control characters that XML forbids.

    Example:
        >>> markup("R&D <new>\x07")
        'R&amp;D &lt;new&gt;'
    """
    return escape("".join(one for one in text if one >= " " and one not in "\ufffe\uffff"))


def fit_name(name: str, room: float) -> tuple[list[str], float]:
    """The name in one or two bold lines of at most `room` pixels, and the size of type for that.

    A line of its own comes first, then two lines broken at a space or the like, then smaller type,
    then a break within a word; what does not fit even so ends in `…`.

    Example:
        >>> fit_name("Legal review of terms", 110), fit_name("A_PREACCEPTED", 110)
        ((['Legal review', 'of terms'], 13.0), (['A_PREACCEPTED'], 12.0))
    """
    for size in NAME_SIZES:
        if width(name, size, bold=True) <= room:
            return [name], size
        parts = _broken(name, room, size)
        if parts:
            return parts, size
    size = NAME_SIZES[-1]
    longest = len(cut(name, room, size).removesuffix("…"))
    turn = min(longest, (len(name) + 1) // 2)
    return [name[:turn], cut(name[turn:], room, size)], size


def _broken(name: str, room: float, size: float) -> list[str] | None:
    """The name in two lines that fit, as even as can be; None where no break does that."""
    found = []
    for turn in range(3, len(name) - 1):
        if name[turn - 1] in _BREAKS:
            lines = [name[:turn].rstrip(), name[turn:].lstrip()]
            wide = [width(line, size, bold=True) for line in lines]
            if max(wide) <= room:
                found.append((max(wide), lines))
    return min(found)[1] if found else None


def cut(text: str, room: float, size: float) -> str:
    """A bold line of at most `room` pixels, with `…` for what has no place.

    Example:
        >>> cut("Legal review of terms", 100, 12)
        'Legal review…'
    """
    if width(text, size, bold=True) <= room:
        return text
    while text and width(text + "…", size, bold=True) > room:
        text = text[:-1]
    return text.rstrip() + "…"


def wrapped(text: str, room: float, size: float) -> list[str]:
    """A sentence in lines of at most `room` pixels."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and width(longer, size) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def short_count(value: Any) -> str:
    """A count in few letters.

    Example:
        >>> short_count(987), short_count(13087), short_count(2_480_000)
        ('987', '13.1k', '2.48M')
    """
    number = known(value) or 0.0
    if number < 10_000:
        return f"{number:,.0f}"
    if number < 999_500:
        return f"{number / 1e3:.3g}k"
    return f"{number / 1e6:.3g}M"


def short_time(value: Any) -> str:
    """A duration in few letters; its unit is the one in which it is a small number.

    Example:
        >>> short_time(15.14), short_time(3.44), short_time(0.3), short_time(0.0005), short_time(0)
        ('15 d', '3.4 d', '7 h', '43 s', '0 s')
        >>> short_time(float("nan"))
        '–'
    """
    number = known(value)
    if number is None:
        return "–"
    if number >= 1:
        return f"{number:.0f} d" if number >= 9.95 else f"{number:.1f} d"
    for unit, size in (("h", 24), ("min", 1440)):
        if number * size >= 1:
            return f"{number * size:.0f} {unit}"
    return f"{number * 86_400:.0f} s"
