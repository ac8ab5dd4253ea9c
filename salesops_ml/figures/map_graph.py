"""What the map shows: the stages and transitions that matter, with their numbers.

Most deals move along few transitions. The map keeps those that carry a given share of all moves, and
always the widest way from the start into each stage and on to an end, so that no stage hangs in the
air (`map_abstraction`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.figures.map_abstraction import Move, backbone, most_visited, shown_stages
from salesops_ml.mining.transitions import END, START

if TYPE_CHECKING:
    import pandas as pd

OPEN, WON, LOST, OVER, BEGIN = "open", "won", "lost", "over", "begin"
MOST_EDGES = 160
MOST_STAGES = 60
SHARES = (0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.995)
SOME_EDGES, EDGES_A_STAGE = 14, 1.1
LEAST_ENDING = 0.02
TOP = 3


@dataclass(frozen=True)
class Node:
    """A stage on the map; money is in company currency, times in days.

    Attributes:
        key: its number in the process. kind: open, won, lost, over (a log without outcomes ends
            there) or begin. rank: 1 to 3 for the dearest stages with a finding, else 0.
        cost, low, high: won amount a month that its delay costs, with interval; 0 where none is found
            or no amount is known.
        wins: won deals a month that its delay costs; 0 where none is found.
        facts: everything that the side panel tells.
    """

    key: int
    name: str
    kind: str
    cases: int
    half: float
    open_now: int
    amount_now: float
    cost: float
    low: float
    high: float
    wins: float
    rank: int
    facts: dict[str, Any]

    @property
    def weight(self) -> float:
        """What its delay costs a month: money, or won deals where no amount is known."""
        return self.cost if self.cost > 0 else self.wins


@dataclass(frozen=True)
class Edge:
    """A transition on the map; `back` where it leads to an earlier stage or the same one."""

    source: int
    target: int
    count: int
    half: float
    share: float
    back: bool
    facts: dict[str, Any]


@dataclass(frozen=True)
class Graph:
    """Stages in the order of the process, and the transitions between them.

    `readable` says whether there are few enough transitions to follow each with the eye; the most
    frequent ones that carry `edge_share` of all moves are shown, and those that hold it together.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    hidden_nodes: int
    hidden_edges: int
    readable: bool
    edge_share: float

    @property
    def priced(self) -> bool:
        """Whether the delay of some stage has a cost, in money or in won deals."""
        return any(node.weight > 0 for node in self.nodes)

    @property
    def in_money(self) -> bool:
        """Whether costs are known in money."""
        return any(node.cost > 0 for node in self.nodes)

    def node(self, key: int) -> Node:
        """The node of that key."""
        return next(node for node in self.nodes if node.key == key)


def build_graph(
    transitions: pd.DataFrame,
    stages: pd.DataFrame,
    bottlenecks: pd.DataFrame,
    *,
    edge_share: float | None = None,
    node_share: float = 0.0,
) -> Graph:
    """The part of the process that a map shows.

    Args:
        transitions, stages, bottlenecks: frames of `salesops_ml.mining`.
        edge_share: keep the most frequent transitions that carry this share of all moves; None
            for the largest of `SHARES` that stays readable.
        node_share: hide open stages that fewer than this share of the deals reach, the least
            visited first, but none whose delay has a price, and none without which another would
            hang in the air. Of more than `MOST_STAGES` only the most visited are ever shown.
    """
    stages = stages.sort_values("position").reset_index(drop=True)
    deals = int(transitions.loc[transitions.kind == "start", "count"].sum())
    told = bottlenecks[bottlenecks.kind == "stage"].set_index("stage")
    begin, over = -1, len(stages)
    moves = _moves(transitions, stages, begin, over)
    shown = _shown(moves, stages, told, node_share * deals)
    here = moves[moves.a.isin({*shown, begin}) & moves.b.isin({*shown, over})]
    share = edge_share or _readable_share(here, len(shown))
    chosen = _chosen(here, share, deals)
    nodes = [_stage_node(key, stages.iloc[key], told) for key in sorted(shown)]
    if begin in set(chosen.a):
        nodes.append(_outer_node(begin, BEGIN, "Start", deals))
    if over in set(chosen.b):
        nodes.append(_outer_node(over, OVER, "End", int(moves.loc[moves.b == over, "count"].sum())))
    places = {node.key: node for node in nodes}
    ways = _ways_out(bottlenecks)
    return Graph(
        tuple(sorted(nodes, key=lambda node: node.key)),
        tuple(_edge(row, places, ways) for _, row in chosen.iterrows()),
        len(stages) - len(shown),
        len(moves) - len(chosen),
        int((~chosen.ends).sum()) <= _most_readable(len(shown)),
        share,
    )


def _moves(transitions: pd.DataFrame, stages: pd.DataFrame, begin: int, over: int) -> pd.DataFrame:
    """The transitions that a map can show, most frequent first.

    Columns: `a` and `b` (keys of the stages), `ends` (whether it leads to an end), and `before` (share
    of all moves by those that are more frequent).
    """
    keys = {str(name): turn for turn, name in enumerate(stages.stage)}
    moves = transitions.assign(
        a=transitions.source.map(keys | {START: begin}),
        b=transitions.target.map(keys | {END: over}),
    )
    closing = {keys[str(name)] for name in stages.stage[stages.is_closed]}
    won = {keys[str(name)] for name in stages.stage[stages.is_won]}
    alike = moves.a.isin(closing) & moves.b.isin(closing) & (moves.a.isin(won) == moves.b.isin(won))
    moves = moves[~((moves.b == over) & moves.a.isin(closing)) & ~alike]
    moves = moves.sort_values(["count", "a", "b"], ascending=[False, True, True])
    total = max(int(moves["count"].sum()), 1)
    return moves.assign(
        ends=moves.b.isin({*closing, over}),
        before=(moves["count"].cumsum() - moves["count"]) / total,
    )


