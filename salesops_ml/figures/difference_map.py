"""The difference map: where two populations of deals take other ways, stay longer, or win less.

The process is laid out as on the bottleneck map. What does not differ beyond chance stays thin and
grey; what does is drawn strong, with a number that leads to a sentence below. A rise is a full line
and ▲, a fall a dashed one and ▼, so that nobody needs the colours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.errors import UsageError
from salesops_ml.figures.difference_marks import Mark, marks_of, place_key
from salesops_ml.figures.map_colours import DARK, LIGHT
from salesops_ml.figures.map_graph import BEGIN, LOST, OPEN, WON, Node, build_graph
from salesops_ml.figures.map_grid import Box, Spot
from salesops_ml.figures.map_layout import Layout, lay_out
from salesops_ml.figures.map_lines import Line
from salesops_ml.figures.map_text import markup, short_time, width, wrapped
from salesops_ml.figures.numbers import known
from salesops_ml.figures.style import BAD, OURS
from salesops_ml.figures.style import DARK as DARK_ROLES
from salesops_ml.mining.transitions import END, START

if TYPE_CHECKING:
    import pandas as pd

NARROWEST = 760.0
MOST_SENTENCES = 12
_SIDE, _TOP, _ROW = 20.0, 78.0, 19.0
_ARROW = 10.0
_SIZE = 11.5
_WIDER, _BOLD = 1.15, 1.08
"""How much wider than expected a line may turn out in a reader's own type."""
_COLOURS = {"light": LIGHT | {"rise": OURS, "fall": BAD},
            "dark": DARK | {"rise": DARK_ROLES["ours"], "fall": DARK_ROLES["bad"]}}  # fmt: skip


@dataclass(frozen=True)
class _Picture:
    """What is drawn: the layout, the marks by place, the figures by place and measure."""

    layout: Layout
    marks: Mapping[tuple[str, str | None], Mark]
    rows: Mapping[tuple[str, str | None, str], Mapping[Any, Any]]
    names: Mapping[int, str]

    def edge_key(self, line: Line) -> tuple[str, str | None] | None:
        """The place that a line stands for; None for the common stretch of a rail."""
        if line.edge is None:
            return None
        return self.names[line.edge.source], self.names[line.edge.target]


def draw_difference_map(
    comparison: pd.DataFrame,
    transitions: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    names: Sequence[str] = ("first", "second"),
    title: str = "Where they differ",
) -> str:
    """The map as SVG: stand-alone, without scripts, fonts or links; it follows light and dark.

    Args:
        comparison: what `salesops_ml.mining.comparison.compare` found.
        transitions, stages: frames of `salesops_ml.mining` for the deals of both populations.
        names: what to call the two populations.
        title: a line above the headline.

    Raises:
        UsageError: `names` are not two.
    """
    if isinstance(names, str) or len(names) != 2:
        raise UsageError(f"`names`: {names!r}; give two, one for each population")
    found = int(comparison["found"].sum())
    lead = _lead(found, names)
    picture = _picture(comparison, transitions, stages, _TOP)
    wide = max(picture.layout.width, NARROWEST)
    heading = wrapped(lead, (wide - 2 * _SIDE) / (_WIDER * _BOLD), 19)
    if len(heading) > 1:
        picture = _picture(comparison, transitions, stages, _TOP + 25.0 * (len(heading) - 1))
    sentences = list(_sentences(picture.marks))
    lines = [part for told in sentences for part in _in_lines(told, wide - 2 * _SIDE - 34)]
    below = picture.layout.height + 24
    high = below + 62 + _ROW * max(len(lines), 1) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="dm" viewBox="0 0 {wide:.0f} {high:.0f}" '
        f'width="{wide:.0f}" height="{high:.0f}" role="img" '
        f'aria-label="{markup(f"{title}. {lead}.")}" style="max-width:100%;height:auto">',
        f"<style>{_stylesheet()}</style><defs>{''.join(_heads())}</defs>",
        f'<rect class="paper" width="{wide:.0f}" height="{high:.0f}"/>',
        _text(_SIDE, 30, title, 15, "m"),
        *(_text(_SIDE, 57 + 25 * turn, line, 19, "b") for turn, line in enumerate(heading)),
        *_lines(picture),
        *_cards(picture),
        *_badges(picture),
        *_legend(below, wide, names),
        *_listed(lines, below + 62),
        "</svg>\n",
    ]
    return "".join(parts)


