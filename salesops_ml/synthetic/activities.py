"""What reps do: calls, mails, meetings and demos, more of them with buyers who answer.

Every change of a buyer's engagement is itself an activity (`replied`, `went_silent`), and the
outcome of every contact tells in which state the buyer is. Activities follow the state; they say
nothing of the future beyond it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from salesops_ml.synthetic import columns
from salesops_ml.synthetic.clock import Clock, Days, Moments
from salesops_ml.synthetic.draws import Floats, choose, stream
from salesops_ml.synthetic.facts import Facts
from salesops_ml.synthetic.owners import Owners
from salesops_ml.synthetic.parameters import WorldParameters
from salesops_ml.synthetic.paths import SWITCHED, Paths, spans
from salesops_ml.synthetic.people import Reps

KINDS = ("call", "email", "meeting", "demo", "task", "internal")
MINUTES = np.array([12.0, 6.0, 45.0, 60.0, 20.0, 75.0])
OUTCOMES = ("no_answer", "postponed", "positive", "next_step", "replied", "went_silent")
_EARLY, _LATE = (0.38, 0.38, 0.10, 0.02, 0.12), (0.22, 0.28, 0.28, 0.10, 0.12)
PER_DAY = (0.13, 0.30)
"""Activities a day with silent and with engaged buyers."""
TASK, INTERNAL, EMAIL, CALL = 4, 5, 1, 0


@dataclass(frozen=True)
class Activities:
    """One entry per activity; a negative deal or outcome is none. `delay` days until recorded."""

    deal: Days
    rep: Days
    position: Floats
    kind: Days
    outcome: Days
    minutes: Floats
    delay: Floats

    @classmethod
    def join(cls, parts: list[Activities]) -> Activities:
        """All activities in order of time."""
        rows = [np.concatenate([getattr(p, n) for p in parts]) for n in cls.__dataclass_fields__]
        order = np.lexsort((rows[3], rows[1], rows[0], rows[2]))
        return cls(*(values[order] for values in rows))


def all_activities(facts: Facts, owners: Owners, paths: Paths) -> Activities:
    """Everything that was done within the record, in order of time."""
    rng = stream(facts.world.seed, "activities")
    parts = [
        _contacts(facts, owners, paths, rng),
        _first_touches(facts, owners, paths, rng),
        _turns(facts, owners, paths, rng),
        _internal(facts.world, facts.clock, facts.reps, rng),
    ]
    return Activities.join(parts)


def _contacts(facts: Facts, owners: Owners, paths: Paths, rng: np.random.Generator) -> Activities:
    """A Poisson stream through each state of each deal, thinned at weekends."""
    until, is_open = spans(facts, paths)
    per_day = np.array(PER_DAY) * facts.world.activity
    mean = np.where(is_open, per_day[paths.engaged] * (until - paths.position), 0.0)
    rows = np.repeat(np.arange(len(mean)), rng.poisson(mean))
    position = paths.position[rows] + rng.random(len(rows)) * (until - paths.position)[rows]
    weekend = facts.clock.is_weekend(np.floor(position).astype(np.int64))
    keep = ~weekend | (rng.random(len(rows)) < facts.world.weekend)
    rows, position = rows[keep], position[keep]
    late = paths.stage[rows] >= min(2, len(facts.world.stages) - 1)
    kind = np.where(late, choose(rng, list(_LATE), len(rows)), choose(rng, list(_EARLY), len(rows)))
    outcome = 2 * paths.engaged[rows] + (rng.random(len(rows)) < 0.35)
    delay = np.where(
        rng.random(len(rows)) < facts.world.faults.late_activity,
        rng.exponential(1.0, len(rows)) * np.where(rng.random(len(rows)) < 0.5, 0.3, 3.0),
        0.0,
    )
    deal = paths.deal[rows]
    return Activities(
        deal, owners.at(deal, position), position, kind,
        np.where(kind == TASK, -1, outcome), _minutes(rng, kind), delay,
    )  # fmt: skip


def _first_touches(
    facts: Facts, owners: Owners, paths: Paths, rng: np.random.Generator
) -> Activities:
    """The first attempt to reach the buyer, within hours or days, unless the buyer was faster."""
    first = np.flatnonzero(np.append(True, paths.deal[1:] != paths.deal[:-1]))
    until = spans(facts, paths)[0][first]
    position = facts.starts + rng.exponential(0.7, facts.deals.count)
    weekend = facts.clock.is_weekend(np.floor(position).astype(np.int64))
    deal = np.flatnonzero((position < until) & ~weekend)
    kind = np.where(rng.random(len(deal)) < 0.5, CALL, EMAIL)
    return Activities(
        deal, owners.at(deal, position[deal]), position[deal], kind,
        np.zeros(len(deal), dtype=np.int64), _minutes(rng, kind), np.zeros(len(deal)),
    )  # fmt: skip


def _turns(facts: Facts, owners: Owners, paths: Paths, rng: np.random.Generator) -> Activities:
    """The contact in which the buyer engaged, and the mail that found no answer any more."""
    rows = np.flatnonzero(paths.event == SWITCHED)
    engaged = paths.engaged[rows]
    kind = np.where(engaged == 1, choose(rng, [0.5, 0.3, 0.2], len(rows)), EMAIL)
    deal, position = paths.deal[rows], paths.position[rows]
    return Activities(
        deal, owners.at(deal, position), position, kind,
        np.where(engaged == 1, 4, 5), _minutes(rng, kind), np.zeros(len(rows)),
    )  # fmt: skip


def _internal(
    world: WorldParameters, clock: Clock, reps: Reps, rng: np.random.Generator
) -> Activities:
    """Meetings and paperwork that serve no deal: about three a week for each rep at work."""
    begin = np.maximum(reps.hired, 0)
    stop = np.minimum(reps.left, clock.days)
    count = rng.poisson(np.maximum(stop - begin, 0) * 0.55 * world.activity)
    rep = np.repeat(np.arange(reps.count), count)
    position = begin[rep] + rng.random(len(rep)) * (stop - begin)[rep]
    keep = ~clock.is_weekend(np.floor(position).astype(np.int64))
    rep, position = rep[keep], position[keep]
    kind = np.full(len(rep), INTERNAL)
    none = np.full(len(rep), -1)
    return Activities(none, rep, position, kind, none, _minutes(rng, kind), np.zeros(len(rep)))


def _minutes(rng: np.random.Generator, kind: Days) -> Floats:
    drawn = np.rint(MINUTES[kind] * np.exp(rng.normal(0, 0.4, len(kind))))
    return np.asarray(np.maximum(1.0, drawn))


def activities_table(facts: Facts, done: Activities) -> pa.Table:
    """The canonical `activities`; what was recorded after the record's end is not in it."""
    rng = stream(facts.world.seed, "durations")
    at = facts.moments(done.position)
    recorded = at + np.rint(done.delay * 86_400_000).astype("timedelta64[ms]")
    missing = rng.random(len(at)) < facts.world.faults.missing_duration
    rows: npt.NDArray[np.bool_] = recorded < facts.clock.end
    return _table(facts, done, at, recorded, missing).filter(pa.array(rows))


def _table(
    facts: Facts, done: Activities, at: Moments, recorded: Moments, missing: npt.NDArray[np.bool_]
) -> pa.Table:
    return pa.table(
        {
            "activity_id": columns.ids("ACT", len(at), width=7),
            "deal_id": columns.words(facts.deal_ids, done.deal),
            "rep_id": columns.words(facts.rep_ids, done.rep),
            "kind": columns.words(KINDS, done.kind),
            "at": columns.times(at),
            "duration_minutes": pa.array(done.minutes, mask=missing),
            "outcome": columns.words(OUTCOMES, done.outcome),
            "recorded_at": columns.times(recorded),
        }
    )
