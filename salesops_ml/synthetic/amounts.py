"""Money: exchange rates day by day, and how a deal's amount changes when it is quoted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from salesops_ml.synthetic import columns
from salesops_ml.synthetic.clock import Clock, Days
from salesops_ml.synthetic.demand import Deals
from salesops_ml.synthetic.draws import Floats, stream
from salesops_ml.synthetic.parameters import WorldParameters
from salesops_ml.synthetic.simulation import Moves

_LEVELS = {"EUR": 1.0, "USD": 0.92, "GBP": 1.17, "CHF": 1.05, "JPY": 0.006, "RUB": 0.0105}


@dataclass(frozen=True)
class Rates:
    """Company currency for one unit, (currencies, days); `of_region` gives a region's currency."""

    currencies: tuple[str, ...]
    daily: Floats
    of_region: Days


def exchange(world: WorldParameters, clock: Clock) -> Rates:
    """Rates that wander around their level; the company's own is 1."""
    rng = stream(world.seed, "rates")
    names = sorted({world.base_currency, *(region.currency for region in world.regions)})
    rows = []
    for name in names:
        level = _LEVELS.get(name, 1.0) / _LEVELS.get(world.base_currency, 1.0)
        steps = rng.normal(0.0, 0.004, clock.days)
        log = np.zeros(clock.days)
        for day in range(1, clock.days):
            log[day] = 0.995 * log[day - 1] + steps[day]
        own = np.ones(clock.days) if name == world.base_currency else level * np.exp(log)
        rows.append(np.round(own, 6))
    of_region = np.array([names.index(region.currency) for region in world.regions])
    return Rates(tuple(names), np.array(rows), of_region)


def rates_table(clock: Clock, rates: Rates) -> pa.Table:
    """The canonical `exchange_rates`."""
    count = len(rates.currencies)
    day = np.tile(np.arange(clock.days), count)
    return pa.table(
        {
            "currency": columns.words(rates.currencies, np.repeat(np.arange(count), clock.days)),
            "day": columns.dates(clock.dates(day)),
            "rate": pa.array(rates.daily.ravel()),
        }
    )


@dataclass(frozen=True)
class AmountPath:
    """Amounts in order of (deal, position): the first, the quoted, the renegotiated one."""

    deal: Days
    position: Floats
    amount: Floats
    base: Floats

    def last(self, count: int) -> tuple[Floats, Floats]:
        """Each deal's last amount, in its own and in the company's currency."""
        amount, base = np.zeros(count), np.zeros(count)
        amount[self.deal], base[self.deal] = self.amount, self.base
        return amount, base

    def at(self, deal: Days, position: Floats) -> tuple[Floats, Floats]:
        """The amount that stood at each (deal, position), own and company currency."""
        key = self.deal * 8192.0 + self.position
        row = np.searchsorted(key, deal * 8192.0 + position, "right") - 1
        return self.amount[row], self.base[row]


def amount_path(
    world: WorldParameters, deals: Deals, moves: Moves, rates: Rates, quote_stage: int
) -> AmountPath:
    """Every amount that each deal ever had, by its moves within the record."""
    currency = rates.of_region[deals.region]
    started = deals.amount / rates.daily[currency, deals.created]
    first = np.maximum(np.round(started, -1), 10.0)
    quoted = np.round(first * deals.rescope * (1 - deals.discount), 0)
    final = np.round(quoted * deals.later, 0)
    quote_at, later_at = _quote_moments(deals.count, moves, quote_stage)
    start = deals.created + deals.created_share
    every = np.arange(deals.count)
    has_quote = np.flatnonzero(np.isfinite(quote_at) & (quoted != first))
    has_later = np.flatnonzero(np.isfinite(later_at) & (final != quoted))
    deal = np.concatenate([every, has_quote, has_later])
    position = np.concatenate([start, quote_at[has_quote], later_at[has_later]])
    amount = np.concatenate([first, quoted[has_quote], final[has_later]])
    order = np.lexsort((position, deal))
    deal, position, amount = deal[order], position[order], amount[order]
    day = np.floor(position).astype(np.int64)
    base = np.round(amount * rates.daily[currency[deal], day], 2)
    return AmountPath(deal, position, amount, base)


def _quote_moments(count: int, moves: Moves, quote_stage: int) -> tuple[Floats, Floats]:
    """Position of the first entry into the quote stage or beyond, and of the next move up."""
    position = moves.day + moves.share
    quoted, later = np.full(count, np.inf), np.full(count, np.inf)
    rows = np.flatnonzero(moves.to_stage >= quote_stage)[::-1]
    quoted[moves.deal[rows]] = position[rows]
    up = np.flatnonzero((moves.to_stage > moves.stage) & (position > quoted[moves.deal]))[::-1]
    later[moves.deal[up]] = position[up]
    return quoted, later
