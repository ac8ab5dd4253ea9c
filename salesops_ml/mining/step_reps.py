"""Who held the deal at each event of a log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.errors import DataError, SchemaError, UsageError
from salesops_ml.mining.event_log import CASE, TIMESTAMP
from salesops_ml.mining.steps import NEVER, Ints, Steps

if TYPE_CHECKING:
    import pandas as pd

REP_COLUMNS = ("rep_id", "org:resource")
"""Where a log says who acted: this project's name for it, and pm4py's."""
NOBODY = -1


def step_reps(
    log: Any, steps: Steps, kinds: pd.DataFrame | None = None
) -> tuple[Ints, tuple[str, ...]]:
    """(n,) code of the rep at each row of `steps`, `NOBODY` where none is known, and the reps' ids.

    Args:
        log: what `steps` was made of, with one of `REP_COLUMNS`; not read where `kinds` is given.
        steps: the log as `as_steps` gives it.
        kinds: a row per event in the order of (case, time) with a column `rep`, as `segments` gives it.

    Raises:
        SchemaError: neither the log nor `kinds` says who acted. DataError: `kinds` has another number
            of rows. UsageError: the log is given as `Steps`, which know no reps, without `kinds`.
    """
    import pandas as pd

    held = _of_kinds(kinds, steps) if kinds is not None else _of_log(log, steps)
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


def _of_log(log: Any, steps: Steps) -> pd.Series[Any]:
    """The reps in the order of the rows of `steps`."""
    if isinstance(log, Steps):
        raise UsageError("`log`: `Steps` do not say who acted; give `kinds` with a column `rep`")
    frame = _frame(log)
    name = next((one for one in REP_COLUMNS if one in frame.columns), None)
    if name is None:
        raise SchemaError(
            f"the log has no column `rep_id` or `org:resource`; it has: {', '.join(frame.columns)}. "
            "Name the column that says who acted so"
        )
    if "position" in frame.columns:
        return frame.sort_values(["case_id", "position"], kind="stable")[name]
    at = frame[TIMESTAMP].dt.tz_convert(None) if frame[TIMESTAMP].dt.tz else frame[TIMESTAMP]
    moment = at.to_numpy().astype("datetime64[us]").astype(np.int64)
    seen = moment <= steps.as_of if steps.as_of != NEVER else np.ones(len(frame), dtype=bool)
    case = frame[CASE].astype(str).to_numpy().astype(object)[seen]
    order = np.lexsort((moment[seen], np.unique(case, return_inverse=True)[1]))
    return frame[name][seen].iloc[order]


def _frame(log: Any) -> pd.DataFrame:
    """The few columns that are read, in pandas."""
    wanted = (*REP_COLUMNS, CASE, TIMESTAMP, "case_id", "position")
    if hasattr(log, "column_names"):
        kept = log.select([name for name in wanted if name in log.column_names])
        return kept.to_pandas()  # type: ignore[no-any-return]
    kept = log[[name for name in wanted if name in log.columns]]
    return kept.execute() if hasattr(kept, "execute") else kept  # type: ignore[no-any-return]
