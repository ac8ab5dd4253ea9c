"""What the process map tells, before it is drawn: stages and moves with their flow, time and cost.

The three frames of mining become nodes and edges in the order of the process, each with a shade.
Where delays cost money, the shade is the cost; where nothing stands out, it is the share of all
waiting, and the map says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.figures.map_words import short_time
from salesops_ml.figures.numbers import known, money, percent, plain

SHADES = 5
BADGES = 3
EDGES_A_NODE = 3
OPEN, WON, LOST = "open", "won", "lost"


@dataclass(frozen=True)
class MapNode:
    """A stage.

    Attributes:
        key: name for pages, `n0`, `n1`, ...
        name: the stage.
        kind: open, won or lost.
        cases: deals that were ever in it.
        median: median days there; None where not known.
        lost, starts, ends, open_now: deals lost from it, begun in it, last seen in it, there now.
        cost, wins: what its delay costs a month, in money and in won deals; 0 where nothing is found.
        share: its share of all waiting, 0..1.
        rank: 1, 2, ... for the dearest; 0 for no place among them.
        shade: 0 (none) to `SHADES`.
        figure: what the shade stands for, in words; empty where there is none.
    """

    key: str
    name: str
    kind: str
    cases: int
    median: float | None
    lost: int
    starts: int
    ends: int
    open_now: int
    cost: float
    wins: float
    share: float
    rank: int
    shade: int
    figure: str


@dataclass(frozen=True)
class MapEdge:
    """A move from one stage to another.

    Attributes:
        key: name for pages, `e0`, `e1`, ...
        source, target: places of its ends in `MapFacts.nodes`.
        count: how often.
        median: median days before it; None where not known.
        dear: whether a delay that costs money ends in it.
    """

    key: str
    source: int
    target: int
    count: int
    median: float | None
    dear: bool


@dataclass(frozen=True)
class MapFacts:
    """All that the map tells.

    Attributes:
        nodes: in the order of the process, closing stages last, the winning before the losing.
        edges: moves that are drawn, most frequent first.
        hidden: moves that are not drawn: (how many, how often together).
        by: what shades stand for: cost, wins or waiting.
        top: the largest cost, wins or share.
        headline: the finding in a sentence.
    """

    nodes: tuple[MapNode, ...]
    edges: tuple[MapEdge, ...]
    hidden: tuple[int, int]
    by: str
    top: float
    headline: str


def map_facts(
    transitions: pd.DataFrame, stages: pd.DataFrame, bottlenecks: pd.DataFrame, *, currency: str
) -> MapFacts:
    """Nodes and edges of the map, from the frames of mining.

    Args:
        transitions, stages, bottlenecks: as `mining.run.MiningResult` holds them.
        currency: ISO code of the company's money.
    """
    stages = _in_order(stages)
    names = [str(name) for name in stages["stage"]]
    dear = _of_kind(bottlenecks, "stage").drop_duplicates("stage").set_index("stage")
    costs = _column(dear, "cost_per_month", names)
    wins = _column(dear, "wins_per_month", names)
    shares = _waiting(stages)
    by = "cost" if max(costs, default=0) > 0 else "wins" if max(wins, default=0) > 0 else "waiting"
    worth = {"cost": costs, "wins": wins, "waiting": shares}[by]
    top = max(worth, default=0.0)
    ranks = _ranks(worth) if by != "waiting" else [0] * len(names)
    kinds = [LOST if closed and not won else WON if closed else OPEN
             for closed, won in zip(stages["is_closed"], stages["is_won"], strict=True)]  # fmt: skip
    flows = _flows(transitions, dict(zip(names, kinds, strict=True)))
    nodes = tuple(
        MapNode(
            f"n{place}", name, kinds[place], int(row.cases), known(row.dwell_p50_days),
            *(flows[what].get(name, 0) for what in ("lost", "starts", "ends")),
            int(row.open_now), costs[place], wins[place], shares[place], ranks[place],
            _shade(worth[place], top), _figure(by, worth[place], currency),
        )
        for place, (name, row) in enumerate(zip(names, stages.itertuples(), strict=True))
    )  # fmt: skip
    edges, hidden = _edges(transitions, bottlenecks, nodes)
    return MapFacts(nodes, edges, hidden, by, top, _headline(nodes, dear, by, currency))


def _in_order(stages: pd.DataFrame) -> pd.DataFrame:
    ends = np.where(stages["is_closed"], np.where(stages["is_won"], 1, 2), 0)
    return stages.assign(_ends=ends).sort_values(["_ends", "position"], kind="stable")


def _of_kind(bottlenecks: pd.DataFrame, kind: str) -> pd.DataFrame:
    if "kind" not in bottlenecks.columns:
        return pd.DataFrame(columns=["stage", "target", "cost_per_month", "wins_per_month"])
    return bottlenecks[bottlenecks["kind"] == kind]


def _column(frame: pd.DataFrame, column: str, names: Sequence[str]) -> list[float]:
    found = dict(zip(frame.index, frame[column], strict=True))
    return [max(known(found.get(name)) or 0.0, 0.0) for name in names]


def _waiting(stages: pd.DataFrame) -> list[float]:
    """Each open stage's share of all days that deals have spent in open stages."""
    days = stages["visits"].astype(float) * stages["dwell_mean_days"].astype(float).fillna(0.0)
    days = days.where(~stages["is_closed"].astype(bool), 0.0)
    return [float(share) for share in days / max(float(days.sum()), 1e-12)]