def _picture(
    comparison: pd.DataFrame, transitions: pd.DataFrame, stages: pd.DataFrame, top: float
) -> _Picture:
    import pandas as pd

    nothing = pd.DataFrame({"kind": [], "stage": [], "finding": []})
    graph = build_graph(transitions, stages, nothing)
    told = {node.key: node.name for node in graph.nodes}
    outer = {BEGIN: START, "over": END}
    told |= {node.key: outer[node.kind] for node in graph.nodes if node.kind in outer}
    rows = {(*place_key(row), str(row["measure"])): row for row in comparison.to_dict("records")}
    return _Picture(lay_out(graph, top=top), marks_of(comparison), rows, told)


def _lead(found: int, names: Sequence[str]) -> str:
    if not found:
        return f"Nothing differs between {names[0]} and {names[1]} beyond chance"
    what = "thing differs" if found == 1 else "things differ"
    return f"{found} {what} between {names[0]} and {names[1]} beyond chance"


def _lines(picture: _Picture) -> Iterator[str]:
    """The transitions: grey ones first, so that the others lie on top."""
    drawn = []
    for line in picture.layout.lines:
        key = picture.edge_key(line)
        mark = picture.marks.get(key) if key else None
        look = mark.look if mark else "same"
        share = picture.rows.get((*key, "share")) if key else None
        if share is not None and share["by_outcome"]:
            look = "told"
        thick = 1.4 if mark is None else 3.2
        points = _shortened(line.points, _ARROW * 0.8) if line.arrow else line.points
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        head = f' marker-end="url(#dm-{look})"' if line.arrow else ""
        title = f"<title>{markup(mark.words)}</title>" if mark else ""
        drawn.append((mark is not None, f'<path class="l {look}" stroke-width="{thick}" '
                      f'd="{path}"{head}>{title}</path>'))  # fmt: skip
    yield from (text for _, text in sorted(drawn, key=lambda one: one[0]))


def _shortened(points: Sequence[tuple[float, float]], by: float) -> list[tuple[float, float]]:
    """The corners, the last one drawn back by so much."""
    kept = [points[0]]
    kept += [after for before, after in pairwise(points) if before != after]
    (x0, y0), (x1, y1) = kept[-2:] if len(kept) > 1 else (kept[0], kept[0])
    long = float(np.hypot(x1 - x0, y1 - y0))
    back = min(by, long / 2) / long if long else 0.0
    return [*kept[:-1], (x1 - (x1 - x0) * back, y1 - (y1 - y0) * back)]


def _cards(picture: _Picture) -> Iterator[str]:
    """The stages with both populations' figures, those that differ in bold."""
    for node in picture.layout.graph.nodes:
        box, spot = picture.layout.boxes[node.key], picture.layout.spots[node.key]
        if node.kind == BEGIN:
            x, y = box.middle
            yield f'<circle class="card" cx="{x:.1f}" cy="{y:.1f}" r="{box.w / 2:.1f}"/>'
            continue
        mark = picture.marks.get((node.name, None))
        look = f" {mark.look}" if mark else ""
        round_ = 10 if node.kind == OPEN else box.h / 2
        words = f"<title>{markup(f'{node.name}. {mark.words}' if mark else node.name)}</title>"
        yield (
            f'<g><rect class="card{look}" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.w:.1f}" '
            f'height="{box.h:.1f}" rx="{round_:.0f}" stroke-width="{3 if mark else 1.2}"/>{words}'
        )
        yield from _written(picture, node, box, spot)
        yield "</g>"


