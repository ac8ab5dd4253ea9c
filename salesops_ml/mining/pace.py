"""The pace at which deals move on: who is slow where, given what kind of deal it is.

Cause-specific proportional hazards (Cox 1972; Prentice et al. 1978). In stage s, after u days there,
a deal of kind x moves on at the rate h_s(u) exp(x b) and is won at the rate g_s(u) exp(x (b + c)):
kinds may be fast or slow everywhere (b), and better or worse at winning than at moving on (c, kept
small by a penalty). A bottleneck is what that leaves over: one kind of deal that is slow in one
stage, more than it is in the others. Deals that are still there are censored; going back and being
lost are other causes and censor too.

`PaceFit.expected` is what each stay should have given at the usual pace, so observed over expected
exits is the pace of any group, and the score test of a group needs no fit of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from salesops_ml.mining.clusters import Clusters
from salesops_ml.mining.steps import Floats, Ints, Mask
from salesops_ml.mining.visits import Stays

LEVEL_SD = 1.0
"""Prior standard deviation of a kind's log-pace: loose, it only keeps levels apart from the mean."""
WIN_SD = 0.25
"""Prior standard deviation of how much a kind's winning differs from its moving on."""
_ROUNDS = 15
_ROUGHLY, _CLOSELY = 0.05, 1e-3
_LONGEST_STEP = 1.0
_CHUNK = 16


@dataclass(frozen=True)
class PaceFit:
    """A fitted pace model.

    Attributes:
        level: (p,) log-pace of each column of the mix.
        slow: (k,) log-pace of each group given to `fit_pace`, below 0 where slow.
        slow_se: (k,) its standard error, deals being independent.
        slow_influence: (n, k) what each stay adds to the estimate.
        kind: (n,) log-pace of each stay's kind of deal and rep, its group left out.
        onward, won: (n,) expected exits of each stay by either door.
        columns: (n, q) what the model knows of each stay; stage indicators last.
        inverse: inverse of the information of the parameters.
        spread: (2q, parameters) which parameters act on moving on and on winning.
    """

    level: Floats
    slow: Floats
    slow_se: Floats
    slow_influence: Floats
    kind: Floats
    onward: Floats
    won: Floats
    columns: Floats
    inverse: Floats
    spread: Floats

    @property
    def expected(self) -> Floats:
        """(n,) expected exits of each stay, by either door."""
        return self.onward + self.won


def fit_pace(
    stays: Stays,
    mix: Floats,
    rep: Ints | None,
    groups: Sequence[Mask],
    *,
    known: Floats | None = None,
) -> PaceFit:
    """Fit the model with a pace of its own for each of `groups`.

    Args:
        stays: the stays, n rows.
        mix: (n, p) what kind of deal each is.
        rep: (n,) code of the rep; a rep's own pace is shrunk towards 1 by what others show.
        groups: (n,) masks of stays that may be slow for a reason of their own.
        known: (n,) log-pace that is taken as given; without it all start alike.
    """
    stage = stays.visits.stage
    present = np.unique(stage)
    slow = np.array(groups, dtype=np.float64).reshape(len(groups), len(stage)).T
    columns = np.hstack([mix, slow, (stage[:, None] == present).astype(np.float64)])
    spread, penalty = _parameters(mix.shape[1], len(groups), len(present))
    offset = np.zeros(len(stage)) if known is None else known
    theta = np.zeros(spread.shape[1])
    if rep is not None:
        theta, onward, won, _ = _newton(stays, columns, spread, penalty, theta, offset, _ROUGHLY)
        offset = offset + _rep_pace(rep, stays, onward + won)
    theta, onward, won, inverse = _newton(stays, columns, spread, penalty, theta, offset, _CLOSELY)
    own = slice(mix.shape[1], mix.shape[1] + len(groups))
    influence = _influence(stays, columns, spread, inverse[own], onward, won)
    return PaceFit(
        theta[: mix.shape[1]],
        theta[own],
        np.sqrt(np.diag(inverse)[own]),
        influence,
        mix @ theta[: mix.shape[1]] + offset,
        onward,
        won,
        columns,
        inverse,
        spread,
    )


