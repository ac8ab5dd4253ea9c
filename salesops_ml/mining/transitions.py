"""Transitions: how many deals go from which stage to which, how long that takes, and what becomes
of them.

The count of a transition is that of pm4py's directly-follows graph. Its dwell times are those of
the deals that leave by that door, with the deals still in the stage counted as "at least so long":
quantiles of the Aalen-Johansen incidence, given that exit. (A Kaplan-Meier curve per transition
would take the other exits for deals that still wait, and so make every transition look slow.)
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.mining.clock import Clock
from salesops_ml.mining.codes import distinct_pairs, recoded
from salesops_ml.mining.dwell import exit_weights, share_at_end, weighted_quantiles
from salesops_ml.mining.ended_steps import all_ended, ended_edges
from salesops_ml.mining.log_columns import ACTIVITY, CASE, TIMESTAMP
from salesops_ml.mining.steps import ENDED, OPEN, Floats, Ints, Steps, as_steps
from salesops_ml.mining.visits import NOWHERE, endings_after, visits_of

if TYPE_CHECKING:
    import pandas as pd

START, END = "▶", "■"
"""Where a deal comes from before its first stage, and goes to after its last; pm4py's names."""

COLUMNS = {
    "kind": "start (into the first stage), step (stage to stage) or end (out of the last)",
    "source": "stage left, or ▶",
    "target": "stage entered, or ■",
    "count": "how often",
    "share": "share of all that leave the source, 0..1",
    "cases": "deals that did it at least once",
    "dwell_p50_days": "median days in the source for those who leave this way",
    "dwell_p90_days": "days that nine in ten of them stay at most",
    "dwell_mean_days": "mean days",
    "amount": "sum over those deals, company currency; null where no amount is known",
    "win_rate_after": "share won of those that close after it, open deals censored; null if none",
}


def transitions(
    log: Any,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    clock: Clock | None = None,
    case_id_key: str = CASE,
    activity_key: str = ACTIVITY,
    timestamp_key: str = TIMESTAMP,
    amount_key: str | None = None,
) -> pd.DataFrame:
    """Every transition of the log with its count, dwell times, money and win rate.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        clock: calendar days (default) or working days.
        case_id_key, activity_key, timestamp_key, amount_key: names of columns, see `as_steps`.

    Returns:
        A frame with the columns of `COLUMNS`, most frequent first.

    Raises:
        SchemaError, DataError, UsageError: the log lacks a column or holds empty cells.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame({"case:concept:name": ["a", "a", "b"],
        ...     "concept:name": ["Lead", "Offer", "Lead"],
        ...     "time:timestamp": pd.to_datetime(["2026-01-01", "2026-01-05", "2026-01-02"])})
        >>> found = transitions(log)
        >>> found.loc[found.kind == "step", ["source", "target", "count", "dwell_p50_days"]].values
        array([['Lead', 'Offer', 1, 4.0]], dtype=object)
    """
    import pandas as pd

    steps = as_steps(
        log, as_of=as_of, won=won, lost=lost, case_id_key=case_id_key, activity_key=activity_key,
        timestamp_key=timestamp_key, amount_key=amount_key,
    )  # fmt: skip
    clock = clock or Clock()
    plain = all_ended(steps) and not clock.working
    between = _ended_edges(steps) if plain else _step_edges(steps, clock)
    parts = [between, _start_edges(steps), _end_edges(steps)]
    frame = pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True)
    leaving = frame.groupby("source")["count"].transform("sum")
    frame["share"] = frame["count"] / leaving
    frame = frame.sort_values(["count", "source", "target"], ascending=[False, True, True])
    return frame[list(COLUMNS)].reset_index(drop=True)


