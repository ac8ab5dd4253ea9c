"""What the map leaves out: the rarest first, nothing left hanging, and a link to every view."""

from __future__ import annotations

import json
import re
import subprocess
from collections import defaultdict
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from salesops_ml.figures.map_abstraction import backbone, most_visited, shown_stages, widest_parents
from salesops_ml.figures.map_graph import MOST_STAGES, Graph, build_graph
from salesops_ml.figures.map_page import NODE_SHARES
from salesops_ml.figures.map_text import width
from salesops_ml.figures.process_map import draw_map, map_page
from salesops_ml.mining.bottlenecks import bottlenecks
from salesops_ml.mining.stages import stage_dwell
from salesops_ml.mining.steps import as_steps
from salesops_ml.mining.transitions import transitions
from tests.needs import program

BEGIN, END = -1, 99
DAY = datetime(2026, 1, 1)
Frames = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]
walks = st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=9), min_size=1, max_size=25)


def moves_of(paths: list[list[int]]) -> list[tuple[int, int, int]]:
    counts: dict[tuple[int, int], int] = defaultdict(int)
    for path in paths:
        for pair in pairwise([BEGIN, *path, END]):
            counts[pair] += 1
    return [(source, target, count) for (source, target), count in sorted(counts.items())]


def network(moves: list[tuple[int, int, int]]) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_weighted_edges_from(moves)
    return graph


@given(walks)
def test_widest_paths_are_as_wide_as_any(paths: list[list[int]]) -> None:
    """The oracle tries every path of the network."""
    moves = moves_of(paths)[:14]
    graph = network(moves)
    parents = widest_parents(moves, [BEGIN])
    reachable = nx.descendants(graph, BEGIN) if BEGIN in graph else set()
    assert set(parents) == reachable
    for stage in reachable:
        way = [stage]
        while way[-1] != BEGIN:
            way.append(parents[way[-1]])
        width = min(graph[a][b]["weight"] for b, a in pairwise(way))
        every = nx.all_simple_paths(graph, BEGIN, stage)
        assert width == max(min(graph[a][b]["weight"] for a, b in pairwise(one)) for one in every)


@given(walks)
def test_the_backbone_alone_holds_everything_together(paths: list[list[int]]) -> None:
    moves = moves_of(paths)
    kept = nx.DiGraph(list(backbone(moves, BEGIN, [END])))
    stages = {stage for path in paths for stage in path}
    assert stages <= nx.descendants(kept, BEGIN)
    assert stages <= nx.ancestors(kept, END)


@given(walks, st.integers(0, 8))
def test_hiding_stages_leaves_no_other_in_the_air(paths: list[list[int]], hide: int) -> None:
    moves = moves_of(paths)
    visits = pd.Series([stage for path in paths for stage in set(path)]).value_counts()
    rarest = sorted(visits.index, key=lambda stage: (visits[stage], stage))
    views = [
        shown_stages(moves, rarest[:turn], rarest[turn:], BEGIN, [END])
        for turn in range(min(hide, len(rarest)) + 1)
    ]
    for shown in views:
        left = network(moves).subgraph({*shown, BEGIN, END})
        assert shown <= nx.descendants(left, BEGIN)
        assert shown <= nx.ancestors(left, END)
    assert all(after <= before for before, after in pairwise(views))


@given(walks, st.integers(1, 5))
def test_the_most_visited_stay_reachable(paths: list[list[int]], most: int) -> None:
    moves = moves_of(paths)
    visits = pd.Series([stage for path in paths for stage in path]).value_counts()
    busiest = sorted(visits.index, key=lambda stage: (-visits[stage], stage))
    shown = most_visited(moves, busiest, most, BEGIN, [END])
    left = network(moves).subgraph({*shown, BEGIN, END})
    assert set(busiest[:most]) <= shown
    assert set(busiest[:most]) <= nx.descendants(left, BEGIN)


def frames_of(paths: list[list[str]]) -> Frames:
    rows = [
        (f"c{case}", name, DAY + timedelta(days=case + 3 * turn))
        for case, path in enumerate(paths)
        for turn, name in enumerate(path)
    ]
    log = pd.DataFrame(rows, columns=["case:concept:name", "concept:name", "time:timestamp"])
    steps = as_steps(log, won=["Won"], lost=["Lost"], as_of=DAY + timedelta(days=4000))
    return transitions(steps), stage_dwell(steps), bottlenecks(steps)


