"""The laws of the world: how often, on a given day, a deal moves, closes, or its buyer goes silent.

Each day a deal in a stage may advance, skip, go back, be won or be lost - competing risks in
discrete time, in multinomial-logit form (Tutz and Schmid, Modeling Discrete Time-to-Event Data,
2016): with daily rates r_k, event k has probability r_k / (1 + sum of r). A rate is the stage's base
rate times factors for the buyer's engagement, the time in stage, the kind of day, the quoted
discount, a planted bottleneck, and the deal itself. On the same day, and independently given the
state in the morning, the buyer may engage or fall silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from salesops_ml.synthetic.demand import Deals
from salesops_ml.synthetic.draws import Floats
from salesops_ml.synthetic.parameters import Bottleneck, Option, WorldParameters, segment_names
from salesops_ml.synthetic.people import Reps

Numbers = npt.NDArray[np.int64]

ADVANCE, SKIP, BACK, WON, LOST = range(5)
CAUSES = ("advance", "skip", "back", "won", "lost")
FRESH, RIPE, STALE = range(3)

_ENGAGED = np.array([[-0.75, 0.75], [-0.75, 0.75], [0.1, -0.1], [-0.9, 0.9], [0.65, -0.85]])
"""Log-effect of (silent, engaged) on the rate of each cause."""
_PUSH = np.array([[0.0, -0.15, 0.25], [0.0, -0.15, 0.25], [0.0, 0.0, 0.0], [0.0, -0.35, 0.60],
                  [0.0, -0.10, 0.25]])  # fmt: skip
"""Log-effect of (usual, start of quarter, push) on the rate of each cause."""
_LATENT_SIGN = {"progress": 1, "back": -1, "won": 1, "lost": -1, "engage": 1, "silence": -1}


@dataclass(frozen=True)
class DealLaws:
    """What the hazards need to know of each deal: log-effects, and which segments it belongs to.

    Arrays are (deals,); `segments` is (planted bottlenecks, deals).
    """

    progress: Floats
    back: Floats
    won: Floats
    lost: Floats
    engage: Floats
    silence: Floats
    p_deep: Floats
    segments: npt.NDArray[np.bool_]

    def take(self, rows: Numbers) -> DealLaws:
        """The laws of some of the deals."""
        columns = {name: getattr(self, name)[rows] for name in (*_LATENT_SIGN, "p_deep")}
        return DealLaws(**columns, segments=self.segments[:, rows])

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The laws as columns, named `lp_*`, `p_deep` and `segment_<k>`."""
        done: dict[str, npt.NDArray[Any]] = {f"lp_{n}": getattr(self, n) for n in _LATENT_SIGN}
        done["p_deep"] = self.p_deep
        return done | {f"segment_{k}": rows for k, rows in enumerate(self.segments)}

    @classmethod
    def from_table(cls, table: pa.Table, planted: int) -> DealLaws:
        """The laws as kept in the truth's `deals` table."""
        plain = {name: table[f"lp_{name}"].to_numpy() for name in _LATENT_SIGN}
        segments = [table[f"segment_{k}"].to_numpy() for k in range(planted)]
        stacked = np.array(segments, dtype=np.bool_).reshape(planted, table.num_rows)
        return cls(**plain, p_deep=table["p_deep"].to_numpy(), segments=stacked)


def deal_laws(world: WorldParameters, deals: Deals, reps: Reps) -> DealLaws:
    """The log-effects of each deal's looks, the hidden share of them replaced by its quality."""
    visible = _visible_effects(world, deals, reps)
    hidden = world.latent_share
    mixed = {}
    for name, values in visible.items():
        mean, spread = values.mean(), values.std()
        own = mean + np.sqrt(1 - hidden) * (values - mean)
        mixed[name] = own + np.sqrt(hidden) * spread * _LATENT_SIGN[name] * deals.quality
    segments = [_in_segment(world, deals, bottleneck) for bottleneck in world.planted]
    stacked = np.array(segments, dtype=np.bool_).reshape(len(world.planted), deals.count)
    return DealLaws(**mixed, p_deep=deals.p_deep, segments=stacked)


def _visible_effects(world: WorldParameters, deals: Deals, reps: Reps) -> dict[str, Floats]:
    skill = world.rep_skill * reps.skill[deals.rep]
    ramp = world.ramp_effect * (deals.ramp - 1)
    load = -world.load_effect * (deals.load - 0.5)
    size = world.size_effect * deals.size
    amount = world.amount_effect * deals.amount_z * deals.amount_known
    rep = skill + ramp + load
    progress = _category_effects(world, deals, "progress") + rep - 0.5 * size - 0.5 * amount
    won = _category_effects(world, deals, "won") + rep - 0.5 * size - amount
    lost = _category_effects(world, deals, "lost") - rep - size + 0.5 * amount
    effects = {
        "progress": progress,
        "back": -0.5 * rep + 0.5 * size,
        "won": won,
        "lost": lost,
        "engage": 0.6 * rep + 0.5 * progress,
        "silence": -0.6 * rep + 0.3 * lost,
    }
    return {name: world.signal * values for name, values in effects.items()}


