"""Recurring revenue: what a year of all running contracts is worth, and how it moves month by month.

A contract adds its yearly worth in the month it starts, as new business or as an expansion. When it
is renewed, the difference is an expansion or a contraction in the month the old term ends; when it is
not, all of it is churn in that month. Months ahead hold what is due at its chance of renewal, and new
business at the pace of the last twelve months. Start + new + expansion - contraction - churn = end, at
every node.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from salesops_ml.forecasts.batch import Floats
from salesops_ml.forecasts.hierarchy import Tree
from salesops_ml.forecasts.history import History
from salesops_ml.forecasts.outlook import Outlook, outlook
from salesops_ml.forecasts.projection import period_rows
from salesops_ml.forecasts.renewals import (
    RenewalRates,
    days_past,
    learn_renewals,
    months_due,
    read_contracts,
)
from salesops_ml.periods import Period
from salesops_ml.settings import Settings

MOVES = ("new", "expansion", "contraction", "churn")
SIGNS = (1.0, 1.0, -1.0, -1.0)
COLUMNS = (
    "node", "period", "period_start", "status", "arr_start", *MOVES, "arr_end", "renewals_due",
)  # fmt: skip
PACE_MONTHS = 12


def recurring_revenue(
    history: History, settings: Settings, *, months_back: int = 12
) -> pd.DataFrame:
    """Yearly recurring revenue by node and month, past and ahead.

    Args:
        history: what was known on the day; read with `forecast.renewals`.
        settings: calendar and months ahead.
        months_back: whole months told before that of the day.

    Returns:
        `COLUMNS`, money a year in company currency: `status` is actual, running (the month of the day)
        or forecast; `renewals_due` is what the terms that end in the month are worth. A contract stands
        under the node of its last renewal. Empty without contracts.
    """
    contracts = read_contracts(history)
    if contracts.empty:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in COLUMNS})
    view = outlook(history.as_of, months=settings.forecast.months, company=settings.company)
    contracts = contracts.assign(node=_last_nodes(contracts))
    tree = Tree.over(list(contracts["node"]))
    past = _months_before(view, max(months_back, PACE_MONTHS))
    ahead = view.months[: view.published]
    moves = _movements(contracts)
    done = _counted(moves, tree, past + ahead)
    sold = _counted(moves[moves["day"] > pd.Timestamp(history.as_of)], tree, ahead)[0]
    done[0, :, len(past) :] += np.maximum(_at_pace(done[0, :, : len(past)], view) - sold, 0.0)
    done[:, :, len(past) :] += _expected(contracts, learn_renewals(contracts, history), tree, view)
    opening = _opening(moves, tree, past[0])
    told = slice(len(past) - months_back, None)
    return _table(
        tree, (past + ahead), told, opening, done, _due(contracts, tree, past + ahead), view
    )


def _last_nodes(contracts: pd.DataFrame) -> pd.Series[str]:
    """The node of each contract's last renewal."""
    node = contracts.set_index("deal_id")["node"]
    renewed = contracts["fate"] == "renewed"
    following = dict(
        zip(contracts.loc[renewed, "deal_id"], contracts.loc[renewed, "renewal"], strict=True)
    )
    last = {}
    for deal in contracts["deal_id"]:
        at, seen = deal, {deal}
        while following.get(at) in node.index and following[at] not in seen:
            at = following[at]
            seen.add(at)
        last[deal] = node[at]
    return contracts["deal_id"].map(last)


def _movements(contracts: pd.DataFrame) -> pd.DataFrame:
    """node, day, move and arr (never negative) of everything that is known to have moved."""
    renewed = contracts[contracts["renewed_arr"].notna()]
    begun = contracts[~contracts["deal_id"].isin(renewed["renewal"])]
    kind = np.where(begun["deal_type"] == "expansion", "expansion", "new")
    change = renewed["renewed_arr"].astype(float) - renewed["arr"].astype(float)
    step = np.where(change >= 0, "expansion", "contraction")
    gone = contracts[contracts["fate"] == "churned"]
    parts = [
        begun.assign(day=begun["start"], move=kind),
        renewed.assign(day=renewed["end"], move=step, arr=change.abs()),
        gone.assign(day=gone["end"], move="churn"),
    ]
    moves = pd.concat([part[["node", "day", "move", "arr"]] for part in parts], ignore_index=True)
    return moves.assign(arr=moves["arr"].astype(float))


def _months_before(view: Outlook, count: int) -> tuple[Period, ...]:
    line = [view.months[0]]
    while len(line) <= count:
        line.append(view.calendar.before(line[-1], "month"))
    return tuple(line[:0:-1])


