"""The true state of every deal through time: one row per change, the whole state in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from salesops_ml.synthetic import columns
from salesops_ml.synthetic.clock import Days
from salesops_ml.synthetic.draws import Floats
from salesops_ml.synthetic.facts import Facts

CREATED, MOVED, SWITCHED = range(3)
QUOTES = ("none", "standard", "deep")


@dataclass(frozen=True)
class Paths:
    """States in order of (deal, position); each holds until the deal's next row.

    `stage` numbers as in `Facts.stage_names`; `entered` is the day of entry into the stage;
    `quote` is 0 before the first quote, then 1 or, with a deep discount, 2.
    """

    deal: Days
    position: Floats
    event: Days
    stage: Days
    entered: Days
    engaged: Days
    quote: Days

    @property
    def day(self) -> Days:
        """Day number of each row."""
        return np.floor(self.position).astype(np.int64)


def state_paths(facts: Facts) -> Paths:
    """The paths within the record."""
    moves, switches, count = facts.moves, facts.switches, facts.deals.count
    sizes = (count, len(moves.deal), len(switches.deal))
    deal = np.concatenate([np.arange(count), moves.deal, switches.deal])
    position = np.concatenate(
        [facts.starts, moves.day + moves.share, switches.day + switches.share]
    )
    event = np.repeat([CREATED, MOVED, SWITCHED], sizes)
    order = np.lexsort((event, position, deal))
    zero, unknown = np.zeros(count, dtype=np.int64), np.full(sizes[2], -1)
    stage = np.concatenate([zero, facts.entered, unknown])
    entered = np.concatenate([facts.deals.created, moves.day, unknown])
    engaged = np.concatenate([zero, np.full(sizes[1], -1), switches.engaged])
    offered = 1 + facts.deals.deep[moves.deal]
    quoting = (moves.to_stage >= facts.quote_stage).astype(np.int64)
    quote = np.concatenate([zero, np.where(quoting == 1, offered, -1), unknown])
    filled = [_carried(values[order]) for values in (stage, entered, engaged, quote)]
    return Paths(deal[order], position[order], event[order], *filled)


def _carried(values: Days) -> Days:
    """Each unknown (-1) replaced by the last known before it; a deal's first row is known."""
    known = np.where(values >= 0, np.arange(len(values)), 0)
    return values[np.maximum.accumulate(known)]


def path_table(facts: Facts, paths: Paths) -> pa.Table:
    """The truth's `state_path`."""
    events = ("created", "stage", "engagement")
    return pa.table(
        {
            "deal_id": facts.deal_ids.take(pa.array(paths.deal)),
            "at": columns.times(facts.moments(paths.position)),
            "event": columns.words(events, paths.event),
            "stage": columns.words(facts.stage_names, paths.stage),
            "entered_on": columns.dates(facts.clock.dates(paths.entered)),
            "engaged": pa.array(paths.engaged == 1),
            "quote": columns.words(QUOTES, paths.quote),
        }
    )


def spans(facts: Facts, paths: Paths) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """End of each row's state, and whether the deal is open in it."""
    last = np.append(paths.deal[1:] != paths.deal[:-1], True)
    until = np.where(last, facts.ends[paths.deal], np.append(paths.position[1:], 0.0))
    return until, paths.stage < len(facts.world.stages)
