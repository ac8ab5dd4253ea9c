"""The cost of a delay: what would have been won by now if a slow kind of deal had moved at the pace
of comparable deals.

While a deal waits, the daily chance of losing it goes on; and what is won later than today is not
won yet. Both are read off the curves of the slow deals themselves, on a clock of `BINS` ticks: how
often they move on, go back or are lost after u days in the stage, and how often those that moved on
(or back) have been won r days later. A deal that entered H days ago is won by now with chance

    P(H) = sum over u <= H of  f_on(u) W_on(H - u) + f_back(u) W_back(H - u).

Without the delay the rate of moving on is higher by 1 / pace, and all else is the same. The gain,
summed over the deals with their amounts and spread over the months of the record, is the cost.
Amounts weigh the curves, so that large deals that are lost more often count as what they are.

The deals that a faster stage would save are not average: they are those with poor prospects, which
would often be lost later on. So the sum is taken within layers of deals with alike prospects.

Assumed: within a layer, moving on and being lost do not cause each other day by day; what comes
after the stage depends on when it was left, not on how long it took; the delay did not change who
came. Deals that come back to the stage are counted at each visit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from salesops_ml.mining.slow_kinds import SlowKind
from salesops_ml.mining.steps import LOST, OPEN, WON, Floats, Ints, Mask, Steps
from salesops_ml.mining.visits import Stays
from salesops_ml.mining.worth import worth_if_won

BINS = 1024
DAYS_A_MONTH = 365.25 / 12
INTERVAL = (0.05, 0.95)
MOST_LAYERS = 8
_STAYS_A_LAYER = 100
_FASTEST = 50.0
_DAY = 86_400_000_000


@dataclass(frozen=True)
class DelayCost:
    """What one slow kind costs, a month.

    Attributes:
        amount: won amount a month that the delay costs; company currency.
        low, high: its 90 % bootstrap interval, deals being drawn as a whole.
        wins: won deals a month that it costs.
        delay_days: days that a stay is longer by, on average.
    """

    amount: float
    low: float
    high: float
    wins: float
    delay_days: float


@dataclass(frozen=True)
class _Ticks:
    """The slow stays on the clock of ticks.

    Attributes:
        case: (m,) deal of each stay; stay, after, since: (m,) ticks spent there, from leaving to
            the outcome or today, and from entering to today.
        door: (m,) how it ended: 0 on, 1 back, 2 lost, 3 still there.
        fate: (m,) outcome of the deal.
        layer: (m,) layer of deals with alike prospects.
        days: length of a tick; months: length of the record.
    """

    case: Ints
    stay: Ints
    after: Ints
    since: Ints
    door: Ints
    fate: Ints
    layer: Ints
    days: float
    months: float


def delay_cost(
    steps: Steps,
    stays: Stays,
    slow: SlowKind,
    outlook: Floats,
    *,
    bootstrap: int,
    seed: int,
    at_entry: Floats | None = None,
) -> DelayCost:
    """The cost of one slow kind, with its interval.

    Args:
        steps: the log. stays: its stays, as `slow` was found in.
        slow: the kind, its stays and its pace.
        outlook: (n,) prospects of each stay, from `prospects`.
        bootstrap: how many times the deals are drawn anew; each draw has its own pace (from the
            influence of each deal on it, and from how much kinds differ by nature) and curves, and
            the luck of the single deals that would have been won.
        seed: of the draws.
        at_entry: (n,) amounts as known at the entry of each stay, see `worth_if_won`.
    """
    ticks = _ticks(steps, stays, slow.rows, outlook)
    amount = worth_if_won(steps, stays, slow.rows, at_entry)
    deals = np.bincount(stays.visits.case, weights=slow.influence, minlength=len(amount))
    own = np.sqrt((deals**2).sum())
    nature = np.sqrt(max(slow.error**2 - own**2, 0.0))
    ones = np.ones(len(amount))
    cost, _ = _gain(ticks, amount, slow.log_pace)
    wins, delay = _gain(ticks, ones, slow.log_pace)
    luck = np.sqrt(max(_gain(ticks, amount, slow.log_pace, power=2)[0], 0.0) / ticks.months)
    draws = []
    for child in np.random.SeedSequence([seed, slow.stage]).spawn(bootstrap):
        rng = np.random.default_rng(child)
        weight = rng.poisson(1.0, len(amount)).astype(np.float64)
        pace = slow.log_pace + deals @ (weight - 1) + nature * rng.standard_normal()
        gain, _ = _gain(ticks, amount * weight, min(pace, 0.0))
        draws.append(gain + luck * rng.standard_normal())
    low, high = np.quantile(draws, INTERVAL)
    return DelayCost(cost, float(low), float(high), wins, delay)


def gain_at_target(
    steps: Steps,
    stays: Stays,
    rows: Mask,
    outlook: Floats,
    target_days: float,
    at_entry: Floats | None = None,
) -> float:
    """Won amount a month more if half of the stays `rows` of a stage ended within `target_days`.

    The rate of moving on is raised by one factor until they do; 0 where they do already, NaN where
    there is no target, no outcome or no amount.

    Args:
        steps: the log. stays: its stays.
        rows: (n,) the stays of the stage.
        outlook: (n,) prospects of each stay, from `prospects`.
        target_days: in the days in which the stays are told.
        at_entry: (n,) amounts as known at the entry of each stay, see `worth_if_won`.
    """
    known = (
        np.isfinite(target_days) and rows.any() and (steps.outcome[stays.visits.case] == WON).any()
    )
    if not known or np.isnan(steps.amount).all():
        return float("nan")
    factor = _speed_up(stays, rows, target_days)
    amount = worth_if_won(steps, stays, rows, at_entry)
    if factor == 1:
        return 0.0
    gain, _ = _gain(_ticks(steps, stays, rows, outlook), amount, -np.log(factor))
    return gain


def _speed_up(stays: Stays, rows: Mask, target_days: float) -> float:
    """Factor on the rate of moving on that brings the median of the stays down to the target."""
    days = np.sort(stays.visits.days[rows])
    by_then = rows & (stays.visits.days <= target_days)
    at_risk = len(days) - np.searchsorted(days, stays.visits.days[by_then])
    on = (stays.onward | stays.won)[by_then]
    moving, others = (on / at_risk).sum(), (~on & stays.visits.exited[by_then]) @ (1 / at_risk)
    if moving <= 0:
        return 1.0
    return float(np.clip((np.log(2) - others) / moving, 1.0, _FASTEST))


def _ticks(steps: Steps, stays: Stays, rows: Mask, outlook: Floats) -> _Ticks:
    visits, chosen = stays.visits, np.flatnonzero(rows)
    span = max(steps.as_of - int(steps.at.min()), _DAY)
    tick = span / BINS
    case, entered = visits.case[chosen], steps.at[visits.row[chosen]]
    left = steps.left[visits.row[chosen]]
    left = np.where(visits.exited[chosen], left, steps.as_of)
    end = np.where(steps.outcome[case] == OPEN, steps.as_of, steps.closed[case])
    door = np.select(
        [(stays.onward | stays.won)[chosen], stays.back[chosen], stays.lost[chosen]],
        [0, 1, 2],
        default=3,
    )

    def ticked(duration: Ints) -> Ints:
        return np.asarray(np.clip(duration // tick, 0, BINS - 1), dtype=np.int64)

    return _Ticks(
        case,
        ticked(left - entered),
        ticked(end - left),
        ticked(steps.as_of - entered),
        door,
        steps.outcome[case],
        _layers(outlook[chosen]),
        tick / _DAY,
        span / _DAY / DAYS_A_MONTH,
    )


def _layers(outlook: Floats) -> Ints:
    """(m,) layer of each stay: equal shares of the stays, by prospects."""
    count = int(np.clip(len(outlook) // _STAYS_A_LAYER, 1, MOST_LAYERS))
    cuts = np.quantile(outlook, np.arange(1, count) / count)
    return np.asarray(np.searchsorted(cuts, outlook, side="right"), dtype=np.int64)


def _gain(ticks: _Ticks, weight: Floats, log_pace: float, *, power: int = 1) -> tuple[float, float]:
    """Weight (to a power) won a month more, and mean days of stay less, at the pace of others."""
    own = weight[ticks.case]
    rates, won = _rates(ticks, own), _won_after(ticks, own)
    faster = rates.copy()
    faster[:, 0] = 1 - (1 - rates[:, 0]) ** np.exp(-log_pace)
    others = (1 - faster[:, 0]) / np.where(rates[:, 0] < 1, 1 - rates[:, 0], np.inf)
    faster[:, 1:] *= others[:, None]
    staying, leaving = _staying(rates), _staying(faster)
    moved = leaving[:, None] * faster[:, :2] - staying[:, None] * rates[:, :2]
    entered = np.bincount(
        ticks.layer * BINS + ticks.since, weights=own**power, minlength=len(rates) * BINS
    ).reshape(len(rates), BINS)
    gain = float((entered * _convolved(moved, won).sum(axis=1)).sum()) / ticks.months
    share = entered.sum(axis=1) / max(entered.sum(), 1e-12)
    return gain, float(share @ (staying - leaving).sum(axis=1)) * ticks.days


def _rates(ticks: _Ticks, own: Floats) -> Floats:
    """(layers, 3, BINS) chance, tick by tick, of moving on, back or being lost, given still there."""
    layers = int(ticks.layer.max()) + 1
    where = (ticks.layer * 4 + ticks.door) * BINS + ticks.stay
    exits = np.bincount(where, weights=own, minlength=layers * 4 * BINS).reshape(layers, 4, BINS)
    at_risk = _still(exits) - exits[:, 3] / 2
    at_risk = np.where(at_risk > 0, at_risk, np.inf)
    return np.asarray(np.clip(exits[:, :3] / at_risk[:, None], 0, 1))


def _won_after(ticks: _Ticks, own: Floats) -> Floats:
    """(layers, 2, BINS) share won by r ticks after leaving on or back (Aalen-Johansen)."""
    layers = int(ticks.layer.max()) + 1
    left = np.flatnonzero(ticks.door < 2)
    door = ticks.layer[left] * 2 + ticks.door[left]
    where = (door * 3 + ticks.fate[left]) * BINS + ticks.after[left]
    ends = np.bincount(where, weights=own[left], minlength=layers * 6 * BINS)
    ends = ends.reshape(layers * 2, 3, BINS)
    at_risk = _still(ends)
    at_risk = np.where(at_risk > 0, at_risk, np.inf)
    staying = _staying(ends[:, [WON, LOST]] / at_risk[:, None])
    won = np.cumsum(staying * ends[:, WON] / at_risk, axis=1)
    return np.asarray(won.reshape(layers, 2, BINS))


def _still(counts: npt.NDArray[Any]) -> Floats:
    """(groups, BINS) weight that is there at the start of each tick; counts (groups, ends, BINS)."""
    return np.asarray(counts.sum(axis=1)[:, ::-1].cumsum(axis=1)[:, ::-1])


def _staying(rates: Floats) -> Floats:
    """(groups, BINS) chance of being there at the start of each tick; rates (groups, doors, BINS)."""
    stay = np.cumprod(np.clip(1 - rates.sum(axis=1), 0, 1), axis=1)
    return np.concatenate([np.ones((len(stay), 1)), stay[:, :-1]], axis=1)


def _convolved(first: Floats, second: Floats) -> Floats:
    """Sums over u of first(u) second(H - u), along the last axis."""
    wide = 2 * BINS
    product = np.fft.rfft(first, wide) * np.fft.rfft(second, wide)
    return np.asarray(np.fft.irfft(product, wide)[..., :BINS])
