"""Revenue from deals that do not exist yet: how many will come, how many will win, when, for how much.

Arrivals a month come from the series engine; the lag to winning from `lag_to_win`; each leaf's share
of arrivals, its conversion and its deal size are its own as far as its numbers carry, and the
company's beyond (credibility, Buehlmann 1967). Arrivals are uncertain themselves: counts are
gamma-Poisson around their forecast.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri
from scipy.stats import gamma, norm

from salesops_ml.forecasts.batch import Floats, Ints
from salesops_ml.forecasts.lag_to_win import LagToWin, learn_lag_to_win, promised_wins
from salesops_ml.forecasts.leaf_traits import learn_leaf_traits
from salesops_ml.forecasts.monthly import monthly_series, next_months
from salesops_ml.forecasts.outlook import Outlook
from salesops_ml.forecasts.rhythm import learn_pace

_AMOUNT_HALF_LIFE_DAYS = 270.0
_MONTHS_TOGETHER = 0.5
"""Correlation of arrival surprises between months."""
_LEAST_VARIANCE, _MOST_VARIANCE = 0.0025, 0.25
_ATOMS = 200
_MANY = 100
"""Wins in one cell and sample beyond which their total is drawn as one normal number."""


@dataclass(frozen=True)
class NewDealRates:
    """What was learned about deals to come.

    Attributes:
        arrivals: expected deals created in each month, the part of it that lies ahead; (months,).
        arrival_variance: of a month's arrival surprise, relative; (months,).
        wins: expected wins of one arrival of month i in month j; (months, months).
        amount: mean amount of such a win, company currency; (months, months).
        share, conversion, size: of each leaf: share of arrivals, and conversion and deal size
            relative to the company's; (leaves,).
        leaf_variance: relative variance of what a leaf turns out to bring; (leaves,).
        sizes: equally likely amounts of a won deal, relative to their mean.
        level_variance: relative variance of the level, from how few wins it was counted from.
        win_rate: chance that a new deal is won within the months told.
        rhythm: factor of each month on the rate of winning, the rush at quarter ends; (months,).
    """

    arrivals: Floats
    arrival_variance: Floats
    wins: Floats
    amount: Floats
    share: Floats
    conversion: Floats
    size: Floats
    leaf_variance: Floats
    sizes: Floats
    level_variance: float
    win_rate: float
    rhythm: Floats

    def expected_wins(self) -> Floats:
        """Expected wins, (leaves, months)."""
        by_month = self.arrivals @ self.wins
        return np.outer(self.share * self.conversion, by_month)

    def mean_amounts(self) -> Floats:
        """Mean amount of a win, (leaves, months)."""
        by_month = self.arrivals @ self.wins
        money = self.arrivals @ (self.wins * self.amount)
        return np.outer(self.size, money / np.maximum(by_month, 1e-300))


@dataclass(frozen=True)
class NewRevenue:
    """Revenue from deals to come: exact means, samples, and the company's variance and loading."""

    mean: Floats
    samples: Floats
    variance: Floats
    loading: Floats


def learn_new_deals(
    deals: pd.DataFrame,
    leaves: Ints,
    view: Outlook,
    *,
    leaf_count: int,
    inactive: Ints,
    created: pd.Series[pd.Timestamp],
    since: datetime,
    season: int,
) -> NewDealRates:
    """Learn from all deals as known at `view.as_of`.

    Args:
        deals: created_at, status, closed_at, amount.
        leaves: each deal's leaf number.
        inactive: leaves where nothing new starts.
        created: when each deal of the record was created, those of vanished leaves too.
        since: start of the window that rates are counted in.
        season: months in a season.
    """
    dated = deals["created_at"].notna().to_numpy()
    deals, leaves = deals[dated].reset_index(drop=True), leaves[dated]
    lag = learn_lag_to_win(
        deals, since=since, as_of=view.as_of, days=int(np.ceil(view.ends[-1])) + 2
    )
    is_won, promised = promised_wins(deals, lag, since=since, as_of=view.as_of)
    pace = learn_pace(deals, lag, view, since=since)
    wins, amount = _wins_by_month(lag, view)
    arrivals, variance = _arrivals(created, view, season)
    won = deals[(deals["status"] == "won") & (deals["closed_at"] >= since)]
    amounts = won["amount"].dropna().to_numpy(dtype=np.float64)
    mean = _recent_mean(won, view.as_of)
    traits = learn_leaf_traits(
        deals, leaves, is_won, promised, won, count=leaf_count, inactive=inactive, as_of=view.as_of
    )
    spread = (amounts.std() / amounts.mean()) ** 2 if mean > 0 else 0.0
    return NewDealRates(
        arrivals=arrivals,
        arrival_variance=variance,
        wins=wins * pace.rhythm * pace.level,
        amount=amount * mean,
        share=traits.share,
        conversion=traits.conversion,
        size=traits.size,
        leaf_variance=traits.variance,
        sizes=_atoms(amounts),
        level_variance=float((1.0 + spread) / max(lag.wins, 1)),
        win_rate=float(lag.won[-1]),
        rhythm=pace.rhythm,
    )


