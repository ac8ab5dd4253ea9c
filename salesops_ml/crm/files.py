"""CSV, Parquet and Excel files as canonical tables, by a mapping block of the configuration.

A row with a value that does not read as its kind is left out and told as a reject: file, line, column,
value, reason and cure. A file that cannot be read as a whole, or a mapping that names what is not
there, stops the load.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.draft import FILE, LINE, Draft, joined, place, rejects_of
from salesops_ml.crm.file_mapping import MappedColumn, Mapping, mapping_of
from salesops_ml.crm.tabular import Cells, Layout, read_cells
from salesops_ml.crm.values import Parsed, as_text, cure, expected, parse
from salesops_ml.errors import ConfigError, SourceError
from salesops_ml.schema import REJECTS
from salesops_ml.settings import FilesSource, FileTable, Settings

CURSOR = "@cursor"


def read_files(settings: Settings, *, progress: Callable[[int], None] | None = None) -> Draft:
    """The files that `settings.source` maps, as tables not yet checked against each other.

    Raises:
        SourceError: a file cannot be read, or lacks a column that the mapping names.
        ConfigError: the mapping names what the canonical tables do not have.
    """
    source = settings.source
    assert isinstance(source, FilesSource)
    reader = _Reader(progress)
    draft = Draft({})
    for table, parts in source.tables.items():
        for part in parts:
            cells = reader.read(part.path, _layout(part))
            header = cells.columns.column_names
            mapping = mapping_of(source, table, part, header, settings.split.column)
            draft = _added(draft, table, _mapped(mapping, cells, reader))
    deals = draft.tables.get("deals")
    if deals is not None and not draft.read["deals"]:
        paths = ", ".join(str(part.path) for part in source.tables["deals"])
        raise SourceError(f"{paths}: a header, but no deals below it; export it again")
    return draft


class _Reader:
    """Reads each file once, however many tables it serves."""

    def __init__(self, progress: Callable[[int], None] | None) -> None:
        self._progress = progress
        self._seen: dict[tuple[Path, Layout], Cells] = {}

    def read(self, path: Path, layout: Layout) -> Cells:
        key = (path, layout)
        if key not in self._seen:
            self._seen[key] = read_cells(path, layout, progress=self._progress)
        return self._seen[key]


def _layout(part: FileTable) -> Layout:
    return Layout(part.encoding, part.delimiter, part.sheet)


def _added(draft: Draft, table: str, part: Draft) -> Draft:
    """`draft` with one more file's rows under those of the same table."""
    rows = part.tables[table]
    if table in draft.tables:
        rows = joined([draft.tables[table], rows])
    attributes = (*draft.attributes, *(known for known in part.attributes
                                       if known not in draft.attributes))  # fmt: skip
    return replace(
        draft,
        tables={**draft.tables, table: rows},
        rejects=(*draft.rejects, *part.rejects),
        attributes=attributes,
        counts=dict(Counter(draft.counts) + Counter(part.counts)),
        read={**draft.read, table: draft.read.get(table, 0) + part.read[table]},
    )


def _mapped(mapping: Mapping, cells: Cells, reader: _Reader) -> Draft:
    table, part = mapping.table, mapping.part
    raw = place(cells.columns, str(part.path), cells.lines)
    read = raw.num_rows + len(cells.ragged)
    raw = _selected(raw, part)
    left = read - raw.num_rows - len(cells.ragged)
    counts = {f"{table}: not selected from {part.path.name}": left} if part.select else {}
    rejects = [_ragged(mapping, cells)]
    columns: dict[str, pa.ChunkedArray] = {}
    bad = pa.chunked_array([pa.repeat(False, raw.num_rows)])
    for column in mapping.columns:
        values = _source_values(mapping, column, raw, columns, reader)
        parsed = parse(values, column.kind, column.form)
        columns[column.target] = parsed.values
        bad = pc.or_(bad, parsed.bad)
        rejects.append(_unreadable(mapping, column, raw, values, parsed))
    if part.cursor:
        columns[CURSOR] = as_text(raw[part.cursor])
    rows = pa.table({**columns, FILE: raw[FILE], LINE: raw[LINE]})
    return Draft(
        {table: rows.filter(pc.invert(bad))}, tuple(rejects), mapping.attributes, counts,
        {table: read - left},
    )  # fmt: skip


