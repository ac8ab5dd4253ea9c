"""Why the forecast of the quarter is not what it was a week before: a picture, and a table by node."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.report_parts import Picture, Table, picture
from salesops_ml.figures.numbers import day, money
from salesops_ml.figures.waterfall import draw_waterfall
from salesops_ml.figures.words import STEPS, node_name

MOST_NODES = 12
MOST_CAUSES = 4
LEAST_SHARE = 0.005
"""Of the larger end: what a cause must have moved to have its own bar."""
_ENDS = ("start", "end")


@dataclass(frozen=True)
class ChangeSection:
    """The picture of the company, and where it came from."""

    picture: Picture
    nodes: Table | None


def build_change(files: RunFiles) -> ChangeSection | None:
    """The section from forecast_change.parquet; None where a run holds none."""
    told = files.frame("forecast_change")
    quarters = told[told["period"].str.contains("Q")] if len(told) else told
    if quarters.empty:
        return None
    labels = [label for label in quarters["period"].unique() if label != files.ending("quarter")]
    first = quarters[quarters["period"] == (labels or [quarters["period"].iloc[0]])[0]]
    company = first[first["node"] == "company"]
    if company.empty:
        return None
    return ChangeSection(_picture(company.iloc[0], files), _nodes(first, files))


def causes_of(row: pd.Series) -> dict[str, float]:
    """Start, causes and end of one node; what moved little stands together as `others`."""
    told = {
        str(name): float(value) for name, value in row.drop(["node", "period", "since"]).items()
    }
    least = LEAST_SHARE * max(abs(told[name]) for name in _ENDS)
    kept = {name: v for name, v in told.items() if name in _ENDS or abs(v) >= least}
    left = sum(v for name, v in told.items() if name not in kept)
    return kept | ({"others": left} if abs(left) >= 0.5 else {})


def _picture(row: pd.Series, files: RunFiles) -> Picture:
    steps = causes_of(row)
    since = pd.Timestamp(row["since"]) - pd.Timedelta(microseconds=1)
    moved = steps["end"] - steps["start"]
    words = money(abs(moved), files.currency)
    return picture(
        "change",
        f"Why the forecast of {row['period']} changed",
        lambda width: draw_waterfall(
            steps, currency=files.currency, width=width, ends=("A week before", "Now")
        ),
        caption=f"The forecast of {row['period']} is {words} {'more' if moved >= 0 else 'less'} than on"
        f" {day(since.date(), short=False)}. Won: what was booked in it, less what had been"
        " expected. Re-scored: open deals of which only the chance changed. New business: deals still to"
        " come.",
    )


def _nodes(first: pd.DataFrame, files: RunFiles) -> Table | None:
    """The first level of nodes: then, now, and the causes that moved most."""
    rows = first[first["node"].str.count("/") == 1].head(MOST_NODES)
    if rows.empty:
        return None
    causes = rows.drop(columns=["node", "period", "since", *_ENDS])
    most = causes.abs().sum().sort_values(ascending=False, kind="stable").head(MOST_CAUSES).index
    heads = ["", "A week before", *(STEPS[str(name)] for name in most), "Others", "Now"]
    cells = []
    for _, row in rows.iterrows():
        others = row["end"] - row["start"] - sum(row[name] for name in most)
        values = [row["start"], *(row[name] for name in most), others, row["end"]]
        cells.append([node_name(row["node"]), *(money(round(v), files.currency) for v in values)])
    return Table(heads, cells, numeric=range(1, len(heads)))
