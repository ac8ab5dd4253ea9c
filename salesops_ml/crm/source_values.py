"""What a file has for one canonical column, before it is read as its kind: value maps and lookups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.file_mapping import MappedColumn, Mapping
from salesops_ml.crm.tabular import Cells, Layout, read_cells
from salesops_ml.crm.values import as_text
from salesops_ml.errors import ConfigError, SourceError
from salesops_ml.source_settings import FileTable, Lookup


@dataclass(frozen=True)
class Reader:
    """Reads each file once, however many tables and lookups it serves."""

    progress: Callable[[int], None] | None = None
    seen: dict[tuple[Path, Layout], Cells] = field(default_factory=dict)

    def read(self, part: FileTable | Lookup) -> Cells:
        """The file's rows, laid out as its mapping says."""
        key = (part.path, Layout(part.encoding, part.delimiter, part.sheet))
        if key not in self.seen:
            self.seen[key] = read_cells(*key, progress=self.progress)
        return self.seen[key]


def source_values(
    mapping: Mapping,
    column: MappedColumn,
    raw: pa.Table,
    done: dict[str, pa.ChunkedArray],
    reader: Reader,
) -> pa.ChunkedArray:
    """The cells of `column`, after its value map; empty text is null.

    Args:
        mapping: the block that the column belongs to.
        column: the column wanted.
        raw: the file's rows.
        done: canonical columns that are read already; lookups go by them.
        reader: gives the files of lookups.
    """
    if column.source is None:
        return pa.chunked_array([pa.repeat(column.constant, raw.num_rows)])
    if column.source in raw.column_names:
        cells = raw[column.source]
    else:
        cells = _looked_up(mapping, column.source, done, reader)
    if not column.values and not pa.types.is_string(cells.type):
        return cells
    return translated(as_text(cells), column.values)


def translated(texts: pa.ChunkedArray, values: dict[str, str]) -> pa.ChunkedArray:
    """`texts` through a value map: `*` is every value that it does not name, "" is no value.

    Example:
        >>> texts = pa.chunked_array([["Won", "Qualifying", None]])
        >>> translated(texts, {"Won": "won", "*": "open"}).to_pylist()
        ['won', 'open', None]
    """
    if not values:
        return texts
    named = {key: value for key, value in values.items() if key not in ("", "*")}
    at = pc.index_in(texts, pa.array(list(named), pa.string()))
    mapped = pa.array(list(named.values()), pa.string()).take(at.combine_chunks())
    nothing = pa.scalar(None, pa.string())
    rest = pa.scalar(values["*"]) if "*" in values else texts
    found = pc.if_else(pc.is_valid(at), pa.chunked_array([mapped]), rest)
    blank = pa.scalar(values[""]) if "" in values else nothing
    return as_text(pc.if_else(pc.is_null(texts), blank, found))


def _looked_up(
    mapping: Mapping, name: str, done: dict[str, pa.ChunkedArray], reader: Reader
) -> pa.ChunkedArray:
    """A column of another file, found by a canonical column of this one; null where not found."""
    lookup = mapping.part.lookup[name]
    place = f"`{mapping.place}.lookup.{name}"
    if lookup.by not in done:
        raise ConfigError(
            f"{place}.by`: `{lookup.by}` is not mapped; mapped are: {', '.join(done)}"
        )
    other = reader.read(lookup).columns
    for column in (lookup.match, lookup.value):
        if column not in other.column_names:
            here = ", ".join(other.column_names)
            raise SourceError(
                f"{lookup.path}: has no column `{column}`, which {place}` names; it has: {here}"
            )
    keys = as_text(other[lookup.match]).combine_chunks()
    _refuse_repeats(lookup, keys)
    at = pc.index_in(done[lookup.by].cast(pa.string()), keys)
    return other[lookup.value].take(at)


def _refuse_repeats(lookup: Lookup, keys: pa.Array) -> None:
    counted = pc.value_counts(keys.drop_null())
    twice = counted.filter(pc.greater(counted.field("counts"), 1))
    if len(twice):
        raise SourceError(
            f"{lookup.path}: column `{lookup.match}` holds {twice[0]['values'].as_py()!r} twice, so "
            "it cannot be looked up by; keep one row for each"
        )
