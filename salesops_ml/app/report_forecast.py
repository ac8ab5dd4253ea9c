"""The forecast: month by month, node by node, and the record of what was said before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from salesops_ml.app.report_files import RunFiles
from salesops_ml.app.report_overrides import submitted_table
from salesops_ml.app.report_parts import Picture, Table, counted, picture
from salesops_ml.figures.forecast_fan import draw_forecast_fan
from salesops_ml.figures.forecast_record import draw_forecast_record
from salesops_ml.figures.numbers import money, percent
from salesops_ml.figures.words import node_name

MOST_NODES = 12
PAST_MONTHS = 3


@dataclass(frozen=True)
class ForecastSection:
    """The pictures and the tables, or in words what is missing."""

    fan: Picture | None
    nodes: Table | None
    nodes_words: str
    quotas: Table | None
    recurring: Table | None
    submitted: Table | None
    record: Picture | None
    record_words: str


def build_forecast(files: RunFiles) -> ForecastSection:
    """The section from forecast.parquet and forecast_backtest.parquet."""
    table, words = _nodes(files)
    record = _record(files)
    return ForecastSection(
        _fan(files), table, words, _quotas(files), _recurring(files), submitted_table(files), record,
        "" if record else "No past day could be replayed yet, so there is no record to show.",
    )  # fmt: skip


def _fan(files: RunFiles) -> Picture | None:
    if files.forecast.empty:
        return None
    return picture(
        "fan",
        "Forecast of the company by month and quarter",
        lambda width: draw_forecast_fan(files.forecast, currency=files.currency, width=width),
        caption="Thick line: the range that should hold in 80% of cases; thin line: in 95%.",
    )


def _record(files: RunFiles) -> Picture | None:
    backtest = files.frame("forecast_backtest")
    if backtest.empty:
        return None
    company = backtest[(backtest["node"] == "company") & (backtest["grain"] == "month")]
    if company.empty:
        return None
    days = company["origin"].nunique()
    return picture(
        "record",
        "Past forecasts beside what came, by method",
        lambda width: draw_forecast_record(company, currency=files.currency, width=width),
        caption=f"Heavy line: what each month brought. Thin lines: what was said on each of"
        f" {counted(days, 'past day')}, with what was known then; the dot is the month just begun.",
    )


def _quotas(files: RunFiles) -> Table | None:
    """Company and first level: the quarter's quota, what is missing, and the chance of reaching it."""
    outlook = files.frame("quota_chance")
    if outlook.empty:
        return None
    grains = files.forecast.drop_duplicates("period").set_index("period")["grain"]
    outlook = outlook[outlook["node"].str.count("/") <= 1]
    quarterly = outlook[outlook["period"].map(grains) == "quarter"]
    shown = (outlook if quarterly.empty else quarterly).sort_values(["node"])
    kept = shown.head(MOST_NODES + 1).to_dict(orient="records")
    rows = [_quota_cells({str(key): value for key, value in row.items()}, files) for row in kept]
    heads = ["", "Period", "Quota", "Won so far", "Expected", "Gap", "Chance to reach it"]
    return Table(heads, rows, numeric=range(2, len(heads))) if rows else None


def _recurring(files: RunFiles) -> Table | None:
    """The company's recurring revenue: the last months, the running one, and those ahead."""
    table = files.frame("renewals")
    if table.empty:
        return None
    company = table[table["node"] == "company"].sort_values("period_start")
    back = company[company["status"] == "actual"].tail(PAST_MONTHS)
    shown = [*back.to_dict("records"), *company[company["status"] != "actual"].to_dict("records")]
    amounts = ("arr_start", "new", "expansion", "contraction", "churn", "arr_end", "renewals_due")
    rows = [
        [str(row["period"]), str(row["status"])]
        + [money(row[key], files.currency) for key in amounts]
        for row in shown
    ]
    heads = [
        "Month",
        "",
        "Start",
        "New",
        "Expansion",
        "Contraction",
        "Churn",
        "End",
        "Terms that end",
    ]
    return Table(heads, rows, numeric=range(2, len(heads)))


def _quota_cells(row: dict[str, Any], files: RunFiles) -> list[str]:
    name = "Company" if row["node"] == "company" else node_name(row["node"])
    amounts = [money(row[key], files.currency) for key in ("quota", "closed", "mean")]
    gap = ("surplus " if row["gap"] < 0 else "") + money(abs(row["gap"]), files.currency)
    return [name, row["period"], *amounts, gap, percent(row["p_reach"])]


def _nodes(files: RunFiles) -> tuple[Table | None, str]:
    """The company's first level of nodes in the two quarters ahead."""
    forecast = files.forecast
    if forecast.empty:
        return None, "This run holds no forecast."
    grain = "quarter" if (forecast["grain"] == "quarter").any() else "month"
    rows = forecast[forecast["grain"] == grain]
    nodes = rows[rows["node"].str.count("/") == 1]
    if nodes.empty:
        return None, (
            "The company is forecast as one: no levels such as region or team are configured"
            " under “forecast.hierarchy”."
        )
    periods = list(rows[rows["node"] == "company"]["period"])[:2]
    order = nodes[nodes["period"] == periods[0]].sort_values(
        ["mean", "node"], ascending=[False, True]
    )
    shown = list(order["node"][:MOST_NODES])
    names = {node: node_name(node) for node in shown} | {"company": "Company"}
    cells = [
        [name, *cells_ahead(rows, node, periods, files.currency)] for node, name in names.items()
    ]
    heads = heads_ahead(periods)
    left = len(order) - len(shown)
    words = f"{counted(left, 'smaller node')} are not listed but are in the total." if left else ""
    return Table(heads, cells, numeric=range(1, len(heads)), strong=True), words


def heads_ahead(periods: Sequence[str]) -> list[str]:
    """Heads of a table of nodes: a name, what is booked, and each period's mean and range."""
    heads = ["", f"won so far in {periods[0]}"]
    for period in periods:
        heads += [f"{period} in all", "80% range"]
    return heads


def cells_ahead(rows: pd.DataFrame, node: str, periods: Sequence[str], currency: str) -> list[str]:
    """A node's cells under `heads_ahead`, but for its name."""
    mine = rows[rows["node"] == node].set_index("period")
    cells = [money(mine.loc[periods[0], "closed"], currency)]
    for period in periods:
        row = mine.loc[period]
        low, high = money(row["p10"], currency), money(row["p90"], currency)
        cells += [money(row["mean"], currency), "settled" if low == high else f"{low} – {high}"]
    return cells
