"""What holds for every picture: the same bytes each time, nothing cut off, no words over words."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import combinations
from typing import Any

import matplotlib
from lxml import etree
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.transforms import Bbox

from salesops_ml.figures.score_comparison import draw_score_comparison
from salesops_ml.figures.style import ROLES
from salesops_ml.figures.svg import svg, themed

Draw = Callable[[], Any]


def test_the_same_data_give_the_same_bytes(picture: Draw) -> None:
    assert svg(picture()) == svg(picture())


def test_a_users_settings_neither_show_nor_change(picture: Draw) -> None:
    before = svg(picture())
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "lines.linewidth": 9}):
        kept = dict(matplotlib.rcParams)
        assert svg(picture()) == before
        assert dict(matplotlib.rcParams) == kept


def test_no_words_leave_the_picture(picture: Draw) -> None:
    figure = picture()
    width, height = (figure.get_size_inches() * figure.dpi).tolist()
    for text, box in _boxes(figure):
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, f"`{text}` leaves the picture: {box}"


def test_no_words_lie_over_words(picture: Draw) -> None:
    for (one, first), (other, second) in combinations(_boxes(picture()), 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        down = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert across <= 1 or down <= 1, f"`{one}` lies over `{other}`"


def test_the_element_is_whole_and_asks_for_nothing(picture: Draw) -> None:
    text = svg(picture(), name="one", title='Deals & "money"')
    root = etree.fromstring(text.encode())
    assert root.get("aria-label") == 'Deals & "money"'
    assert root.get("viewBox")
    assert root.get("width") is None
    names = root.xpath("//@id")
    assert names
    assert all(name.startswith("one-") for name in names)
    links = list(root.xpath("//@*[local-name()='href']"))
    assert all(link.startswith("#one-") and link[1:] in names for link in links)
    assert "dc:date" not in text
    assert "<script" not in text


def test_every_colour_has_a_role_and_follows_the_page(picture: Draw) -> None:
    plain = svg(picture())
    used = set(re.findall(r"#[0-9a-f]{6}\b", plain))
    assert used
    assert used <= set(ROLES.values())
    left = re.sub(r"var\(--figure-\w+, #[0-9a-f]{6}\)", "", themed(plain))
    assert not re.findall(r"#[0-9a-f]{6}\b", left)


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


def test_a_model_far_worse_than_the_next_stands_at_the_rim() -> None:
    scores = {
        "deal_scores": {"log_loss": 0.44, "log_loss_interval": [0.41, 0.47]},
        "logistic": {"log_loss": 0.46, "log_loss_interval": [0.43, 0.49]},
        "naive_bayes": {"log_loss": 2.9, "log_loss_interval": [2.6, 3.2]},
    }
    axes = draw_score_comparison(scores).axes[0]
    assert axes.get_xlim()[1] < 0.6
    assert [label.get_text() for label in axes.texts] == ["2.900", "0.460", "0.440"]
    assert axes.get_yticklabels()[0].get_text() == "Naive Bayes"
