"""Two populations of deals, named by masks, by ids, by a column, or by when they began."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from salesops_ml.errors import DataError, SchemaError, UsageError
from salesops_ml.mining.event_log import CASE
from salesops_ml.mining.steps import LOST, WON, Ints, Mask, Steps, micros

NEITHER = -1


def sides(steps: Steps, log: Any, first: Any, second: Any) -> Ints:
    """(m,) 0 for the deals of the first population, 1 for those of the second, -1 for the others.

    Args:
        steps: the log as `as_steps` gives it.
        log: what it was made of.
        first, second: each a sequence of case ids, or a mask. A mask has an entry a case, in the
            order of the ids; or an entry an event, in the order of the log's rows (for `Steps`, of
            case and time), and then holds a case if it holds any of its events.

    Raises:
        UsageError: a mask is of another length, or a deal stands in both.
        DataError: an id is not in the log, or a population has no deal.

    Example:
        >>> import pandas as pd
        >>> from salesops_ml.mining.steps import as_steps
        >>> log = pd.DataFrame({"case:concept:name": ["a", "b", "c"], "concept:name": ["Lead"] * 3,
        ...     "time:timestamp": pd.to_datetime(["2026-01-01"] * 3)})
        >>> sides(as_steps(log), log, ["c"], ["a"]).tolist()
        [1, -1, 0]
    """
    inside = [
        _mask(steps, log, chosen, name) for chosen, name in ((first, "first"), (second, "second"))
    ]
    both = np.flatnonzero(inside[0] & inside[1])
    if len(both):
        raise UsageError(
            f"`first` and `second` share {len(both)} deals, `{steps.case_ids[both[0]]}` among them; "
            "each deal can stand on one side only"
        )
    for mask, name in zip(inside, ("first", "second"), strict=True):
        if not mask.any():
            raise DataError(f"`{name}` holds no deal of the log; nothing can be compared with it")
    return np.where(inside[0], 0, np.where(inside[1], 1, NEITHER))


def by_column(steps: Steps, log: Any, column: str, first: Any, second: Any) -> tuple[Mask, Mask]:
    """Masks (m,) of the deals whose `column` is `first`, and is `second`, at their first event.

    Args:
        steps: the log as `as_steps` gives it.
        log: what it was made of: a pandas, Arrow or Ibis table that has the column.

    Raises:
        SchemaError: the log has no such column.

    Example:
        >>> import pandas as pd
        >>> from salesops_ml.mining.steps import as_steps
        >>> log = pd.DataFrame({"case:concept:name": ["a", "b"], "concept:name": ["Lead"] * 2,
        ...     "time:timestamp": pd.to_datetime(["2026-01-01"] * 2), "team": ["North", "South"]})
        >>> [mask.tolist() for mask in by_column(as_steps(log), log, "team", "North", "South")]
        [[True, False], [False, True]]
    """
    frame = _frame(log, column)
    key = "case_id" if "case_id" in frame.columns else CASE
    moment = "entered_at" if key == "case_id" else "time:timestamp"
    turn = [moment, "position"] if "position" in frame.columns else [moment]
    told = (
        frame.sort_values([key, *turn], kind="stable").drop_duplicates(key).set_index(key)[column]
    )
    value = told.reindex(list(steps.case_ids))
    return (value == first).to_numpy(bool), (value == second).to_numpy(bool)


def won_and_lost(steps: Steps) -> tuple[Mask, Mask]:
    """Masks (m,) of the deals that were won, and of those that were lost."""
    return steps.outcome == WON, steps.outcome == LOST


def begun_between(steps: Steps, start: datetime, end: datetime) -> Mask:
    """(m,) the deals whose first event lies from `start` up to, not with, `end` (naive UTC)."""
    begun = steps.at[steps.first]
    return np.asarray((begun >= micros(start)) & (begun < micros(end)))


def told_by_outcome(steps: Steps, side: Ints) -> bool:
    """Whether the outcome decides on which side a deal stands, as with won against lost.

    So it is where one side has no deal that was won, and the other none that was lost.
    """
    won = [bool((steps.outcome[side == code] == WON).any()) for code in (0, 1)]
    lost = [bool((steps.outcome[side == code] == LOST).any()) for code in (0, 1)]
    apart = (not won[0] and not lost[1]) or (not lost[0] and not won[1])
    return apart and any(won + lost)


def _mask(steps: Steps, log: Any, chosen: Any, name: str) -> Mask:
    values = chosen.to_numpy() if hasattr(chosen, "to_numpy") else np.asarray(chosen)
    if values.dtype != bool:
        return _by_id(steps, values, name)
    if len(values) == len(steps.case_ids) and not _has_rows(log, len(values)):
        return np.asarray(values)
    ids = _ids_of_rows(steps, log)
    if len(values) != len(ids):
        raise UsageError(
            f"`{name}` has {len(values)} entries for {len(steps.case_ids)} cases and {len(ids)} "
            "events; give one a case or one an event"
        )
    return np.isin(steps.case_ids, ids[values])


def _by_id(steps: Steps, values: npt.NDArray[Any], name: str) -> Mask:
    wanted = np.array([str(value) for value in values.ravel()], dtype=object)
    known = np.array([str(value) for value in steps.case_ids], dtype=object)
    unknown = np.flatnonzero(~np.isin(wanted, known))
    if len(unknown):
        raise DataError(
            f"`{name}`: {len(unknown)} of {len(wanted)} ids are not in the log, "
            f"`{wanted[unknown[0]]}` among them; give ids of its cases, or a mask"
        )
    return np.isin(known, wanted)


def _has_rows(log: Any, count: int) -> bool:
    """Whether the log is a frame of so many rows, so that a mask of it is one by event."""
    return hasattr(log, "iloc") and len(log) == count


def _ids_of_rows(steps: Steps, log: Any) -> npt.NDArray[Any]:
    """The id of each row's case."""
    if isinstance(log, Steps):
        return np.asarray(steps.case_ids[steps.case])
    frame = _frame(log, None)
    return np.asarray(frame["case_id" if "case_id" in frame.columns else CASE].to_numpy())


def _frame(log: Any, column: str | None) -> Any:
    """The log in pandas: case, time, and the column that is asked for."""
    if isinstance(log, Steps):
        raise UsageError(
            "`log` is given as steps, which keep no other columns; give the table itself, or masks"
        )
    names = list(getattr(log, "column_names", None) or log.columns)
    if column is not None and column not in names:
        raise SchemaError(f"the log has no column `{column}`; it has: {', '.join(map(str, names))}")
    keys = ("case_id", "entered_at", "position", CASE, "time:timestamp")
    wanted = [name for name in names if name in (*keys, column)]
    if hasattr(log, "iloc"):
        return log[wanted]
    part = log.select(wanted)
    return part.to_pandas()


def pair_of(values: Sequence[Any], name: str) -> tuple[Any, Any]:
    """Two things out of a sequence that must hold two.

    Example:
        >>> pair_of(["won", "lost"], "names")
        ('won', 'lost')
    """
    if isinstance(values, str) or len(values) != 2:
        raise UsageError(f"`{name}`: {values!r}; give two, one for each population")
    return values[0], values[1]