def _category_effects(world: WorldParameters, deals: Deals, name: str) -> Floats:
    total = np.zeros(deals.count)
    groups: tuple[tuple[tuple[Option, ...], Numbers], ...] = (
        (world.products, deals.product),
        (world.lead_sources, deals.source),
        (world.deal_types, deals.deal_type),
        (world.industries, deals.industry),
        (world.regions, deals.region),
    )
    for options, chosen in groups:
        total += np.array([getattr(option, name) for option in options])[chosen]
    return total


def _in_segment(
    world: WorldParameters, deals: Deals, bottleneck: Bottleneck
) -> npt.NDArray[np.bool_]:
    """Which deals the bottleneck can hit; for `discount` all, once their quote is deep."""
    chosen = {
        "product": deals.product,
        "region": deals.region,
        "industry": deals.industry,
        "lead_source": deals.source,
        "deal_type": deals.deal_type,
    }
    if bottleneck.cause == "discount":
        return np.ones(deals.count, dtype=np.bool_)
    number = segment_names(world, bottleneck.cause).index(bottleneck.value)
    return np.asarray(chosen[bottleneck.cause] == number)


class Hazards:
    """Daily probabilities, from stage, time in stage, engagement, quote, kind of day and deal.

    All arguments of the two probability functions have the same number of axes, so that the same
    code serves the simulation (one state a deal) and the truth (all states of a deal).
    """

    def __init__(self, world: WorldParameters, laws: DealLaws) -> None:
        self.world = world
        self.laws = laws
        self.stages = len(world.stages)
        self.quote_stage = [stage.name for stage in world.stages].index(world.quote_stage)
        self.base = self._base_rates()
        self.own = np.exp(np.stack([laws.progress, laws.progress, laws.back, laws.won, laws.lost]))
        self.flips = np.array([[world.engage], [world.silence]]) * np.exp(
            np.stack([laws.engage, laws.silence])
        )
        weekend = np.repeat([1.0, world.weekend], 3)
        self.calendar = np.exp(world.quarter_push * np.tile(_PUSH, 2)) * weekend
        self.weekend = weekend
        deep = np.zeros((5, 2))
        deep[WON, 1], deep[LOST, 1] = world.deep_won, world.deep_lost
        self.deep = np.exp(deep)

    def _base_rates(self) -> Floats:
        """Rates by (cause, stage, phase, engaged) of an average deal on a usual working day."""
        world = self.world
        plain = np.array([[getattr(stage, name) for stage in world.stages] for name in CAUSES])
        plain = plain * world.pace
        plain[LOST] *= world.loss
        phase = np.zeros((5, 3))
        phase[[ADVANCE, SKIP, WON]] = world.phase_progress
        phase[LOST] = world.phase_lost
        engaged = world.engagement_effect * _ENGAGED
        factor: Floats = np.exp(phase[:, None, :, None] + engaged[:, None, None, :])
        return plain[:, :, None, None] * factor

    def phase(self, age: Numbers) -> Numbers:
        """Fresh, ripe or stale, from whole days in the stage before today."""
        fresh, stale = self.world.phase_days
        return (age >= fresh).astype(np.int64) + (age >= stale)

    def moves(
        self, deal: Numbers, stage: Numbers, phase: Numbers, engaged: Numbers, deep: Numbers,
        kind: Numbers,
    ) -> Floats:  # fmt: skip
        """Probabilities of the five events today, shape (5, *broadcast)."""
        rates = self.base[:, stage, phase, engaged] * self.own[:, deal]
        rates = rates * self.deep[:, deep] * self.calendar[:, kind]
        slowed = self.slowdown(deal, stage, deep)
        if slowed is not None:
            rates[[ADVANCE, SKIP, WON]] *= slowed
        probabilities: Floats = rates / (1 + rates.sum(axis=0))
        return probabilities

    def slowdown(self, deal: Numbers, stage: Numbers, deep: Numbers) -> Floats | None:
        """Factor on the rates of progress from the planted bottlenecks; None without any."""
        if not self.world.planted:
            return None
        names = [entry.name for entry in self.world.stages]
        factor: Floats | None = None
        for k, bottleneck in enumerate(self.world.planted):
            hit = (stage == names.index(bottleneck.stage)) & self.laws.segments[k][deal]
            if bottleneck.cause == "discount":
                hit = hit & (deep == 1)
            own = np.where(hit, bottleneck.slowdown, 1.0)
            factor = own if factor is None else factor * own
        return factor

    def switches(self, deal: Numbers, engaged: Numbers, kind: Numbers) -> Floats:
        """Probability that the buyer's engagement flips today."""
        rate = self.flips[engaged, deal] * self.weekend[kind]
        flips: Floats = rate / (1 + rate)
        return flips
