"""How the team stands: KPIs of the last full quarter against targets, by stage, and the waterfall."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.report_parts import Picture, Table, picture
from salesops_ml.figures.kpi_tiles import KEY_METRICS, draw_sparkline, target_words
from salesops_ml.figures.numbers import MINUS, known, measure, percent
from salesops_ml.figures.svg import svg, themed
from salesops_ml.figures.waterfall import draw_waterfall
from salesops_ml.figures.words import metric_name, node_name
from salesops_ml.kpis.definitions import DEFINITIONS, definition_of

BY_STAGE = (
    "stage_conversion",
    "stage_win_rate",
    "stage_dwell_p50",
    "stage_dwell_p90",
    "stage_overdue",
)
BY_NODE = ("quota_attainment", "win_rate", "cycle_median", "deal_size_mean", "open_pipeline")
MOST_NODES = 12
FEW = 3
"""Periods below which there is no line to draw."""


@dataclass(frozen=True)
class Tile:
    """A KPI at a glance."""

    name: str
    value: str
    change: str
    status: str
    target: str
    line: Markup


@dataclass(frozen=True)
class KpiSection:
    """Tiles, tables and the waterfall, or in words why there are none."""

    words: str
    period: str
    tiles: list[Tile]
    all: Table | None
    stages: Table | None
    nodes: Table | None
    waterfall: Picture | None


@dataclass(frozen=True)
class Periods:
    """The periods that are compared: full ones in order, and the one in progress."""

    full: list[str]
    current: str | None

    @property
    def last(self) -> str:
        """The newest that can be told: the last full one, else the one in progress."""
        return self.full[-1] if self.full else str(self.current)


def build_kpis(files: RunFiles) -> KpiSection:
    """The section from kpis.parquet."""
    frame = files.frame("kpis")
    if frame.empty:
        words = "No KPI could be told from the tables that this company has."
        return KpiSection(words, "", [], None, None, None, None)
    periods = _periods(frame, files)
    company = frame[frame["node"] == "company"]
    told = company[company["period"].isin([*periods.full, periods.current])]
    return KpiSection(
        _words(periods, told),
        periods.last,
        [_tile(told, metric, periods) for metric in _tiles(told, periods)],
        _all(told, periods),
        _by_stage(told, periods, files),
        _by_node(frame[frame["period"] == periods.last]),
        _waterfall(told, periods, files.currency),
    )


def _periods(frame: pd.DataFrame, files: RunFiles) -> Periods:
    """Quarters where there are any, else whatever periods there are."""
    names = sorted(set(frame["period"].astype(str)))
    quarters = [name for name in names if "-Q" in name]
    now = files.period_now("quarter" if quarters else "month")
    label = now.label if now else None
    kept = quarters or names
    if label == files.ending("quarter" if quarters else "month"):
        label = None
    return Periods([name for name in kept if name != label], label if label in kept else None)


def _words(periods: Periods, told: pd.DataFrame) -> str:
    if periods.last == "all":
        return "Deals carry no dates, so that each figure is over all of them."
    last = told[told["period"] == periods.last]
    aimed = last[last["status"].isin(["met", "near", "missed"])]
    if aimed.empty:
        return f"Figures of {periods.last}. No targets are set: name them under “kpis.targets”."
    met = int((aimed["status"] == "met").sum())
    return f"Figures of {periods.last}: {met} of {len(aimed)} targets met."


def _tiles(told: pd.DataFrame, periods: Periods) -> list[str]:
    """Metrics with a target first, then the key ones, eight at most."""
    here = told[told["period"] == periods.last]
    plain = here[~here["metric"].str.contains(":")]
    aimed = [m for m in DEFINITIONS if m in set(plain.loc[plain["target"].notna(), "metric"])]
    keys = [m for m in KEY_METRICS if m in set(plain["metric"])]
    return list(dict.fromkeys([*aimed, *keys]))[:8]


def _tile(told: pd.DataFrame, metric: str, periods: Periods) -> Tile:
    mine = told[told["metric"] == metric].set_index("period").sort_index()
    row = mine.loc[periods.last]
    target, status, unit = known(row["target"]), str(row["status"] or ""), str(row["unit"])
    line = list(mine.loc[mine.index.isin(periods.full), "value"])
    drawn = ""
    if len(line) >= FEW:
        drawn = svg(draw_sparkline(line, target=target, status=status), name=f"kpi-{metric}")
    return Tile(
        metric_name(metric),
        measure(row["value"], unit),
        _change(mine, periods, unit),
        status,
        "" if target is None else target_words(target, unit, status),
        Markup(themed(drawn)),
    )


def _change(mine: pd.DataFrame, periods: Periods, unit: str) -> str:
    """Against the quarter before: points for percentages, else a percentage."""
    if len(periods.full) < 2 or not set(periods.full[-2:]) <= set(mine.index):
        return ""
    before, now = (known(mine.loc[period, "value"]) for period in periods.full[-2:])
    if before is None or now is None or not before:
        return ""
    change = now - before if unit == "%" else 100 * (now / before - 1)
    if abs(change) < 0.05:
        return f"as in {periods.full[-2]}"
    sign = "+" if change > 0 else MINUS
    return f"{sign}{abs(change):.1f}{' points' if unit == '%' else '%'} on {periods.full[-2]}"


def _all(told: pd.DataFrame, periods: Periods) -> Table:
    """Every KPI of the company that has no detail."""
    shown = [*periods.full[-2:], *([periods.current] if periods.current else [])]
    plain = told[~told["metric"].str.contains(":")]
    values = plain.pivot_table(index="metric", columns="period", values="value", aggfunc="last")
    facts = plain.drop_duplicates("metric", keep="last").set_index("metric")
    rows = []
    for metric in [name for name in DEFINITIONS if name in facts.index]:
        unit = str(facts.loc[metric, "unit"])
        cells = [_value(values, metric, period, unit) for period in shown]
        if set(cells) == {"–"}:
            continue
        target = known(facts.loc[metric, "target"])
        goal = "–" if target is None else measure(target, unit, trim=True)
        rows.append([metric_name(metric), *cells, goal, _meaning(metric)])
    heads = [f"{period} so far" if period == periods.current else period for period in shown]
    heads.append("target")
    if all(row[-2] == "–" for row in rows):
        heads, rows = heads[:-1], [[*row[:-2], row[-1]] for row in rows]
    return Table(["", *heads, "what it is"], rows, numeric=range(1, len(heads) + 1))


def _meaning(metric: str) -> str:
    return definition_of(metric).meaning.replace(" %", "%")


def _value(values: pd.DataFrame, metric: str, period: str, unit: str) -> str:
    if period not in values.columns or known(values.loc[metric, period]) is None:
        return "–"
    return measure(values.loc[metric, period], unit)


def _by_stage(told: pd.DataFrame, periods: Periods, files: RunFiles) -> Table | None:
    """Conversion and stay, a stage a row, in the order of the process."""
    here = told[told["period"] == periods.last]
    parts = here["metric"].str.partition(":")
    rows = here.assign(name=parts[0], stage=parts[2])
    rows = rows[rows["name"].isin(BY_STAGE) & (rows["stage"] != "")]
    if rows.empty:
        return None
    columns = [name for name in BY_STAGE if (rows["name"] == name).any()]
    place = files.stage_places
    stages = sorted(set(rows["stage"]), key=lambda stage: (place.get(stage, len(place)), stage))
    cells = [[stage, *(_cell(rows, name, stage) for name in columns)] for stage in stages]
    heads = ["stage", *(metric_name(name).lower() for name in columns)]
    return Table(heads, cells, numeric=range(1, len(heads)))


def _cell(rows: pd.DataFrame, name: str, key: str, column: str = "stage") -> str:
    found = rows[(rows["name"] == name) & (rows[column] == key)]
    return "–" if found.empty else measure(found["value"].iloc[0], str(found["unit"].iloc[0]))


def _by_node(here: pd.DataFrame) -> Table | None:
    """The key figures of the company's first level of nodes."""
    rows = here[(here["node"].str.count("/") == 1) & here["metric"].isin(BY_NODE)]
    if rows.empty:
        return None
    rows = rows.rename(columns={"metric": "name"})
    columns = [name for name in BY_NODE if (rows["name"] == name).any()]
    nodes = sorted(set(rows["node"]))[:MOST_NODES]
    cells = [[node_name(n), *(_cell(rows, name, n, "node") for name in columns)] for n in nodes]
    heads = ["", *(metric_name(name).lower() for name in columns)]
    return Table(heads, cells, numeric=range(1, len(heads)))


def _waterfall(told: pd.DataFrame, periods: Periods, currency: str) -> Picture | None:
    here = told[told["period"] == periods.last]
    steps = here[here["metric"].str.startswith("waterfall:")]
    if steps.empty or not steps["value"].abs().sum() > 0:
        return None
    amounts = dict(
        zip(steps["metric"].str.partition(":")[2], steps["value"].astype(float), strict=True)
    )
    start, won = amounts.get("start", 0.0), -amounts.get("won", 0.0)
    share = (
        f" What was won equals {percent(won / start)} of what was due at its start."
        if start
        else ""
    )
    return picture(
        "waterfall",
        f"Pipeline due in {periods.last}, from its start to its end",
        lambda width: draw_waterfall(amounts, currency=currency, width=width),
        caption=f"Money due to close in {periods.last}, from its start to its end.{share}",
    )
