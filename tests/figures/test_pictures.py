"""What holds for every picture: the same bytes each time, nothing cut off, no words over words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import matplotlib
from lxml import etree

from salesops_ml.figures.score_comparison import draw_score_comparison
from salesops_ml.figures.style import ROLES
from salesops_ml.figures.svg import svg, themed
from tests.figures.word_boxes import lying_over, outside

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
    assert outside(picture()) == []


def test_no_words_lie_over_words(picture: Draw) -> None:
    assert lying_over(picture()) == []


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
