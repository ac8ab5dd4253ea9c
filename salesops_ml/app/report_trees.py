"""The forecast cut other ways: by product, by segment, by whatever the configuration names."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.report_forecast import cells_ahead, heads_ahead
from salesops_ml.app.report_parts import Table, counted
from salesops_ml.figures.numbers import percent
from salesops_ml.figures.words import node_path

MOST_NODES = 10


@dataclass(frozen=True)
class TreeTable:
    """One further tree.

    Attributes:
        name: as configured.
        words: what is left out, and how often its ranges held before.
    """

    name: str
    table: Table
    words: str


def build_trees(files: RunFiles) -> list[TreeTable]:
    """A table for each tree of forecast_trees.parquet: its leaves in the two quarters ahead."""
    forecast = files.frame("forecast_trees")
    if forecast.empty:
        return []
    record = files.frame("forecast_trees_backtest")
    return [_table(str(name), rows, record, files) for name, rows in forecast.groupby("tree")]


def _table(name: str, rows: pd.DataFrame, record: pd.DataFrame, files: RunFiles) -> TreeTable:
    rows = rows[rows["grain"] == "quarter"]
    depth = rows["node"].str.count("/")
    leaves = rows[depth == depth.max()]
    periods = list(leaves.sort_values("period_start")["period"].unique()[:2])
    first = leaves[leaves["period"] == periods[0]]
    order = first.sort_values(["mean", "node"], ascending=[False, True])
    cells = [
        [node_path(node), *cells_ahead(leaves, node, periods, files.currency)]
        for node in order["node"][:MOST_NODES]
    ]
    heads = heads_ahead(periods)
    words = [_held(name, record)]
    if len(order) > MOST_NODES:
        words.append(f"{counted(len(order) - MOST_NODES, 'smaller part')} not listed.")
    return TreeTable(
        name.replace("_", " "),
        Table(heads, cells, numeric=range(1, len(heads))),
        " ".join(word for word in words if word),
    )


def _held(name: str, record: pd.DataFrame) -> str:
    """How often the 80% ranges of this tree's leaves held on past days."""
    if record.empty:
        return ""
    told = record[(record["tree"] == name) & (record["method"] == "ours")]
    if told.empty:
        return ""
    held = told["actual"].between(told["p10"], told["p90"]).mean()
    return f"On past days {percent(held)} of {counted(len(told), 'such range')} of 80% held."