def _written(picture: _Picture, node: Node, box: Box, spot: Spot) -> Iterator[str]:
    """Name and figures of a stage."""
    told = [line for line in _figures(picture, node) if line[0]]
    high = 14.0 * len(spot.lines) + 13.5 * len(told)
    y = box.middle[1] - high / 2 + 10.5
    x = box.middle[0]
    for turn, name in enumerate(spot.lines):
        size = min(spot.type_size, 12.5, (box.w - 10) / (width(name, 1.0, bold=True) * _WIDER))
        yield _text(x, y + 14 * turn, name, round(size, 1), "b", middle=True)
    y += 14.0 * len(spot.lines)
    for turn, (words, strong) in enumerate(told):
        size = min(10.5, (box.w - 8) / (width(words, 1.0, bold=True) * _WIDER))
        yield _text(x, y + 13.5 * turn, words, round(size, 1), "b" if strong else "m", middle=True)


def _figures(picture: _Picture, node: Node) -> Iterator[tuple[str, bool]]:
    """Each figure of a stage in both populations, and whether it differs."""
    measures = ("share", "dwell", "win_rate") if node.kind == OPEN else ("share",)
    for measure in measures:
        row = picture.rows.get((node.name, None, measure))
        if row is None:
            continue
        if measure == "dwell":
            one, other = (short_time(row[f"{side}_p50_days"]) for side in ("first", "second"))
        else:
            one, other = (_percent(row[side]) for side in ("first", "second"))
        if {one, other} == {"–"}:
            continue
        word = {"share": "come", "dwell": "stay", "win_rate": "won"}[measure]
        word = word if node.kind == OPEN else {WON: "✓", LOST: "✗"}.get(node.kind, "")
        sign = (" ▲" if row["difference"] > 0 else " ▼") if row["found"] else ""
        yield f"{word} {one} → {other}{sign}".strip(), bool(row["found"])


def _percent(share: Any) -> str:
    value = known(share)
    if value is None:
        return "–"
    return f"{100 * value:.0f}%" if value >= 0.01 or value == 0 else "<1%"


def _badges(picture: _Picture) -> Iterator[str]:
    """The numbers that lead to the sentences, each where it covers neither stage nor other number."""
    taken = list(picture.layout.boxes.values())
    for key, mark in picture.marks.items():
        if mark.number > MOST_SENTENCES:
            continue
        wide = width(mark.badge, _SIZE, bold=True) + 12
        for x, y in _spots(picture, key):
            box = Box(x - wide / 2, y - 9, wide, 18)
            if key[1] is None or not any(box.overlaps(other) for other in taken):
                taken.append(box)
                yield (
                    f'<rect class="badge {mark.look}" x="{box.x:.1f}" y="{box.y:.1f}" '
                    f'width="{box.w:.1f}" height="18" rx="9"/>'
                    + _text(x, y + 4, mark.badge, _SIZE, "n", middle=True)
                )
                break


def _spots(picture: _Picture, key: tuple[str, str | None]) -> Iterator[tuple[float, float]]:
    """Where a number may stand: on a stage's upper edge, or along its line, longest stretch first."""
    for node in picture.layout.graph.nodes:
        if key[1] is None and node.name == key[0] and node.kind != BEGIN:
            box = picture.layout.boxes[node.key]
            yield box.x + 16, box.y
    for line in picture.layout.lines:
        if key[1] is None or picture.edge_key(line) != key:
            continue
        stretches = [(np.hypot(b[0] - a[0], b[1] - a[1]), a, b) for a, b in pairwise(line.points)]
        for _, (x0, y0), (x1, y1) in sorted(stretches, key=lambda one: -one[0]):
            for part in (0.5, 0.35, 0.65, 0.2, 0.8, 0.1, 0.9):
                yield x0 + (x1 - x0) * part, y0 + (y1 - y0) * part


def _sentences(
    marks: Mapping[tuple[str, str | None], Mark],
) -> Iterator[tuple[str, str, str]]:
    """(badge, look, words) of the strongest places, and how many more there are."""
    shown = [mark for mark in marks.values() if mark.number <= MOST_SENTENCES]
    yield from ((mark.badge, mark.look, mark.words) for mark in shown)
    if len(marks) > len(shown):
        yield (
            "",
            "same",
            f"and {len(marks) - len(shown)} more places, drawn strong without a number",
        )


def _in_lines(told: tuple[str, str, str], room: float) -> Iterator[tuple[str, str, str]]:
    """A sentence in lines that fit; the badge stands before the first."""
    for turn, line in enumerate(wrapped(told[2], room / _WIDER, 12.5)):
        yield (told[0] if turn == 0 else "", told[1], line)


