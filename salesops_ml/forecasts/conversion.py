"""What the pipeline of earlier periods, at the same day of theirs, came to in the end.

Three ways that sales teams forecast without a model, each learned from what was known on the day:

- existing plus new: the share of the open pipeline that was won by the end of the period, and what
  deals brought that did not exist yet (as revenue-operations tools call it, "conversion");
- by category: of each forecast category's amount due in the period, the share that was won in it;
- by stage: every open deal due in the period, at the win rate of its stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import pandas as pd

from salesops_ml.forecasts.baselines import usual_share
from salesops_ml.forecasts.batch import Floats
from salesops_ml.forecasts.evidence import Evidence
from salesops_ml.forecasts.history import History, due_in
from salesops_ml.forecasts.model import RevenueModel
from salesops_ml.periods import Grain, Period

EARLIER = 8
"""Earlier periods that a rate is learned from."""
STAGE_EVIDENCE = 10.0
"""Closed deals that the win rate of all stages counts for in that of one."""
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Day:
    """One day's knowledge: the deals, what is known of their past, and the leaves."""

    history: History
    evidence: Evidence
    model: RevenueModel

    @cached_property
    def months_before(self) -> list[_Then]:
        """The same day of earlier months, latest first."""
        return list(_earlier(self, self.model.view.months))

    @cached_property
    def quarters_before(self) -> list[_Then]:
        """The same day of earlier quarters, latest first."""
        return list(_earlier(self, self.model.view.quarters))

    def before(self, periods: Sequence[Period]) -> list[_Then]:
        """The same day of earlier periods of that grain."""
        return self.months_before if _grain(periods[0]) == "month" else self.quarters_before

    @property
    def open(self) -> pd.DataFrame:
        """The open deals of the tree."""
        deals = self.history.open
        return deals[deals["node"].isin(self.model.leaves)]

    def by_leaf(self, deals: pd.DataFrame, worth: pd.Series[float] | Floats) -> Floats:
        """Sums of `worth` at the leaves, (leaves,)."""
        places, count = self.model.tree.places(deals["node"]), len(self.model.leaves)
        sums = np.bincount(places, weights=np.asarray(worth, dtype=np.float64), minlength=count)
        return np.asarray(sums, dtype=np.float64)


@dataclass(frozen=True)
class _Then:
    """An earlier period's pipeline on the same day of the period.

    Attributes:
        deals: deals open then, with `amount_then`, and what became of them.
        moment: that day.
        periods: the period that lay `place` ahead, for each that has ended.
        time_zone: of the company.
    """

    deals: pd.DataFrame
    moment: datetime
    periods: dict[int, Period]
    time_zone: str

    def won(self, deals: pd.DataFrame, place: int) -> pd.Series[float]:
        """Each deal's amount if it was won later in the period `place` ahead, else 0."""
        begin, end = self.periods[place].bounds(self.time_zone)
        inside = (deals["closed_at"] >= max(begin, self.moment)) & (deals["closed_at"] < end)
        worth: pd.Series[float] = deals["amount"].where(inside & (deals["status"] == "won"), 0.0)
        return worth.fillna(0.0)


def existing_plus_new(day: Day, periods: Sequence[Period], closed: Floats) -> Floats | None:
    """Closed so far, the open pipeline at its usual conversion, and what new deals usually add.

    Args:
        periods: of one grain, the first being that of `as_of`.
        closed: in the books of the first period, (leaves,).

    Returns:
        (leaves, periods); NaN for periods too far ahead to have been seen; None without a past.
    """
    came, stood, fresh, seen = (np.zeros(len(periods)) for _ in range(4))
    for then in day.before(periods):
        won = day.history.won
        new = won[won["created_at"] > then.moment]
        for place in then.periods:
            came[place] += then.won(then.deals, place).sum()
            stood[place] += then.deals["amount_then"].sum()
            fresh[place] += then.won(new, place).sum()
            seen[place] += 1.0
    known = stood > 0
    if not known.any():
        return None
    rate = np.where(known, came / np.where(known, stood, 1.0), np.nan)
    added = np.where(known, fresh / np.maximum(seen, 1.0), np.nan)
    now = day.open
    pipeline = day.by_leaf(now, now["amount"].fillna(0.0))
    total = np.outer(pipeline, rate) + np.outer(usual_share(day.model), added)
    total[:, 0] += closed
    return np.asarray(total)


