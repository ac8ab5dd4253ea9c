"""Columns of texts as codes, numbered in the order of the sorted texts.

A log repeats itself: the events of a case stand together, and there are few activities. So the
texts are compared as seldom as can be: a text is looked up once where it follows itself, and Python
texts that are one object in memory are known to be equal by their address.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.errors import DataError

Ints = npt.NDArray[np.int64]
Objects = npt.NDArray[np.object_]

_SAMPLE = 4096
_RUN = 4


def text_codes(column: pa.ChunkedArray, name: str) -> tuple[Ints, Objects]:
    """(n,) code of each text, in the order of the sorted texts, and those texts.

    Args:
        column: strings, large or in a dictionary, or what can be cast to them.
        name: of the column, for the error.

    Raises:
        DataError: a value is null.

    Example:
        >>> text_codes(pa.chunked_array([["b", "a", "b"]]), "stage")
        (array([1, 0, 1]), array(['a', 'b'], dtype=object))
    """
    refuse_empty(column, name)
    if not pa.types.is_dictionary(column.type):
        column = _by_runs(_strings(column))
    coded = column.unify_dictionaries().combine_chunks()
    indices = coded.indices.to_numpy()
    texts = coded.dictionary.cast(pa.string())
    present = np.zeros(len(texts), dtype=bool)
    present[indices] = True
    known = texts.filter(pa.array(present))
    if known.null_count:
        missing = pc.is_null(texts).to_numpy(zero_copy_only=False)[indices]
        raise _empty(int(missing.argmax()), int(missing.sum()), name)
    order = pc.array_sort_indices(known)
    known = known.take(order)
    new = np.concatenate(
        [[True], pc.not_equal(known[1:], known[:-1]).to_numpy(zero_copy_only=False)]
    )
    rank = np.zeros(len(texts), dtype=np.int64)
    rank[np.flatnonzero(present)[order.to_numpy()]] = np.cumsum(new[: len(known)]) - 1
    distinct = known.filter(pa.array(new[: len(known)]))
    return rank[indices], distinct.to_numpy(zero_copy_only=False).astype(object)


def refuse_empty(column: pa.ChunkedArray, name: str) -> None:
    """Raise `DataError` where a value is null."""
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise _empty(row, column.null_count, name)


def _empty(row: int, count: int, name: str) -> DataError:
    return DataError(
        f"log, row {row + 1}: `{name}` is empty ({count} rows); remove these events or fill them"
    )


def _strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kept = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    return column if kept else column.cast(pa.string())


def _by_runs(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """`column` in a dictionary; where texts follow themselves, each run is looked up once."""
    if len(column) < 2:
        return column.dictionary_encode()
    new = np.ones(len(column), dtype=bool)
    new[1:] = pc.not_equal(column[1:], column[:-1]).to_numpy()
    starts = np.flatnonzero(new)
    if 2 * len(starts) > len(column):
        return column.dictionary_encode()
    runs = column.take(pa.array(starts)).combine_chunks().dictionary_encode()
    lengths = np.diff(np.append(starts, len(column)))
    code = np.repeat(runs.indices.to_numpy(), lengths)
    return pa.chunked_array([pa.DictionaryArray.from_arrays(pa.array(code), runs.dictionary)])


def from_pandas(column: pd.Series[Any]) -> pa.ChunkedArray:
    """A pandas column of texts in Arrow, in a dictionary where it holds Python objects."""
    if column.dtype != object or column.empty:
        made = pa.array(column, from_pandas=True)
        return made if isinstance(made, pa.ChunkedArray) else pa.chunked_array([made])
    return pa.chunked_array([_of_objects(np.ascontiguousarray(column.to_numpy()))])


def _of_objects(values: Objects) -> pa.DictionaryArray:
    address = _addresses(values)
    starts = _starts(address[1:] != address[:-1])
    if 2 * len(starts) <= len(values):
        return _repeated(values, starts)
    if 4 * len(np.unique(address[:_SAMPLE])) <= len(address[:_SAMPLE]):
        place, places = pd.factorize(address)
        first = np.empty(len(places), dtype=np.int64)
        first[place[::-1]] = np.arange(len(values))[::-1]  # the first is written last
        return _taken(_texts(values[first]).dictionary_encode(), place)
    try:
        starts = _starts(values[1:] != values[:-1])
    except TypeError:  # pandas' NA will not be compared
        return _texts(values).dictionary_encode()
    return _repeated(values, starts)


def _addresses(values: Objects) -> Ints:
    """Where each object lies in memory; good only as long as `values` is."""
    size = len(values)
    return np.ctypeslib.as_array((ctypes.c_int64 * size).from_address(values.ctypes.data))


def _starts(new: npt.NDArray[np.bool_]) -> Ints:
    return np.concatenate([[0], np.flatnonzero(new) + 1])


def _texts(values: Objects) -> pa.StringArray:
    """The objects as texts; what is missing is null."""
    try:
        return pa.array(values, pa.string(), from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        missing = pd.isna(values)
        texts = [None if gone else str(one) for one, gone in zip(values, missing, strict=True)]
        return pa.array(texts, pa.string())


def _repeated(values: Objects, starts: Ints) -> pa.DictionaryArray:
    """Runs of equal texts that begin at `starts`, each looked up once.

    Few runs need no look-up at all: `text_codes` sorts the texts, and so finds those that return.
    """
    turn = np.repeat(
        np.arange(len(starts), dtype=np.int32), np.diff(np.append(starts, len(values)))
    )
    texts = _texts(values[starts])
    if texts.null_count or _RUN * len(starts) > len(values):
        return _taken(texts.dictionary_encode(), turn)
    return pa.DictionaryArray.from_arrays(pa.array(turn), texts)


def _taken(coded: pa.DictionaryArray, place: npt.NDArray[np.integer]) -> pa.DictionaryArray:
    if coded.indices.null_count:
        return coded.take(pa.array(place))
    return pa.DictionaryArray.from_arrays(
        pa.array(coded.indices.to_numpy()[place]), coded.dictionary
    )
