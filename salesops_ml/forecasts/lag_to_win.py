"""How long after its creation a deal is won: the triangle of creation day by lag, censored properly.

The daily rates of winning and losing at each age are counted over the deals at risk at that age
within the window (deals older than the window enter it at the age they had then; open deals leave at
the age they have now). This is the Aalen-Johansen view of the chain-ladder triangle.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from salesops_ml.forecasts.batch import Bools, Floats, Ints

_BINS = 5
_TAIL_DAYS = 60
_LATE_WINS = 20.0
"""Wins of old deals at which the company's late rates have half their weight."""
_BETWEEN_BINS = 0.05
"""Variance of true mean amount between lags, relative to the mean, taken as known."""


@dataclass(frozen=True)
class LagToWin:
    """The fate of a new deal by age in whole days.

    Attributes:
        won: chance of having been won before the end of day a, for a = 0, 1, ... (days,).
        amount: mean amount of deals won on day a, in units of the mean over all wins. (days,).
        hazard: rate of winning on day a for a deal still open; as long as any deal has lived.
        wins: won deals that the rates were counted from.
    """

    won: Floats
    amount: Floats
    hazard: Floats
    wins: int


@dataclass(frozen=True)
class LateRates:
    """How deals end that are older than the deal model looks ahead.

    Attributes:
        win, loss: wins and losses per deal and day at such ages, in the company.
        trust: what these rates count for beside a deal's own, 0..1.
    """

    win: float
    loss: float
    trust: float


def exposure(deals: pd.DataFrame, *, since: datetime, as_of: datetime) -> tuple[Ints, Ints]:
    """Whole days of age at which each deal enters and leaves the window `since` .. `as_of`.

    Every deal must have `created_at`.
    A deal whose exit lies before its entry was never at risk within the window.
    """
    born = deals["created_at"]
    enters = _days(pd.Timestamp(since) - born)
    leaves = _days(deals["closed_at"].fillna(pd.Timestamp(as_of)) - born)
    return np.maximum(enters, 0), leaves


def promised_wins(
    deals: pd.DataFrame, lag: LagToWin, *, since: datetime, as_of: datetime
) -> tuple[Bools, Floats]:
    """Whether each dated deal was won within the window, and the wins that its days there promise."""
    enters, leaves = exposure(deals, since=since, as_of=as_of)
    watched = leaves >= enters
    risk = np.concatenate([[0.0], np.cumsum(lag.hazard)])
    last = len(risk) - 1
    promised = risk[np.clip(leaves, 0, last)] - risk[np.clip(enters, 0, last)]
    won = watched & (deals["status"] == "won").to_numpy()
    return won, np.where(watched, promised, 0.0)


def late_rates(
    deals: pd.DataFrame, *, since: datetime, as_of: datetime, from_age: int
) -> LateRates:
    """Rates at ages of `from_age` days and more, from dated deals as known at `as_of`.

    A deal's own rates and the company's count half each: what sets deals apart today fades while
    they stay open. With few old deals the company's rates count less.
    """
    enters, leaves = exposure(deals, since=since, as_of=as_of)
    days = np.maximum(leaves - np.maximum(enters, from_age), 0).sum()
    old = (leaves >= enters) & (leaves >= from_age)
    status = deals["status"].to_numpy()
    wins, losses = (int((old & (status == ended)).sum()) for ended in ("won", "lost"))
    if days == 0:
        return LateRates(0.0, 0.0, 0.0)
    trust = 0.5 * wins / (wins + _LATE_WINS)
    return LateRates(wins / float(days), losses / float(days), trust)


def _days(spans: pd.Series[pd.Timedelta]) -> Ints:
    """Whole days, rounded down."""
    return np.asarray(np.floor(spans.dt.total_seconds() / 86_400.0), dtype=np.int64)


def learn_lag_to_win(
    deals: pd.DataFrame, *, since: datetime, as_of: datetime, days: int
) -> LagToWin:
    """Learn from dated deals as known at `as_of`: created_at, status, closed_at, amount.

    Beyond the oldest age at risk, the rates of the last 60 ages seen go on.

    Args:
        since: start of the window that rates are counted in.
        days: ages to tell, from 0.
    """
    enters, leaves = exposure(deals, since=since, as_of=as_of)
    seen = leaves >= enters
    enters, leaves, deals = enters[seen], leaves[seen], deals[seen]
    longest = int(max(leaves.max(initial=0) + 1, days))
    status = deals["status"].to_numpy()
    won = np.bincount(leaves[status == "won"], minlength=longest).astype(np.float64)
    lost = np.bincount(leaves[status == "lost"], minlength=longest).astype(np.float64)
    came = np.cumsum(np.bincount(np.minimum(enters, longest - 1), minlength=longest))
    went = np.cumsum(np.bincount(leaves, minlength=longest))
    gone_before = np.concatenate([[0], went[:-1]])
    still_open = np.bincount(leaves[status == "open"], minlength=longest)
    at_risk = np.maximum(came - gone_before - still_open, won + lost)
    win_rate, loss_rate = _rates(won, at_risk), _rates(lost, at_risk)
    survive = np.cumprod(np.clip(1.0 - win_rate - loss_rate, 0.0, 1.0))
    before = np.concatenate([[1.0], survive[:-1]])
    curve = np.cumsum(before * win_rate)
    wins = deals[status == "won"]
    amount = _amount_by_lag(wins, leaves[status == "won"], longest)
    return LagToWin(curve[:days], amount[:days], win_rate, len(wins))


def _rates(events: Floats, at_risk: Floats) -> Floats:
    """Events a day at risk; beyond the oldest age at risk, the mean of the last ages seen."""
    ages = np.flatnonzero(at_risk > 0)
    if len(ages) == 0:
        return np.zeros(len(events))
    last = int(ages[-1]) + 1
    tail = slice(max(0, last - _TAIL_DAYS), last)
    rates = events / np.maximum(at_risk, 1.0)
    rates[last:] = events[tail].sum() / at_risk[tail].sum()
    return rates


def _amount_by_lag(wins: pd.DataFrame, lags: Ints, days: int) -> Floats:
    """Mean amount by lag, relative to the mean, in fifths of the wins, drawn to 1 where few."""
    amounts = wins["amount"].to_numpy(dtype=np.float64)
    known = ~np.isnan(amounts)
    lags, amounts = lags[known], amounts[known]
    mean = amounts.mean() if len(amounts) else 0.0
    if len(amounts) < 2 * _BINS or mean <= 0:
        return np.ones(days)
    edges = np.quantile(lags, np.arange(1, _BINS) / _BINS)
    bins = np.searchsorted(edges, lags, side="right")
    sums = np.bincount(bins, weights=amounts, minlength=_BINS)
    counts = np.bincount(bins, minlength=_BINS)
    credible = max((amounts.std() / mean) ** 2 / _BETWEEN_BINS, 1.0)
    relative = (sums / mean + credible) / (counts + credible)
    relative = relative * counts.sum() / (relative * counts).sum()
    return np.asarray(relative[np.searchsorted(edges, np.arange(days), side="right")])
