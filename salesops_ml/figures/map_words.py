"""What the map says in words: the headline, and the evidence behind each stage and transition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from salesops_ml.figures.map_graph import BEGIN, OPEN, OVER, Edge, Graph, Node
from salesops_ml.figures.map_text import short_time
from salesops_ml.figures.numbers import count, days, known, money, percent, plain

Rows = list[tuple[str, str]]


def headline(graph: Graph, currency: str) -> tuple[str, str]:
    """One sentence for the hurried, and one for those who read on."""
    if not any(node.kind == OPEN for node in graph.nodes):
        return "No stage history", "The source holds no stage events, so there is no map to draw."
    priced = sorted((n for n in graph.nodes if n.weight > 0), key=lambda node: -node.weight)
    return _priced_headline(priced, currency) if priced else _waiting_headline(graph, currency)


def _priced_headline(priced: list[Node], currency: str) -> tuple[str, str]:
    worst = priced[0]
    if worst.cost > 0:
        lead = f"Delay costs most in {worst.name}: {price(worst, currency)} of won deals a month"
        low, high = money(worst.low, currency), money(worst.high, currency)
        told = [f"90% interval {low} to {high}."]
    else:
        lead = f"Delay costs most in {worst.name}: {plain(worst.wins, 1)} won deals a month"
        told = ["No amounts are known, so it has no price in money."]
    longer = known(worst.facts.get("delay_days"))
    if longer is not None and worst.facts.get("segment"):
        told.append(
            f"Deals with {worst.facts['segment']} stay {days(longer)} longer there than "
            "comparable ones."
        )
    if len(priced) > 1:
        others = ", ".join(f"{node.name} {price(node, currency)}" for node in priced[1:3])
        told.append(f"Next: {others}.")
    return lead, " ".join(told)


def price(node: Node, currency: str) -> str:
    """What the delay of a stage costs a month: money, or won deals where no amount is known."""
    return money(node.cost, currency) if node.cost > 0 else f"{plain(node.wins, 1)} wins"


def _waiting_headline(graph: Graph, currency: str) -> tuple[str, str]:
    waiting = [node for node in graph.nodes if node.kind == OPEN and known(node.half) is not None]
    rest = "No kind of deal is slower than comparable ones beyond chance, so no delay has a price."
    if not waiting:
        return "No stage has been left yet", rest
    slowest = max(waiting, key=lambda node: node.half)
    lead = f"Deals stay longest in {slowest.name}: {short_time(slowest.half)} in the median"
    if slowest.open_now:
        worth = known(slowest.amount_now)
        money_now = f", worth {money(worth, currency)}" if worth else ""
        rest += f" {count(slowest.open_now)} deals are there now{money_now}."
    return lead, rest


def node_facts(node: Node, currency: str) -> Rows:
    """The evidence behind a stage: label and value, what is not known left out."""
    facts = node.facts
    rows: Rows = []
    if node.weight > 0:
        rows.append(("Cost of delay", f"{price(node, currency)} a month"))
        if node.cost > 0:
            low, high = money(node.low, currency), money(node.high, currency)
            rows += [("90% interval", f"{low} to {high}"),
                     ("Wins lost", f"{plain(node.wins, 1)} a month")]  # fmt: skip
        rows += [
            ("Who is slow", f"deals with {facts['segment']}"),
            ("Their pace", f"{float(facts['pace']):.2f} times the usual"),
            ("They stay longer by", days(facts["delay_days"])),
            ("Chance of a false alarm", _chance(facts["q_value"])),
        ]
    elif node.kind == OPEN and "finding" in facts:
        rows.append(("Cost of delay", "none found"))
    rows += _known_rows(facts, currency)
    return rows


def _known_rows(facts: dict[str, Any], currency: str) -> Rows:
    told: dict[str, tuple[str, Callable[[Any], str]]] = {
        "cases": ("Deals that came here", count),
        "visits": ("Visits", count),
        "returns": ("Visits that are returns", percent),
        "dwell_p25_days": ("A quarter leave within", _time),
        "dwell_p50_days": ("Half leave within", _time),
        "dwell_p90_days": ("Nine in ten leave within", _time),
        "target_days": ("Target", _time),
        "share_past_target": ("Stay past the target", percent),
        "win_rate_after": ("Won in the end", percent),
        "win_rate_within": ("Won, of those within the target", percent),
        "win_rate_past": ("Won, of those past the target", percent),
        "open_now": ("There now", count),
        "past_target_now": ("There now past the target", count),
    }
    rows = [
        (label, say(facts[name]))
        for name, (label, say) in told.items()
        if name in facts and known(facts[name]) is not None
    ]
    for name, label in (("amount_now", "Amount there now"), ("gain_at_target_per_month",
                        "Ceiling: won a month more if half left within the agreed days")):  # fmt: skip
        value = known(facts.get(name))
        if value:
            rows.append((label, money(value, currency)))
    return rows


def edge_facts(edge: Edge, currency: str) -> Rows:
    """The evidence behind a transition."""
    facts = edge.facts
    cost = known(facts.get("cost_per_month")) or 0.0
    wins = known(facts.get("wins_per_month")) or 0.0
    rows: Rows = []
    if cost > 0 or wins > 0:
        told = money(cost, currency) if cost > 0 else f"{plain(wins, 1)} wins"
        rows.append(("Cost of delay", f"{told} a month"))
    rows += [("Deals", count(facts["cases"])), ("Moves", count(edge.count)),
             ("Of all that leave", percent(edge.share))]  # fmt: skip
    for name, label in (("dwell_p50_days", "Half of them leave within"),
                        ("dwell_p90_days", "Nine in ten leave within")):  # fmt: skip
        if known(facts.get(name)) is not None:
            rows.append((label, _time(facts[name])))
    if known(facts.get("win_rate_after")) is not None:
        rows.append(("Won in the end", percent(facts["win_rate_after"])))
    if known(facts.get("amount")):
        rows.append(("Amount that flows", money(facts["amount"], currency)))
    return rows


def spoken(node: Node, currency: str) -> str:
    """What a screen reader says of a stage."""
    if node.kind == BEGIN:
        return f"Start, {count(node.cases)} deals"
    if node.kind == OVER:
        return f"End, {count(node.cases)} deals"
    told = [node.name, f"{count(node.cases)} deals"]
    if known(node.half) is not None and node.kind == OPEN:
        told.append(f"half leave within {_time(node.half)}")
    if node.weight > 0:
        told.append(f"delay costs {price(node, currency)} a month, rank {node.rank or 'lower'}")
    return ", ".join(told)


def spoken_edge(edge: Edge, graph: Graph) -> str:
    """What a screen reader says of a transition."""
    source, target = graph.node(edge.source).name, graph.node(edge.target).name
    return f"{source} to {target}, {count(edge.count)} moves"


def _time(value: Any) -> str:
    number = known(value)
    if number is None:
        return "not known"
    return days(number) if number >= 1 else short_time(number)


def _chance(q_value: Any) -> str:
    number = known(q_value)
    if number is None:
        return "not known"
    return "below 1 in 1,000" if number < 0.001 else percent(number, 1)
