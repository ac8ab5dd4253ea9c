"""The comparisons that every run makes: won against lost, and the deals of late against those before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from salesops_ml.errors import UsageError
from salesops_ml.mining.clock import Clock
from salesops_ml.mining.comparison import COLUMNS, compare
from salesops_ml.mining.populations import won_and_lost
from salesops_ml.mining.steps import NEVER, Mask, Steps, as_steps

if TYPE_CHECKING:
    import pandas as pd

QUARTER = 91
_DAY = 86_400_000_000


def won_against_lost(
    log: Any, *, clock: Clock | None = None, order: Sequence[str] = (), seed: int = 7
) -> pd.DataFrame:
    """What the lost did otherwise than the won: `compare` with won first; no row where there is none.

    Args:
        log: an `event_log` or its steps.
        clock, order, seed: see `compare`.
    """
    steps = as_steps(log)
    return _compared(steps, *won_and_lost(steps), ("won", "lost"), clock, order, seed)


def recent_against_before(
    log: Any,
    *,
    days: int = QUARTER,
    clock: Clock | None = None,
    order: Sequence[str] = (),
    seed: int = 7,
) -> pd.DataFrame:
    """The deals begun in the last `days` against those of as many days before; no row if none.

    Args:
        log: an `event_log` or its steps.
        days: length of both stretches.
        clock, order, seed: see `compare`.

    Raises:
        UsageError: `days` is not above 0.

    Example:
        >>> import pandas as pd
        >>> from salesops_ml.mining.steps import as_steps
        >>> log = pd.DataFrame({"case:concept:name": ["a", "b"], "concept:name": ["Lead"] * 2,
        ...     "time:timestamp": pd.to_datetime(["2026-01-15", "2026-02-25"])})
        >>> steps = as_steps(log, as_of=pd.Timestamp("2026-03-01").to_pydatetime(), won=["Won"])
        >>> found = recent_against_before(steps, days=30)
        >>> found[["source", "measure", "first_count", "second_count"]].values.tolist()[0]
        ['Lead', 'share', 1, 1]
    """
    if days <= 0:
        raise UsageError(f"`days`: {days} is not above 0")
    steps = as_steps(log)
    begun = steps.at[steps.first]
    end = steps.as_of if steps.as_of != NEVER else int(begun.max(initial=0))
    age = (end - begun) / _DAY
    recent, before = age <= days, (age > days) & (age <= 2 * days)
    names = (f"the {days} days before", f"the last {days} days")
    return _compared(steps, before, recent, names, clock, order, seed)


def _compared(
    steps: Steps, first: Mask, second: Mask, names: tuple[str, str], clock: Clock | None,
    order: Sequence[str], seed: int,
) -> pd.DataFrame:  # fmt: skip
    """The comparison, or its columns without a row where a side has no deal."""
    import pandas as pd

    first, second = np.asarray(first), np.asarray(second)
    if not first.any() or not second.any():
        return pd.DataFrame(columns=list(COLUMNS))
    return compare(steps, first, second, names=names, clock=clock, order=order, seed=seed)
