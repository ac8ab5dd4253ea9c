"""Frames whose columns have one type each, whatever was found, an empty frame included."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def typed(
    frame: pd.DataFrame,
    columns: Iterable[str],
    *,
    counts: Collection[str] = (),
    flags: Collection[str] = (),
    texts: Collection[str] = (),
    lists: Collection[str] = (),
) -> pd.DataFrame:
    """`frame` with just these columns, in their order.

    Args:
        frame: rows; a column that it lacks is added, empty.
        columns: its columns; those not named below are numbers, with NaN for none.
        counts: whole numbers. flags: true or false. texts: texts, None for none. lists: left alone.

    Example:
        >>> import pandas as pd
        >>> typed(pd.DataFrame({"n": [1.0], "a": ["x"]}), ["a", "n"], counts=["n"], texts=["a"]).values
        array([['x', 1]], dtype=object)
    """
    import pandas as pd

    frame = frame.reindex(columns=list(columns))
    for name in frame.columns:
        if name in counts or name in flags:
            frame[name] = frame[name].astype("bool" if name in flags else "int64")
        elif name in texts:
            told = [None if pd.isna(text) else str(text) for text in frame[name]]
            frame[name] = pd.Series(told, index=frame.index, dtype=object)
        elif name not in lists:
            frame[name] = frame[name].astype("float64")
    return frame
