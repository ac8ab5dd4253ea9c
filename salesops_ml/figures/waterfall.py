"""How a pipeline or a forecast got from its start to its end, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from salesops_ml.figures import style
from salesops_ml.figures.numbers import money
from salesops_ml.figures.style import WIDE, empty, narrow, sheet, styled
from salesops_ml.figures.words import STEPS, sentence_case

ENDS = ("start", "end")


def told_steps(steps: Mapping[str, float]) -> dict[str, float]:
    """Start, the steps that moved anything in their order, and end."""
    unnamed = [step for step in steps if step not in STEPS]
    order = [*(step for step in STEPS if step != "end"), *unnamed, "end"]
    kept = [step for step in order if step in ENDS or abs(steps.get(step, 0.0)) > 0]
    return {step: float(steps.get(step, 0.0)) for step in kept if step in steps}


@styled
def draw_waterfall(
    steps: Mapping[str, float],
    *,
    currency: str = "EUR",
    width: float = WIDE,
    ends: tuple[str, str] | None = None,
) -> Figure:
    """Bars from the start to the end: what came in (teal), what left (orange), what was won.

    Args:
        steps: amount by step, negative where it leaves; `start` and `end` among them.
        currency: ISO code for the labels.
        width: inches; a narrow picture runs downwards.
        ends: what the first and the last bar are called; those of a period's pipeline by default.
    """
    told = told_steps(steps)
    figure = sheet(width, 0.6 + 0.3 * len(told) if narrow(width) else 2.7)
    if not told or all(value == 0 for value in told.values()):
        return empty(figure, "nothing was due in this period")
    axes = figure.subplots()
    spans = _spans(told)
    for place, (step, (low, high)) in enumerate(spans.items()):
        _bar(axes, place, step, low, high, told[step], currency, narrow(width))
    words = STEPS | (dict(zip(ENDS, ends, strict=True)) if ends else {})
    names = [words.get(step, sentence_case(step)) for step in told]
    if narrow(width):
        _frame_down(axes, names, spans)
    else:
        _frame_across(axes, names, spans, currency)
    return figure


def _spans(told: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Where each bar begins and ends."""
    level, spans = 0.0, {}
    for step, value in told.items():
        if step in ENDS:
            level, spans[step] = value, (0.0, value)
        else:
            spans[step] = (level, level + value)
            level += value
    return spans


def _bar(
    axes: Any,
    place: int,
    step: str,
    low: float,
    high: float,
    value: float,
    currency: str,
    down: bool,
) -> None:
    colour = _colour(step, value)
    words = money(value, currency) if step in ENDS or value < 0 else f"+{money(value, currency)}"
    bottom, top = min(low, high), max(low, high)
    said = {"textcoords": "offset points", "fontsize": style.SMALL}
    if down:
        axes.barh(place, top - bottom, 0.62, left=bottom, color=colour)
        axes.annotate(words, (top, place), xytext=(4, 0), va="center", **said)
    else:
        axes.bar(place, top - bottom, 0.62, bottom=bottom, color=colour)
        axes.annotate(words, (place, top), xytext=(0, 3), ha="center", **said)


def _colour(step: str, value: float) -> str:
    if step in ENDS:
        return style.MUTED
    if step == "won":
        return style.CLOSED
    return style.GOOD if value > 0 else style.BAD


def _frame_across(
    axes: Any, names: list[str], spans: Mapping[str, tuple[float, float]], currency: str
) -> None:
    axes.set_xticks(range(len(names)), ["\n".join(name.rsplit(" ", 1)) for name in names])
    axes.tick_params(axis="x", labelcolor=style.INK)
    axes.set_ylim(*_room(spans, 1.12))
    axes.grid(axis="y", color=style.GRID)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: money(value, currency, trim=True))
    )


def _frame_down(axes: Any, names: list[str], spans: Mapping[str, tuple[float, float]]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", labelcolor=style.INK)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_xlim(*_room(spans, 1.3))


def _room(spans: Mapping[str, tuple[float, float]], share: float) -> tuple[float, float]:
    edges = [edge for span in spans.values() for edge in span]
    return min(0.0, *edges), max(max(edges) * share, 1e-9)
