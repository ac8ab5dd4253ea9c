"""Between which bounds a quantile of a dwell time lies, deals that still wait counted in.

For the time until any exit the bounds are those days at which a band around Kaplan and Meier's curve
crosses the quantile: Greenwood's variance, the band drawn on the scale of log(-log) (Brookmeyer and
Crowley 1982, Biometrics 38, 29-41). Where deals come by more than once, the variance is widened by
the factor by which siblings make the curve less sure there.

For the time of those who leave by one door the share that has left by the quantile is given an
interval, and its ends are read off the incidence curve (Woodruff 1952, J. Am. Stat. Assoc. 47,
635-646), with the influence of each stay on that share as its error.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from salesops_ml.mining.influence import AtRisk, clustered_error, share_interval, summed
from salesops_ml.mining.steps import Floats, Ints, Mask

Bounds = tuple[Floats, Floats, Floats]
"""Value, lower and upper end, each (groups,)."""

_ROUNDING = 1e-11


def any_exit_quantile(
    stays: AtRisk, days: Floats, case: Ints, probability: float, level: float
) -> Bounds:
    """The Kaplan-Meier quantile of each group with its interval; NaN where the curve never gets there.

    Args:
        stays: the stays, n rows, and `days` (n,) their lengths.
        case: (n,) code of the deal; stays of one deal are siblings.
        probability: such as 0.5 for the median.
        level: such as 0.95.

    Example:
        >>> days = np.arange(1.0, 31.0)
        >>> stays = AtRisk.of(np.zeros(30, int), days, np.ones(30, bool), 1)
        >>> [float(end[0]) for end in any_exit_quantile(stays, days, np.arange(30), 0.5, 0.95)]
        [15.0, 10.0, 21.0]
    """
    log_staying, variance = _curve(stays)
    value = _first_time(stays, log_staying <= np.log1p(-probability) + _ROUNDING)
    widened = variance * _siblings(stays, days, case, value)[stays.owner]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        wide = np.exp(float(norm.ppf((1 + level) / 2)) * np.sqrt(widened) / -log_staying)
        below, above = log_staying * wide, log_staying / wide
    target = np.log1p(-probability) + _ROUNDING
    nobody_left = np.isneginf(log_staying)
    return (
        value,
        _first_time(stays, (below <= target) | nobody_left),
        _first_time(stays, (above <= target) & ~nobody_left),
    )


def one_exit_quantile(
    stays: AtRisk, days: Floats, case: Ints, chosen: Mask, probability: float, level: float
) -> Bounds:
    """The same for those who leave by the chosen door: the quantile of its incidence, given that exit.

    The upper end is NaN where so few have left that none may lie above the quantile, and the lower
    end 0 where none may lie below.

    Args:
        stays, days, case, probability, level: see `any_exit_quantile`.
        chosen: (n,) whether the stay ended by that door.
    """
    chosen = chosen & stays.exited
    weight = np.where(chosen, stays.weight, 0.0)
    total = summed(stays.group, weight, stays.groups)
    count = summed(stays.group, chosen, stays.groups)
    value = _reached(stays, days, weight, np.full(stays.groups, probability))
    early = days <= np.nan_to_num(value)[stays.group] + _ROUNDING
    _, influence = stays.sums(np.where(chosen, early - probability, 0.0))
    error = clustered_error(influence, stays.group, case, stays.groups)
    error = error / np.where(total > 0, total, np.nan)
    share = np.full(stays.groups, probability)
    low, high = share_interval(share, np.nan_to_num(error), count, level)
    size = np.where(error > 0, share * (1 - share) / np.where(error > 0, error, 1) ** 2, count)
    size, tail = np.minimum(size, count), (1 - level) / 2
    lower = np.where((1 - probability) ** size > tail, 0.0, _reached(stays, days, weight, low))
    upper = np.where(probability**size > tail, np.nan, _reached(stays, days, weight, high))
    known = ~np.isnan(value)
    return value, np.where(known, lower, np.nan), np.where(known, upper, np.nan)


def _curve(stays: AtRisk) -> tuple[Floats, Floats]:
    """(b,) log of the share that stays after each block, and Greenwood's variance of that log."""
    staying = stays.count - stays.exits
    everyone = staying <= 0
    step = np.where(everyone, 0.0, np.log(np.where(everyone, 1.0, staying / stays.count)))
    noise = np.where(everyone, 0.0, stays.exits / (stays.count * np.where(everyone, 1.0, staying)))
    gone = np.where(everyone, -np.inf, 0.0)
    return stays.running(step) + gone, stays.running(noise)


def _siblings(stays: AtRisk, days: Floats, case: Ints, value: Floats) -> Floats:
    """(groups,) variance with the deals' stays taken together over that with each alone; at least 1."""
    last = np.full(stays.groups, -np.inf)
    np.maximum.at(last, stays.group, days)
    moment = np.where(np.isnan(value), last, value)
    _, influence = stays.sums((days <= moment[stays.group]).astype(np.float64))
    together = clustered_error(influence, stays.group, case, stays.groups)
    alone = summed(stays.group, influence**2, stays.groups)
    return np.asarray(
        np.maximum(np.where(alone > 0, together**2, 1.0) / np.where(alone > 0, alone, 1), 1.0)
    )


def _first_time(stays: AtRisk, crossed: Mask) -> Floats:
    """(groups,) time of the first block that has crossed; NaN where none has."""
    found = np.full(stays.groups, np.nan)
    rows = np.flatnonzero(crossed)[::-1]
    found[stays.owner[rows]] = stays.time[rows]  # the first of a group is written last
    return found


def _reached(stays: AtRisk, days: Floats, weight: Floats, share: Floats) -> Floats:
    """(groups,) the smallest days by which `share` (groups,) of a group's weight has come."""
    added = summed(stays.block, weight, len(stays.owner))
    total = summed(stays.owner, added, stays.groups)
    enough = stays.running(added) >= (share * total)[stays.owner] - _ROUNDING
    return _first_time(stays, enough & (added > 0))
