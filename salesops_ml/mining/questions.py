"""What is asked of the deals: how fast they leave a stage forward, and whether they are won after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from salesops_ml.mining.clock import Clock
from salesops_ml.mining.steps import ENDED, Floats, Ints, Mask, Steps
from salesops_ml.mining.visits import Stays, endings_after

SLOW, LOST = "slow", "lost"
WHOLE = "whole deal"
EXAMPLES = 5
FEWEST_ENDINGS = 40
"""Good ends, and for the outcome bad ends too, below which nothing is asked."""


@dataclass(frozen=True)
class Question:
    """One outcome of one group of deals, n rows.

    Attributes:
        outcome: `slow`: time until leaving a stage forward; `lost`: whether won after it.
        stage: the stage, or `WHOLE`: all stages alike for `slow`, from the first event on for `lost`.
        row: (n,) event of the log at which the deal began to be looked at.
        case: (n,) code of the deal.
        days: (n,) time until the end, or so far.
        good: (n,) it ended well: moved on, or won.
        ended: (n,) it ended at all; else it is censored.
        stratum: (n,) code of the stage that it was in; paces are compared within one stage alone.
    """

    outcome: str
    stage: str
    row: Ints
    case: Ints
    days: Floats
    good: Mask
    ended: Mask
    stratum: Ints

    def taken(self, rows: Mask) -> Question:
        """The same of some of the rows."""
        kept = {
            name: getattr(self, name)[rows]
            for name in ("row", "case", "days", "good", "ended", "stratum")
        }
        return replace(self, **kept)


def questions(steps: Steps, stays: Stays, clock: Clock) -> Iterator[Question]:
    """Every question that the log has enough ends for, in the order of the stages' codes."""
    present = np.unique(stays.visits.stage)
    asked = [_pace(steps, stays, stays.visits.stage == stage) for stage in present]
    if len(present) > 1:
        asked.append(_pace(steps, stays, np.ones(len(stays.lost), dtype=bool)))
    if len(steps.outcome) and not (steps.outcome == ENDED).any():
        first = np.flatnonzero(steps.first)
        asked.append(_winning(WHOLE, steps, first, clock))
        for stage in present:
            here = np.flatnonzero(stays.visits.stage == stage)
            kept = here[np.unique(stays.visits.case[here], return_index=True)[1]]
            row = stays.visits.row[kept]
            if not np.array_equal(row, first):  # where all begin there, it is the same question
                asked.append(_winning(steps.activities[int(stage)], steps, row, clock))
    for question in asked:
        bad = (question.ended & ~question.good).sum()
        enough = question.good.sum() >= FEWEST_ENDINGS
        if enough and (question.outcome == SLOW or bad >= FEWEST_ENDINGS):
            yield question


def _pace(steps: Steps, stays: Stays, rows: Mask) -> Question:
    visits = stays.visits
    stage = visits.stage[rows]
    name = steps.activities[int(stage[0])] if len(np.unique(stage)) == 1 else WHOLE
    return Question(
        SLOW, name, visits.row[rows], visits.case[rows], visits.days[rows],
        (stays.onward | stays.won)[rows], visits.exited[rows], stage,
    )  # fmt: skip


def _winning(stage: str, steps: Steps, row: Ints, clock: Clock) -> Question:
    case = steps.case[row]
    after = endings_after(steps, case, steps.at[row], clock)
    return Question(LOST, stage, row, case, after.days, after.won, after.known, np.zeros_like(case))


def examples(steps: Steps, question: Question, inside: Mask) -> list[str]:
    """Ids of some of the deals `inside`: slow: those still there, longest first, then the slowest;
    lost: those lost last."""
    bad = inside if question.outcome == SLOW else inside & question.ended & ~question.good
    chosen = np.flatnonzero(bad)
    case, ended = question.case[chosen], question.ended[chosen]
    late = question.days[chosen] if question.outcome == SLOW else steps.closed[case]
    order = np.lexsort((case, -late, ended))
    return [str(steps.case_ids[one]) for one in dict.fromkeys(case[order].tolist())][:EXAMPLES]
