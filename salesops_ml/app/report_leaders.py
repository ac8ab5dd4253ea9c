"""The call, the deals that could fill the gap, and the pace, in the report's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.report_parts import Table
from salesops_ml.figures.numbers import money, percent
from salesops_ml.figures.words import node_name

MOST_NODES = 12
MOST_DEALS = 8
Row = dict[str, Any]


@dataclass(frozen=True)
class LeaderTables:
    """Three tables, each None where the run cannot tell it."""

    call: Table | None
    gap: Table | None
    gap_words: str
    pace: Table | None


def build_leaders(files: RunFiles) -> LeaderTables:
    """The tables from calls.parquet, gap_deals.parquet and pacing.parquet."""
    gap, words = _gap(files)
    return LeaderTables(_call(files), gap, words, _pace(files))


def _call(files: RunFiles) -> Table | None:
    """Company and first level: the running quarter by the model, by categories, and as submitted."""
    told = files.frame("calls")
    told = told[told["period"].astype(str).str.contains("Q")] if len(told) else told
    if told.empty:
        return None
    first = told["period"].iloc[0]
    rows = told[(told["period"] == first) & (told["node"].str.count("/") <= 1)]
    parts = ["model_commit", "model_expected", "model_best"]
    heads = ["", "Commit", "Expected", "Best case"]
    for names, words in (
        (["reps_commit", "reps_best"], ["Reps' commit", "Reps' best case"]),
        (["submitted"], ["Submitted"]),
    ):
        if rows[names].notna().any(axis=None):
            parts, heads = parts + names, heads + words
    cells = [
        [_name(row["node"]), *(_money(row[part], files.currency) for part in parts)]
        for row in _records(rows.head(MOST_NODES + 1))
    ]
    return Table(heads, cells, numeric=range(1, len(heads)))


def _gap(files: RunFiles) -> tuple[Table | None, str]:
    """The company's deals, those that could add most first."""
    deals = files.frame("gap_deals")
    deals = deals[deals["node"] == "company"] if len(deals) else deals
    if deals.empty:
        return None, ""
    shown = deals.head(MOST_DEALS)
    currency = files.currency
    cells = [
        [
            str(row["deal_id"]), _text(row["rep_id"]), _text(row["stage"]),
            _money(row["amount"], currency), percent(row["p_in_period"]),
            _money(row["could_add"], currency), "yes" if row["pull_in"] else "",
        ]
        for row in _records(shown)
    ]  # fmt: skip
    heads = ["Deal", "Owner", "Stage", "Amount", "Chance in time", "Could add", "To pull in"]
    gap = float(deals["gap"].iloc[0])
    words = (
        f"To reach the quota of {deals['period'].iloc[0]} at even odds, {money(gap, currency)} more is"
        f" needed; these {len(shown)} deals could add"
        f" {money(float(shown['could_add'].sum()), currency)} if all were won in time."
    )
    return Table(heads, cells, numeric=(3, 4, 5)), words


def _pace(files: RunFiles) -> Table | None:
    """The company on this day of this quarter, and of earlier ones."""
    told = files.frame("pacing")
    told = told[told["node"] == "company"] if len(told) else told
    if len(told) < 2:
        return None
    parts = ("closed", "open", "due", "created", "final")
    cells = [
        [str(row["period"]), *(_money(row[part], files.currency) for part in parts)]
        for row in _records(told)
    ]
    heads = ["Quarter", "Won by this day", "Open", "of it due", "Created by this day", "In the end"]
    return Table(heads, cells, numeric=range(1, len(heads)))


def _records(frame: pd.DataFrame) -> list[Row]:
    return [
        {str(key): value for key, value in row.items()} for row in frame.to_dict(orient="records")
    ]


def _name(node: str) -> str:
    return "Company" if node == "company" else node_name(node)


def _money(value: float, currency: str) -> str:
    return "–" if pd.isna(value) else money(float(value), currency)


def _text(value: object) -> str:
    return "–" if value is None or value != value else str(value)
