"""Kinds of waiting: how much of the time in a stage is batching, off hours, contention, prioritisation.

The five kinds follow Lashkevich, Milani, Chapela-Campa, Suvorau and Dumas, "Why am I waiting?
Data-driven analysis of waiting times in business processes" (CAiSE 2023) and "Unveiling the causes of
waiting time in business processes from event logs" (2023), put into what a sales log knows: when a deal
entered a stage, when it left, and in whose hands it was. A stay is split into parts that do not
overlap, in this order.

1. Batching. Deals that one rep moves out of the stage to the same next stage, each within
   `batch_minutes` of the one before, are a batch. Until the last of them had entered the stage, the
   others waited for the batch to fill.
2. Unavailability. Of the rest, the time outside of the company's working week, holidays and, where
   told, working hours.
3. Contention. Of the rest, the time in which the rep was busy with deals that had entered their
   stage earlier: they were simply first in the queue.
4. Prioritisation. Of the rest, the time in which the rep was busy with deals that had entered later:
   they overtook. Often the larger ones do, so the share of this time that went to larger deals is told.
5. The rest: the customer, others in the company, and work on the deal itself, which a log that notes
   only the moves cannot tell from waiting.

When a rep is busy is not on record. The rep is taken to work on a deal for `handling_hours` of working
time before moving it, or since moving the one before where that is less; so nobody works on two at
once. This is an assumption: twice the hours give up to twice the contention, never more than the stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.errors import DataError, UsageError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.conditions import codes_of
from salesops_ml.mining.steps import Floats, Ints, Steps, as_steps, days
from salesops_ml.mining.visits import NOWHERE, Visits, visits_of
from salesops_ml.periods import WEEKDAYS

if TYPE_CHECKING:
    import pandas as pd

BATCHING, UNAVAILABLE, CONTENTION, PRIORITISATION, REST = (
    "batching", "unavailability", "contention", "prioritisation", "rest",
)  # fmt: skip
KINDS = (BATCHING, UNAVAILABLE, CONTENTION, PRIORITISATION, REST)
EXAMPLES = 5

COLUMNS = {
    "stage": "the stage in which deals wait",
    "kind": "batching, unavailability, contention, prioritisation or rest",
    "days": "calendar days of waiting of this kind, all stays together; the kinds sum to all waiting",
    "share": "share of the stage's waiting, 0..1",
    "days_per_stay": "mean days of this kind over all stays in the stage",
    "stays": "stays that waited for this at all",
    "cases": "their deals",
    "to_larger_share": "for prioritisation: share of it that went to larger deals; else null",
    "text": "the row as a sentence",
    "examples": "ids of the deals that waited for this longest",
}

_DAY_HOURS = 24.0
_SOME = 1e-9
_MINUTE = 60_000_000
_PAIRS = 2_000_000


@dataclass(frozen=True)
class WaitingParts:
    """Every stay, and how its days are split.

    Attributes:
        visits: the stays, n rows, days by the calendar.
        days: (n, 5) days of each of `KINDS`; they sum to the stay.
        to_larger: (n,) days of prioritisation that went to deals larger than this one.
    """

    visits: Visits
    days: Floats
    to_larger: Floats


@dataclass(frozen=True)
class _Busy:
    """When each rep works on which deal: intervals in working time, sorted by rep and then time.

    Attributes:
        rep, case: (m,) codes. start, stop: (m,) working days since a fixed moment.
        entered: (m,) when that deal had entered its stage.
    """

    rep: Ints
    case: Ints
    start: Floats
    stop: Floats
    entered: Ints


def waiting_kinds(
    log: Any,
    kinds: pd.DataFrame | None = None,
    *,
    as_of: datetime | None = None,
    won: Sequence[str] = (),
    lost: Sequence[str] = (),
    clock: Clock | None = None,
    hours: tuple[float, float] | None = None,
    handling_hours: float = 2.0,
    batch_minutes: float = 60.0,
) -> pd.DataFrame:
    """Each stage's waiting by kind; open deals have waited until `as_of`.

    Args:
        log: an `event_log`, or a pandas, Arrow or Ibis table with pm4py's columns.
        kinds: what was known at each event of the log, a row each, as `segments` gives it; read is its
            column `rep`. Without it only unavailability and the rest can be told.
        as_of, won, lost: for a log with pm4py's columns, see `as_steps`.
        clock: its time zone, working week and holidays say when nobody works.
        hours: first and last hour of a working day on the company's clock, such as (9, 17.5); without
            it a working day has 24 hours.
        handling_hours: working time that a rep spends on a deal before moving it, at most.
        batch_minutes: moves of one rep, from one stage to one other, that are so close make a batch.

    Returns:
        A frame with the columns of `COLUMNS`, five rows a stage, in the order of `KINDS`.

    Raises:
        SchemaError, DataError, UsageError: see `as_steps`; `kinds` does not fit the log; an hour or a
            length is out of range.

    Example:
        >>> import pandas as pd
        >>> log = pd.DataFrame({"case:concept:name": ["a", "a"], "concept:name": ["Lead", "Offer"],
        ...     "time:timestamp": pd.to_datetime(["2026-11-20 12:00", "2026-11-23 12:00"])})
        >>> found = waiting_kinds(log).set_index("kind")["days"]
        >>> found[found > 0].to_dict()  # a Friday to the Monday after
        {'unavailability': 2.0, 'rest': 1.0}
    """
    import pandas as pd

    steps = as_steps(log, as_of=as_of, won=won, lost=lost)
    parts = waiting_parts(
        steps, kinds, clock=clock, hours=hours, handling_hours=handling_hours,
        batch_minutes=batch_minutes,
    )  # fmt: skip
    rows = [
        _row(steps, parts, int(stage), turn)
        for stage in np.unique(parts.visits.stage)
        for turn in range(len(KINDS))
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def waiting_parts(
    steps: Steps,
    kinds: pd.DataFrame | None = None,
    *,
    clock: Clock | None = None,
    hours: tuple[float, float] | None = None,
    handling_hours: float = 2.0,
    batch_minutes: float = 60.0,
) -> WaitingParts:
    """Every stay split into the kinds of waiting; arguments as of `waiting_kinds`."""
    _check(steps, kinds, hours, handling_hours, batch_minutes)
    calendar = _Calendar(replace(clock or Clock(), working=True), hours)
    visits = _waits(steps)
    entered = steps.at[visits.row]
    left = np.where(visits.exited, steps.left[visits.row], steps.as_of)
    rep = None if kinds is None else codes_of(kinds, "rep")
    owner = np.full(len(entered), -1) if rep is None else rep[visits.row]
    full = _batch_full(visits, owner, entered, left, int(batch_minutes * _MINUTE))
    start, stop = calendar.position(full), calendar.position(left)
    working = np.minimum(stop - start, days(left - full))
    busy = _busy(visits, owner, entered, stop, handling_hours / _DAY_HOURS)
    older, newer, larger = _taken_by_others(visits, owner, entered, start, stop, busy, steps.amount)
    taken = older + newer
    scale = np.where(taken > working, working / np.where(taken > 0, taken, 1.0), 1.0)
    parts = [days(full - entered), days(left - full) - working, older * scale, newer * scale]
    parts.append(np.maximum(visits.days - np.sum(parts, axis=0), 0.0))
    return WaitingParts(visits, np.stack(parts, axis=1), larger * scale)


def _check(
    steps: Steps, kinds: pd.DataFrame | None, hours: tuple[float, float] | None,
    handling_hours: float, batch_minutes: float,
) -> None:  # fmt: skip
    if kinds is not None and len(kinds) != len(steps.case):
        raise DataError(
            f"`kinds` has {len(kinds)} rows for a log of {len(steps.case)} events; give one an event"
        )
    if hours is not None and not 0 <= hours[0] < hours[1] <= 24:
        raise UsageError(f"`hours` must be two rising hours of a day, such as (9, 17); got {hours}")
    for name, value in (("handling_hours", handling_hours), ("batch_minutes", batch_minutes)):
        if not 0 <= value < np.inf:
            raise UsageError(f"`{name}` must be 0 or more; got {value}")


def _waits(steps: Steps) -> Visits:
    """The stays in stages that do not close a deal, by the calendar."""
    every = visits_of(steps, Clock())
    kept = np.flatnonzero(~steps.closing[every.stage])
    return Visits(*(getattr(every, name)[kept] for name in Visits.__dataclass_fields__))


@dataclass(frozen=True)
class _Calendar:
    """When the company works."""

    clock: Clock
    hours: tuple[float, float] | None

    def position(self, moments: Ints) -> Floats:
        """(n,) working time up to each moment, in days of 24 hours, from a fixed moment on."""
        local = self.clock.local(moments)
        week, day = self.clock.week, local.astype("datetime64[D]")
        mask = "".join("1" if name in week else "0" for name in WEEKDAYS)
        off = np.array(list(self.clock.holidays), dtype="datetime64[D]")
        calendar = np.busdaycalendar(weekmask=mask, holidays=off)
        whole = np.busday_count(np.datetime64(0, "D"), day, busdaycal=calendar)
        first, last = self.hours or (0.0, _DAY_HOURS)
        hour = np.clip((local - day) / np.timedelta64(1, "h"), first, last) - first
        today = np.where(np.is_busday(day, busdaycal=calendar), hour, 0.0)
        return np.asarray((whole * (last - first) + today) / _DAY_HOURS, dtype=np.float64)


def _batch_full(visits: Visits, owner: Ints, entered: Ints, left: Ints, gap: int) -> Ints:
    """(n,) until when each stay waited for its batch to fill; its own entry where there is none."""
    full = entered.copy()
    moved = np.flatnonzero(visits.exited & (owner >= 0) & (visits.target != NOWHERE))
    if not len(moved):
        return full
    order = np.lexsort((left[moved], visits.target[moved], visits.stage[moved], owner[moved]))
    moved = moved[order]
    new = np.ones(len(moved), dtype=bool)
    same = np.ones(len(moved) - 1, dtype=bool)
    for key in (owner, visits.stage, visits.target):
        same &= key[moved[1:]] == key[moved[:-1]]
    new[1:] = ~same | (np.diff(left[moved]) > gap)
    opening, batch = np.flatnonzero(new), np.cumsum(new) - 1
    there = entered[moved] <= left[moved][opening][batch]  # those who came later filled no batch
    last = np.maximum.reduceat(np.where(there, entered[moved], entered[moved].min()), opening)
    full[moved] = np.where(there, last[batch], entered[moved])
    return full


def _busy(visits: Visits, owner: Ints, entered: Ints, left: Floats, handling: float) -> _Busy:
    """What each rep worked on before each move; `left` and `handling` in days of working time."""
    moved = np.flatnonzero(visits.exited & (owner >= 0))
    moved = moved[np.lexsort((visits.case[moved], left[moved], owner[moved]))]
    rep, stop = owner[moved], left[moved]
    start = stop - handling
    again = rep[1:] == rep[:-1]
    start[1:] = np.where(again, np.maximum(start[1:], stop[:-1]), start[1:])
    return _Busy(rep, visits.case[moved], start, stop, entered[moved])


def _taken_by_others(
    visits: Visits, owner: Ints, entered: Ints, start: Floats, stop: Floats, busy: _Busy,
    amount: Floats,
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """(n,) working days between `start` and `stop` that the rep gave to older deals, to newer ones,
    and to newer ones that are larger."""
    older, newer, larger = np.zeros((3, len(owner)))
    if not len(busy.rep):
        return older, newer, larger
    base = min(float(busy.start.min()), float(start.min()))
    wide = max(float(busy.stop.max()), float(stop.max())) - base + 1.0
    first = np.searchsorted(
        busy.rep * wide + busy.stop - base, owner * wide + start - base, "right"
    )
    after = np.searchsorted(busy.rep * wide + busy.start - base, owner * wide + stop - base, "left")
    count = np.where(owner >= 0, np.maximum(after - first, 0), 0)
    for rows in _chunks(count):
        stay = np.repeat(rows, count[rows])
        begin = np.cumsum(count[rows]) - count[rows]
        other = np.arange(len(stay)) - np.repeat(begin - first[rows], count[rows])
        time = np.minimum(busy.stop[other], stop[stay]) - np.maximum(busy.start[other], start[stay])
        time = np.where(busy.case[other] == visits.case[stay], 0.0, np.maximum(time, 0.0))
        overtook = busy.entered[other] > entered[stay]
        grew = overtook & (amount[busy.case[other]] > amount[visits.case[stay]])
        for total, which in ((older, ~overtook), (newer, overtook), (larger, grew)):
            total += np.bincount(stay, weights=np.where(which, time, 0.0), minlength=len(owner))
    return older, newer, larger


def _chunks(count: Ints) -> list[Ints]:
    """The stays in runs of about `_PAIRS` pairs."""
    run = np.cumsum(count) // _PAIRS
    return [np.flatnonzero(run == part) for part in np.unique(run)]


def _row(steps: Steps, parts: WaitingParts, stage: int, turn: int) -> dict[str, Any]:
    here = parts.visits.stage == stage
    own, case = parts.days[here, turn], parts.visits.case[here]
    waited = own > _SOME
    total, every = float(own.sum()), float(parts.visits.days[here].sum())
    order = np.lexsort((case, -own))[: int(waited.sum())]
    told = KINDS[turn] == PRIORITISATION and total > 0 and not np.isnan(steps.amount).all()
    row: dict[str, Any] = {
        "stage": steps.activities[stage],
        "kind": KINDS[turn],
        "days": total,
        "share": total / every if every > 0 else 0.0,
        "days_per_stay": total / len(own),
        "stays": int(waited.sum()),
        "cases": len(np.unique(case[waited])),
        "to_larger_share": float(parts.to_larger[here].sum()) / total if told else np.nan,
        "examples": [
            str(steps.case_ids[one]) for one in list(dict.fromkeys(case[order].tolist()))[:EXAMPLES]
        ],
    }
    return row | {"text": _sentence(row)}


_WAITED_FOR = {
    BATCHING: "is waiting until more deals are there and all are moved together",
    UNAVAILABLE: "falls outside of working time",
    CONTENTION: "is waiting while the rep works on deals that were there before",
    PRIORITISATION: "is waiting while the rep works on deals that came later",
    REST: "has none of these reasons: the customer, others in the company, the work itself",
}


def _sentence(row: dict[str, Any]) -> str:
    return (
        f"In {row['stage']}, {row['share']:.0%} of the waiting ({row['days_per_stay']:.1f} days a "
        f"stay) {_WAITED_FOR[row['kind']]}."
    )