def _shown(moves: pd.DataFrame, stages: pd.DataFrame, told: pd.DataFrame, least: float) -> set[int]:
    """Keys of the stages that are shown."""
    begin, over = -1, len(stages)
    ways = _tuples(moves)
    busiest = stages.sort_values(["cases", "position"], ascending=[False, True])
    closing = set(np.flatnonzero(stages.is_closed).tolist())
    ends = {*closing, over}
    dear = stages.stage.isin(told.index[told.finding.astype(bool)])
    fixed = closing | set(np.flatnonzero(dear).tolist())
    turn = [key for key in busiest.index.tolist() if key not in closing]
    kept = most_visited(ways, turn, MOST_STAGES, begin, ends) | fixed
    rare = [key for key in reversed(turn) if key in kept - fixed and stages.cases[key] < least]
    return shown_stages(ways, rare, kept - set(rare), begin, ends)


def _tuples(moves: pd.DataFrame) -> list[Move]:
    return [tuple(row) for row in moves[["a", "b", "count"]].astype(int).to_numpy().tolist()]


def _readable_share(here: pd.DataFrame, stages: int) -> float:
    """The largest share that leaves few enough transitions for so many stages."""
    most = _most_readable(stages)
    fitting = [share for share in SHARES if (~_chosen(here, share, 0).ends).sum() <= most]
    return max(fitting, default=min(SHARES))


def _most_readable(stages: int) -> float:
    """How many transitions, those to an end left out, a map of so many stages bears."""
    return SOME_EDGES + EDGES_A_STAGE * stages


def _chosen(here: pd.DataFrame, edge_share: float, deals: int) -> pd.DataFrame:
    """The busiest moves up to the share, and those without which the map would fall to pieces.

    These are the widest paths, and the busiest move into and out of each stage. Ways to an end share
    a rail, so they take little room: all that are not very rare are kept.
    """
    begin = -1
    kept_together = backbone(_tuples(here), begin, set(here.b[here.ends]))
    pairs = zip(here.a.astype(int), here.b.astype(int), strict=True)
    needed = np.array([pair in kept_together for pair in pairs], dtype=bool)
    needed |= (~here.duplicated("a") | ~here.duplicated("b")).to_numpy()
    often = (here.before < edge_share - 1e-9).to_numpy()
    least = (1 - edge_share) * LEAST_ENDING * deals
    kept = often | needed | (here.ends & (here["count"] >= least)).to_numpy()
    room = kept & (needed | (np.cumsum(kept & ~needed) <= MOST_EDGES - needed.sum()))
    chosen: pd.DataFrame = here[room]
    return chosen


def _ways_out(bottlenecks: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    """What mining tells of each way out of a stage: its part of the cost, and example deals."""
    rows = bottlenecks[bottlenecks.kind == "edge"]
    wanted = ["cost_per_month", "wins_per_month", "examples"]
    return {
        (str(row["stage"]), str(row["target"])): {name: row[name] for name in wanted}
        for _, row in rows.iterrows()
    }


def _stage_node(key: int, row: pd.Series[Any], told: pd.DataFrame) -> Node:
    kind = OPEN if not row["is_closed"] else WON if row["is_won"] else LOST
    found = told.loc[row["stage"]] if row["stage"] in told.index else None
    slow = found if found is not None and found["finding"] else {}
    cost, low, high, wins = (
        max(float(np.nan_to_num(slow.get(name, 0.0))), 0.0)
        for name in ("cost_per_month", "cost_low", "cost_high", "wins_per_month")
    )
    facts = {name: row[name] for name in row.index}
    if found is not None:
        facts |= {name: found[name] for name in found.index if name not in facts}
    return Node(
        key,
        str(row["stage"]),
        kind,
        int(row["cases"]),
        float(row["dwell_p50_days"]),
        int(row["open_now"]),
        float(row["amount_now"]),
        cost,
        low,
        high,
        wins,
        int(slow["rank"]) if cost + wins > 0 and slow["rank"] <= TOP else 0,
        facts,
    )


def _outer_node(key: int, kind: str, name: str, cases: int) -> Node:
    return Node(key, name, kind, cases, float("nan"), 0, float("nan"), 0.0, 0.0, 0.0, 0.0, 0, {})


def _edge(
    row: pd.Series[Any], places: dict[int, Node], ways: dict[tuple[str, str], dict[str, Any]]
) -> Edge:
    source, target = places[int(row["a"])], places[int(row["b"])]
    closes = target.kind in (WON, LOST, OVER)
    back = target.key <= source.key and not (closes and source.kind == target.kind)
    facts = {name: row[name] for name in row.index if name not in ("a", "b", "ends", "before")}
    facts |= ways.get((str(row["source"]), str(row["target"])), {})
    return Edge(
        source.key, target.key, int(row["count"]), float(row["dwell_p50_days"]),
        float(row["share"]), back, facts,
    )  # fmt: skip
