"""The difference map: what is emphasised, what stands on what, and that ugly input is survived."""

from __future__ import annotations

import time
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from salesops_ml.errors import UsageError
from salesops_ml.figures.difference_map import MOST_SENTENCES, draw_difference_map
from salesops_ml.figures.difference_marks import marks_of
from salesops_ml.mining.comparison import compare
from salesops_ml.mining.populations import won_and_lost
from salesops_ml.mining.stages import stage_dwell
from salesops_ml.mining.steps import as_steps
from salesops_ml.mining.transitions import transitions
from tests.mining.process_world import DAYS, PLAIN, WAYS, Laws, options, process_log

SVG = "{http://www.w3.org/2000/svg}"
OTHER = Laws(DAYS | {"Offer": 25.0}, WAYS | {"Lead": {"Offer": 0.3, "Contract": 0.4, "Lost": 0.3}})
READ = {name: value for name, value in options().items() if name != "order"}


def drawn(log: pd.DataFrame, *, outcomes: bool = True, **more: object) -> tuple[str, pd.DataFrame]:
    """Every other deal against the rest."""
    read = READ if outcomes else {}
    ids = log["case:concept:name"]
    odd = ids.isin(sorted(ids.unique())[1::2])
    found = compare(log, ~odd, odd, draws=1000, **read)  # type: ignore[arg-type]
    frames = transitions(log, **read), stage_dwell(log, **read)  # type: ignore[arg-type]
    return draw_difference_map(found, *frames, **more), found  # type: ignore[arg-type]


def planted() -> pd.DataFrame:
    return process_log(500, 3, laws=[OTHER if case % 2 else PLAIN for case in range(500)])


def classes(picture: str, tag: str, kind: str) -> list[str]:
    root = ElementTree.fromstring(picture)
    every = [element.get("class", "") for element in root.iter(SVG + tag)]
    return [looks for looks in every if looks.split()[:1] == [kind]]


def test_only_what_differs_is_emphasised() -> None:
    picture, found = drawn(planted())
    assert found.found.any()
    marks = marks_of(found)
    stages = [key for key in marks if key[1] is None]
    strong = [look for look in classes(picture, "rect", "card") if look != "card"]
    assert len(strong) == len(stages)
    badges = classes(picture, "rect", "badge")
    assert len(badges) == len(marks)
    texts = [t.text or "" for t in ElementTree.fromstring(picture).iter(SVG + "text")]
    assert any("go to Contract" in text for text in texts)
    assert any(text.startswith("stay ") and text.endswith("▲") for text in texts)


def test_where_nothing_differs_nothing_is() -> None:
    picture, found = drawn(process_log(60, 1))
    assert not found.found.any()
    assert "Nothing differs" in picture
    assert classes(picture, "rect", "badge") == []
    assert set(classes(picture, "rect", "card")) == {"card"}


def test_numbers_cover_neither_each_other_nor_stages() -> None:
    picture, _ = drawn(planted())
    root = ElementTree.fromstring(picture)
    boxes = {"badge": [], "card": []}
    for rect in root.iter(SVG + "rect"):
        kind = rect.get("class", "").split()[0]
        if kind in boxes:
            sides = [float(rect.get(name, 0)) for name in ("x", "y", "width", "height")]
            boxes[kind].append(sides)
    on_lines = [b for b in boxes["badge"] if not any(b[1] + 9 == c[1] for c in boxes["card"])]
    for turn, one in enumerate(boxes["badge"]):
        for other in boxes["badge"][turn + 1 :] + (boxes["card"] if one in on_lines else []):
            apart = (
                one[0] + one[2] <= other[0] or other[0] + other[2] <= one[0]
                or one[1] + one[3] <= other[1] or other[1] + other[3] <= one[1]
            )  # fmt: skip
            assert apart


def test_what_the_outcome_decides_is_dotted() -> None:
    log = process_log(300, 4)
    steps = as_steps(log, **READ)  # type: ignore[arg-type]
    found = compare(steps, *won_and_lost(steps), draws=1000)
    picture = draw_difference_map(found, transitions(steps), stage_dwell(steps))
    assert any("told" in look for look in classes(picture, "path", "l"))


def wide_log(stages: int, name: str) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    rows = []
    for case in range(400):
        at = pd.Timestamp("2026-01-01") + pd.Timedelta(days=case / 4)
        place = 0
        while place < stages and len(rows) < 20_000:
            rows.append((f"d{case:04}", f"{name} {place}", at))
            place += int(rng.choice([1, 1, 1, 2, -1])) if place else 1
            at += pd.Timedelta(days=float(rng.exponential(3 if case % 2 else 1)))
    return pd.DataFrame(rows, columns=["case:concept:name", "concept:name", "time:timestamp"])


def drawn_wide(stages: int) -> tuple[str, float]:
    """The map of a wide process, and the processor's seconds that drawing it took."""
    log = wide_log(stages, "Stage")
    found = compare(log, *_halves(log), draws=500)
    frames = transitions(log), stage_dwell(log)
    start = time.process_time()
    return draw_difference_map(found, *frames), time.process_time() - start


def test_forty_stages_are_drawn_soon_and_small() -> None:
    """Four times the stages may take four times four as long; placing by trial would be thousands."""
    (_, few), (picture, many) = drawn_wide(10), drawn_wide(40)
    assert many < 16 * few
    assert len(picture) < 300_000
    ElementTree.fromstring(picture)
    listed = [
        t for t in ElementTree.fromstring(picture).iter(SVG + "text") if "k " in t.get("class", "")
    ]
    assert len(listed) == MOST_SENTENCES


def _halves(log: pd.DataFrame) -> tuple[list[str], list[str]]:
    ids = sorted(log["case:concept:name"].unique())
    return ids[::2], ids[1::2]


def test_ugly_names_and_one_stage_are_survived() -> None:
    log = wide_log(4, 'A <very> long & "ugly" stage\'s name that goes on and on\x07 until the end')
    picture, _ = drawn(log, outcomes=False, names=("<a>", "&b"))
    assert "<very>" not in picture
    ElementTree.fromstring(picture)
    one = pd.DataFrame({
        "case:concept:name": ["a", "b"], "concept:name": ["Lead", "Lead"],
        "time:timestamp": pd.to_datetime(["2026-01-01", "2026-01-02"]),
    })  # fmt: skip
    picture, _ = drawn(one, outcomes=False)
    ElementTree.fromstring(picture)
    with pytest.raises(UsageError, match="`names`"):
        drawn(one, outcomes=False, names="ab")


def test_it_follows_light_and_dark_and_stands_alone() -> None:
    picture, _ = drawn(planted())
    assert "prefers-color-scheme:dark" in picture
    assert "[data-theme=dark]" in picture
    for word in ("<script", "href=", "@import", "url(http"):
        assert word not in picture
