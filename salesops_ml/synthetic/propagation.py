"""From a deal's full state to its exact chances: the distribution over states, day after day.

The state is stage x days in stage x engagement x quote. A deal without a quote carries three
layers: not yet quoted, quoted plainly, quoted with a deep discount. All deals of a chunk walk
through the same calendar days together, each from its own day on, so every day's probabilities are
computed once per kind of day.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from salesops_ml.synthetic.clock import Clock, Days
from salesops_ml.synthetic.draws import Floats
from salesops_ml.synthetic.hazards import ADVANCE, BACK, LOST, SKIP, WON, Hazards
from salesops_ml.synthetic.layers import Layer

CHUNK = 256
OPEN_TOLERANCE = 1e-4
MONTH = 28
LONGEST = 2_800
"""Days after which what is still open counts as open for ever."""


@dataclass(frozen=True)
class Starts:
    """States to start from, one a row: in the morning of `day`, and what that day brought so far.

    `share` of the day's business hours are gone. `quote` is 0 (none), 1 or 2 (deep) now. `moved`:
    the deal entered `now_stage` today; `now_engaged` is the buyer's state now. `idle`: the deal was
    created today, nothing more happens before tomorrow.
    """

    deal: Days
    day: Days
    share: Floats
    stage: Days
    age: Days
    engaged: Days
    quote_before: Days
    quote: Days
    moved: npt.NDArray[np.bool_]
    now_stage: Days
    now_engaged: Days
    idle: npt.NDArray[np.bool_]

    def take(self, rows: Days) -> Starts:
        """Some of the rows."""
        return Starts(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Chances:
    """Cumulative chances of being won and lost 1, 2, .. days on, (rows, days); and won ever."""

    won: Floats
    lost: Floats
    ever: Floats | None


class _Today(NamedTuple):
    """What the rest of the first day can bring: chances of the five events, and engagement after."""

    events: Floats
    engaged: Floats


class _Chunk:
    """Rows in order of day that walk together, all quoted or all not."""

    def __init__(self, hazards: Hazards, starts: Starts) -> None:
        self.hazards, self.starts = hazards, starts
        count = len(starts.deal)
        zero = np.zeros(count, dtype=np.int64)
        everywhere = hazards.stages
        if starts.quote[0]:
            self.early: Layer | None = None
            self.late = [Layer(hazards, starts.deal, starts.quote - 1, everywhere)]
        else:
            self.early = Layer(hazards, starts.deal, zero, hazards.quote_stage)
            self.late = [Layer(hazards, starts.deal, zero + deep, everywhere) for deep in (0, 1)]
        self.p_deep = hazards.laws.p_deep[starts.deal]

    def step(self, kind: int, rows: slice = slice(None)) -> Floats:
        """Let a day pass for `rows`; returns the mass won and lost today, (2, n)."""
        p_deep = self.p_deep[rows]
        closed = np.zeros((2, len(p_deep)))
        landed = []
        for layer in self.layers():
            arrivals, won, lost = layer.step(kind, rows)
            landed.append(arrivals)
            closed += won, lost
        if self.early is not None:
            fresh, first = landed.pop(0), self.hazards.quote_stage
            self.early.arrive(fresh, rows)
            landed[0][first:] += fresh[first:] * (1 - p_deep)
            landed[1][first:] += fresh[first:] * p_deep
        for layer, arrivals in zip(self.late, landed, strict=True):
            layer.arrive(arrivals, rows)
        return closed

    def layers(self) -> list[Layer]:
        """All layers, the not yet quoted first."""
        return self.late if self.early is None else [self.early, *self.late]

    def enter(self, rows: Days, today: _Today) -> None:
        """Set the state in which `rows` end their first day."""
        starts = self.starts.take(rows)
        rest = 1 - today.events.sum(axis=0)
        age = np.where(starts.moved | starts.idle, 0, np.minimum(starts.age + 1, self._oldest))
        self._put(rows, starts.now_stage, age, rest * today.engaged)
        zero = np.zeros(len(rows), dtype=np.int64)
        for event, step in ((ADVANCE, 1), (SKIP, 2), (BACK, -1)):
            target = np.clip(starts.stage + step, 0, self.hazards.stages - 1)
            self._put(rows, target, zero, today.events[event] * today.engaged)

    @property
    def _oldest(self) -> int:
        return self.hazards.world.phase_days[1]

    def _put(self, rows: Days, stage: Days, age: Days, mass: Floats) -> None:
        """Add `mass` (2, rows) at stage and age, in the layer where it belongs."""
        if self.early is None:
            self._add(self.late[0], rows, stage, age, mass)
            return
        early = stage < self.hazards.quote_stage
        self._add(self.early, rows[early], stage[early], age[early], mass[:, early])
        late, chance = ~early, self.p_deep[rows]
        for layer, share in zip(self.late, (1 - chance, chance), strict=True):
            part = (mass * share)[:, late]
            self._add(layer, rows[late], stage[late], age[late], part)

    @staticmethod
    def _add(layer: Layer, rows: Days, stage: Days, age: Days, mass: Floats) -> None:
        for engaged in (0, 1):
            np.add.at(layer.mass[engaged], (stage, age, rows), mass[engaged])

    def open(self) -> Floats:
        """The open mass of each row."""
        total: Floats = np.sum([layer.open() for layer in self.layers()], axis=0)
        return total

    def drop(self, rows: Days) -> None:
        """Forget the open mass of some rows."""
        for layer in self.layers():
            layer.mass[..., rows] = 0.0

    def keep_rows(self, rows: Days) -> None:
        """Go on with some of the rows only."""
        self.p_deep = self.p_deep[rows]
        for layer in self.layers():
            layer.keep_rows(rows)


def chances(
    hazards: Hazards, clock: Clock, starts: Starts, *, horizon_days: int, ever: bool
) -> Chances:
    """Exact chances of open deals, by forward propagation.

    Within a day, events fall evenly over the business hours: of the first day only the rest counts,
    given that nothing more happened so far; of the last only the part up to the same time of day.
    """
    count = len(starts.deal)
    won, lost = np.zeros((count, horizon_days)), np.zeros((count, horizon_days))
    final = np.zeros(count)
    for rows in _chunks(starts):
        part = starts.take(rows)
        chunk = _Chunk(hazards, part)
        walked = _walk(chunk, clock, horizon_days, go_on=ever)
        won[rows], lost[rows] = walked[0][:, :horizon_days], walked[1][:, :horizon_days]
        if ever:
            last_day = int(part.day.max()) + horizon_days + 1
            final[rows] = walked[2] + _rest(chunk, clock, last_day)
    return Chances(won, lost, final if ever else None)


def _chunks(starts: Starts) -> Iterator[Days]:
    """Row numbers, quoted apart from not quoted, by day."""
    for quoted in (False, True):
        rows = np.flatnonzero((starts.quote > 0) == quoted)
        rows = rows[np.argsort(starts.day[rows], kind="stable")]
        yield from (rows[begin : begin + CHUNK] for begin in range(0, len(rows), CHUNK))


def _walk(
    chunk: _Chunk, clock: Clock, horizon_days: int, *, go_on: bool
) -> tuple[Floats, Floats, Floats]:
    """Walk from the first row's day to the last row's horizon; cumulative chances 1 .. H days on.

    Also returns the mass won by the end of the walk. Rows stop at their own horizon unless they
    are to `go_on` afterwards.
    """
    starts = chunk.starts
    first, count = int(starts.day.min()), len(starts.deal)
    days = int(starts.day.max()) - first + horizon_days + 1
    kinds = clock.kind(np.arange(first, first + days))
    today = _today(chunk.hazards, clock, starts)
    daily = np.zeros((2, days, count))
    for offset in range(days):
        oldest = 0 if go_on else first + offset - horizon_days
        begin, stop = np.searchsorted(starts.day, [oldest, first + offset])
        if stop > begin:
            active = slice(int(begin), int(stop))
            daily[:, offset, active] = chunk.step(int(kinds[offset]), active)
        new = np.flatnonzero(starts.day == first + offset)
        if len(new):
            now = _Today(today.events[:, new], today.engaged[:, new])
            chunk.enter(new, now)
            daily[:, offset, new] = now.events[[WON, LOST]]
    total = np.cumsum(daily, axis=1)
    place = (starts.day - first)[:, None] + np.arange(horizon_days)[None]
    rows = np.arange(count)[:, None]
    part = starts.share[:, None] * daily[:, place + 1, rows]
    cumulative: Floats = total[:, place, rows] + part
    return cumulative[0], cumulative[1], total[0, -1]


def _today(hazards: Hazards, clock: Clock, starts: Starts) -> _Today:
    """Chances of the rest of the first day, given what it brought so far."""
    kind = clock.kind(starts.day)
    before = (starts.quote_before == 2).astype(np.int64)
    phase = hazards.phase(starts.age)
    p = hazards.moves(starts.deal, starts.stage, phase, starts.engaged, before, kind)
    left, gone = 1 - starts.share, starts.share
    events = np.where(starts.moved | starts.idle, 0.0, p * left / (1 - gone * p.sum(axis=0)))
    flips = hazards.switches(starts.deal, starts.engaged, kind)
    switched = starts.now_engaged != starts.engaged
    turn = np.where(switched | starts.idle, 0.0, flips * left / (1 - gone * flips))
    is_engaged = starts.now_engaged == 1
    engaged = np.where(is_engaged, 1 - turn, turn)
    return _Today(events, np.stack([1 - engaged, engaged]))


def _rest(chunk: _Chunk, clock: Clock, day: int) -> Floats:
    """What each row still wins from `day` on.

    Walked four weeks at a time until next to nothing is open; what is, is won in the same
    proportion as in the four weeks before (the distribution over states has long settled by then).
    """
    done = np.zeros(len(chunk.p_deep))
    rows = np.arange(len(done))
    for month in range(LONGEST // MONTH):
        flows = np.zeros((2, len(rows)))
        for offset in range(month * MONTH, (month + 1) * MONTH):
            flows += chunk.step(int(clock.kind(day + offset)))
        still = chunk.open()
        ends = still <= OPEN_TOLERANCE
        share = np.divide(
            flows[0], flows.sum(axis=0), where=flows.sum(axis=0) > 0, out=flows[1] * 0
        )
        done[rows] += flows[0] + np.where(ends, still * share, 0.0)
        if ends.all():
            break
        if ends.mean() > 0.2:
            chunk.keep_rows(np.flatnonzero(~ends))
            rows = rows[~ends]
        else:
            chunk.drop(np.flatnonzero(ends))
    return done
