"""Who did each event of a log: what rules about different people are checked by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.errors import DataError, UsageError
from salesops_ml.mining.event_log import ACTIVITY, CASE, TIMESTAMP
from salesops_ml.mining.steps import NEVER, Ints, Steps

NOBODY = -1
"""Nobody is known to have done it."""
RESOURCE = "org:resource"


def people_of(log: Any, steps: Steps) -> tuple[Ints, tuple[str, ...]]:
    """(n,) code of who did each event of `steps`, `NOBODY` where that is not known, and the names.

    Args:
        log: what `steps` was made from: an `event_log` (its `rep_id`), or a table with pm4py's columns
            (its `org:resource`).
        steps: see `as_steps`.

    Raises:
        DataError: the log does not say who did what.
        UsageError: `log` is not what `steps` was made from.

    Example:
        >>> import pandas as pd
        >>> from salesops_ml.mining.steps import as_steps
        >>> log = pd.DataFrame({"case:concept:name": ["b", "a"], "concept:name": ["Lead", "Lead"],
        ...     "time:timestamp": pd.to_datetime(["2026-01-01", "2026-01-02"]),
        ...     "org:resource": ["Ann", None]})
        >>> people_of(log, as_steps(log))
        (array([-1,  0]), ('Ann',))
    """
    own = "rep_id" in _columns(log)
    case, activity, who = ("case_id", "activity", "rep_id") if own else (CASE, ACTIVITY, RESOURCE)
    moment, turn = ("entered_at", "position") if own else (TIMESTAMP, None)
    if who not in _columns(log):
        raise DataError(
            f"the log has no column `{who}`, so that nobody knows who did what; add it, or take the "
            "`four_eyes` rules out of `process.conformance`"
        )
    rows = _selected(log, [case, activity, who, moment, *([turn] if turn else [])])
    at = pc.cast(rows[moment], pa.timestamp("us", rows[moment].type.tz), safe=False)
    when = at.cast(pa.int64()).to_numpy()
    if steps.as_of != NEVER:
        seen = when <= steps.as_of
        rows, when = rows.filter(pa.array(seen)), when[seen]
    ids = rows[case].cast(pa.string()).to_numpy(zero_copy_only=False).astype(object)
    number = np.searchsorted(steps.case_ids.astype(object), ids)
    order = np.lexsort((rows[turn].to_numpy() if turn else when, number))
    names = rows[activity].cast(pa.string()).to_numpy(zero_copy_only=False)[order]
    expected = np.array(steps.activities, dtype=object)[steps.activity]
    if len(names) != len(expected) or (names != expected).any():
        raise UsageError("`log` is not the log that `steps` was made from; give both of one log")
    people = rows[who].cast(pa.string()).take(pa.array(order)).combine_chunks()
    coded = people.dictionary_encode()
    codes = pc.fill_null(coded.indices, NOBODY).to_numpy(zero_copy_only=False).astype(np.int64)
    texts = coded.dictionary.to_pylist()
    rank = np.argsort(np.argsort(np.array(texts, dtype=object))) if texts else np.zeros(0, int)
    known = np.append(rank, NOBODY).astype(np.int64)
    return known[codes], tuple(sorted(texts))


def _columns(log: Any) -> list[str]:
    return [str(name) for name in (log.column_names if isinstance(log, pa.Table) else log.columns)]


def _selected(log: Any, names: list[str]) -> pa.Table:
    if isinstance(log, pa.Table):
        return log.select(names)
    if hasattr(log, "to_pyarrow"):
        return log.select(names).to_pyarrow()
    return pa.table({name: pa.array(log[name], from_pandas=True) for name in names})
