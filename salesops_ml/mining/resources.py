"""Who did each event of a log, and so held the deal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.errors import DataError, SchemaError, UsageError
from salesops_ml.mining.event_log import ACTIVITY, CASE, TIMESTAMP
from salesops_ml.mining.steps import NEVER, Ints, Steps

if TYPE_CHECKING:
    import pandas as pd

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
        SchemaError: the log does not say who did what.
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
        raise SchemaError(
            f"the log has no column `{who}`, so that nobody knows who did what; add it, or leave out "
            "what asks for it, such as the `four_eyes` rules of `process.conformance`"
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


def step_reps(
    log: Any, steps: Steps, kinds: pd.DataFrame | None = None
) -> tuple[Ints, tuple[str, ...]]:
    """(n,) code of the rep at each row of `steps`, `NOBODY` where none is known, and the reps' ids.

    Args:
        log: what `steps` was made of, see `people_of`; not read where `kinds` is given.
        steps: the log as `as_steps` gives it.
        kinds: a row per event in the order of (case, time) with a column `rep`, as `segments` gives it.

    Raises:
        SchemaError: neither the log nor `kinds` says who acted. DataError: `kinds` has another number
            of rows. UsageError: the log is given as `Steps`, which know no reps, without `kinds`.
    """
    import pandas as pd

    if kinds is None:
        if isinstance(log, Steps):
            raise UsageError(
                "`log`: `Steps` do not say who acted; give `kinds` with a column `rep`"
            )
        return people_of(log, steps)
    held = _of_kinds(kinds, steps)
    codes, names = pd.factorize(held.astype("string").astype(object), sort=True)
    return np.where(codes < 0, NOBODY, codes).astype(np.int64), tuple(str(one) for one in names)


def _of_kinds(kinds: pd.DataFrame, steps: Steps) -> pd.Series[Any]:
    if "rep" not in kinds.columns:
        raise SchemaError("`kinds` has no column `rep`; give what `segments` returns")
    if len(kinds) != len(steps.case):
        raise DataError(
            f"`kinds` has {len(kinds)} rows for a log of {len(steps.case)} events; give one an event"
        )
    return kinds["rep"]


def _columns(log: Any) -> list[str]:
    return [str(name) for name in (log.column_names if isinstance(log, pa.Table) else log.columns)]


def _selected(log: Any, names: list[str]) -> pa.Table:
    if isinstance(log, pa.Table):
        return log.select(names)
    if hasattr(log, "to_pyarrow"):
        return log.select(names).to_pyarrow()
    return pa.table({name: pa.array(log[name], from_pandas=True) for name in names})
