"""The load of each rep over time: how many open deals, worth how much, week by week.

A rep holds a deal from the event at which the log names them until the deal's next event, or until it
is won or lost. The load is counted at each week's end, and in the last week at `as_of`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.mining.resources import NOBODY, step_reps
from salesops_ml.mining.steps import LOST, NEVER, WON, Floats, Ints, Mask, Steps, as_steps

if TYPE_CHECKING:
    import pandas as pd

FEW_WEEKS = 8
"""Weeks that a rep must have behind them before their own usual load is told."""
USUAL = 0.9
_WEEK = 7 * 86_400_000_000
_MONDAY = 4 * 86_400_000_000
"""The first Monday after the epoch, which began on a Thursday."""

COLUMNS = {
    "rep": "the rep",
    "week_start": "Monday of the week, 00:00 UTC",
    "open_deals": "open deals held at the week's end, or at `as_of` in the last week",
    "amount": "their amount, company currency: as known when the deal entered its stage where `kinds` "
    "says so, else as known at `as_of`; null where no amount is known",
    "taken": "deals that came to the rep in the week, new or handed over",
    "won": "deals of the rep won in the week",
    "team_p50": "median of the open deals over the reps who had any that week",
    "team_p90": "nine in ten of these reps had at most so many",
    "own_p90": "nine in ten of the rep's own weeks before had at most so many open deals; null with "
    "fewer than 8 weeks behind them",
    "above_usual": "whether the rep has more open deals than that",
}


def rep_load(
    log: Any,
    kinds: pd.DataFrame | None = None,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
) -> pd.DataFrame:
    """A row for each rep and week, from the first week in which the rep has a deal to the last.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns and `org:resource`.
        kinds: who held the deal at each event, and what it was worth then: columns `rep` and, if
            there, `amount`, as `segments` gives them; by default the log says so.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.

    Returns:
        A frame with the columns of `COLUMNS`, by rep and week.

    Raises:
        SchemaError, DataError, UsageError: see `as_steps` and `step_reps`.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame({"case:concept:name": ["a", "a", "b"],
        ...     "concept:name": ["Lead", "Won", "Lead"], "org:resource": ["Ann", "Ann", "Ann"],
        ...     "time:timestamp": pd.to_datetime(["2026-01-06", "2026-01-14", "2026-01-07"])})
        >>> load = rep_load(log, as_of=datetime(2026, 1, 25), won=["Won"])
        >>> load[["open_deals", "taken", "won"]].values.tolist()
        [[2, 2, 0], [1, 0, 1], [1, 0, 0]]
    """
    import pandas as pd

    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    rep, names = step_reps(log, steps, kinds)
    if not len(names):
        return _typed(pd.DataFrame(columns=list(COLUMNS)))
    starts, looks = _weeks(steps)
    held, first, last = _held(steps, rep, looks)
    amounts = _amounts(steps, kinds)[held]
    shape = (len(names), len(looks))
    deals = _sums(rep[held], first, last, np.ones(len(held)), shape)
    worth = _sums(rep[held], first, last, np.nan_to_num(amounts), shape)
    taken = _per_week(rep, steps.at, _taken(steps, rep), starts, shape)
    closer, closed = _closings(steps, rep)
    won_then = _per_week(closer, closed, steps.outcome == WON, starts, shape)
    busy = (np.rint(deals) > 0) | (taken > 0) | (won_then > 0)
    alive = np.maximum.accumulate(busy, axis=1)
    alive &= np.maximum.accumulate(busy[:, ::-1], axis=1)[:, ::-1]
    place = np.nonzero(alive)
    frame = pd.DataFrame({
        "rep": np.array(names, dtype=object)[place[0]],
        "week_start": starts[place[1]].astype("datetime64[us]"),
        "open_deals": np.rint(deals[place]).astype(np.int64),
        "amount": np.round(worth[place], 2) if np.isfinite(amounts).any() else np.nan,
        "taken": taken[place],
        "won": won_then[place],
    })  # fmt: skip
    return _typed(_with_quantiles(frame))


def _weeks(steps: Steps) -> tuple[Ints, Ints]:
    """When each week begins, and the moment at which its load is counted."""
    end = steps.as_of if steps.as_of != NEVER else int(steps.at.max())
    begin = int(steps.at.min())
    starts = np.arange(begin - (begin - _MONDAY) % _WEEK, end + 1, _WEEK)
    return starts, np.minimum(starts + _WEEK - 1, end)


def _held(steps: Steps, rep: Ints, looks: Ints) -> tuple[Ints, Ints, Ints]:
    """Rows of the events that give a rep an open deal, and from which look to before which it lasts."""
    waits = steps.waiting
    lasting = waits | (steps.left != NEVER)
    held = np.flatnonzero(lasting & (rep != NOBODY) & _open_then(steps))
    first = np.searchsorted(looks, steps.at[held], side="left")
    last = np.searchsorted(looks, steps.left[held], side="left")
    return held, first, np.where(waits[held], len(looks), last)


def _sums(rep: Ints, first: Ints, last: Ints, value: Floats, shape: tuple[int, int]) -> Floats:
    """(reps, weeks) sums of the values of the deals held then."""
    change = np.zeros((shape[0], shape[1] + 1))
    np.add.at(change, (rep, first), value)
    np.add.at(change, (rep, last), -value)
    sums: Floats = np.cumsum(change, axis=1)[:, :-1]
    return sums


def _amounts(steps: Steps, kinds: pd.DataFrame | None) -> Floats:
    """(n,) amount of the deal at each event."""
    if kinds is not None and "amount" in kinds.columns:
        return np.asarray(kinds["amount"].to_numpy(dtype=np.float64, na_value=np.nan))
    return steps.amount[steps.case]


def _open_then(steps: Steps) -> Mask:
    """(n,) whether the deal is open with this event: it enters no closing stage and is not over."""
    closed = steps.closed[steps.case]
    ended = np.isin(steps.outcome[steps.case], (WON, LOST)) & (steps.at >= closed)
    return np.asarray(~steps.closing[steps.activity] & ~ended)


def _taken(steps: Steps, rep: Ints) -> Mask:
    """(n,) whether the deal comes to the rep with this event, still open."""
    before = np.concatenate([[NOBODY], rep[:-1]])
    return np.asarray((steps.first | (rep != before)) & _open_then(steps))


def _closings(steps: Steps, rep: Ints) -> tuple[Ints, Ints]:
    """(m,) who held each deal when it ended, and when it ended; who closed it where nobody held it."""
    holder = np.full(len(steps.case_ids), NOBODY)
    ending = steps.at == steps.closed[steps.case]
    for rows in (ending, _open_then(steps)):
        told = np.flatnonzero((rep != NOBODY) & rows)
        holder[steps.case[told]] = rep[told]  # the last event of a case is written last
    return holder, steps.closed


def _per_week(rep: Ints, moment: Ints, chosen: Mask, starts: Ints, shape: tuple[int, int]) -> Ints:
    """(reps, weeks) counts of what happened in each week."""
    rows = np.flatnonzero(chosen & (rep != NOBODY) & (moment != NEVER))
    counts = np.zeros(shape, dtype=np.int64)
    week = np.searchsorted(starts, moment[rows], side="right") - 1
    np.add.at(counts, (rep[rows], week), 1)
    return counts


def _with_quantiles(frame: pd.DataFrame) -> pd.DataFrame:
    """What is much: beside the other reps of the week, and beside the rep's own weeks before."""
    busy = frame[frame.open_deals > 0].groupby("week_start")["open_deals"]
    for name, level in (("team_p50", 0.5), ("team_p90", USUAL)):
        frame[name] = frame["week_start"].map(busy.quantile(level)).astype(np.float64)
    own = frame.groupby("rep")["open_deals"]
    frame["own_p90"] = own.transform(
        lambda one: one.shift().expanding(min_periods=FEW_WEEKS).quantile(USUAL)
    ).astype(np.float64)
    return frame.assign(above_usual=frame["open_deals"] > frame["own_p90"].fillna(np.inf))


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    kinds = dict.fromkeys(("open_deals", "taken", "won"), "int64")
    kinds |= dict.fromkeys(("amount", "team_p50", "team_p90", "own_p90"), "float64")
    kinds |= {"rep": "object", "week_start": "datetime64[us]", "above_usual": "bool"}
    return frame[list(COLUMNS)].astype(kinds)
