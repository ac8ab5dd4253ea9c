"""Colours of the map: a sequential scale that colour-blind readers can follow, light and dark."""

from __future__ import annotations

import re

STEPS = 7
SCALES = {
    "light": {
        "cost": ("#fff0cc", "#fdd996", "#fbbb66", "#f39540", "#dd6b22", "#bb4a10", "#8f3006"),
        "time": ("#e7f0f8", "#c9deef", "#9fc5e3", "#70a6d2", "#4585bb", "#27659c", "#164672"),
    },
    "dark": {
        "cost": ("#3d2c19", "#5c3b17", "#7e4a14", "#a55c17", "#cf7527", "#f09447", "#ffb877"),
        "time": ("#1d3040", "#1f435f", "#215880", "#2a70a2", "#418cc2", "#6daddd", "#a3cff2"),
    },
}
"""Fills from least to most; on a dark page the most is the lightest, so that it stands out too."""
INK_ON_LIGHT, INK_ON_DARK = "#1f2a37", "#ffffff"
FIRST = {"light": "#5e1d02", "dark": "#ffffff"}
"""The rim of the dearest stage."""

LIGHT = {
    "paper": "#ffffff", "ink": "#1f2a37", "muted": "#5c6977", "card": "#f6f8fa",
    "rim": "#c9d2dc", "forward": "#8da2b8", "back": "#8f62ad", "drain": "#c5ced8",
    "won": "#1a877c", "wonfill": "#e3f4f1", "lost": "#74808d", "lostfill": "#eef0f3",
    "focus": "#1f6fb2",
}  # fmt: skip
DARK = {
    "paper": "#141b23", "ink": "#e6ebf1", "muted": "#a3afbc", "card": "#202a35",
    "rim": "#465361", "forward": "#6f869e", "back": "#b58ad4", "drain": "#3e4b59",
    "won": "#46c0b2", "wonfill": "#14342f", "lost": "#98a4b1", "lostfill": "#242d37",
    "focus": "#6db3f2",
}  # fmt: skip


def step_of(share: float) -> int:
    """The step of a scale for `share` of the highest value, 0..1.

    Example:
        >>> step_of(0.0), step_of(0.5), step_of(1.0)
        (0, 3, 6)
    """
    return round(min(max(share, 0.0), 1.0) * (STEPS - 1))


def stylesheet() -> str:
    """The map's CSS: it follows the reader's system, or a page that sets `data-theme`."""
    light = _variables(LIGHT, "light")
    dark = _variables(DARK, "dark")
    shades = "".join(
        f".pm .{kind}{step}{{fill:var(--{kind}{step});stroke:var(--{kind}{step})}}"
        f".pm .{kind}{step}~text{{fill:var(--{kind}{step}i)}}"
        for kind in ("cost", "time")
        for step in range(STEPS)
    )
    rules = (
        f".pm{{{light};font-family:'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}}"
        f"@media(prefers-color-scheme:dark){{.pm{{{dark}}}}}"
        f"[data-theme=light] .pm{{{light}}}[data-theme=dark] .pm{{{dark}}}"
        f"@media print{{.pm,[data-theme] .pm{{{light}}}}}"
        ".pm text{fill:var(--ink)}.pm .m{fill:var(--muted)}"
        ".pm path,.pm .l{fill:none;stroke-linejoin:round}"
        ".pm .forward{stroke:var(--forward)}.pm .drain{stroke:var(--drain)}"
        ".pm .rule{stroke:var(--rim)}"
        ".pm .back{stroke:var(--back);stroke-dasharray:7 4}"
        ".pm .h{stroke:none}.pm .h.forward{fill:var(--forward)}.pm .h.drain{fill:var(--drain)}"
        ".pm .h.back{fill:var(--back)}.pm .c{stroke:var(--paper)}"
        ".pm .t{fill:var(--paper);opacity:.93}.pm .paper{fill:var(--paper)}"
        ".pm .card{fill:var(--card);stroke:var(--rim)}"
        ".pm .won{fill:var(--wonfill);stroke:var(--won)}"
        ".pm .lost{fill:var(--lostfill);stroke:var(--lost)}"
        ".pm .iw{stroke:var(--won);fill:none}.pm .il{stroke:var(--lost);fill:none}"
        f"{shades}.pm .first{{stroke:var(--first)}}"
        ".pm .badge{fill:var(--ink)}.pm .badge+text{fill:var(--paper)}"
        ".pm [tabindex]{cursor:pointer;outline:none}"
        ".pm [tabindex]:focus-visible .f,.pm [aria-pressed=true] .f"
        "{stroke:var(--focus);stroke-width:3}"
        ".pm [tabindex]:focus-visible path.l,.pm [aria-pressed=true] path.l"
        "{stroke:var(--focus)}"
    )
    return _with_plain_colours(rules)


def _with_plain_colours(rules: str) -> str:
    """Before each variable its light colour, for programs that draw SVG but know no variables."""
    plain = dict(
        part.removeprefix("--").split(":") for part in _variables(LIGHT, "light").split(";")
    )
    return re.sub(
        r"(fill|stroke):var\(--(\w+)\)",
        lambda found: f"{found[1]}:{plain[found[2]]};{found[0]}",
        rules,
    )


def _variables(colours: dict[str, str], theme: str) -> str:
    told = dict(colours) | {"first": FIRST[theme]}
    for kind, scale in SCALES[theme].items():
        for step, fill in enumerate(scale):
            told[f"{kind}{step}"] = fill
            told[f"{kind}{step}i"] = INK_ON_DARK if contrast(fill) >= 4.0 else INK_ON_LIGHT
    return ";".join(f"--{name}:{value}" for name, value in told.items())


def contrast(colour: str, other: str = "#ffffff") -> float:
    """Contrast of two colours, from 1 to 21 (WCAG 2)."""
    bright, dark = sorted((_luminance(colour), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = (int(colour[turn : turn + 2], 16) / 255 for turn in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
