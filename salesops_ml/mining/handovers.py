"""Hand-overs: who passes deals on to whom, how long that takes, and what becomes of the deals.

A hand-over is a pair of events that follow one another in a deal and belong to different reps. The
counts are those of the hand-over-of-work network (van der Aalst, Reijers and Song, Discovering social
networks from event logs, CSCW 14, 2005), taken over direct succession and without the loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.mining.clock import Clock
from salesops_ml.mining.codes import distinct_pairs, recoded
from salesops_ml.mining.dwell import share_at_end
from salesops_ml.mining.resources import NOBODY, step_reps
from salesops_ml.mining.steps import ENDED, Floats, Ints, Steps, as_steps
from salesops_ml.mining.transitions import sum_known
from salesops_ml.mining.visits import endings_after

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "source": "rep who hands over",
    "target": "rep who takes over",
    "count": "how often",
    "share": "share of all hand-overs, 0..1",
    "cases": "deals handed over so at least once",
    "stage": "stage that the deal enters with the hand-over most often",
    "wait_p50_days": "median days from the last event with the one to the first with the other",
    "wait_p90_days": "days that nine in ten take at most",
    "amount": "sum over those deals, company currency; null where no amount is known",
    "win_rate_after": "share won of those that close after it, open deals censored; null if none",
}


def handovers(
    log: Any,
    kinds: pd.DataFrame | None = None,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    clock: Clock | None = None,
) -> pd.DataFrame:
    """Every pair of reps between whom deals pass, most frequent first.

    Only hand-overs that took place are told: a deal that waits for its next rep does not say who that
    will be. Events without a rep are no hand-over.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns and `org:resource`.
        kinds: who held the deal at each event, see `step_reps`; by default the log says so.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        clock: calendar days (default) or working days, for the waits.

    Returns:
        A frame with the columns of `COLUMNS`.

    Raises:
        SchemaError, DataError, UsageError: see `as_steps` and `step_reps`.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame({"case:concept:name": ["a", "a", "b", "b"],
        ...     "concept:name": ["Lead", "Offer", "Lead", "Offer"],
        ...     "org:resource": ["Ann", "Bo", "Ann", "Ann"],
        ...     "time:timestamp": pd.to_datetime(["2026-01-01", "2026-01-05"] * 2)})
        >>> handovers(log)[["source", "target", "count", "wait_p50_days"]].values.tolist()
        [['Ann', 'Bo', 1, 4.0]]
    """
    import pandas as pd

    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    rep, names = step_reps(log, steps, kinds)
    row = _rows(steps, rep)
    keys, pair = recoded(rep[row - 1] * len(names) + rep[row], len(names) ** 2)
    label = np.array(names, dtype=object)
    count = np.bincount(pair, minlength=len(keys))
    wait = (clock or Clock()).days(steps.at[row - 1], steps.at[row])
    half, ninety = _quantiles(pair, wait, len(keys))
    passed, deal = distinct_pairs(pair, steps.case[row], len(keys))
    frame = pd.DataFrame({
        "source": label[keys // max(len(names), 1)],
        "target": label[keys % max(len(names), 1)],
        "count": count,
        "share": count / max(len(row), 1),
        "cases": np.bincount(passed, minlength=len(keys)),
        "stage": _usual_stage(steps, pair, row, len(keys)),
        "wait_p50_days": half,
        "wait_p90_days": ninety,
        "amount": sum_known(passed, steps.amount[deal], len(keys)),
        "win_rate_after": _win_rate(steps, pair, row, len(keys)),
    })  # fmt: skip
    order = ["count", "source", "target"]
    return frame.sort_values(order, ascending=[False, True, True], ignore_index=True)[list(COLUMNS)]


def _rows(steps: Steps, rep: Ints) -> Ints:
    """The events at which another rep has the deal than at the event before."""
    known = (rep[1:] != NOBODY) & (rep[:-1] != NOBODY)
    other = (rep[1:] != rep[:-1]) & (steps.case[1:] == steps.case[:-1])
    return np.flatnonzero(known & other) + 1


def _quantiles(pair: Ints, wait: Floats, pairs: int) -> tuple[Floats, Floats]:
    """Median and 90 % quantile of the waits of each pair, between neighbouring values."""
    import pandas as pd

    grouped = pd.Series(wait).groupby(pair)
    half, ninety = (
        np.asarray(grouped.quantile(level).reindex(range(pairs)), dtype=np.float64)
        for level in (0.5, 0.9)
    )
    return half, ninety


def _usual_stage(steps: Steps, pair: Ints, row: Ints, pairs: int) -> list[str]:
    """The stage entered most often with each pair's hand-overs; of equals, the first by name."""
    stages = len(steps.activities)
    keys, place = recoded(pair * stages + steps.activity[row], pairs * stages)
    often = np.bincount(place, minlength=len(keys))
    best = np.lexsort((keys, -often))
    _, first = np.unique(keys[best] // max(stages, 1), return_index=True)
    return [steps.activities[code] for code in keys[best][first] % max(stages, 1)]


def _win_rate(steps: Steps, pair: Ints, row: Ints, pairs: int) -> Floats:
    """Share won in the end, deals that are still open being censored."""
    if not len(row) or (steps.outcome == ENDED).any():
        return np.full(pairs, np.nan)
    after = endings_after(steps, steps.case[row], steps.at[row], Clock())
    return share_at_end(pair, after.days, after.known, after.won, pairs)