def _ranks(worth: Sequence[float]) -> list[int]:
    order = sorted((place for place, value in enumerate(worth) if value > 0),
                   key=lambda place: -worth[place])  # fmt: skip
    turns = {place: turn + 1 for turn, place in enumerate(order[:BADGES])}
    return [turns.get(place, 0) for place in range(len(worth))]


def _shade(value: float, top: float) -> int:
    """0 for nothing; else 1 to `SHADES`, in equal steps up to the largest."""
    return int(np.ceil(SHADES * value / top - 1e-9)) if value > 0 and top > 0 else 0


def _figure(by: str, value: float, currency: str) -> str:
    if value <= 0:
        return ""
    if by == "cost":
        return f"{money(value, currency)} a month"
    if by == "wins":
        return f"{plain(value, 1)} wins a month"
    return f"{percent(value)} of all waiting" if value >= 0.05 else ""


def _flows(transitions: pd.DataFrame, kinds: dict[str, str]) -> dict[str, dict[str, int]]:
    """Counts by stage: lost from it, begun in it, ended in it."""
    rows = transitions
    target = rows["target"].map(kinds)
    losing = rows[(rows["kind"] == "step") & (target == LOST) & (rows["source"].map(kinds) == OPEN)]
    return {
        "lost": _summed(losing, "source"),
        "starts": _summed(rows[rows["kind"] == "start"], "target"),
        "ends": _summed(rows[rows["kind"] == "end"], "source"),
    }


def _summed(rows: pd.DataFrame, by: str) -> dict[str, int]:
    return {str(name): int(count) for name, count in rows.groupby(by)["count"].sum().items()}


def _edges(
    transitions: pd.DataFrame, bottlenecks: pd.DataFrame, nodes: Sequence[MapNode]
) -> tuple[tuple[MapEdge, ...], tuple[int, int]]:
    """The moves to draw: each stage's largest in and out, the dear ones, then the most frequent.

    Moves between closing stages are bookkeeping and are not drawn.
    """
    place = {node.name: turn for turn, node in enumerate(nodes)}
    rows = transitions[transitions["kind"] == "step"]
    rows = rows.sort_values(["count", "source", "target"], ascending=[False, True, True])
    dear = _of_kind(bottlenecks, "edge")
    costly = {(row.stage, row.target) for row in dear.itertuples()
              if (known(row.cost_per_month) or 0) > 0 or (known(row.wins_per_month) or 0) > 0}  # fmt: skip
    chosen: list[MapEdge] = []
    seen_in: set[int] = set()
    seen_out: set[int] = set()
    left_out: list[int] = []
    limit = EDGES_A_NODE * len(nodes)
    for turn, row in enumerate(rows.itertuples()):
        source, target = place[str(row.source)], place[str(row.target)]
        if nodes[source].kind != OPEN:
            continue
        first = source not in seen_out or target not in seen_in
        if not (first or len(chosen) < limit or (row.source, row.target) in costly):
            left_out.append(int(row.count))
            continue
        seen_out.add(source)
        seen_in.add(target)
        key = f"e{turn}"
        chosen.append(MapEdge(key, source, target, int(row.count), known(row.dwell_p50_days),
                              (row.source, row.target) in costly))  # fmt: skip
    return tuple(chosen), (len(left_out), sum(left_out))


def _headline(nodes: Sequence[MapNode], dear: pd.DataFrame, by: str, currency: str) -> str:
    """The finding in a sentence or two."""
    if by == "waiting":
        return _headline_of_waiting(nodes)
    first = next(node for node in nodes if node.rank == 1)
    row = dear.loc[first.name]
    said = f"{first.name} costs most: {first.figure}"
    low, high = known(row.get("cost_low")), known(row.get("cost_high"))
    if by == "cost" and low is not None and high is not None:
        said += f" (90% interval {money(max(low, 0.0), currency)} to {money(high, currency)})"
    reason = row.get("segment")
    if isinstance(reason, str) and reason:
        said += f", where {reason}"
        pace = known(row.get("pace"))
        said += f": {percent(pace)} of the pace of comparable deals" if pace else ""
    others = [node for node in nodes if node.shade > 0]
    if len(others) > 1 and by == "cost":
        total = money(sum(node.cost for node in others), currency)
        return f"{said}. All {len(others)} slow stages: {total} a month."
    return said + "."


def _headline_of_waiting(nodes: Sequence[MapNode]) -> str:
    said = "No kind of deal is slower anywhere than comparable deals, beyond chance."
    slowest = max(nodes, key=lambda node: node.share, default=None)
    if slowest is None or slowest.share <= 0:
        return said
    median = "" if slowest.median is None else f", {short_time(slowest.median)} at the median"
    return f"{said} Deals wait longest in {slowest.name}: {percent(slowest.share)} of all days{median}."
