"""Whatever a log comes as - pandas, Arrow, Ibis, a data set of files - as columns of Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from salesops_ml.errors import UsageError
from salesops_ml.mining.text_codes import from_pandas

_BATCH = 1 << 20


def rows_of(log: Any, wanted: Sequence[str], texts: Sequence[str]) -> pa.Table:
    """The rows of `log`, of its columns only those that are `wanted`.

    What can be read piece by piece is: of a pyarrow data set, an Ibis table or anything else that
    streams Arrow, memory holds the codes of the texts, not the texts of every event.

    Args:
        log: a pandas, Arrow or Ibis table, a `pyarrow.dataset.Dataset`, or an object with
            `__arrow_c_stream__`.
        wanted: names of columns; those that the log lacks are left out.
        texts: those among them that hold texts which repeat.

    Raises:
        UsageError: `log` is none of these.

    Example:
        >>> rows_of(pa.table({"a": [1, 2], "b": [3, 4]}), ["b", "c"], []).to_pydict()
        {'b': [3, 4]}
    """
    if isinstance(log, pa.Table):
        return log.select([name for name in wanted if name in log.column_names])
    if isinstance(log, ds.Dataset):
        names = [name for name in wanted if name in log.schema.names]
        scanner = log.scanner(columns=names)
        return _streamed(scanner.projected_schema, scanner.to_batches(), texts)
    if hasattr(log, "to_pyarrow_batches"):
        kept = log.select([name for name in wanted if name in log.columns])
        reader = kept.to_pyarrow_batches(chunk_size=_BATCH)
        return _streamed(reader.schema, reader, texts)
    if hasattr(log, "columns") and hasattr(log, "iloc"):
        return _of_pandas(log, wanted, texts)
    if hasattr(log, "__arrow_c_stream__"):
        reader = pa.RecordBatchReader.from_stream(log)
        names = [name for name in wanted if name in reader.schema.names]
        schema = pa.schema([reader.schema.field(name) for name in names])
        return _streamed(schema, (batch.select(names) for batch in reader), texts)
    raise UsageError(
        f"`log`: {type(log).__name__} is no pandas, Arrow or Ibis table; read a file with `read_log`"
    )


def _of_pandas(log: Any, wanted: Sequence[str], texts: Sequence[str]) -> pa.Table:
    twice = sorted({name for name in wanted if list(log.columns).count(name) > 1})
    if twice:
        raise UsageError(f"`log`: has the column `{twice[0]}` more than once; drop one of them")
    return pa.table({
        name: from_pandas(log[name]) if name in texts else pa.array(log[name], from_pandas=True)
        for name in wanted
        if name in log.columns
    })  # fmt: skip


def _streamed(schema: pa.Schema, batches: Iterable[Any], texts: Sequence[str]) -> pa.Table:
    """The batches end to end, each text column as codes into a dictionary of its batch."""
    chunks: dict[str, list[pa.Array]] = {name: [] for name in schema.names}
    for batch in batches:
        for name, values in zip(schema.names, batch.columns, strict=True):
            chunks[name].append(_encoded(values) if name in texts else values)
    return pa.table({
        field.name: pa.chunked_array(chunks[field.name])
        if chunks[field.name]
        else pa.chunked_array([], field.type)
        for field in schema
    })  # fmt: skip


def _encoded(values: pa.Array) -> pa.Array:
    return values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
