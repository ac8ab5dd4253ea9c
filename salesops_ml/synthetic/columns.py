"""From arrays of numbers to Arrow columns of the canonical kinds, fast enough for a million deals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]


def ids(prefix: str, count: int, *, width: int) -> pa.Array:
    """Readable ids 1 .. `count`, of equal length so that their order is the numbers'.

    Example:
        >>> ids("D", 2, width=4).to_pylist()
        ['D-0001', 'D-0002']
    """
    return numbered(prefix, np.arange(1, count + 1), width=max(width, len(str(count))))


def numbered(prefix: str, numbers: npt.NDArray[Any], *, width: int) -> pa.Array:
    """Ids for given numbers."""
    digits = pc.utf8_lpad(pa.array(numbers, pa.int64()).cast(pa.string()), width, padding="0")
    return pc.binary_join_element_wise(f"{prefix}-", digits, "")


def words(values: Sequence[str | None] | pa.Array, codes: npt.NDArray[Any]) -> pa.Array:
    """The text of each code; a negative code is null.

    Example:
        >>> words(["won", "lost"], np.array([1, -1, 0])).to_pylist()
        ['lost', None, 'won']
    """
    known = values if isinstance(values, pa.Array) else pa.array(values, pa.string())
    index = pa.array(codes, pa.int64(), mask=np.asarray(codes) < 0)
    return known.take(index)


def money(values: npt.NDArray[np.float64], missing: Mask | None = None) -> pa.Array:
    """DECIMAL(18, 2) from floats, rounded to cents; null where `missing`.

    Example:
        >>> money(np.array([12.345, -0.5])).to_pylist()
        [Decimal('12.34'), Decimal('-0.50')]
    """
    cents = np.rint(np.asarray(values) * 100).astype(np.int64)
    parts = np.empty((len(cents), 2), dtype=np.int64)
    parts[:, 0], parts[:, 1] = cents, np.where(cents < 0, -1, 0)
    buffer = pa.py_buffer(parts.tobytes())
    done = pa.Array.from_buffers(pa.decimal128(18, 2), len(cents), [None, buffer])
    return nulled(done, missing)


def dates(values: npt.NDArray[np.datetime64], missing: Mask | None = None) -> pa.Array:
    """DATE from `datetime64`; null where `missing`."""
    return pa.array(values.astype("datetime64[D]"), pa.date32(), mask=missing)


def times(values: npt.NDArray[np.datetime64], missing: Mask | None = None) -> pa.Array:
    """TIMESTAMP in microseconds; null where `missing`."""
    return pa.array(values.astype("datetime64[us]"), pa.timestamp("us"), mask=missing)


def nulled(column: pa.Array, missing: Mask | None) -> pa.Array:
    """The column with nulls where `missing`."""
    if missing is None or not missing.any():
        return column
    return pc.if_else(pa.array(~missing), column, pa.scalar(None, column.type))


def text(column: pa.Array) -> pa.Array:
    """The column as text, as a CRM's field history writes it."""
    return column.cast(pa.string())
