"""The dotted chart: every event of every deal as a dot, deals below one another, time to the right.

The picture of Song and van der Aalst (Supporting process mining by showing events at a glance, WITS
2007). It shows what tables hide: days on which everything is moved at once, deals that lie still, the
pace at which new ones come.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.errors import UsageError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.steps import ENDED, LOST, NEVER, OPEN, WON, Ints, Steps, as_steps

if TYPE_CHECKING:
    import pandas as pd

MOST_CASES = 2_000
OUTCOMES = {OPEN: "open", WON: "won", LOST: "lost", ENDED: "over"}

COLUMNS = {
    "case_id": "the deal",
    "row": "its place from above: 0 for the deal that began first",
    "stage": "stage that the event enters",
    "at": "moment of the event, UTC",
    "days": "days since the deal's first event",
    "outcome": "what became of the deal: open, won, lost, or over where the log knows no outcomes",
    "ended_at": "when it was won, lost or over; `as_of` while it is open",
    "stands_for": "how many deals this one stands for: 1 unless the chart is thinned",
}


def dotted_chart(
    log: Any,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    clock: Clock | None = None,
    most_cases: int = MOST_CASES,
) -> pd.DataFrame:
    """Every event of the deals that the chart shows.

    Of more than `most_cases` deals a systematic sample is shown: deals are put in the order of their
    first events (then of their ids), cut into `most_cases` runs of equal length (or one more), and the
    middle deal of each run stands for its run. So each stretch of time keeps its share of the deals,
    and the choice depends on nothing else.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        clock: calendar days (default) or working days.
        most_cases: how many deals to show at most.

    Returns:
        A frame with the columns of `COLUMNS`, by row and time.

    Raises:
        UsageError: `most_cases` is below 1. SchemaError, DataError, UsageError: see `as_steps`.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame({"case:concept:name": ["b", "b", "a"],
        ...     "concept:name": ["Lead", "Offer", "Lead"],
        ...     "time:timestamp": pd.to_datetime(["2026-01-01", "2026-01-05", "2026-01-02"])})
        >>> dotted_chart(log)[["case_id", "row", "stage", "days"]].values.tolist()
        [['b', 0, 'Lead', 0.0], ['b', 0, 'Offer', 4.0], ['a', 1, 'Lead', 0.0]]
    """
    import pandas as pd

    if most_cases < 1:
        raise UsageError(f"`most_cases`: {most_cases} shows nothing; give 1 or more")
    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    begin = steps.at[steps.first]
    turn, weight = _places(begin, most_cases)
    row = np.flatnonzero(weight[steps.case] > 0)
    row = row[np.argsort(turn[steps.case[row]], kind="stable")]
    case = steps.case[row]
    _, place = np.unique(turn[case], return_inverse=True)
    return pd.DataFrame({
        "case_id": steps.case_ids[case],
        "row": place.reshape(-1).astype(np.int64),
        "stage": np.array(steps.activities, dtype=object)[steps.activity[row]],
        "at": steps.at[row].astype("datetime64[us]"),
        "days": (clock or Clock()).days(begin[case], steps.at[row]),
        "outcome": np.array([OUTCOMES[one] for one in sorted(OUTCOMES)], dtype=object)[
            steps.outcome[case]
        ],
        "ended_at": _ended(steps)[case].astype("datetime64[us]"),
        "stands_for": weight[case],
    })[list(COLUMNS)]  # fmt: skip


def _places(begin: Ints, most: int) -> tuple[Ints, Ints]:
    """(m,) place of each case by its begin, and how many it stands for: 0 where it is not shown."""
    cases = len(begin)
    order = np.argsort(begin, kind="stable")  # equal begins keep the order of the ids
    turn = np.empty(cases, dtype=np.int64)
    turn[order] = np.arange(cases)
    shown = min(cases, most)
    cuts = np.arange(shown + 1) * cases // max(shown, 1)
    weight = np.zeros(cases, dtype=np.int64)
    weight[order[(cuts[:-1] + cuts[1:] - 1) // 2]] = np.diff(cuts)
    return turn, weight


def _ended(steps: Steps) -> Ints:
    """(m,) when each case ended; up to when it is followed while open."""
    last = steps.at[steps.last]
    end = np.where(steps.outcome == OPEN, steps.as_of, steps.closed)
    return np.where(end == NEVER, last, end)
