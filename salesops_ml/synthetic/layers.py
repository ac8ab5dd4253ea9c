"""One layer of a propagation: the open mass of many deals at one quote level, a day at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from salesops_ml.synthetic.clock import Days
from salesops_ml.synthetic.draws import Floats
from salesops_ml.synthetic.hazards import ADVANCE, BACK, LOST, SKIP, WON, Hazards


class _Law(NamedTuple):
    """Probabilities of a kind of day: events (5, S, 3, 2, n); flips (2, n); stay-and-flip."""

    events: Floats
    flips: Floats
    keep: Floats


class Layer:
    """The open mass of a chunk at one quote level: `mass` is (2 engaged, S stages, A ages, n)."""

    def __init__(self, hazards: Hazards, deal: Days, deep: Days, stages: int) -> None:
        self.hazards, self.deal, self.deep, self.stages = hazards, deal, deep, stages
        self.fresh, self.stale = hazards.world.phase_days
        shape = (2, stages, self.stale + 1, len(deal))
        self.mass, self._next = np.zeros(shape), np.zeros(shape)
        self._scratch = np.zeros(shape[1:])
        self._laws: dict[int, _Law] = {}

    def _law(self, kind: int) -> _Law:
        if kind not in self._laws:
            self._laws[kind] = self._computed(kind)
        return self._laws[kind]

    def _computed(self, kind: int) -> _Law:
        deal = self.deal.reshape(1, 1, 1, -1)
        stage = np.arange(self.stages).reshape(-1, 1, 1, 1)
        phase = np.arange(3).reshape(1, -1, 1, 1)
        engaged = np.arange(2).reshape(1, 1, -1, 1)
        today = np.full((1, 1, 1, 1), kind)
        deep = self.deep.reshape(1, 1, 1, -1)
        events = self.hazards.moves(deal, stage, phase, engaged, deep, today)
        flips = self.hazards.switches(self.deal[None], np.arange(2)[:, None], today[0, 0])
        stay = np.moveaxis(1 - events.sum(axis=0), 2, 0)
        change = flips[:, None, None]
        keep = np.stack([stay * (1 - change), stay * change])
        return _Law(events, flips, keep)

    def step(self, kind: int, rows: slice) -> tuple[Floats, Floats, Floats]:
        """Let a day pass for `rows`; arrivals by stage (all, 2, n), and mass won and lost (n,)."""
        law = _Law(*(values[..., rows] for values in self._law(kind)))
        mass = self.mass[..., rows]
        by_phase = np.stack([mass[:, :, ages].sum(axis=2) for ages in self._phases()], axis=2)
        flow = np.einsum("csphn,hspn->cshn", law.events, by_phase)
        self._stay(law.keep, rows)
        closed = flow[[WON, LOST]].sum(axis=(1, 2))
        gone = flow[: BACK + 1]
        turned = gone * (1 - law.flips) + (gone * law.flips)[:, :, ::-1]
        arrivals = np.zeros((self.hazards.stages, *turned.shape[2:]))
        arrivals += _landed(turned[ADVANCE], 1, self.hazards.stages)
        arrivals += _landed(turned[SKIP], 2, self.hazards.stages)
        arrivals += _landed(turned[BACK], -1, self.hazards.stages)
        return arrivals, closed[0], closed[1]

    def _phases(self) -> tuple[slice, slice, slice]:
        return (
            slice(0, self.fresh), slice(self.fresh, self.stale), slice(self.stale, self.stale + 1)
        )  # fmt: skip

    def _stay(self, keep: Floats, rows: slice) -> None:
        """Those who stay grow a day older; the stale stay stale."""
        after, before, scratch = (
            values[..., rows] for values in (self._next, self.mass, self._scratch)
        )
        for phase, ages in enumerate(self._phases()):
            older = ages if phase == 2 else slice(ages.start + 1, ages.stop + 1)
            for engaged in (0, 1):
                stayed, turned = keep[0, engaged], keep[1, 1 - engaged]
                part = np.multiply(
                    before[engaged, :, ages], stayed[:, phase, None], out=scratch[:, ages]
                )
                other = before[1 - engaged, :, ages] * turned[:, phase, None]
                if phase == 2:
                    after[engaged, :, older] += part + other
                else:
                    np.add(part, other, out=after[engaged, :, older])
        self.mass, self._next = self._next, self.mass

    def arrive(self, arrivals: Floats, rows: slice) -> None:
        """Put arrivals (stages, 2, n) at age 0."""
        self.mass[:, :, 0, rows] = np.swapaxes(arrivals[: self.stages], 0, 1)

    def open(self) -> Floats:
        """The open mass of each row."""
        return np.asarray(self.mass.sum(axis=(0, 1, 2)))

    def keep_rows(self, rows: Days) -> None:
        """Go on with some of the rows only."""
        self.deal, self.deep = self.deal[rows], self.deep[rows]
        self.mass = np.ascontiguousarray(self.mass[..., rows])
        self._next = np.zeros_like(self.mass)
        self._scratch = np.zeros(self.mass.shape[1:])
        self._laws.clear()


def _landed(flow: Floats, step: int, stages: int) -> Floats:
    """Flow by stage (S, 2, n), moved `step` stages on."""
    done = np.zeros((stages, *flow.shape[1:]))
    if step > 0:
        room = min(len(flow), stages - step)
        done[step : step + room] = flow[:room]
    else:
        done[: len(flow) + step] = flow[-step:]
    return done
