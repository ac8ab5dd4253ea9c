"""The map: nothing overlaps, nothing is cut off, and the dearest stage is told at once."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lxml import etree

from salesops_ml.figures.map_colours import SCALES, contrast
from salesops_ml.figures.map_graph import Graph, build_graph
from salesops_ml.figures.map_grid import Box
from salesops_ml.figures.map_layout import Layout, lay_out
from salesops_ml.figures.process_map import draw_map, map_page
from salesops_ml.mining.bottlenecks import bottlenecks
from salesops_ml.mining.event_log import read_log
from salesops_ml.mining.stages import stage_dwell
from salesops_ml.mining.steps import as_steps
from salesops_ml.mining.transitions import transitions
from tests.needs import program, shared_data

Frames = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]
SVG = "{http://www.w3.org/2000/svg}"
DAY = datetime(2026, 1, 1)


def frames_of(log: pd.DataFrame, **known: object) -> Frames:
    steps = as_steps(log, **known)  # type: ignore[arg-type]
    return transitions(steps), stage_dwell(steps), bottlenecks(steps)


def wandering(stages: int, seed: int, cases: int = 400) -> Frames:
    """A log of many stages whose deals also skip ahead, go back, return to life, and end two ways."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, str, datetime]] = []
    names = [f"Stage {k} of a long process"[: int(rng.integers(7, 24))] + str(k)
             for k in range(stages)]  # fmt: skip
    for case in range(cases):
        place, moment = 0, DAY + timedelta(days=float(rng.uniform(0, 300)))
        for _ in range(120):
            rows.append((f"c{case}", names[place], moment))
            moment += timedelta(days=float(rng.exponential(3)))
            luck = rng.random()
            if luck < 0.05 or place == stages - 1:
                end = "Lost" if luck < 0.04 else "Won"
                rows.append((f"c{case}", end, moment))
                if rng.random() < 0.95:
                    break
                moment += timedelta(days=2)
                place = int(rng.integers(0, stages))
            elif luck < 0.15:
                place = max(place - int(rng.integers(0, 12)), 0)
            else:
                place = min(place + int(rng.choice([1, 1, 1, 1, 2, 5, 15])), stages - 1)
    log = pd.DataFrame(rows, columns=["case:concept:name", "concept:name", "time:timestamp"])
    return frames_of(log, won=["Won"], lost=["Lost"], as_of=DAY + timedelta(days=2000))


def priced(frames: Frames, costs: dict[str, float]) -> Frames:
    """The frames with costs as if they had been found."""
    found = frames[2].astype({"segment": object, "finding": object})
    for stage, cost in costs.items():
        row = (found.kind == "stage") & (found.stage == stage)
        told = {
            "finding": True, "cost_per_month": cost, "cost_low": cost / 2, "cost_high": cost * 2,
            "segment": "discount > 20%", "delay_days": 6.0, "pace": 0.4, "q_value": 0.001,
            "wins_per_month": 2.0,
        }  # fmt: skip
        for name, value in told.items():
            found.loc[row, name] = value
    order = found[found.kind == "stage"].sort_values("cost_per_month", ascending=False).index
    found.loc[order, "rank"] = np.arange(1, len(order) + 1)
    return frames[0], frames[1], found


@pytest.fixture(scope="module")
def forty() -> Frames:
    frames = wandering(38, 1)
    names = frames[1].stage.tolist()
    return priced(frames, {names[5]: 120_000.0, names[20]: 80_000.0, names[30]: 9_000.0})


@pytest.fixture(scope="module")
def bank() -> Frames:
    log = read_log(shared_data("bpic2012", "BPI_Challenge_2012.xes.gz"))
    stages = log[log["concept:name"].str.startswith("A_")]
    won, lost = ["A_APPROVED", "A_REGISTERED", "A_ACTIVATED"], ["A_DECLINED", "A_CANCELLED"]
    return frames_of(stages, won=won, lost=lost, as_of=datetime(2012, 3, 15))


def laid_out(frames: Frames, share: float | None = None) -> Layout:
    return lay_out(build_graph(*frames, edge_share=share))


def overlaps(boxes: list[Box]) -> list[tuple[Box, Box]]:
    return [(a, b) for k, a in enumerate(boxes) for b in boxes[k + 1 :] if a.overlaps(b)]


def all_boxes(layout: Layout) -> list[Box]:
    return [*layout.boxes.values(), *(label.box for label in layout.labels)]


@pytest.mark.parametrize("stages", [1, 2, 5, 7, 8, 15, 22, 38])
@pytest.mark.parametrize("share", [None, 0.5, 1.0])
def test_no_label_and_no_stage_overlaps_another(stages: int, share: float | None) -> None:
    layout = laid_out(wandering(stages, stages, cases=150), share)
    assert len(layout.boxes) >= stages
    assert overlaps(all_boxes(layout)) == []
    inside = Box(0, 0, layout.width, layout.height)
    for box in all_boxes(layout):
        assert box.x >= 0
        assert box.y >= 0
        assert box.right <= inside.right
        assert box.bottom <= inside.bottom