def prospects(fit: PaceFit, stays: Stays, mix: Floats, rep: Ints | None) -> Floats:
    """(n,) how good each stay's prospects are by its kind: log-pace of moving on less that of losing.

    The pace of the groups in `fit` is left out, so that prospects do not depend on the bottleneck.
    """
    nowhere = np.zeros(len(stays.lost), dtype=bool)
    losing = replace(stays, onward=stays.lost, won=nowhere)
    return np.asarray(fit.kind - fit_pace(losing, mix, rep, []).kind)


def level_influence(fit: PaceFit, stays: Stays) -> Floats:
    """(n, p) what each stay adds to the log-pace of each column of the mix."""
    rows = fit.inverse[: len(fit.level)]
    return _influence(stays, fit.columns, fit.spread, rows, fit.onward, fit.won)


def score_groups(
    fit: PaceFit, stays: Stays, stage: int, groups: Sequence[Mask], rep: Ints | None = None
) -> tuple[Floats, Floats, Floats]:
    """One-step log-pace of each group within one stage, its standard error, and that if independent.

    Rao's efficient score: the group's exits beyond expectation, over the information that is left
    about it once the model's own parameters are allowed to move. The first error is the larger of two:
    that of independent stays, and that in which the stays of one deal, and of one rep, go together.
    """
    rows = np.flatnonzero(stays.visits.stage == stage)
    member = np.array([group[rows] for group in groups], dtype=np.float64)
    observed = (stays.onward | stays.won)[rows]
    beyond = member @ (observed - fit.expected[rows])
    known = member @ fit.expected[rows]
    columns = fit.columns[rows]
    cross = np.hstack([
        (member * fit.onward[rows]) @ columns,
        (member * fit.won[rows]) @ columns,
    ]) @ fit.spread  # fmt: skip
    left = known - np.einsum("ij,jk,ik->i", cross, fit.inverse, cross)
    left = np.where(left > 0.02 * known, left, np.nan)
    together = np.full(len(groups), np.nan)
    clusters = Clusters.of(stays.visits.case, rep)
    for start in range(0, len(groups), _CHUNK):
        part = slice(start, start + _CHUNK)
        influence = _score_influence(
            fit, stays, rows, member[part].T, cross[part] @ fit.inverse, beyond[part] / left[part]
        )
        together[part] = clusters.error(influence)
    alone = 1 / np.sqrt(left)
    return beyond / left, np.fmax(alone, together / left), alone


def _score_influence(
    fit: PaceFit, stays: Stays, rows: Ints, member: Floats, cross: Floats, log_pace: Floats
) -> Floats:
    """(n, k) what each stay adds to the scores of k groups, at the paces that these turn out to have.

    At the paces of the fit, the effect itself would pass for a difference between reps: all of its
    reps have fewer exits than expected.

    Args:
        rows: (m,) the stays of the stage; member: (m, k) which of them belong to each group.
        cross: (k, parameters) how the model's own parameters move with each group.
        log_pace: (k,) the one-step paces.
    """
    width, weights = fit.columns.shape[1], cross @ fit.spread.T
    done = np.zeros((len(fit.columns), len(cross)))
    doors = (
        (weights[:, :width], stays.onward, fit.onward),
        (weights[:, width:], stays.won, fit.won),
    )
    for weight, seen, expected in doors:
        own = -(fit.columns @ weight.T)
        own[rows] += member
        done += own * (seen[:, None] - expected[:, None] * (1 + log_pace * own))
    return done


def _parameters(mix: int, groups: int, stages: int) -> tuple[Floats, Floats]:
    """Which parameter acts where, and how much each is held back.

    Parameters: pace of the kinds, pace of the groups, how the kinds differ at winning, and the
    levels of the stages for moving on and for winning.
    """
    width = mix + groups + stages
    spread = np.zeros((2 * width, mix + groups + mix + 2 * stages))
    shared = np.arange(mix + groups)
    spread[shared, shared] = spread[width + shared, shared] = 1
    differ = mix + groups + np.arange(mix)
    spread[width + np.arange(mix), differ] = 1
    level = mix + groups + np.arange(stages)
    spread[level, 2 * mix + groups + np.arange(stages)] = 1
    spread[width + level, 2 * mix + groups + stages + np.arange(stages)] = 1
    penalty = np.full(spread.shape[1], 1e-6)
    penalty[:mix] = 1 / LEVEL_SD**2
    penalty[differ] = 1 / WIN_SD**2
    return spread, penalty


