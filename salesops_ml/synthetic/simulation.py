"""The company at work: every open deal, one calendar day after the other.

The run goes on after the record's end, without new deals, until nearly all deals have closed: the
records are cut at the end, the truth knows how each deal would have ended.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from salesops_ml.synthetic.clock import Clock, Days
from salesops_ml.synthetic.demand import Deals
from salesops_ml.synthetic.draws import Floats, Keys, deal_keys, fate
from salesops_ml.synthetic.hazards import ADVANCE, BACK, LOST, SKIP, WON, DealLaws, Hazards
from salesops_ml.synthetic.parameters import WorldParameters

RUN_OFF_DAYS = 540
STEP = np.array([1, 2, -1, 0, 0])
"""Stages moved by each event."""


@dataclass(frozen=True)
class Moves:
    """Stage moves in order of (deal, day): the event, the stage before and after (-1: closed)."""

    deal: Days
    day: Days
    share: Floats
    event: Days
    stage: Days
    to_stage: Days
    age: Days


@dataclass(frozen=True)
class Switches:
    """Changes of the buyer's engagement in order of (deal, day); `engaged` is the new state."""

    deal: Days
    day: Days
    share: Floats
    engaged: Days


@dataclass(frozen=True)
class Run:
    """One simulated history. `closed` is the day (-1: not closed by the end of the run-off)."""

    moves: Moves
    switches: Switches
    closed: Days
    won: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Open:
    """The open deals on a morning."""

    deal: Days
    stage: Days
    age: Days
    engaged: Days
    moves: Days
    quoted: npt.NDArray[np.bool_]

    def keep(self, rows: npt.NDArray[np.bool_]) -> _Open:
        return _Open(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def join(self, deal: Days) -> _Open:
        """New deals start in the first stage, before the buyer was reached."""
        zero = np.zeros(len(deal), dtype=np.int64)
        new = _Open(deal, zero, zero, zero, zero, zero.astype(np.bool_))
        names = self.__dataclass_fields__
        return _Open(*(np.concatenate([getattr(self, n), getattr(new, n)]) for n in names))


def simulate(world: WorldParameters, clock: Clock, deals: Deals, laws: DealLaws) -> Run:
    """Run the world; deals that share a fate key meet the same luck in every world."""
    return simulate_some(world, clock, deals, laws, np.arange(deals.count))


def simulate_some(
    world: WorldParameters, clock: Clock, deals: Deals, laws: DealLaws, rows: Days
) -> Run:
    """Run the world for the deals of `rows` only (rising); deals do not disturb each other.

    `world.planted` may be a reduced list as long as `laws.segments` matches it.
    """
    hazards = Hazards(world, laws)
    keys = {lane: deal_keys(world.seed, lane, deals.count) for lane in ("move", "switch", "hour")}
    edges = np.searchsorted(deals.created[rows], np.arange(clock.days + 1))
    empty = np.zeros(0, dtype=np.int64)
    now = _Open(empty, empty, empty, empty, empty, empty.astype(np.bool_))
    moves: list[tuple[npt.NDArray[np.generic], ...]] = []
    switches: list[tuple[npt.NDArray[np.generic], ...]] = []
    kinds = clock.kind(np.arange(clock.days + RUN_OFF_DAYS))
    for day in range(clock.days + RUN_OFF_DAYS):
        if len(now.deal):
            now = _one_day(hazards, keys, deals.deep, now, day, int(kinds[day]), moves, switches)
        if day < clock.days:
            now = now.join(rows[edges[day] : edges[day + 1]])
    return _finish(moves, switches, keys["hour"], deals.count)


def _one_day(
    hazards: Hazards, keys: dict[str, Keys], deep: npt.NDArray[np.bool_], now: _Open, day: int,
    kind: int, moves: list[tuple[npt.NDArray[np.generic], ...]],
    switches: list[tuple[npt.NDArray[np.generic], ...]],
) -> _Open:  # fmt: skip
    """Draw the day's events, note them, and return the deals still open."""
    today = np.array([kind])
    discount = (now.quoted & deep[now.deal]).astype(np.int64)
    p = hazards.moves(now.deal, now.stage, hazards.phase(now.age), now.engaged, discount, today)
    luck = fate(keys["move"][now.deal], now.moves, now.age)
    event = (luck >= np.cumsum(p, axis=0)).sum(axis=0)
    flip = fate(keys["switch"][now.deal], now.moves, now.age) < hazards.switches(
        now.deal, now.engaged, today
    )
    moved = event <= LOST
    closed = moved & (event >= WON)
    step = np.append(STEP, 0)[event]
    to_stage = np.where(closed, -1, now.stage + step)
    where = np.flatnonzero(moved)
    moves.append(
        (now.deal[where], np.full(len(where), day), event[where], now.stage[where],
         to_stage[where], now.age[where], now.moves[where])
    )  # fmt: skip
    which = np.flatnonzero(flip)
    engaged = np.where(flip, 1 - now.engaged, now.engaged)
    switches.append(
        (now.deal[which], np.full(len(which), day), engaged[which], now.moves[which],
         now.age[which])
    )  # fmt: skip
    after = replace(
        now,
        stage=to_stage,
        age=np.where(moved, 0, now.age + 1),
        engaged=engaged,
        moves=now.moves + moved,
        quoted=now.quoted | (to_stage >= hazards.quote_stage),
    )
    return after.keep(~closed)


def _finish(
    moves: list[tuple[npt.NDArray[np.generic], ...]],
    switches: list[tuple[npt.NDArray[np.generic], ...]],
    hour_keys: Keys,
    count: int,
) -> Run:
    """Order the notes by deal, give them an hour, and drop switches after the deal closed."""
    deal, day, event, stage, to_stage, age, nth = _gather(moves, 7)
    share = fate(hour_keys[deal], nth, age)
    done = Moves(deal, day, share, event, stage, to_stage, age)
    closed = np.full(count, -1, dtype=np.int64)
    closed_share = np.ones(count)
    ends = to_stage < 0
    closed[deal[ends]], closed_share[deal[ends]] = day[ends], share[ends]
    won = np.zeros(count, dtype=np.bool_)
    won[deal[event == WON]] = True
    deal, day, engaged, nth, age = _gather(switches, 5)
    share = fate(hour_keys[deal] ^ np.uint64(1), nth, age)
    live = (closed[deal] != day) | (share < closed_share[deal])
    return Run(done, Switches(deal[live], day[live], share[live], engaged[live]), closed, won)


def _gather(notes: list[tuple[npt.NDArray[np.generic], ...]], width: int) -> list[Days]:
    columns = [
        np.concatenate([note[k] for note in notes] or [np.zeros(0)]).astype(np.int64)
        for k in range(width)
    ]
    order = np.argsort(columns[0], kind="stable")
    return [column[order] for column in columns]


__all__ = ["ADVANCE", "BACK", "SKIP", "Moves", "Run", "Switches", "simulate", "simulate_some"]