def test_no_line_runs_through_a_stage(forty: Frames) -> None:
    layout = laid_out(forty)
    for line in layout.lines:
        for (x, y), (other_x, other_y) in zip(line.points[:-1], line.points[1:], strict=True):
            run = Box(min(x, other_x), min(y, other_y), abs(x - other_x), abs(y - other_y))
            for box in layout.boxes.values():
                core = Box(box.x + 1, box.y + 1, box.w - 2, box.h - 2)
                thin = Box(run.x - 0.1, run.y - 0.1, run.w + 0.2, run.h + 0.2)
                assert not thin.overlaps(core)


def test_stages_stand_in_order_and_ends_at_the_right(forty: Frames) -> None:
    layout = laid_out(forty)
    stand = [
        (spot.row, layout.boxes[key].x)
        for key, spot in sorted(layout.spots.items())
        if spot.node.kind == "open"
    ]
    assert stand == sorted(stand)
    furthest = max(layout.boxes[k].right for k, s in layout.spots.items() if not s.is_end)
    assert all(layout.boxes[k].x > furthest for k, s in layout.spots.items() if s.is_end)


def test_skips_run_above_and_ways_back_below() -> None:
    layout = laid_out(wandering(6, 3), 0.9)
    for line in layout.lines:
        if line.edge is None or len(line.points) != 4:
            continue
        source, target = (layout.spots[key] for key in (line.edge.source, line.edge.target))
        if source.is_end or target.is_end:
            continue
        lane, box = line.points[1][1], layout.boxes[line.edge.source]
        assert lane > box.bottom if line.edge.back else lane < box.y


def test_lines_are_as_wide_as_deals_are_many(bank: Frames) -> None:
    layout = laid_out(bank)
    known = sorted((line.edge.count, line.width) for line in layout.lines if line.edge)
    counts, widths = zip(*known, strict=True)
    assert list(widths) == sorted(widths)
    assert max(line.width for line in layout.lines) == pytest.approx(13)
    assert layout.most == 13_087
    assert counts[-1] == 13_087


def test_a_rail_carries_what_the_stages_lose(bank: Frames) -> None:
    graph = build_graph(*bank, edge_share=1.0)
    names = {node.key: node.name for node in graph.nodes}
    declined = sum(edge.count for edge in graph.edges if names[edge.target] == "A_DECLINED")
    assert declined == 7635


def words(svg: str) -> list[str]:
    root = etree.fromstring(svg.encode())
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def test_the_dearest_stage_is_named_ranked_and_priced(forty: Frames) -> None:
    worst = forty[1].stage[5]
    said = words(draw_map(*forty, title="Where it hurts", currency="USD"))
    assert said[0] == "Where it hurts"
    assert said[1] == f"Delay costs most in {worst}: $120k of won deals a month"
    assert "−$120k / month" in said
    assert {"1", "2", "3"} <= set(said)
    assert "discount > 20% stay 6 days longer" in " ".join(said)


def test_without_a_price_the_map_says_so_and_shows_waiting(bank: Frames) -> None:
    svg = draw_map(*bank)
    said = words(svg)
    assert said[1] == "Deals stay longest in A_FINALIZED: 15 d in the median"
    assert "no delay has a price" in " ".join(said)
    assert 'class="time6 f"' in svg
    assert "median time in the stage" in " ".join(said)


