"""When each deal first came to each stage, and whether it came again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salesops_ml.mining.steps import NEVER, Ints, Mask, Steps


@dataclass(frozen=True)
class FirstVisits:
    """One row per pair of a stage and a deal that was ever in it, by stage, then deal.

    Attributes:
        stage, case: (n,) codes.
        row: (n,) row in `Steps` of the first visit.
        second: (n,) row of the second visit; -1 where the deal never came again.
        visits: (n,) how often it came.
    """

    stage: Ints
    case: Ints
    row: Ints
    second: Ints
    visits: Ints

    @property
    def again(self) -> Mask:
        """(n,) whether the deal came more than once."""
        return np.asarray(self.second >= 0)

    def only(self, kept: Mask) -> FirstVisits:
        """The rows where `kept` (n,)."""
        return FirstVisits(*(getattr(self, name)[kept] for name in self.__dataclass_fields__))


def first_visits(steps: Steps) -> FirstVisits:
    """The first visits of a log.

    Example:
        >>> import pandas as pd
        >>> from salesops_ml.mining.steps import as_steps
        >>> log = pd.DataFrame({"case:concept:name": ["a", "a", "a"],
        ...     "concept:name": ["Lead", "Offer", "Lead"],
        ...     "time:timestamp": pd.to_datetime(["2026-01-01", "2026-01-05", "2026-01-09"])})
        >>> found = first_visits(as_steps(log))
        >>> found.row.tolist(), found.second.tolist(), found.visits.tolist()
        ([0, 1], [2, -1], [2, 1])
    """
    order = np.argsort(steps.activity, kind="stable")
    stage, case = steps.activity[order], steps.case[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (stage[1:] != stage[:-1]) | (case[1:] != case[:-1])
    start = np.flatnonzero(new)
    visits = np.diff(np.append(start, len(order)))
    second = np.where(visits > 1, order[np.minimum(start + 1, max(len(order) - 1, 0))], -1)
    return FirstVisits(stage[start], case[start], order[start], second, visits)


def last_seen(steps: Steps, case: Ints) -> Ints:
    """(n,) when each deal of `case` (n,) was closed, or `as_of` while it is open."""
    closed = steps.closed[case]
    return np.where(closed == NEVER, steps.as_of, closed)
