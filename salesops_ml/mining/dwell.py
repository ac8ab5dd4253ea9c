"""How long deals stay, told honestly: deals still there count as "at least so long".

Two estimators, both from one number per visit. A visit that ended at t weighs S(t-) / n(t): the
chance of staying until just before t, shared among those still there. Summed over all exits up to t
the weights give 1 - S(t), the Kaplan-Meier estimate of having left; summed over the exits by one
door they give the Aalen-Johansen estimate of having left by that door. Visits that still go on have
weight 0 and count in n(t) as long as they were seen. At equal times, exits come before censorings.

Kaplan and Meier (1958), J. Am. Stat. Assoc. 53, 457-481; Aalen and Johansen (1978), Scand. J. Stat.
5, 141-150.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from salesops_ml.mining.codes import stable_order

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_ROUNDING = 1e-11


def exit_weights(group: Ints, duration: Floats, exited: Mask, groups: int) -> Floats:
    """(n,) weight of each visit, S(t-) / n(t) in its group; 0 where it still goes on.

    Args:
        group: (n,) code of what is waited in (a stage), 0 .. groups - 1.
        duration: (n,) time there, until the exit or until last seen.
        exited: (n,) whether it ended.
        groups: how many groups there are.

    Example:
        >>> exit_weights(np.zeros(3, int), np.array([1.0, 2.0, 3.0]), np.array([True, False, True]), 1)
        array([0.33333333, 0.        , 0.66666667])
    """
    if exited.all():  # nobody still waits: every exit counts alike
        return 1.0 / np.bincount(group, minlength=groups)[group]
    order = _by_group(group, duration, groups)
    code, time, left = group[order], duration[order], exited[order]
    size = np.bincount(code, minlength=groups)
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    new_time = np.ones(len(order), dtype=bool)
    new_time[1:] = (code[1:] != code[:-1]) | (time[1:] != time[:-1])
    block = np.cumsum(new_time) - 1
    opening = np.flatnonzero(new_time)
    at_risk = (size[code[opening]] - (opening - start[code[opening]])).astype(np.float64)
    exits = np.bincount(block, weights=left, minlength=len(opening)).astype(np.float64)
    staying = _staying(code[opening], at_risk, exits)
    weights = np.empty(len(order))
    weights[order] = np.where(left, (staying / at_risk)[block], 0.0)
    return weights


def _by_group(group: Ints, duration: Floats, groups: int) -> Ints:
    """The order by group, then duration."""
    by_time = np.argsort(duration)
    return np.asarray(by_time[stable_order(group[by_time], groups)])


def _staying(group: Ints, at_risk: Floats, exits: Floats) -> Floats:
    """S(t-) at each distinct time of each group: the product of the shares that stayed before."""
    everyone = exits >= at_risk  # then nobody is left, and the group has no later time
    steps = np.log1p(-np.where(everyone, 0.0, exits) / at_risk)
    before = np.cumsum(steps) - steps
    first = np.ones(len(group), dtype=bool)
    first[1:] = group[1:] != group[:-1]
    offset = before[first][np.cumsum(first) - 1]
    return np.asarray(np.exp(before - offset))


def weighted_quantiles(
    key: Ints,
    duration: Floats,
    weight: Floats,
    keys: int,
    probabilities: Sequence[float],
    *,
    of_all: bool,
) -> Floats:
    """(keys, p) smallest duration at which a key's summed weight reaches each probability.

    With `of_all` the probabilities are shares of everyone (Kaplan-Meier: NaN where fewer ever left);
    else shares of those who leave by this door (the incidence, given that exit).

    Example:
        >>> weight = np.array([0.25, 0.25, 0.25])
        >>> times, key = np.array([1.0, 2.0, 4.0]), np.zeros(3, int)
        >>> weighted_quantiles(key, times, weight, 1, (0.5, 0.9), of_all=True).tolist()
        [[2.0, nan]]
        >>> weighted_quantiles(key, times, weight, 1, (0.5, 0.9), of_all=False).tolist()
        [[2.0, 4.0]]
    """
    used = np.flatnonzero(weight > 0)
    used = used[_by_group(key[used], duration[used], keys)]
    code, time, share = key[used], duration[used], weight[used]
    size = np.bincount(code, minlength=keys)
    end = np.cumsum(size)
    start = end - size
    total = np.bincount(code, weights=share, minlength=keys)
    reached = np.cumsum(share)
    below = np.concatenate([[0.0], reached])[start]
    done = np.full((keys, len(probabilities)), np.nan)
    for column, probability in enumerate(probabilities):
        target = probability * (1.0 if of_all else total)
        found = np.searchsorted(reached, below + target - _ROUNDING)
        found = np.maximum(found, start)
        inside = (size > 0) & (found < end)
        done[inside, column] = time[found[inside]]
    return done


def stage_quantiles(
    group: Ints, duration: Floats, exited: Mask, groups: int, probabilities: Sequence[float]
) -> Floats:
    """(groups, p) Kaplan-Meier quantiles of the time until any exit; NaN where never reached.

    Example:
        >>> left = np.array([True, True, False])
        >>> stage_quantiles(np.zeros(3, int), np.array([2.0, 5.0, 9.0]), left, 1, (0.5,)).tolist()
        [[5.0]]
    """
    weight = exit_weights(group, duration, exited, groups)
    return weighted_quantiles(group, duration, weight, groups, probabilities, of_all=True)


def stage_means(group: Ints, duration: Floats, exited: Mask, groups: int) -> Floats:
    """(groups,) mean time until any exit, restricted to the longest time seen; NaN where unseen.

    It is the area under the Kaplan-Meier curve up to the longest visit of the group.
    """
    weight = exit_weights(group, duration, exited, groups)
    longest = np.full(groups, -np.inf)
    np.maximum.at(longest, group, duration)
    gone = np.bincount(group, weights=weight, minlength=groups)
    area = np.bincount(group, weights=weight * duration, minlength=groups)
    staying = np.where(gone < 1 - _ROUNDING, 1 - gone, 0.0)
    rest = staying * np.where(np.isinf(longest), 0.0, longest)
    return np.where(np.isinf(longest), np.nan, area + rest)


def share_at_end(group: Ints, duration: Floats, exited: Mask, chosen: Mask, groups: int) -> Floats:
    """(groups,) share of those who leave that does so by the chosen door, those still there censored.

    The Aalen-Johansen incidence of that door at the longest time seen, over that of all doors; NaN
    where nobody has left.

    Example:
        >>> won = np.array([True, False, False])
        >>> closed = np.array([True, True, False])  # the third deal is still open
        >>> share_at_end(np.zeros(3, int), np.array([2.0, 5.0, 3.0]), closed, won, 1).round(3).tolist()
        [0.333]
    """
    weight = exit_weights(group, duration, exited, groups)
    share = np.bincount(group, weights=np.where(chosen, weight, 0.0), minlength=groups)
    everyone = np.bincount(group, weights=weight, minlength=groups)
    return np.asarray(share / np.where(everyone > 0, everyone, np.nan))
