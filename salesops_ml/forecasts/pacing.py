"""Pacing: where this quarter stands, beside where earlier ones stood on the same day.

Every earlier quarter is read as it was known on its own same day, so that deals entered late, or amounts
corrected since, do not make the past look better than it looked. What it ended with is as known today.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pandas as pd

from salesops_ml.errors import DataError, UsageError
from salesops_ml.forecasts.hierarchy import Organisation, sums_at_nodes
from salesops_ml.forecasts.history import History, due_in, read_history
from salesops_ml.forecasts.outlook import local_day
from salesops_ml.periods import Period
from salesops_ml.settings import Settings
from salesops_ml.warehouse import Warehouse

COLUMNS = (
    "node", "period", "as_of", "day", "closed", "open", "due", "created", "created_deals", "final",
)  # fmt: skip


def pacing(
    warehouse: Warehouse, history: History, settings: Settings, *, quarters: int = 4
) -> pd.DataFrame:
    """This quarter and the `quarters` before it, on the same day of the quarter, by node.

    Args:
        warehouse: the company's history.
        history: the deals as known today.
        settings: calendar and tree.
        quarters: how many earlier ones; those before the record are left out.

    Returns:
        `COLUMNS`, the newest quarter first: `day` of the quarter (0 is the first), `closed` so far,
        `open` pipeline, `due` of it in the quarter, `created` amount and deals so far, and `final`, what
        the quarter ended with (NaN for the running one). Deals stand where today's chart puts them.

    Raises:
        UsageError: fewer than one earlier quarter is asked for.
    """
    if quarters < 1:
        raise UsageError(f"`quarters` is {quarters}; compare with at least 1 earlier quarter")
    company = settings.company
    line = _line(history, settings, quarters)
    gone = history.as_of - line[0].bounds(company.time_zone)[0]
    found = []
    for place, period in enumerate(line):
        begin, end = period.bounds(company.time_zone)
        then = history
        if place:
            try:
                moment = min(begin + gone, end - timedelta(microseconds=1))
                then = read_history(warehouse, as_of=moment, settings=settings)
            except DataError:
                break
        rows = _standing(then, period, history.organisation, company.time_zone)
        final = _won_in(history, period, company.time_zone) if place else None
        rows["final"] = np.nan if final is None else rows["node"].map(final).fillna(0.0)
        found.append(rows.assign(period=period.label, as_of=then.as_of, day=gone.days))
    return pd.concat(found, ignore_index=True)[[*COLUMNS]]


def _line(history: History, settings: Settings, quarters: int) -> list[Period]:
    """The running quarter and those before it."""
    company = settings.company
    day = local_day(history.as_of, company.time_zone)
    line = [company.calendar.period_of(day, "quarter")]
    for _ in range(quarters):
        line.append(company.calendar.before(line[-1], "quarter"))
    return line


def _standing(
    history: History, period: Period, organisation: Organisation, time_zone: str
) -> pd.DataFrame:
    """One quarter's standing on one day, by node."""
    deals = history.deals.assign(leaf=organisation.place(history.deals))
    worth = deals["amount"].fillna(0.0)
    begin = pd.Timestamp(period.bounds(time_zone)[0])
    is_open = deals["status"] == "open"
    inside = due_in(deals["expected_close_date"], period)
    created = deals["created_at"] >= begin
    won = (deals["status"] == "won") & (deals["closed_at"] >= begin)
    leaf = pd.DataFrame(
        {
            "closed": worth.where(won, 0.0),
            "open": worth.where(is_open, 0.0),
            "due": worth.where(is_open & inside, 0.0),
            "created": worth.where(created, 0.0),
            "created_deals": created.astype(float),
        }
    ).groupby(deals["leaf"])
    return sums_at_nodes(leaf.sum())


def _won_in(history: History, period: Period, time_zone: str) -> pd.Series[float]:
    """What each node won in the quarter, as known today."""
    begin, end = period.bounds(time_zone)
    won = history.won
    inside = (won["closed_at"] >= begin) & (won["closed_at"] < end)
    sums = won[inside].groupby("node")[["amount"]].sum()
    if sums.empty:
        return pd.Series(dtype=float)
    told: pd.Series[float] = sums_at_nodes(sums).set_index("node")["amount"]
    return told


def usual_finish(paces: pd.DataFrame, nodes: Sequence[str]) -> pd.DataFrame:
    """What each node would finish with if it went on as earlier quarters did from this day.

    Returns:
        `node`, `closed`, `usual_closed` (mean of earlier quarters on this day) and `finish`: closed so
        far plus what earlier quarters still added, on average. NaN without an earlier quarter.
    """
    now = paces[paces["final"].isna()].set_index("node").reindex(list(nodes))
    before = paces[paces["final"].notna()]
    added = (before["final"] - before["closed"]).groupby(before["node"]).mean()
    usual = before.groupby("node")["closed"].mean()
    return pd.DataFrame(
        {
            "node": list(nodes),
            "closed": now["closed"].to_numpy(),
            "usual_closed": usual.reindex(list(nodes)).to_numpy(),
            "finish": (now["closed"] + added.reindex(list(nodes))).to_numpy(),
        }
    )
