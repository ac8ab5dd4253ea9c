"""Effects: how much faster or slower, and how much likelier to be won, deals are with some property,
all else being equal.

Two regressions, both with open deals censored. Of the time in a stage: the proportional hazards of
leaving it forward (`pace.fit_pace`). Of the outcome: least squares on won = 1, lost = 0, each known
outcome weighing one over the chance of being known by then (Kaplan-Meier of the censoring; Robins and
Rotnitzky 1992), so that a coefficient is the difference of win rates. Each row's influence on each
coefficient is kept: with it the errors can be told by deal and by rep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from salesops_ml.mining.dwell import exit_weights
from salesops_ml.mining.pace import fit_pace, level_influence
from salesops_ml.mining.questions import Question
from salesops_ml.mining.steps import Floats, Ints, Mask
from salesops_ml.mining.visits import NOWHERE, Stays, Visits

_HOLD = 1.0
"""Pseudo-observations that hold a level's win rate to the mean: enough to tell levels from it."""


@dataclass(frozen=True)
class Effects:
    """A fitted regression.

    Attributes:
        level: (p,) coefficient of each column.
        influence: (n, p) what each row adds to it.
        fitted: (n,) what the columns say of each row, with what was known before.
    """

    level: Floats
    influence: Floats
    fitted: Floats


def pace_effects(question: Question, columns: Floats, known: Floats) -> Effects:
    """Log-paces of the columns (n, p), each stage with its own usual pace; `known` (n,) is given."""
    stays = _stays(question)
    fit = fit_pace(stays, columns, None, [], known=known)
    return Effects(fit.level, level_influence(fit, stays), fit.kind)


def usual_exits(question: Question) -> Floats:
    """(n,) exits forward that each row should have had by its end, at the usual pace of its stage."""
    return fit_pace(_stays(question), np.zeros((len(question.row), 0)), None, []).onward


def _stays(question: Question) -> Stays:
    nothing = np.zeros(len(question.days), dtype=bool)
    nowhere = np.full(len(question.days), NOWHERE)
    visits = Visits(
        question.row, question.case, question.stratum, nowhere, question.days, question.ended
    )
    return Stays(visits, question.good, nothing, nothing, question.ended & ~question.good)


def win_effects(question: Question, columns: Floats, known: Floats) -> Effects:
    """Differences of the win rate, in shares, by the columns (n, p); shares `known` (n,) are given."""
    weight = outcome_weights(question.days, question.ended)
    won = question.good
    wide = np.hstack([columns, np.ones((len(won), 1))])
    hold = np.append(np.full(columns.shape[1], _HOLD), 0.0)
    inverse = np.linalg.pinv((wide * weight[:, None]).T @ wide + np.diag(hold), hermitian=True)
    level = inverse @ (wide.T @ (weight * (won - known)))
    beyond = weight * (won - known - wide @ level)
    influence = (wide * beyond[:, None]) @ inverse
    width = columns.shape[1]
    return Effects(level[:width], influence[:, :width], known + wide @ level)


def outcome_weights(days: Floats, ended: Mask) -> Floats:
    """(n,) how many deals each known outcome stands for; 0 where none is known yet."""
    everyone: Ints = np.zeros(len(days), dtype=np.int64)
    return exit_weights(everyone, days, ended, 1) * len(days)


def extra_days(days: Floats, forward: Mask, ended: Mask, log_paces: Sequence[float]) -> Floats:
    """(m,) days by which a stay is longer on average than at the usual pace, for each own log-pace.

    The area between two survival curves up to the longest stay: as seen, and with the rate of moving
    on divided by the pace, all other exits as they are.

    Example:
        >>> stay, yes = np.array([1.0, 2.0, 3.0]), np.ones(3, dtype=bool)
        >>> extra_days(stay, yes, yes, [0.0, np.log(0.5)]).round(2).tolist()
        [0.0, 0.44]
    """
    if not len(days):
        return np.full(len(log_paces), np.nan)
    order = np.lexsort((~ended, days))
    at_risk = np.arange(len(days), 0, -1.0)
    on, off = forward[order] / at_risk, (ended & ~forward)[order] / at_risk
    gap = np.diff(days[order], prepend=0.0)
    areas = []
    for log_pace in (0.0, *log_paces):
        leaving = 1 - (1 - on) ** np.exp(-log_pace) + off
        staying = np.cumprod(np.clip(1 - leaving, 0, 1))
        areas.append(float(gap @ np.concatenate([[1.0], staying[:-1]])))
    return areas[0] - np.array(areas[1:])