def _listed(lines: Sequence[tuple[str, str, str]], y: float) -> Iterator[str]:
    if not lines:
        yield _text(_SIDE, y + 12, "No difference is larger than chance would make it.", 12.5, "m")
    for turn, (badge, look, words) in enumerate(lines):
        at = y + 12 + _ROW * turn
        if badge:
            yield _text(_SIDE, at, badge, 12, f"k {look}")
        yield _text(_SIDE + 34, at, words, 12.5, "")


def _legend(y: float, wide: float, names: Sequence[str]) -> Iterator[str]:
    yield f'<path class="rule" d="M{_SIDE} {y:.1f}H{wide - _SIDE:.0f}"/>'
    x = _SIDE
    samples = [("rise", 3.2, "▲ more, longer"), ("fall", 3.2, "▼ less, shorter"),
               ("both", 3.2, "▲▼ both"), ("same", 1.4, "no more than chance"),
               ("told", 1.4, "decided by the outcome")]  # fmt: skip
    for look, thick, words in samples:
        yield f'<path class="l {look}" stroke-width="{thick}" d="M{x:.1f} {y + 22:.1f}h30"/>'
        yield _text(x + 37, y + 26, words, 11, "m")
        x += 37 + width(words, 11) + 22
    told = f"figures: {names[0]} → {names[1]}; signs say how {names[1]} differs"
    for turn, line in enumerate(wrapped(told, (wide - 2 * _SIDE) / _WIDER, 11)[:1]):
        yield _text(_SIDE, y + 46 + 14 * turn, line, 11, "m")


def _heads() -> Iterator[str]:
    """An arrow head for each look; as wide whatever the line."""
    for look in ("rise", "fall", "both", "same", "told"):
        yield (
            f'<marker id="dm-{look}" markerUnits="userSpaceOnUse" markerWidth="{_ARROW}" '
            f'markerHeight="{_ARROW}" refX="1" refY="5" orient="auto">'
            f'<path class="head {look}" d="M0 0.5L{_ARROW} 5L0 9.5Z"/></marker>'
        )


def _text(x: float, y: float, words: str, size: float, kind: str, *, middle: bool = False) -> str:
    looks = f' class="{kind}"' if kind else ""
    looks += ' text-anchor="middle"' if middle else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"{looks}>{markup(words)}</text>'


def _stylesheet() -> str:
    """The map's CSS: it follows the reader's system, or a page that sets `data-theme`."""
    light, dark = (
        ";".join(f"--{name}:{colour}" for name, colour in _COLOURS[theme].items())
        for theme in ("light", "dark")
    )
    strokes = {"rise": "rise", "fall": "fall", "both": "ink", "same": "drain", "told": "drain"}
    looks = "".join(
        f".dm .l.{look},.dm .card.{look}{{stroke:var(--{name},{LIGHT.get(name, OURS)})}}"
        f".dm .head.{look},.dm .badge.{look}{{fill:var(--{name})}}"
        for look, name in strokes.items()
    )
    return (
        f".dm{{{light};font-family:'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}}"
        f"@media(prefers-color-scheme:dark){{.dm{{{dark}}}}}"
        f"[data-theme=light] .dm{{{light}}}[data-theme=dark] .dm{{{dark}}}"
        f"@media print{{.dm,[data-theme] .dm{{{light}}}}}"
        ".dm text{fill:var(--ink)}.dm .m{fill:var(--muted)}.dm .b{font-weight:600}"
        ".dm .k{font-weight:600}.dm text.rise{fill:var(--rise)}.dm text.fall{fill:var(--fall)}"
        ".dm .paper{fill:var(--paper)}.dm .card{fill:var(--card);stroke:var(--rim)}"
        ".dm .l{fill:none;stroke-linejoin:round}.dm .rule{stroke:var(--rim);fill:none}"
        f"{looks}.dm .l.fall,.dm .card.fall{{stroke-dasharray:8 4}}"
        ".dm .l.told{stroke-dasharray:2 3}.dm .n{fill:var(--paper);font-weight:600}"
    )
