"""One world as numbers: who, what and when, before it is written into tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from salesops_ml.synthetic import columns
from salesops_ml.synthetic.clock import Clock, Days, Moments
from salesops_ml.synthetic.demand import Accounts, Deals
from salesops_ml.synthetic.draws import Floats
from salesops_ml.synthetic.hazards import WON, DealLaws
from salesops_ml.synthetic.parameters import WorldParameters
from salesops_ml.synthetic.people import Reps
from salesops_ml.synthetic.simulation import Moves, Run, Switches


@dataclass(frozen=True)
class Facts:
    """A simulated world, cut at the end of the record by `moves`, `switches`, `closed`, `won`."""

    world: WorldParameters
    clock: Clock
    reps: Reps
    accounts: Accounts
    deals: Deals
    laws: DealLaws
    run: Run

    @cached_property
    def moves(self) -> Moves:
        """The stage moves within the record."""
        rows = self.run.moves.day < self.clock.days
        return Moves(*(getattr(self.run.moves, name)[rows] for name in Moves.__dataclass_fields__))

    @cached_property
    def switches(self) -> Switches:
        """The engagement switches within the record."""
        rows = self.run.switches.day < self.clock.days
        kept = (getattr(self.run.switches, name)[rows] for name in Switches.__dataclass_fields__)
        return Switches(*kept)

    @cached_property
    def closed(self) -> npt.NDArray[np.bool_]:
        """Deals closed within the record."""
        return np.asarray((self.run.closed >= 0) & (self.run.closed < self.clock.days))

    @cached_property
    def won(self) -> npt.NDArray[np.bool_]:
        """Deals won within the record."""
        return self.closed & self.run.won

    @cached_property
    def created_at(self) -> Moments:
        """When each deal was created."""
        return self.moments(self.starts)

    @cached_property
    def starts(self) -> Floats:
        """Day number plus share of the business hours at creation: the deal's position in time."""
        return self.deals.created + self.deals.created_share

    @cached_property
    def ends(self) -> Floats:
        """Position of the close, or of the end of the record for open deals."""
        done = np.full(self.deals.count, float(self.clock.days))
        final = self.moves.to_stage < 0
        done[self.moves.deal[final]] = (self.moves.day + self.moves.share)[final]
        return done

    @cached_property
    def closed_at(self) -> Moments:
        """When each deal closed; the end of the record for open deals."""
        return self.moments(self.ends)

    def moments(self, position: Floats) -> Moments:
        """Moments of positions (day number plus share)."""
        day = np.floor(position)
        return self.clock.moments(day, position - day)

    @cached_property
    def deal_ids(self) -> pa.Array:
        """Ids of the deals."""
        return columns.ids("D", self.deals.count, width=6)

    @cached_property
    def rep_ids(self) -> pa.Array:
        """Ids of the reps."""
        return columns.ids("rep", self.reps.count, width=3)

    @cached_property
    def account_ids(self) -> pa.Array:
        """Ids of the accounts."""
        return columns.ids("A", len(self.accounts.region), width=5)

    @cached_property
    def stage_names(self) -> list[str]:
        """Open stages in order, then Won and Lost."""
        return [*(stage.name for stage in self.world.stages), "Won", "Lost"]

    @cached_property
    def entered(self) -> Days:
        """Number of the stage that each move of the record leads into, in `stage_names`."""
        last = len(self.world.stages)
        final = np.where(self.moves.event == WON, last, last + 1)
        return np.where(self.moves.to_stage >= 0, self.moves.to_stage, final)

    def first_entry(self, stage: int) -> Floats:
        """Position at which each deal first stood in `stage` or beyond; infinite for never."""
        done = np.full(self.deals.count, np.inf)
        rows = np.flatnonzero(self.moves.to_stage >= stage)[::-1]
        done[self.moves.deal[rows]] = (self.moves.day + self.moves.share)[rows]
        return done

    @cached_property
    def quote_stage(self) -> int:
        """Number of the stage in which the quote is sent."""
        return [stage.name for stage in self.world.stages].index(self.world.quote_stage)
