"""The process map as a page of its own: the picture, and beside it the evidence for what is chosen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template

import pandas as pd

from salesops_ml.figures.map_evidence import evidence
from salesops_ml.figures.map_facts import OPEN, MapFacts
from salesops_ml.figures.map_words import short_time
from salesops_ml.figures.numbers import count, percent

Frames = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def page(picture: str, facts: MapFacts, frames: Frames, *, title: str, currency: str) -> str:
    """A page that needs nothing from elsewhere and, without scripts, still tells all in a table.

    Args:
        picture: the map as SVG.
        facts: what it tells.
        frames: transitions, stages and bottlenecks of mining.
        title: of the page.
        currency: ISO code of the company's money.
    """
    template = Template(files("salesops_ml.figures").joinpath("map_page.html").read_text("utf-8"))
    told = evidence(facts, frames, currency=currency)
    return template.substitute(
        title=escape(title),
        picture=picture,
        headline=escape(facts.headline),
        evidence=_for_script(told),
        busiest_edge=max((edge.count for edge in facts.edges), default=1),
        busiest_node=max((node.cases for node in facts.nodes), default=1),
        table=_table(facts),
    )


def _for_script(value: object) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def _table(facts: MapFacts) -> str:
    """Every stage in a row, for readers of tables, screen readers and paper."""
    what = {
        "cost": "Cost of delay",
        "wins": "Wins lost to delay",
        "waiting": "Share of all waiting",
    }
    heads = ["Stage", "Deals", "Median stay", "Lost from here", "There now", what[facts.by]]
    rows = [_cells(["th scope='col'"] * len(heads), heads)]
    for node in facts.nodes:
        inner = node.kind == OPEN
        median = "" if not inner or node.median is None else short_time(node.median)
        lost = f"{count(node.lost)} ({percent(node.lost / max(node.cases, 1))})" if inner else ""
        now = count(node.open_now) if inner else ""
        values = [node.name, count(node.cases), median, lost, now, node.figure or "–"]
        rows.append(_cells(["th scope='row'", *["td"] * 5], values))
    return "\n".join(rows)


def _cells(tags: Sequence[str], values: Sequence[str]) -> str:
    cells = "".join(
        f"<{tag}>{escape(value)}</{tag.split(' ')[0]}>"
        for tag, value in zip(tags, values, strict=True)
    )
    return f"<tr>{cells}</tr>"