def by_category(day: Day, periods: Sequence[Period], closed: Floats) -> Floats | None:
    """Closed so far, and each forecast category's amount due at the share of it that used to be won.

    Arguments and answer as `existing_plus_new`; None where the CRM keeps no categories.
    """
    if not (day.evidence.fields["field"] == "forecast_category").any():
        return None
    seen = [
        due.assign(place=place, came=then.won(due, place))
        for then in day.before(periods)
        for place, due in _due(day, then)
    ]
    if not seen:
        return None
    past = pd.concat(seen).groupby(["place", "category"])[["came", "amount_then"]].sum()
    rate = (past["came"] / past["amount_then"].where(past["amount_then"] > 0)).fillna(0.0)
    now = _told(day, day.open.assign(amount_then=day.open["amount"].fillna(0.0)), None)
    total = np.full((len(day.model.leaves), len(periods)), np.nan)
    for place, period in enumerate(periods):
        if place in rate.index.get_level_values("place"):
            due = now[due_in(now["due"], period)]
            share = due["category"].map(rate.loc[place]).fillna(0.0)
            total[:, place] = day.by_leaf(due, due["amount_then"] * share)
    total[:, 0] += closed
    return total


def by_stage(day: Day, periods: Sequence[Period], closed: Floats) -> Floats | None:
    """Closed so far, and each open deal's amount at the win rate of its stage, if due in the period.

    The rate is that of closed deals that ever stood in the stage, drawn towards that of all of them
    where they are few. Arguments and answer as `existing_plus_new`; None without dates or stages.
    """
    ended = day.history.deals[day.history.deals["status"] != "open"].set_index("deal_id")["status"]
    visits = day.evidence.visits.drop_duplicates(["deal_id", "stage"])
    visits = visits[visits["deal_id"].isin(ended.index)]
    due = day.open.dropna(subset=["expected_close_date", "amount", "stage"])
    if visits.empty or due.empty:
        return None
    won = (visits["deal_id"].map(ended) == "won").groupby(visits["stage"]).agg(["sum", "size"])
    overall = float((ended == "won").mean())
    rate = (won["sum"] + STAGE_EVIDENCE * overall) / (won["size"] + STAGE_EVIDENCE)
    worth = due["amount"] * due["stage"].map(rate).fillna(overall)
    columns = [
        day.by_leaf(due, worth.where(due_in(due["expected_close_date"], period), 0.0))
        for period in periods
    ]
    total = np.column_stack(columns)
    total[:, 0] += closed
    return total


def _earlier(day: Day, periods: Sequence[Period]) -> Iterator[_Then]:
    """The same day of earlier periods, as far back as deals go."""
    view, history = day.model.view, day.history
    first = history.deals["created_at"].min()
    gone = history.as_of - periods[0].bounds(view.time_zone)[0]
    line = [periods[0]]
    grain = _grain(periods[0])
    for back in range(1, EARLIER + 1):
        line.append(view.calendar.before(line[-1], grain))
        begin, end = line[-1].bounds(view.time_zone)
        moment = min(begin + gone, end)
        if pd.isna(first) or moment <= first:
            return
        ended = {
            place: line[back - place]
            for place in range(min(back, len(periods)))
            if line[back - place].bounds(view.time_zone)[1] <= history.as_of
        }
        yield _Then(_open_then(history, moment), moment, ended, view.time_zone)


def _open_then(history: History, moment: datetime) -> pd.DataFrame:
    """The deals open at an earlier moment, with the amount that stood there."""
    deals = history.deals
    begun = deals["created_at"] <= moment
    still = deals["closed_at"].isna() | (deals["closed_at"] > moment)
    there = deals[begun & still]
    rows = history.amounts[history.amounts["changed_at"] <= moment]
    values = rows.drop_duplicates("deal_id", keep="last").set_index("deal_id")["value"]
    return there.assign(amount_then=there["deal_id"].map(values).fillna(0.0).astype(float))


def _due(day: Day, then: _Then) -> Iterator[tuple[int, pd.DataFrame]]:
    """By period ahead, the deals that were said then to close in it."""
    told = _told(day, then.deals, then.moment)
    for place, period in then.periods.items():
        yield place, told[due_in(told["due"], period)]


def _told(day: Day, deals: pd.DataFrame, moment: datetime | None) -> pd.DataFrame:
    """Deals with the category and the expected close that stood at a moment; now where None."""
    at = moment or day.history.as_of
    category = deals["deal_id"].map(day.evidence.at("forecast_category", at)).fillna(UNKNOWN)
    expected = deals["deal_id"].map(day.evidence.at("expected_close_date", at))
    return deals.assign(category=category, due=pd.to_datetime(expected, errors="coerce"))


def _grain(period: Period) -> Grain:
    return "month" if (period.end - period.start).days < 45 else "quarter"
