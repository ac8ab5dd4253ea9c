"""What the process did in each stretch of the calendar, beside what it would have done as always.

For the pace of a stage that is the exits seen less those expected: every stay brings, for each day
that it lasts, the hazard at its age, taken from all stays together (Nelson and Aalen). For the way
out it is, of the exits seen, those by one door less the share that this door has among exits of that
age. Both have mean zero in every stretch as long as the process stays as it is, whatever began or
ended before, and whether deals are still open: they are differences of a martingale (Andersen,
Borgan, Gill and Keiding 1993, Statistical Models Based on Counting Processes).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salesops_ml.mining.clock import Clock
from salesops_ml.mining.influence import AtRisk, summed
from salesops_ml.mining.steps import ENDED, Floats, Ints, Mask, Steps
from salesops_ml.mining.visits import NOWHERE, visits_of

FEWEST_EXITS = 40
"""Exits that a stage must have, and half as many by a door and past it, to be watched."""
MOST_SERIES = 300
_STRATA, _STRATUM = 5, 50


@dataclass(frozen=True)
class Exits:
    """Stays with their moments, ends of cases in logs without outcomes among them.

    Attributes:
        stage, target: (n,) codes; `target` is `NOWHERE` where the deal ended, or is still there.
        begun, end: (n,) when the stay began, and ended or was last seen; microseconds.
        exited: (n,) whether it has ended.
        timed: (n,) whether its length means anything.
    """

    stage: Ints
    target: Ints
    begun: Ints
    end: Ints
    exited: Mask
    timed: Mask


@dataclass(frozen=True)
class Watched:
    """One thing that may change: `measure` is dwell or share; `target` None for a stage's dwell.

    `source` None stands for where deals begin.
    """

    source: int | None
    target: int | None
    measure: str


@dataclass(frozen=True)
class Record:
    """(k, w) surprise and variance of k watched things in w stretches of the calendar."""

    watched: tuple[Watched, ...]
    surprise: Floats
    variance: Floats


def exits_of(steps: Steps) -> Exits:
    """All stays of open stages."""
    visits = visits_of(steps, Clock())
    kept = ~steps.closing[visits.stage]
    row, exited = visits.row[kept], visits.exited[kept]
    end = np.where(exited, steps.left[row], steps.as_of)
    over = np.flatnonzero(steps.last & (steps.outcome[steps.case] == ENDED))
    return Exits(
        np.concatenate([visits.stage[kept], steps.activity[over]]),
        np.concatenate([visits.target[kept], np.full(len(over), NOWHERE)]),
        np.concatenate([steps.at[row], steps.at[over]]),
        np.concatenate([end, steps.at[over]]),
        np.concatenate([exited, np.ones(len(over), dtype=bool)]),
        np.concatenate([np.ones(len(row), dtype=bool), np.zeros(len(over), dtype=bool)]),
    )


def things_to_watch(steps: Steps, exits: Exits) -> list[Watched]:
    """Stages and doors that were used often enough, most used first."""
    found: list[tuple[int, Watched]] = []
    begins = np.bincount(steps.activity[steps.first], minlength=len(steps.activities))
    found += _doors(None, dict(enumerate(begins.tolist())))
    for stage in np.unique(exits.stage).tolist():
        here = exits.exited & (exits.stage == stage)
        timed = int((here & exits.timed).sum())
        if timed >= FEWEST_EXITS:
            found.append((timed, Watched(stage, None, "dwell")))
        doors, count = np.unique(exits.target[here], return_counts=True)
        found += _doors(stage, dict(zip(doors.tolist(), count.tolist(), strict=True)))
    found.sort(key=lambda one: -one[0])
    return [watched for _, watched in found[:MOST_SERIES]]


def _doors(source: int | None, count: dict[int, int]) -> list[tuple[int, Watched]]:
    least, total = FEWEST_EXITS // 2, sum(count.values())
    often = {door: seen for door, seen in count.items() if least <= seen <= total - least}
    return [(seen, Watched(source, door, "share")) for door, seen in often.items()]


def record_of(steps: Steps, exits: Exits, watched: list[Watched], edges: Ints) -> Record:
    """Surprises and variances between neighbouring `edges` (w + 1,), microseconds."""
    size = len(edges) - 1
    surprise, variance = np.zeros((len(watched), size)), np.zeros((len(watched), size))
    for turn, one in enumerate(watched):
        if one.measure == "dwell":
            told = _pace(exits, exits.timed & (exits.stage == one.source), edges)
        elif one.source is None:
            begins = steps.activity[steps.first] == one.target
            told = _choice(begins, np.zeros(len(begins)), steps.at[steps.first], edges)
        else:
            here = exits.exited & (exits.stage == one.source)
            age = Clock().days(exits.begun[here], exits.end[here])
            told = _choice(exits.target[here] == one.target, age, exits.end[here], edges)
        surprise[turn], variance[turn] = told
    return Record(tuple(watched), surprise, variance)


def _pace(exits: Exits, here: Mask, edges: Ints) -> tuple[Floats, Floats]:
    """Exits seen less those expected, and their variance, in each stretch."""
    begun, end, exited = exits.begun[here], exits.end[here], exits.exited[here]
    days = Clock().days(begun, end)
    stays = AtRisk.of(np.zeros(len(days), dtype=np.int64), days, exited, 1)
    hazard = stays.exits / stays.count
    ahead = np.concatenate([[0.0], np.cumsum(hazard)])
    spread = np.concatenate([[0.0], np.cumsum(hazard * (1 - hazard))])
    stay, stretch = _overlaps(begun, end, edges)
    upto = np.minimum(edges[stretch + 1], end[stay])
    since = np.maximum(edges[stretch], begun[stay])
    late = np.searchsorted(stays.time, Clock().days(begun[stay], upto), side="right")
    early = np.searchsorted(stays.time, Clock().days(begun[stay], since), side="right")
    early = np.where(since > begun[stay], early, 0)
    size = len(edges) - 1
    expected = summed(stretch, ahead[late] - ahead[early], size)
    seen = summed(_stretch(end[exited], edges), np.ones(int(exited.sum())), size)
    return seen - expected, summed(stretch, spread[late] - spread[early], size)


def pairs(exits: Exits, watched: list[Watched], edges: Ints) -> int:
    """How many pairs of a stay and a stretch `record_of` would look at."""
    stages = [one.source for one in watched if one.source is not None and one.measure == "dwell"]
    here = np.isin(exits.stage, stages)
    lasts = _stretch(exits.end[here], edges) - _stretch(exits.begun[here], edges) + 1
    return int(lasts.sum())


def _overlaps(begun: Ints, end: Ints, edges: Ints) -> tuple[Ints, Ints]:
    """Each pair of a stay and a stretch in which it went on."""
    first, last = _stretch(begun, edges), _stretch(end, edges)
    many = last - first + 1
    stay = np.repeat(np.arange(len(begun)), many)
    within = np.arange(len(stay)) - np.repeat(np.cumsum(many) - many, many)
    return stay, first[stay] + within


def _stretch(moment: Ints, edges: Ints) -> Ints:
    """The stretch that each moment lies in: after its lower edge, up to its upper."""
    return np.clip(np.searchsorted(edges, moment, side="left") - 1, 0, len(edges) - 2)


def _choice(chosen: Mask, age: Floats, moment: Ints, edges: Ints) -> tuple[Floats, Floats]:
    """Times that it was chosen, less those expected of choices at that age, and their variance."""
    strata = int(np.clip(len(age) // _STRATUM, 1, _STRATA))
    cuts = np.unique(np.quantile(age, np.arange(1, strata) / strata)) if strata > 1 else np.zeros(0)
    band = np.searchsorted(cuts, age, side="left")
    count = summed(band, np.ones(len(age)), len(cuts) + 1)
    share = (summed(band, chosen, len(cuts) + 1) / np.maximum(count, 1))[band]
    place, size = _stretch(moment, edges), len(edges) - 1
    return summed(place, chosen - share, size), summed(place, share * (1 - share), size)