def simulate_new_deals(
    rates: NewDealRates, *, factor: Floats, shock: float, rng: np.random.Generator
) -> NewRevenue:
    """Possible futures of the deals to come, (leaves, months, samples).

    Args:
        rates: what was learned.
        factor: the shared factor of each sample, as for the open deals.
        shock: correlation of a deal's fate with the factor.
        rng: source of all other chance.
    """
    wins, amount = rates.expected_wins(), rates.mean_amounts()
    mean = wins * amount
    slope = _slope(rates.win_rate)
    lift = np.exp(shock * slope * factor - (shock * slope) ** 2 / 2)
    level = np.sqrt(np.log1p(rates.level_variance))
    lift = lift * np.exp(level * rng.standard_normal(len(factor)) - level**2 / 2)
    by_month = _arrival_surprise(rates, len(factor), rng) @ rates.wins
    portion = _leaf_portions(rates, len(factor), rng)
    expected = portion[:, None, :] * by_month.T[None] * lift
    samples = _amounts(rng.poisson(expected), amount, rates.sizes, rng)
    square = wins * amount**2 * float((rates.sizes**2).mean())
    variance = square.sum(axis=0) + mean.sum(axis=0) ** 2 * (
        rates.level_variance + rates.arrival_variance
    )
    return NewRevenue(mean, samples, variance, slope * mean.sum(axis=0))


def _wins_by_month(lag: LagToWin, view: Outlook) -> tuple[Floats, Floats]:
    """Wins in month j of one arrival in month i, spread over its days; and their relative amount."""
    days = np.arange(int(np.ceil(view.ends[-1]))) + 0.5
    came_in = np.searchsorted(view.ends, days)
    ages = np.arange(len(lag.won) + 1)
    curve = np.concatenate([[0.0], lag.won])
    money = np.concatenate([[0.0], np.cumsum(np.diff(curve) * lag.amount)])
    months = len(view.ends)
    wins, worth = np.zeros((months, months)), np.zeros((months, months))
    for month in range(months):
        born = days[came_in == month]
        if len(born) == 0:
            continue
        age = np.maximum(view.ends[None, :] - born[:, None], 0.0)
        wins[month] = np.diff(np.interp(age, ages, curve).mean(axis=0), prepend=0.0)
        worth[month] = np.diff(np.interp(age, ages, money).mean(axis=0), prepend=0.0)
    return wins, worth / np.where(wins > 0, wins, 1.0)


def _arrivals(
    created: pd.Series[pd.Timestamp], view: Outlook, season: int
) -> tuple[Floats, Floats]:
    """Deals to be created in each month ahead, and the relative variance of the surprise."""
    past = monthly_series(created, np.ones(len(created)), view)
    mean, spread = next_months(past, len(view.months), season=season)
    relative = (spread / np.maximum(mean, 1e-9)) ** 2 - 1.0 / np.maximum(mean, 1.0)
    ahead = np.ones(len(mean))
    ahead[0] = view.ahead
    return mean * ahead, np.clip(relative, _LEAST_VARIANCE, _MOST_VARIANCE)


def _recent_mean(won: pd.DataFrame, as_of: datetime) -> float:
    """Mean won amount, recent wins counting more; 0 where none is known."""
    known = won[won["amount"].notna()]
    if known.empty:
        return 0.0
    ago = (pd.Timestamp(as_of) - known["closed_at"]).dt.total_seconds() / 86_400.0
    weight = 0.5 ** (ago / _AMOUNT_HALF_LIFE_DAYS)
    return float(np.average(known["amount"], weights=weight))


def _atoms(amounts: Floats) -> Floats:
    if len(amounts) == 0 or amounts.mean() <= 0:
        return np.ones(1)
    middle = (np.arange(_ATOMS) + 0.5) / _ATOMS
    atoms = np.quantile(amounts, middle)
    return np.asarray(atoms / atoms.mean())


def _slope(win_rate: float) -> float:
    """Relative change of the number of wins for one unit of the shared factor."""
    rate = float(np.clip(win_rate, 0.02, 0.98))
    return float(norm.pdf(ndtri(rate)) / rate)


def _arrival_surprise(rates: NewDealRates, samples: int, rng: np.random.Generator) -> Floats:
    """Arrivals by sample and month: the expected ones times gamma surprises of mean 1."""
    months = len(rates.arrivals)
    common = rng.standard_normal((samples, 1)) * np.sqrt(_MONTHS_TOGETHER)
    own = rng.standard_normal((samples, months)) * np.sqrt(1 - _MONTHS_TOGETHER)
    shape = 1.0 / rates.arrival_variance
    surprise = gamma.ppf(ndtr(common + own), shape, scale=1.0 / shape)
    return np.asarray(rates.arrivals * surprise)


def _leaf_portions(rates: NewDealRates, samples: int, rng: np.random.Generator) -> Floats:
    """Wins of each leaf for one of the company, (leaves, samples).

    The money that one leaf gains the others lose: luck among leaves is not the company's.
    """
    expected = rates.share * rates.conversion
    shape = 1.0 / np.maximum(rates.leaf_variance, 1e-6)
    luck = rng.gamma(shape[:, None], 1.0 / shape[:, None], (len(shape), samples))
    worth = expected * rates.size
    money = np.maximum(worth @ luck, 1e-300)
    return np.asarray(expected[:, None] * luck * (worth.sum() / money))


def _amounts(wins: Ints, mean: Floats, sizes: Floats, rng: np.random.Generator) -> Floats:
    """The money of `wins` deals in each cell: drawn one by one, or as a normal sum where many."""
    scale = np.broadcast_to(mean[:, :, None], wins.shape)
    total = np.zeros(wins.shape)
    many = wins > _MANY
    few = np.where(many, 0, wins).ravel()
    cell = np.repeat(np.arange(few.size), few)
    drawn = sizes[rng.integers(len(sizes), size=len(cell))]
    total += np.bincount(cell, weights=drawn, minlength=few.size).reshape(wins.shape)
    count = wins[many].astype(np.float64)
    luck = np.sqrt(count) * sizes.std() * rng.standard_normal(len(count))
    total[many] = np.maximum(count * sizes.mean() + luck, 0.0)
    return np.asarray(total * scale)