def _counted(moves: pd.DataFrame, tree: Tree, months: tuple[Period, ...]) -> Floats:
    """Known movements by move, leaf and month; (4, leaves, months)."""
    borders = np.array([months[0].start, *(m.end for m in months)], dtype="datetime64[us]")
    place = np.searchsorted(borders, moves["day"].to_numpy("datetime64[us]"), side="right") - 1
    inside = (place >= 0) & (place < len(months))
    moves, place = moves[inside], place[inside]
    done = np.zeros((len(MOVES), len(tree.leaves), len(months)))
    kinds = moves["move"].map(MOVES.index).to_numpy(dtype=np.int64)
    np.add.at(done, (kinds, tree.places(moves["node"]), place), moves["arr"].to_numpy())
    return done


def _expected(contracts: pd.DataFrame, rates: RenewalRates, tree: Tree, view: Outlook) -> Floats:
    """Movements of contracts whose renewal is still open or to come; (4, leaves, months)."""
    done = np.zeros((len(MOVES), len(tree.leaves), view.published))
    waiting = contracts[contracts["fate"].isin(["due", "in_pipeline"])]
    month = months_due(waiting["end"], view)
    waiting, month = waiting[month < view.published], month[month < view.published]
    opened = (waiting["fate"] == "in_pipeline").to_numpy()
    elapsed = np.where(opened, -np.inf, days_past(waiting["end"], view))
    chance = rates.chance(waiting["node"], elapsed)
    arr, leaf = waiting["arr"].to_numpy(dtype=np.float64), tree.places(waiting["node"])
    up = float(np.maximum(rates.ratios - 1.0, 0.0).mean())
    down = float(np.maximum(1.0 - rates.ratios, 0.0).mean())
    for move, worth in ((1, chance * up), (2, chance * down), (3, 1.0 - chance)):
        np.add.at(done[move], (leaf, month), arr * worth)
    return done


def _at_pace(past: Floats, view: Outlook) -> Floats:
    """New business of months ahead, at the daily pace of the last `PACE_MONTHS`; (leaves, months)."""
    before = _months_before(view, PACE_MONTHS)
    days = [(month.end - month.start).days for month in view.months[: view.published]]
    lengths = np.array(days, dtype=np.float64)
    lengths[0] *= view.ahead
    a_day = past[:, -PACE_MONTHS:].sum(axis=1) / (before[-1].end - before[0].start).days
    return np.outer(a_day, lengths)


def _opening(moves: pd.DataFrame, tree: Tree, first: Period) -> Floats:
    """What runs at the start of the first month, (leaves,)."""
    start = datetime(first.start.year, first.start.month, first.start.day)
    before = moves[moves["day"] < start]
    sign = before["move"].map(dict(zip(MOVES, SIGNS, strict=True)))
    worth = (before["arr"] * sign).to_numpy(dtype=np.float64)
    sums = np.bincount(tree.places(before["node"]), weights=worth, minlength=len(tree.leaves))
    return np.asarray(sums, dtype=np.float64)


def _due(contracts: pd.DataFrame, tree: Tree, months: tuple[Period, ...]) -> Floats:
    """Worth of the terms that end in each month, (leaves, months)."""
    ends = [(contracts["end"] >= pd.Timestamp(m.start)) & (contracts["end"] < pd.Timestamp(m.end))
            for m in months]  # fmt: skip
    arr, leaf = contracts["arr"].to_numpy(dtype=np.float64), tree.places(contracts["node"])
    columns = [
        np.bincount(leaf, weights=np.where(inside, arr, 0.0), minlength=len(tree.leaves))
        for inside in ends
    ]
    return np.column_stack(columns)


def _table(
    tree: Tree,
    months: tuple[Period, ...],
    told: slice,
    opening: Floats,
    moves: Floats,
    due: Floats,
    view: Outlook,
) -> pd.DataFrame:
    signed = np.tensordot(np.array(SIGNS), moves, axes=1)
    ends = opening[:, None] + np.cumsum(signed, axis=1)
    starts = ends - signed
    shown = months[told]
    frame = period_rows(tree, shown, "month")
    begin = view.months[0].start
    status = ["actual" if m.start < begin else "forecast" for m in shown]
    status[[m.start for m in shown].index(begin)] = "running"
    frame["status"] = np.tile(status, len(tree.nodes))
    values = {"arr_start": starts, **dict(zip(MOVES, moves, strict=True)), "arr_end": ends}
    for name, value in {**values, "renewals_due": due}.items():
        frame[name] = tree.aggregate(value[:, told]).ravel()
    return frame[[*COLUMNS]]