def test_the_drawing_is_small_self_contained_and_the_same_each_time(forty: Frames) -> None:
    svg = draw_map(*forty, edge_share=1.0)
    assert len(svg.encode()) < 300_000
    assert svg == draw_map(*forty, edge_share=1.0)
    outside = svg.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|<script|<image|@import|url\(|\bid=", outside)


def test_names_are_text_and_not_markup() -> None:
    log = pd.DataFrame({
        "case:concept:name": ["a", "a"],
        "concept:name": ["<b>&\"Lead\"</b>", "</script><script>alert(1)</script>"],
        "time:timestamp": [DAY, DAY + timedelta(days=1)],
    })  # fmt: skip
    frames = frames_of(log)
    assert '<b>&"Lead"</b>' in words(draw_map(*frames))
    assert "<script>alert" not in map_page(*frames, title="<i>x</i>")
    assert "<i>x</i>" not in map_page(*frames, title="<i>x</i>")


def test_control_characters_do_not_break_the_drawing() -> None:
    log = pd.DataFrame({
        "case:concept:name": ["a", "a"], "concept:name": ["Lead\x07 \x00in", "Won\x1b"],
        "time:timestamp": [DAY, DAY + timedelta(days=1)],
    })  # fmt: skip
    assert {"Lead in", "Won"} <= set(words(draw_map(*frames_of(log), title="A\x08 B")))


def test_where_no_amount_is_known_delay_is_told_in_wins(forty: Frames) -> None:
    found = forty[2].assign(cost_per_month=np.nan, cost_low=np.nan, cost_high=np.nan)
    said = words(draw_map(forty[0], forty[1], found, currency="EUR"))
    assert said[1].endswith("2.0 won deals a month")
    assert said.count("−2.0 wins / month") == 3
    assert not any("€" in text for text in said)
    assert "2.0 wins a month" in map_page(forty[0], forty[1], found)


def test_programs_without_variables_see_the_light_colours(forty: Frames) -> None:
    """A rule that names a variable names a colour before it, which such programs keep."""
    style = draw_map(*forty).split("<style>")[1].split("</style>")[0]
    assert "fill:#f6f8fa;fill:var(--card)" in style
    assert not re.search(r"[{}](fill|stroke):var", style)


def test_a_source_without_stages_gives_a_map_that_says_so() -> None:
    empty = pd.DataFrame({
        "case:concept:name": pd.Series(dtype=object), "concept:name": pd.Series(dtype=object),
        "time:timestamp": pd.Series(dtype="datetime64[us]"),
    })  # fmt: skip
    frames = frames_of(empty)
    assert "The source holds no stage events, so there is no map to draw." in words(
        draw_map(*frames)
    )
    assert "no map to draw" in map_page(*frames)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_grow_in_one_direction_and_ink_can_be_read(theme: str) -> None:
    for scale in SCALES[theme].values():
        against_white = [contrast(fill) for fill in scale]
        rising = sorted(against_white, reverse=theme == "dark")
        assert against_white == rising
        assert all(max(contrast(f), contrast(f, "#1f2a37")) >= 3.9 for f in scale)


def test_fewer_transitions_and_stages_can_be_asked_for(forty: Frames) -> None:
    few, many = (build_graph(*forty, edge_share=share) for share in (0.5, 0.8))
    assert len(few.edges) < len(many.edges)
    few_ways, many_ways = ({(e.source, e.target) for e in g.edges} for g in (few, many))
    assert few_ways <= many_ways
    reached = {edge.target for edge in few.edges} | {edge.source for edge in few.edges}
    assert {node.key for node in few.nodes} <= reached
    busy = build_graph(*forty, node_share=0.9)
    assert busy.hidden_nodes > 0
    kept = [node for node in busy.nodes if node.cost > 0]
    assert len(kept) == 3
    assert isinstance(busy, Graph)


def test_the_page_holds_every_position_of_its_sliders(forty: Frames) -> None:
    page = map_page(*forty, title="Map", currency="EUR")
    data = json.loads(re.search(r"const DATA = (\{.*?\});\n", page).group(1))  # type: ignore[union-attr]
    held = page.count("<template id=")
    assert {number for row in data["pictures"] for number in row} == set(range(held))
    assert len(data["pictures"]) == len(data["edges"]) > 1
    asked = set(re.findall(r'data-of="([^"]+)"', page))
    assert asked <= set(data["facts"])
    first = data["facts"][data["first"]]
    assert first["title"] == forty[1].stage[5]
    assert ["Cost of delay", "€120k a month", True] in first["rows"]
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)


MEASURE = """
<script>
const wrong = [];
for (const group of document.querySelectorAll('#map svg g')) {
  const frame = group.querySelector('rect.f');
  if (!frame) continue;
  const box = frame.getBoundingClientRect();
  for (const text of group.querySelectorAll('text:not(.badge + text)')) {
    const own = text.getBoundingClientRect();
    if (own.left < box.left || own.right > box.right || own.bottom > box.bottom + 1)
      wrong.push(text.textContent);
  }
}
for (const back of document.querySelectorAll('#map rect.t')) {
  const text = back.nextElementSibling;
  const [wide, room] = [text, back].map(one => one.getBoundingClientRect().width);
  if (wide > room) wrong.push(text.textContent);
}
const clicked = document.querySelector('#map [data-of^=e]');
clicked.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}));
const byKey = document.getElementById('name').textContent;
document.querySelector('#map [data-of=n0]').dispatchEvent(new MouseEvent('click', {bubbles: true}));
const byMouse = document.getElementById('name').textContent;
const slider = document.getElementById('edges');
const before = document.querySelectorAll('#map path.l').length;
slider.value = 0; slider.dispatchEvent(new Event('input'));
const after = document.querySelectorAll('#map path.l').length;
document.title = 'RESULT' + JSON.stringify({wrong, byKey, byMouse, before, after}) + 'END';
</script>
"""


def test_in_a_browser_texts_fit_and_the_page_answers(forty: Frames, tmp_path: Path) -> None:
    path = tmp_path / "map.html"
    path.write_text(map_page(*forty).replace("</body>", MEASURE + "</body>"), encoding="utf-8")
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--window-size=1900,1200", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
    ]  # fmt: skip
    done = subprocess.run(
        [program("chromium"), *flags, path.as_uri()], capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    found = re.search(r"RESULT(\{.*?\})END", done.stdout)
    assert found, done.stderr[-2000:]
    told = json.loads(found.group(1).replace("&amp;", "&").replace("&gt;", ">"))
    assert told["wrong"] == []
    assert "→" in told["byKey"]
    assert told["byMouse"] == forty[1].stage[0]
    assert told["after"] < told["before"]
