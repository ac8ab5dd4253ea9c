"""Steps of a log whose cases are all over: nothing is censored, so every exit weighs alike.

The general estimators weigh each exit by the share still there. Where nobody is there any more, the
incidence given an exit is the plain distribution of those who took it, and a quantile is one of
their times. It is found by putting each edge's times together and partitioning them, not sorting;
the log is gone through in blocks of whole cases, so that memory stays near that of the log itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from salesops_ml.mining.codes import stable_order
from salesops_ml.mining.steps import ENDED, Floats, Ints, Steps

_BLOCK = 1 << 16
_SHORT = 1 << 16
_ROWS_AN_EDGE = 64
_ROUNDING = 1e-12
_DAY = 86_400_000_000


@dataclass(frozen=True)
class EndedEdges:
    """Each step from activity to activity, and who took it how fast.

    Attributes:
        source, target: (k,) codes of the activities, sorted.
        count: (k,) how often; `cases`: by how many cases.
        mean_days: (k,) mean calendar days in the source.
        quantile_days: (k, p) quantiles of them.
        amount: (k,) sum over the cases whose amount is known; NaN where none is.
    """

    source: Ints
    target: Ints
    count: Ints
    cases: Ints
    mean_days: Floats
    quantile_days: Floats
    amount: Floats


def all_ended(steps: Steps) -> bool:
    """Whether every case is just over, as in a log that knows no outcomes."""
    return bool((steps.outcome == ENDED).all())


def ended_edges(steps: Steps, probabilities: Sequence[float]) -> EndedEdges:
    """The steps of a log in which `all_ended`, in calendar days.

    Example:
        >>> import pandas as pd
        >>> from salesops_ml.mining.steps import as_steps
        >>> log = pd.DataFrame({"case:concept:name": ["a", "a", "b", "b"],
        ...     "concept:name": ["Lead", "Offer", "Lead", "Offer"],
        ...     "time:timestamp": pd.to_datetime(["2026-01-01", "2026-01-03"] * 2)})
        >>> found = ended_edges(as_steps(log), (0.5,))
        >>> found.count.tolist(), found.cases.tolist(), found.quantile_days.tolist()
        ([2], [2], [[2.0]])
    """
    pairs, count = _present(steps)
    edges = len(count)
    times = np.empty(int(count.sum()), dtype=np.int64)
    free = np.cumsum(count) - count  # where the next time of each edge goes
    cases, priced = np.zeros(edges, dtype=np.int64), np.zeros(edges, dtype=np.int64)
    days, amount = np.zeros(edges), np.zeros(edges)
    knows_amounts = not np.isnan(steps.amount).all()
    for block in _blocks(steps):
        edge = np.searchsorted(pairs, block.pair) if pairs is not None else block.pair
        order = stable_order(edge, edges)
        edge, case, time = edge[order], block.case[order], block.time[order]
        taken = np.bincount(edge, minlength=edges)
        ahead = np.cumsum(taken) - taken
        times[np.arange(len(edge)) + (free - ahead)[edge]] = time
        free += taken
        days += _sums(edge, time / _DAY, edges)
        new = _first_of_pair(edge, case)
        edge, case = edge[new], case[new]
        cases += np.bincount(edge, minlength=edges)
        if knows_amounts:
            known = np.flatnonzero(~np.isnan(steps.amount[case]))
            priced += np.bincount(edge[known], minlength=edges)
            amount += _sums(edge[known], steps.amount[case[known]], edges)
    quantiles = _quantiles(times, count, probabilities) / _DAY
    used = np.flatnonzero(count)
    pair = pairs if pairs is not None else used
    names = max(len(steps.activities), 1)
    return EndedEdges(
        source=pair // names,
        target=pair % names,
        count=count[used],
        cases=cases[used],
        mean_days=days[used] / count[used],
        quantile_days=quantiles[used],
        amount=np.where(priced > 0, amount, np.nan)[used],
    )


@dataclass(frozen=True)
class _Block:
    """The steps of some whole cases: from which activity to which, whose, and how long after."""

    pair: Ints
    case: Ints
    time: Ints


def blocks_of_cases(case: Ints, size: int) -> Iterator[slice]:
    """Rows of whole cases, about `size` rows at a time.

    Args:
        case: (n,) codes in rising order.

    Example:
        >>> [(rows.start, rows.stop) for rows in blocks_of_cases(np.array([0, 0, 0, 1, 1]), 2)]
        [(0, 3), (3, 5)]
    """
    start = 0
    while start < len(case):
        end = min(start + size, len(case))
        if end < len(case):
            end = int(np.searchsorted(case, case[end - 1], side="right"))
        yield slice(start, end)
        start = end


def _blocks(steps: Steps) -> Iterator[_Block]:
    names = len(steps.activities)
    for rows in blocks_of_cases(steps.case, _BLOCK):
        case, activity, at = steps.case[rows], steps.activity[rows], steps.at[rows]
        row = np.flatnonzero(case[1:] == case[:-1])
        yield _Block(activity[row] * names + activity[row + 1], case[row], at[row + 1] - at[row])


def _present(steps: Steps) -> tuple[Ints | None, Ints]:
    """The pairs of activities that occur, sorted, and how often; None where all possible ones do.

    Of few activities every pair has its place; of many only those that occur, so that memory grows
    with the log and not with the square of the names.
    """
    possible = len(steps.activities) ** 2
    if possible <= _SHORT:
        count = np.zeros(possible, dtype=np.int64)
        for block in _blocks(steps):
            count += np.bincount(block.pair, minlength=possible)
        return None, count
    found: dict[int, int] = {}
    for block in _blocks(steps):
        pairs, times = np.unique(block.pair, return_counts=True)
        for pair, number in zip(pairs.tolist(), times.tolist(), strict=True):
            found[pair] = found.get(pair, 0) + number
    keys = np.array(sorted(found), dtype=np.int64)
    return keys, np.array([found[key] for key in keys.tolist()], dtype=np.int64)


def _sums(key: Ints, value: Floats, keys: int) -> Floats:
    return np.bincount(key, weights=value, minlength=keys).astype(np.float64)


def _first_of_pair(edge: Ints, case: Ints) -> Ints:
    """The rows where a pair of edge and case appears first; rows are sorted by both."""
    new = np.ones(len(edge), dtype=bool)
    new[1:] = (edge[1:] != edge[:-1]) | (case[1:] != case[:-1])
    return np.flatnonzero(new)


def _quantiles(times: Ints, count: Ints, probabilities: Sequence[float]) -> Floats:
    """(k, p) quantiles of the times, which lie edge by edge; they are put in another order."""
    asked = np.asarray(probabilities, dtype=np.float64)
    rank = np.ceil(np.outer(count, asked) * (1 - _ROUNDING)).astype(np.int64) - 1
    rank = np.clip(rank, 0, np.maximum(count - 1, 0)[:, None])
    start = np.cumsum(count) - count
    if len(times) < _ROWS_AN_EDGE * len(count):
        times = times[np.lexsort((times, np.repeat(np.arange(len(count)), count)))]
    else:
        for edge in np.flatnonzero(count > 1):
            times[start[edge] : start[edge] + count[edge]].partition(np.unique(rank[edge]))
    found = np.full(rank.shape, np.nan)
    used = count > 0
    found[used] = times[(start[:, None] + rank)[used]]
    return found
