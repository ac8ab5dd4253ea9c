"""Who owns a deal when: the rep who opened it, until a handover or until that rep leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salesops_ml.synthetic.clock import Days
from salesops_ml.synthetic.draws import Floats, stream
from salesops_ml.synthetic.facts import Facts
from salesops_ml.synthetic.people import Reps

_BIG = 8192.0


@dataclass(frozen=True)
class Owners:
    """The first owner of each deal, and the changes in order of (deal, position)."""

    first: Days
    deal: Days
    position: Floats
    rep: Days

    def at(self, deal: Days, position: Floats) -> Days:
        """The owner at each (deal, position); a change counts from its own moment on."""
        if not len(self.deal):
            return self.first[deal]
        last = (
            np.searchsorted(self.deal * _BIG + self.position, deal * _BIG + position, "right") - 1
        )
        changed = (last >= 0) & (self.deal[last] == deal)
        return np.where(changed, self.rep[last], self.first[deal])


def hand_over(facts: Facts) -> Owners:
    """Move some deals by decision, and the open deals of those who leave by need."""
    rng = stream(facts.world.seed, "owners")
    changes = [_rebalanced(facts, rng)]
    owner = facts.deals.rep.copy()
    owner[changes[0][0]] = changes[0][2]
    rows = np.arange(facts.deals.count)
    since = facts.starts.copy()
    since[changes[0][0]] = changes[0][1]
    while len(rows):
        left = facts.reps.left[owner[rows]]
        rows = rows[(left > since[rows]) & (left < facts.ends[rows])]
        changes.append(_orphans(facts, rng, rows, owner))
        owner[changes[-1][0]] = changes[-1][2]
        since[changes[-1][0]] = changes[-1][1]
        rows = changes[-1][0]
    deal, position, rep = (np.concatenate([change[k] for change in changes]) for k in range(3))
    order = np.lexsort((position, deal))
    return Owners(
        facts.deals.rep, deal[order].astype(np.int64), position[order], rep[order].astype(np.int64)
    )


def _rebalanced(facts: Facts, rng: np.random.Generator) -> tuple[Days, Floats, Days]:
    """Deals given to a colleague of the region at a random moment of their life."""
    count = facts.deals.count
    position = facts.starts + rng.random(count) * (facts.ends - facts.starts)
    colleague = _draw_colleague(facts.reps, facts.deals.region, rng.random(count))
    day = np.floor(position)
    works = (facts.reps.hired[colleague] <= day) & (facts.reps.left[colleague] > day)
    stays = facts.reps.left[facts.deals.rep] > day
    chosen = (rng.random(count) < facts.world.rebalanced) & works & stays
    rows = np.flatnonzero(chosen & (colleague != facts.deals.rep) & (day > facts.deals.created))
    return rows, position[rows], colleague[rows]


def _draw_colleague(reps: Reps, region: Days, luck: Floats) -> Days:
    """Any rep who ever worked in the region."""
    order = np.argsort(reps.region, kind="stable")
    edges = np.searchsorted(reps.region[order], np.arange(int(reps.region.max()) + 2))
    region = np.minimum(region, len(edges) - 2)
    size = np.maximum(edges[region + 1] - edges[region], 1)
    place = edges[region] + np.floor(luck * size).astype(np.int64)
    return np.asarray(order[np.minimum(place, len(order) - 1)])


def _orphans(
    facts: Facts, rng: np.random.Generator, rows: Days, owner: Days
) -> tuple[Days, Floats, Days]:
    """New owners, from the morning on which their rep has left."""
    reps = facts.reps
    taken: list[tuple[Days, Floats, Days]] = [(rows[:0], np.zeros(0), rows[:0])]
    for leaver in np.unique(owner[rows]):
        mine = rows[owner[rows] == leaver]
        day = int(reps.left[leaver])
        works = np.flatnonzero((reps.hired <= day) & (reps.left > day))
        near = works[reps.region[works] == reps.region[leaver]]
        heirs = near if len(near) else works
        if len(heirs):
            taken.append((mine, np.full(len(mine), float(day)), rng.choice(heirs, len(mine))))
    deal, position, rep = (np.concatenate([part[k] for part in taken]) for k in range(3))
    return deal, position, rep