def _step_edges(steps: Steps, clock: Clock) -> dict[str, Any]:
    """Stage to stage."""
    names = len(steps.activities)
    visits = visits_of(steps, clock)
    weight = exit_weights(visits.stage, visits.days, visits.exited, names)
    gone = np.flatnonzero(visits.target != NOWHERE)
    keys, edge = recoded(visits.stage[gone] * names + visits.target[gone], names * names)
    time, share = visits.days[gone], weight[gone]
    total = np.bincount(edge, weights=share, minlength=len(keys))
    mean = np.bincount(edge, weights=share * time, minlength=len(keys))
    half, ninety = weighted_quantiles(edge, time, share, len(keys), (0.5, 0.9), of_all=False).T
    label = np.array(steps.activities, dtype=object)
    moment = steps.at[visits.row[gone] + 1]
    return {
        "kind": np.full(len(keys), "step", dtype=object),
        "source": label[keys // max(names, 1)],
        "target": label[keys % max(names, 1)],
        "dwell_p50_days": half,
        "dwell_p90_days": ninety,
        "dwell_mean_days": mean / np.where(total > 0, total, np.nan),
        **_flow(steps, edge, visits.case[gone], moment, len(keys)),
    }


def _ended_edges(steps: Steps) -> dict[str, Any]:
    """Stage to stage, where every case is over: what `_step_edges` would say, sooner."""
    found = ended_edges(steps, (0.5, 0.9))
    label = np.array(steps.activities, dtype=object)
    return {
        "kind": np.full(len(found.count), "step", dtype=object),
        "source": label[found.source],
        "target": label[found.target],
        "dwell_p50_days": found.quantile_days[:, 0],
        "dwell_p90_days": found.quantile_days[:, 1],
        "dwell_mean_days": found.mean_days,
        "count": found.count,
        "cases": found.cases,
        "amount": found.amount,
        "win_rate_after": np.full(len(found.count), np.nan),
    }


def _start_edges(steps: Steps) -> dict[str, Any]:
    """Into each deal's first stage."""
    return _outer_edges(steps, np.flatnonzero(steps.first), "start")


def _end_edges(steps: Steps) -> dict[str, Any]:
    """Out of each ended deal's last stage."""
    ended = steps.outcome[steps.case] != OPEN
    return _outer_edges(steps, np.flatnonzero(steps.last & ended), "end")


def _outer_edges(steps: Steps, rows: Ints, kind: str) -> dict[str, Any]:
    keys, edge = recoded(steps.activity[rows], len(steps.activities))
    stage = np.array(steps.activities, dtype=object)[keys]
    outside = np.full(len(keys), START if kind == "start" else END, dtype=object)
    empty = np.full(len(keys), np.nan)
    return {
        "kind": np.full(len(keys), kind, dtype=object),
        "source": outside if kind == "start" else stage,
        "target": stage if kind == "start" else outside,
        "dwell_p50_days": empty,
        "dwell_p90_days": empty,
        "dwell_mean_days": empty,
        **_flow(steps, edge, steps.case[rows], steps.at[rows], len(keys)),
    }


def _flow(steps: Steps, edge: Ints, case: Ints, moment: Ints, edges: int) -> dict[str, Any]:
    """Counts, deals, money and win rate of each edge, given who passed it when."""
    passed, deal = distinct_pairs(edge, case, edges)
    amount = sum_known(passed, steps.amount[deal], edges)
    return {
        "count": np.bincount(edge, minlength=edges),
        "cases": np.bincount(passed, minlength=edges),
        "amount": amount,
        "win_rate_after": _win_rate(steps, edge, case, moment, edges),
    }


def sum_known(key: Ints, value: Floats, keys: int) -> Floats:
    """(keys,) sums of the values that are known; NaN where none is."""
    known = ~np.isnan(value)
    total = np.bincount(key[known], weights=value[known], minlength=keys)
    return np.where(np.bincount(key[known], minlength=keys) > 0, total, np.nan)


def _win_rate(steps: Steps, edge: Ints, case: Ints, moment: Ints, edges: int) -> Floats:
    """Share won in the end, deals that are still open being censored."""
    if not len(case) or (steps.outcome == ENDED).any():
        return np.full(edges, np.nan)
    after = endings_after(steps, case, moment, Clock())
    return share_at_end(edge, after.days, after.known, after.won, edges)