def wandering(stages: int, cases: int, seed: int) -> list[list[str]]:
    """Paths that mostly go on, and at times skip, return, or end."""
    rng = np.random.default_rng(seed)
    paths = []
    for _ in range(cases):
        place, path = 0, []
        while len(path) < 60:
            path.append(f"Stage {place:02d}")
            if rng.random() < 0.06 or place == stages - 1:
                path.append("Won" if rng.random() < 0.4 else "Lost")
                break
            place = int(np.clip(place + rng.choice([1, 1, 1, 2, 6, -3]), 0, stages - 1))
        paths.append(path)
    return paths


def hangs(graph: Graph) -> bool:
    """Whether some stage cannot be reached from the start, or reaches no end."""
    ways = nx.DiGraph([(edge.source, edge.target) for edge in graph.edges])
    ends = {node.key for node in graph.nodes if node.kind in ("won", "lost", "over")}
    stages = {node.key for node in graph.nodes if node.kind == "open"}
    reached = nx.descendants(ways, -1)
    ending = set().union(*(nx.ancestors(ways, end) for end in ends if end in ways))
    return not (stages <= reached and stages <= ending)


@pytest.mark.parametrize("seed", range(4))
def test_at_every_position_of_the_sliders_the_map_is_in_one_piece(seed: int) -> None:
    frames = frames_of(wandering(24, 250, seed))
    shares = (0.3, 0.5, 0.7, 0.85, 0.95, 1.0)
    views = [[build_graph(*frames, edge_share=e, node_share=n) for n in NODE_SHARES]
             for e in shares]  # fmt: skip
    assert not any(hangs(graph) for row in views for graph in row)
    for row in views:
        sizes = [{node.key for node in graph.nodes} for graph in row]
        assert all(after <= before for before, after in pairwise(sizes))
    for column in zip(*views, strict=True):
        ways = [{(edge.source, edge.target) for edge in graph.edges} for graph in column]
        assert all(fewer <= more for fewer, more in pairwise(ways))


def test_the_least_visited_stages_go_first() -> None:
    paths = [["Lead", "Offer", "Won"]] * 30 + [["Lead", "Demo", "Offer", "Won"]] * 6
    paths += [["Lead", "Legal", "Offer", "Won"]] * 2
    frames = frames_of(paths)
    names = [{node.name for node in build_graph(*frames, node_share=share).nodes}
             for share in (0.0, 0.1, 0.2)]  # fmt: skip
    assert names[0] - names[1] == {"Legal"}
    assert names[1] - names[2] == {"Demo"}


def test_a_rare_stage_that_all_must_pass_stays() -> None:
    """Few deals get as far as Legal, but Contract is reached through it alone."""
    paths = [["Lead", "Lost"]] * 95 + [["Lead", "Legal", "Contract", "Won"]] * 5
    frames = frames_of(paths)
    found = frames[2].assign(finding=frames[2].stage == "Contract")
    shown = build_graph(frames[0], frames[1], found, node_share=0.2)
    assert {"Legal", "Contract"} <= {node.name for node in shown.nodes}


def test_of_many_stages_the_most_visited_are_drawn_and_the_rest_is_counted() -> None:
    rng = np.random.default_rng(5)
    paths = [
        ["Lead", *[f"Step {k}" for k in rng.zipf(1.3, 6).clip(1, 5_000)], "Won"] for _ in range(900)
    ]
    frames = frames_of(paths)
    graph = build_graph(*frames)
    stages = int((~frames[1].is_closed).sum())
    assert stages > 400
    assert len(graph.nodes) <= 2 * MOST_STAGES
    assert graph.hidden_nodes == stages - sum(node.kind == "open" for node in graph.nodes)
    assert not hangs(graph)
    svg = draw_map(*frames)
    assert f"not shown, being rare: {graph.hidden_nodes:,} stages" in svg
    assert len(svg.encode()) < 300_000


def test_a_transition_tells_its_deals() -> None:
    frames = frames_of([["Lead", "Offer", "Won"]] * 7 + [["Lead", "Offer", "Lost"]] * 3)
    page = map_page(*frames)
    data = json.loads(re.search(r"const DATA = (\{.*?\});\n", page).group(1))  # type: ignore[union-attr]
    fact = next(one for one in data["facts"].values() if one["title"] == "Lead → Offer")
    assert ["Deals", "10", False] in fact["rows"]
    edge = frames[2][(frames[2].kind == "edge") & (frames[2].target == "Offer")]
    assert fact["examples"] == list(edge.examples.iloc[0])
    assert len(fact["examples"]) == 5


