"""A visit: one stay of a deal in a stage, until it leaves or, where it is still there, until now."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salesops_ml.mining.clock import Clock
from salesops_ml.mining.steps import ENDED, NEVER, OPEN, WON, Floats, Ints, Mask, Steps

NOWHERE = -1


@dataclass(frozen=True)
class Visits:
    """The stays whose length is known or known so far, one row each.

    A deal's stay in the stage that closed it has no end that means anything, and is left out.

    Attributes:
        row: (n,) row of the visit in `Steps`.
        case, stage: (n,) codes.
        target: (n,) code of the stage entered next; `NOWHERE` where there is none.
        days: (n,) days there, so far where it is still there.
        exited: (n,) whether it has left.
    """

    row: Ints
    case: Ints
    stage: Ints
    target: Ints
    days: Floats
    exited: Mask


def visits_of(steps: Steps, clock: Clock) -> Visits:
    """Every stay in a stage, open ones followed up to `as_of`."""
    left = steps.left
    waiting = steps.waiting
    row = np.flatnonzero((left != NEVER) | waiting)
    end = np.where(waiting[row], steps.as_of, left[row])
    target = np.full(len(steps.case), NOWHERE)
    target[:-1] = np.where(steps.last[:-1], NOWHERE, steps.activity[1:])
    return Visits(
        row,
        steps.case[row],
        steps.activity[row],
        target[row],
        clock.days(steps.at[row], end),
        ~waiting[row],
    )


@dataclass(frozen=True)
class Endings:
    """For some moments in some deals' lives, how long until the outcome and what it was.

    Attributes:
        days: (n,) days until the outcome, until `as_of` where the deal is open.
        known: (n,) whether there is an outcome.
        won: (n,) whether it is won.
    """

    days: Floats
    known: Mask
    won: Mask


def endings_after(steps: Steps, case: Ints, moment: Ints, clock: Clock) -> Endings:
    """What came after `moment` (n,) in deals `case` (n,)."""
    outcome = steps.outcome[case]
    end = np.where(outcome == OPEN, steps.as_of, steps.closed[case])
    return Endings(clock.days(moment, np.maximum(end, moment)), outcome != OPEN, outcome == WON)


@dataclass(frozen=True)
class Stays:
    """Visits of open stages, and by which kind of door each ended.

    At most one of the four is true in a row; none where the deal is still there, or where it ended
    without being won or lost.

    Attributes:
        visits: the visits, (n,) rows.
        onward: it moved on, to a stage that comes later.
        won: it was won.
        back: it went back, or into the same stage again.
        lost: it was lost.
    """

    visits: Visits
    onward: Mask
    won: Mask
    back: Mask
    lost: Mask


def stays_of(steps: Steps, order: Ints, clock: Clock) -> Stays:
    """The visits of open stages; `order` (a,) is each stage's turn in the process."""
    every = visits_of(steps, clock)
    kept = np.flatnonzero(~steps.closing[every.stage])
    visits = Visits(*(getattr(every, name)[kept] for name in Visits.__dataclass_fields__))
    entered = np.maximum(visits.target, 0)
    closes = np.where(visits.target == NOWHERE, visits.exited, steps.closing[entered])
    wins = np.where(
        visits.target == NOWHERE, steps.outcome[visits.case] == WON, steps.winning[entered]
    )
    over = (visits.target == NOWHERE) & (steps.outcome[visits.case] == ENDED)
    stays_open = visits.exited & ~closes
    later = order[entered] > order[visits.stage]
    return Stays(
        visits,
        onward=stays_open & later,
        won=visits.exited & closes & wins,
        back=stays_open & ~later,
        lost=visits.exited & closes & ~wins & ~over,
    )
