"""What a reader gets to see on asking about a stage or a move of the process map: numbers in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from salesops_ml.figures.map_facts import OPEN, MapEdge, MapFacts, MapNode
from salesops_ml.figures.map_words import short_time
from salesops_ml.figures.numbers import count, known, money, percent, plain

Rows = list[list[str]]


def evidence(
    facts: MapFacts,
    frames: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
    *,
    currency: str,
) -> dict[str, dict[str, Any]]:
    """By key of the stage or move: `title`, `rows` of label and value, `slow` kinds, `examples`.

    Args:
        facts: what the map tells.
        frames: transitions, stages and bottlenecks of mining.
        currency: ISO code of the company's money.
    """
    transitions, stages, bottlenecks = frames
    told: dict[str, dict[str, Any]] = {}
    by_stage = stages.set_index("stage")
    for node in facts.nodes:
        found = _rows(bottlenecks, "stage", stage=node.name)
        told[node.key] = {
            "title": node.name,
            "rows": _stage_rows(node, by_stage.loc[node.name], _first(found), currency),
            "slow": [
                _slow(row, currency) for row in _rows(bottlenecks, "segment", stage=node.name)
            ],
            "moves": _moves(node, transitions),
            "examples": _examples(found),
        }
    for edge in facts.edges:
        source, target = facts.nodes[edge.source].name, facts.nodes[edge.target].name
        found = _rows(bottlenecks, "edge", stage=source, target=target)
        taken = (transitions["source"] == source) & (transitions["target"] == target)
        told[edge.key] = {
            "title": f"{source} → {target}",
            "rows": _move_rows(edge, transitions[taken].iloc[0], _first(found), currency),
            "slow": [],
            "moves": [],
            "examples": _examples(found),
        }
    return told


def _rows(bottlenecks: pd.DataFrame, kind: str, **where: str) -> list[dict[str, Any]]:
    if "kind" not in bottlenecks.columns:
        return []
    rows = bottlenecks[bottlenecks["kind"] == kind]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _first(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return rows[0] if rows else {}


def _told(pairs: Sequence[tuple[str, str | None]]) -> Rows:
    return [[label, value] for label, value in pairs if value]


def _money(value: Any, currency: str) -> str | None:
    return None if known(value) is None else money(value, currency)


def _time(value: Any) -> str | None:
    return None if known(value) is None else short_time(value)


def _share(value: Any) -> str | None:
    return None if known(value) is None else percent(value)


def _cost(row: dict[str, Any], currency: str) -> str | None:
    """Cost with its interval; None where there is none."""
    cost = known(row.get("cost_per_month"))
    if not cost or cost <= 0:
        return None
    low, high = known(row.get("cost_low")), known(row.get("cost_high"))
    if low is None or high is None:
        return money(cost, currency)
    return f"{money(cost, currency)} (90% interval {money(max(low, 0.0), currency)} to {money(high, currency)})"


def _wins(row: dict[str, Any]) -> str | None:
    wins = known(row.get("wins_per_month"))
    return plain(wins, 1) if wins and wins >= 0.05 else None


def _stage_rows(node: MapNode, stage: pd.Series[Any], found: dict[str, Any], currency: str) -> Rows:
    if node.kind != OPEN:
        return _told(
            [("Deals", count(node.cases)), ("Their amount", _money(stage["amount"], currency))]
        )
    target = known(stage["target_days"])
    return _told([
        ("Cost of delay a month", _cost(found, currency) or "none found beyond chance"),
        ("Wins lost to it a month", _wins(found)),
        ("Deals", count(node.cases)),
        ("Median stay", _time(node.median)),
        ("Nine in ten leave within", _time(stage["dwell_p90_days"])),
        ("Target", _target(target, str(stage["target_from"]))),
        ("Stay longer than the target", _share(stage["share_past_target"])),
        ("Won, of those within it", _share(found.get("win_rate_within"))),
        ("Won, of those past it", _share(found.get("win_rate_past"))),
        ("Share of all waiting", _share(node.share)),
        ("Lost from here", _lost(node)),
        ("Come back to it", _share(stage["returns"])),
        ("There now", _now(stage, currency)),
        ("More won a month if half kept the target", _gain(found, currency)),
    ])  # fmt: skip


def _target(target: float | None, origin: str) -> str | None:
    if target is None:
        return None
    return short_time(target) + (
        " (agreed)" if origin == "agreed" else " (quickest share of stays)"
    )


def _lost(node: MapNode) -> str:
    return f"{count(node.lost)} ({percent(node.lost / max(node.cases, 1))})"


def _now(stage: pd.Series[Any], currency: str) -> str:
    said = f"{count(stage['open_now'])} deals"
    amount = _money(stage["amount_now"], currency)
    return f"{said}, {amount}" if amount else said


def _gain(found: dict[str, Any], currency: str) -> str | None:
    gain = known(found.get("gain_at_target_per_month"))
    return money(gain, currency) if gain and gain > 0 else None


def _move_rows(edge: MapEdge, row: pd.Series[Any], found: dict[str, Any], currency: str) -> Rows:
    return _told([
        ("Times", count(edge.count)),
        ("Share of all that leave", _share(row["share"])),
        ("Median time before it", _time(edge.median)),
        ("Nine in ten within", _time(row["dwell_p90_days"])),
        ("Amount of the deals", _money(row["amount"], currency)),
        ("Won in the end", _share(row["win_rate_after"])),
        ("Share of the cost of delay, a month", _cost(found, currency)),
    ])  # fmt: skip


def _slow(row: dict[str, Any], currency: str) -> str:
    """A slow kind of deal in a sentence."""
    said = f"{row['segment']}: {percent(row['pace'])} of the pace of comparable deals"
    own, others = _time(row.get("dwell_p50_days")), _time(row.get("others_p50_days"))
    if own and others:
        said += f" (median {own}, others {others})"
    cost = _cost(row, currency)
    said += f"; {cost} a month" if cost else ""
    chance = known(row.get("q_value"))
    return said if chance is None else f"{said}; chance finding {_chance(chance)}"


def _chance(q_value: float) -> str:
    return "less than 1 in 1,000" if q_value < 0.001 else percent(q_value, 1)


def _moves(node: MapNode, transitions: pd.DataFrame) -> Rows:
    """Where deals come from and go to, most frequent first."""
    steps = transitions[transitions["kind"] == "step"].sort_values("count", ascending=False)
    rows = []
    for arrow, own, other in (("→", "source", "target"), ("←", "target", "source")):
        for move in steps[steps[own] == node.name].to_dict("records"):
            rows.append([f"{arrow} {move[other]}", count(move["count"]),
                         _time(move["dwell_p50_days"]) or ""])  # fmt: skip
    return rows


def _examples(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows or rows[0].get("examples") is None:
        return []
    return [str(one) for one in rows[0]["examples"]]