LOOK = """
<script>
const seen = {
  edges: document.getElementById("edges").value, nodes: document.getElementById("nodes")?.value,
  said: document.querySelector("output[for=nodes]")?.textContent,
  spoken: document.getElementById("nodes")?.getAttribute("aria-valuetext"),
  name: document.getElementById("name").textContent, hash: location.hash,
  cards: document.querySelectorAll("#map rect[class^=time]").length,
  ramps: [...document.querySelectorAll("#map [data-scale]")].filter(one => one.style.display !== "none")
    .map(one => one.dataset.scale).join(),
};
const slider = document.getElementById("nodes") || document.getElementById("edges");
slider.value = 0; slider.dispatchEvent(new Event("input"));
seen.after = location.hash;
document.title = "RESULT" + JSON.stringify(seen) + "END";
</script>
"""


def browse(page: str, place: str, folder: Path) -> dict[str, Any]:
    """What a browser shows of the page at this address."""
    path = folder / "map.html"
    path.write_text(page.replace("</body>", LOOK + "</body>"), encoding="utf-8")
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        f"--user-data-dir={folder / 'profile'}", "--dump-dom",
    ]  # fmt: skip
    done = subprocess.run(
        [program("chromium"), *flags, path.as_uri() + place],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = re.search(r"RESULT(\{.*?\})END", done.stdout)
    assert found, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(found.group(1).replace("&amp;", "&"))
    return told


def test_a_link_leads_to_the_view_that_was_shared(tmp_path: Path) -> None:
    frames = frames_of(wandering(24, 250, 1))
    seen = browse(map_page(*frames), "#edges=0&nodes=2&at=n1", tmp_path)
    assert (seen["edges"], seen["nodes"]) == ("0", "2")
    assert seen["name"] == frames[1].stage[1]
    assert seen["hash"] == "#edges=0&nodes=2&at=n1"
    assert seen["said"] == seen["spoken"]
    assert re.fullmatch(r"\d+ of 24 shown", seen["said"])
    assert seen["after"] == "#edges=0&nodes=0&at=n1"


def test_colours_can_mean_cost_or_time(tmp_path: Path) -> None:
    transitions_, stages, found = frames_of(wandering(8, 200, 3))
    dear = (found.kind == "stage") & (found.stage == stages.stage[2])
    told = {"finding": True, "cost_per_month": 5e4, "cost_low": 1e4, "cost_high": 9e4, "rank": 1,
            "segment": "product A", "delay_days": 3.0, "pace": 0.5, "q_value": 0.01}  # fmt: skip
    found = found.astype({"segment": object})
    for name, value in told.items():
        found.loc[dear, name] = value
    page = map_page(transitions_, stages, found)
    by_cost = browse(page, "#nodes=0", tmp_path)
    assert by_cost["ramps"] == "cost"
    assert by_cost["cards"] == 7  # those of the ramp that is hidden
    by_time = browse(page, "#nodes=0&colour=time", tmp_path)
    assert by_time["ramps"] == "time"
    assert by_time["cards"] == 7 + 8
    assert "colour=time" in by_time["hash"]


def test_a_link_that_makes_no_sense_leads_to_the_usual_view(tmp_path: Path) -> None:
    frames = frames_of(wandering(12, 120, 2))
    seen = browse(map_page(*frames), "#edges=x&nodes=-4&at=%3Cscript%3E", tmp_path)
    assert seen["nodes"] == "0"
    assert seen["name"] in set(frames[1].stage)


def test_very_long_names_are_cut_and_stay_inside() -> None:
    name = "Rechtsschutzversicherungsgesellschaftsprüfung " * 4
    svg = draw_map(*frames_of([[name, "x" * 200, "Won"]] * 5), title="t" * 400)
    root = etree.fromstring(svg.encode())
    wide = float(root.get("width"))
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        size = float(text.get("font-size"))
        need = width("".join(text.itertext()), size, bold=text.get("font-weight") == "600")
        left = float(text.get("x")) - (need / 2 if text.get("text-anchor") == "middle" else 0)
        assert left >= 0
        assert left + need <= wide
    assert "…" in svg