def _newton(
    stays: Stays, columns: Floats, spread: Floats, penalty: Floats, theta: Floats, offset: Floats,
    tolerance: float,
) -> tuple[Floats, Floats, Floats, Floats]:  # fmt: skip
    """Newton's method with the baseline of each stage profiled out (Breslow)."""
    width = columns.shape[1]
    inverse: Floats = np.zeros((len(theta), len(theta)))
    onward, won = offset, offset
    for _ in range(_ROUNDS):
        by_door = spread @ theta
        onward = _expected(stays, stays.onward, columns @ by_door[:width] + offset)
        won = _expected(stays, stays.won, columns @ by_door[width:] + offset)
        slope = np.concatenate([
            columns.T @ (stays.onward - onward), columns.T @ (stays.won - won)
        ])  # fmt: skip
        information = spread.T @ _both(columns, onward, won) @ spread + np.diag(penalty)
        inverse = np.asarray(np.linalg.pinv(information, hermitian=True), dtype=np.float64)
        step = inverse @ (spread.T @ slope - penalty * theta)
        theta = theta + np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
        if np.abs(step).max(initial=0.0) < tolerance:
            break
    return theta, onward, won, inverse


def _both(columns: Floats, onward: Floats, won: Floats) -> Floats:
    """Information about the coefficients of both doors, (2q, 2q)."""
    width = columns.shape[1]
    done = np.zeros((2 * width, 2 * width))
    for turn, expected in enumerate((onward, won)):
        block = slice(turn * width, (turn + 1) * width)
        rows = np.flatnonzero(expected > 0)
        scaled = columns[rows] * np.sqrt(expected[rows])[:, None]
        done[block, block] = scaled.T @ scaled
    return done


def _expected(stays: Stays, event: Mask, log_pace: Floats) -> Floats:
    """(n,) expected exits by one door: the stage's cumulative hazard at the stay's end, times pace.

    Breslow's estimate (1974): at each moment of the stage's clock, exits over the pace at risk.
    """
    stage, days = stays.visits.stage, stays.visits.days
    order = np.lexsort((days, stage))
    code, time = stage[order], days[order]
    pace = np.exp(log_pace)[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (code[1:] != code[:-1]) | (time[1:] != time[:-1])
    opening = np.flatnonzero(new)
    first = np.searchsorted(code, code[opening])
    last = np.searchsorted(code, code[opening], side="right") - 1
    summed = np.concatenate([[0.0], np.cumsum(pace)])
    at_risk = summed[last + 1] - summed[opening]
    exits = np.add.reduceat(event[order].astype(np.float64), opening)
    hazard = np.cumsum(exits / at_risk)
    before = np.concatenate([[0.0], hazard])[np.searchsorted(opening, first)]
    block = np.cumsum(new) - 1
    done = np.empty(len(order))
    done[order] = (hazard - before)[block] * pace
    return done


def _rep_pace(rep: Ints, stays: Stays, expected: Floats) -> Floats:
    """(n,) log of each rep's own pace, shrunk by empirical Bayes (a gamma-Poisson model)."""
    code = rep + 1
    observed = np.bincount(code, weights=stays.onward | stays.won)
    usual = np.bincount(code, weights=expected)
    variance = ((observed - usual) ** 2 - usual).sum() / max((usual**2).sum(), 1e-9)
    weight = 1 / max(variance, 1e-4)
    pace = np.log((observed + weight) / (usual + weight))
    return np.asarray(np.where(rep >= 0, pace[code], 0.0))


def _influence(
    stays: Stays, columns: Floats, spread: Floats, rows: Floats, onward: Floats, won: Floats
) -> Floats:
    """(n, k) what each stay adds to the estimates whose rows of the inverse are given."""
    width = columns.shape[1]
    weights = rows @ spread.T
    return np.asarray(
        (columns @ weights[:, :width].T) * (stays.onward - onward)[:, None]
        + (columns @ weights[:, width:].T) * (stays.won - won)[:, None]
    )
