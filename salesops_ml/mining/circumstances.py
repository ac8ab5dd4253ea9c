"""Under which circumstances a deal entered a stage: when in the week, in whose hands, how busy.

Everything is as it stood at the moment of entry, read off the log up to that moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.errors import DataError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.conditions import codes_of
from salesops_ml.mining.steps import NEVER, Floats, Ints, Steps
from salesops_ml.periods import WEEKDAYS

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "rep_load": "other open deals in the rep's hands",
    "owner_changed": "yes where the deal has changed hands before, or on the way in; else no",
    "entry_weekday": "day of the week on the company's clock",
    "entry_hour": "part of the day on the company's clock; null where the log knows days alone",
}
HOURS = (9, 12, 15, 18)
_PARTS = ("before 9", "9 to 12", "12 to 15", "15 to 18", "after 18")
_ONLY_DAYS = 0.95


def circumstances(
    steps: Steps, kinds: pd.DataFrame | None = None, *, clock: Clock | None = None
) -> pd.DataFrame:
    """`kinds` with the circumstances of each entry beside it, one row an event of the log.

    Args:
        steps: the log, n events.
        kinds: (n rows) what was known of the deal at each event, as `segments` gives it; without its
            column `rep` neither load nor changes of hands are known.
        clock: whose time zone the company's clock shows.

    Returns:
        The columns of `kinds`, then those of `COLUMNS`.

    Raises:
        DataError: `kinds` has another number of rows than the log has events.

    Example:
        >>> import pandas as pd
        >>> from salesops_ml.mining.steps import as_steps
        >>> log = pd.DataFrame({"case:concept:name": ["a", "a", "b"],
        ...     "concept:name": ["Lead", "Offer", "Lead"],
        ...     "time:timestamp": pd.to_datetime(["2026-01-05 10:00", "2026-01-09 16:00",
        ...                                       "2026-01-06 10:00"])})
        >>> kinds = pd.DataFrame({"rep": ["r1", "r2", "r1"]})
        >>> circumstances(as_steps(log), kinds)[["rep_load", "owner_changed", "entry_weekday"]].values
        array([[0.0, 'no', 'mon'],
               [0.0, 'yes', 'fri'],
               [1.0, 'no', 'tue']], dtype=object)
    """
    import pandas as pd

    if kinds is not None and len(kinds) != len(steps.case):
        raise DataError(
            f"`kinds` has {len(kinds)} rows for a log of {len(steps.case)} events; give one an event"
        )
    known = pd.DataFrame(index=range(len(steps.case))) if kinds is None else kinds
    rep = codes_of(known, "rep")
    told: dict[str, Any] = {}
    if rep is not None and (rep >= 0).any():
        told["rep_load"] = np.where(rep >= 0, _load(steps, rep), np.nan)
        told["owner_changed"] = _owner_changed(steps, rep)
    told |= _moments(steps, clock or Clock())
    return known.reset_index(drop=True).assign(**told)


def _load(steps: Steps, rep: Ints) -> Floats:
    """(n,) other deals that the rep has in hand as this one enters.

    A deal is in the hands of the rep of its last event until its next event, or until it closes.
    """
    if not len(rep):
        return np.zeros(0)
    held = ~steps.closing[steps.activity]
    left = steps.left
    start, begun = _ordered(rep[held], steps.at[held])
    gone = held & (left != NEVER)
    stop, ended = _ordered(rep[gone], left[gone])
    own = (held & ((left == NEVER) | (left > steps.at))).astype(np.int64)
    done = _before(start, begun, rep, steps.at) - _before(stop, ended, rep, steps.at) - own
    return np.asarray(np.maximum(done, 0), dtype=np.float64)


def _ordered(rep: Ints, moment: Ints) -> tuple[Ints, Ints]:
    order = np.lexsort((moment, rep))
    return rep[order], moment[order]


def _before(code: Ints, moment: Ints, rep: Ints, at: Ints) -> Ints:
    """(n,) how many of the rep's moments lie at or before `at`."""
    everything = np.concatenate([moment, at])
    order = np.lexsort((np.repeat([0, 1], [len(moment), len(at)]), everything,
                        np.concatenate([code, rep])))  # fmt: skip
    counted = np.cumsum(order < len(moment))
    done = np.empty(len(everything), dtype=np.int64)
    done[order] = counted
    return np.asarray(done[len(moment) :] - np.searchsorted(code, rep))


def _owner_changed(steps: Steps, rep: Ints) -> Any:
    """(n,) yes, no, or nothing where a rep is not known."""
    changed = np.zeros(len(rep), dtype=np.int64)
    changed[1:] = (rep[1:] != rep[:-1]) & (rep[1:] >= 0) & (rep[:-1] >= 0)
    changed[steps.first] = 0
    so_far = np.cumsum(changed)
    start = np.flatnonzero(steps.first)[steps.case] if len(rep) else steps.case
    told = np.where(so_far - so_far[start] > 0, "yes", "no").astype(object)
    told[rep < 0] = None
    return told


def _moments(steps: Steps, clock: Clock) -> dict[str, Any]:
    """Weekday and part of the day of each entry."""
    if not len(steps.at):
        empty = np.zeros(0, dtype=object)
        return {"entry_weekday": empty, "entry_hour": empty}
    local = clock.local(steps.at)
    day = local.astype("datetime64[D]")
    weekday = (day.astype(np.int64) + 3) % 7  # the epoch began on a Thursday
    hour = (local - day) / np.timedelta64(1, "h")
    part = np.array(_PARTS, dtype=object)[np.digitize(hour, HOURS)]
    if (hour == 0).mean() > _ONLY_DAYS:
        part = np.full(len(hour), None, dtype=object)
    return {"entry_weekday": np.array(WEEKDAYS, dtype=object)[weekday], "entry_hour": part}