def _selected(raw: pa.Table, part: FileTable) -> pa.Table:
    keep = [pc.is_in(as_text(raw[name]), pa.array(wanted)) for name, wanted in part.select.items()]
    return raw.filter(reduce(pc.and_, keep)) if keep else raw


def _source_values(
    mapping: Mapping,
    column: MappedColumn,
    raw: pa.Table,
    done: dict[str, pa.ChunkedArray],
    reader: _Reader,
) -> pa.ChunkedArray:
    """What the source has for a column, after its value map; empty text is null."""
    if column.source is None:
        return pa.chunked_array([pa.repeat(column.constant, raw.num_rows)])
    if column.source in mapping.part.lookup and column.source not in raw.column_names:
        return _looked_up(mapping, column.source, done, reader)
    cells = raw[column.source]
    if not column.values and not pa.types.is_string(cells.type):
        return cells
    return _translated(as_text(cells), column.values)


def _translated(texts: pa.ChunkedArray, values: dict[str, str]) -> pa.ChunkedArray:
    """`texts` through a value map; `*` is every value that it does not name."""
    if not values:
        return texts
    named = {key: value for key, value in values.items() if key != "*"}
    at = pc.index_in(texts, pa.array(list(named), pa.string()))
    mapped = pa.array(list(named.values()), pa.string()).take(at.combine_chunks())
    rest = pc.if_else(pc.is_valid(texts), values["*"], texts) if "*" in values else texts
    blank = pa.scalar(values.get(""), pa.string())
    done = pc.if_else(pc.is_valid(at), pa.chunked_array([mapped]), rest)
    return as_text(pc.if_else(pc.is_null(texts), blank, done))


def _looked_up(
    mapping: Mapping, name: str, done: dict[str, pa.ChunkedArray], reader: _Reader
) -> pa.ChunkedArray:
    """A column of another file, found by a canonical column of this one."""
    lookup = mapping.part.lookup[name]
    if lookup.by not in done:
        raise ConfigError(
            f"`{mapping.place}.lookup.{name}.by`: `{lookup.by}` is not mapped; "
            f"mapped are: {', '.join(done)}"
        )
    layout = Layout(lookup.encoding, lookup.delimiter, lookup.sheet)
    other = reader.read(lookup.path, layout).columns
    for column in (lookup.match, lookup.value):
        if column not in other.column_names:
            raise SourceError(
                f"{lookup.path}: has no column `{column}`, which `{mapping.place}.lookup.{name}` "
                f"names; it has: {', '.join(other.column_names)}"
            )
    keys = as_text(other[lookup.match]).combine_chunks()
    at = pc.index_in(done[lookup.by].cast(pa.string()), keys)
    return other[lookup.value].take(at)


def _unreadable(
    mapping: Mapping, column: MappedColumn, raw: pa.Table, values: pa.ChunkedArray, parsed: Parsed
) -> pa.Table:
    rows = raw.filter(parsed.bad)
    if column.source is None and rows.num_rows:
        raise ConfigError(
            f"`{mapping.place}.constants.{column.name}`: {column.constant!r} is not "
            f"{expected(column.kind)}; {cure(column.kind, column.form)}"
        )
    return rejects_of(
        rows, table=mapping.table, column=column.source or column.name,
        values=as_text(values.filter(parsed.bad)), reason=f"is not {expected(column.kind)}",
        cure=cure(column.kind, column.form),
    )  # fmt: skip


def _ragged(mapping: Mapping, cells: Cells) -> pa.Table:
    width = cells.columns.num_columns
    rows = [
        {
            "source": str(mapping.part.path), "row": row.line, "table": mapping.table,
            "column": "", "value": row.text,
            "reason": f"has {row.cells} cells where the header has {width}",
            "cure": "quote values that hold the delimiter, and give each row every cell",
        }
        for row in cells.ragged
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=REJECTS.arrow())
