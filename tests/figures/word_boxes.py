"""Where the words of a figure stand, in pixels."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.transforms import Bbox


def outside(figure: Any) -> list[str]:
    """Words that leave the picture."""
    width, height = (figure.get_size_inches() * figure.dpi).tolist()
    return [
        f"{text}: {box}"
        for text, box in _boxes(figure)
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1
    ]


def lying_over(figure: Any) -> list[str]:
    """Pairs of words that share more than a pixel each way."""
    return [
        f"{one} / {other}"
        for (one, first), (other, second) in combinations(_boxes(figure), 2)
        if min(first.x1, second.x1) - max(first.x0, second.x0) > 1
        and min(first.y1, second.y1) - max(first.y0, second.y0) > 1
    ]


def _boxes(figure: Any) -> list[tuple[str, Any]]:
    """Every text that is drawn, with its box in pixels."""
    FigureCanvasAgg(figure).draw()
    width, height = (figure.get_size_inches() * figure.dpi).tolist()
    recorder = _Recorder(width, height, figure.dpi)
    figure.draw(recorder)
    return recorder.boxes


class _Recorder(RendererAgg):
    """Draws as usual, and keeps the words with their places."""

    def __init__(self, width: float, height: float, dpi: float) -> None:
        super().__init__(width, height, dpi)
        self.boxes: list[tuple[str, Any]] = []

    def draw_text(
        self, gc: Any, x: float, y: float, s: str, prop: Any, angle: float, *args: Any, **more: Any
    ) -> None:
        super().draw_text(gc, x, y, s, prop, angle, *args, **more)
        text = more.get("mtext")
        if text is not None:
            self.boxes.append((s, text.get_window_extent(self)))
            return
        width, height, descent = self.get_text_width_height_descent(s, prop, False)
        self.boxes.append((s, Bbox.from_bounds(x, self.height - y - descent, width, height)))
