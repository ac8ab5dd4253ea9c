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

import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.attributes import declared
from salesops_ml.crm.change_feed import tracked_kinds, with_plain_changes
from salesops_ml.crm.cursor import CURSOR, cursors
from salesops_ml.crm.draft import FILE, LINE, Draft, joined, place, ragged_rejects, rejects_of
from salesops_ml.crm.file_mapping import MappedColumn, Mapping, mapping_of
from salesops_ml.crm.source_values import Reader, source_values
from salesops_ml.crm.tabular import Cells
from salesops_ml.crm.values import Format, Parsed, as_text, cure, expected, parse, scaled
from salesops_ml.errors import ConfigError, SourceError
from salesops_ml.settings import Settings
from salesops_ml.source_settings import FilesSource, FileTable


def read_files(settings: Settings, *, progress: Callable[[int], None] | None = None) -> Draft:
    """The files that `settings.source` maps, as tables not yet checked against each other.

    Raises:
        SourceError: a file cannot be read, or lacks a column that the mapping names.
        ConfigError: the mapping names what the canonical tables do not have.
    """
    source = settings.source
    assert isinstance(source, FilesSource)
    reader = Reader(progress)
    split = settings.split.column
    draft = Draft({}, time_zone=source.time_zone)
    for table, parts in source.tables.items():
        for part in parts:
            cells = reader.read(part)
            mapping = mapping_of(source, table, part, cells.columns.column_names, split)
            fresh = _mapped(mapping, cells, reader)
            if table == "deal_changes":
                fresh = _plain(fresh, source, part, split)
            draft = _added(draft, table, fresh)
    _refuse_no_deals(draft, source)
    return draft


def _refuse_no_deals(draft: Draft, source: FilesSource) -> None:
    if "deals" not in draft.tables:
        raise ConfigError("`source.tables`: every source must bring `deals`; map them to a file")
    if not draft.tables["deals"].num_rows and not draft.left.get("deals"):
        paths = ", ".join(str(part.path) for part in source.tables["deals"])
        raise SourceError(f"{paths}: a header, but no deals below it; export it again")


def _plain(draft: Draft, source: FilesSource, part: FileTable, split: str | None) -> Draft:
    """Changes with their values read as what their fields are."""
    mapped = [declared(deals.attributes, split) for deals in source.tables.get("deals", ())]
    attributes = tuple(attribute for pairs in mapped for attribute, _ in pairs)
    pattern = part.dates.get("new_value", part.dates.get("*"))
    form = Format(pattern, source.time_zone, part.decimal)
    return with_plain_changes(draft, tracked_kinds(attributes), form)


def _added(draft: Draft, table: str, part: Draft) -> Draft:
    """`draft` with one more file's rows under those of the same table."""
    rows = part.tables[table]
    if table in draft.tables:
        rows = joined([draft.tables[table], rows])
    fresh = (known for known in part.attributes if known not in draft.attributes)
    return replace(
        draft,
        tables={**draft.tables, table: rows},
        rejects=(*draft.rejects, *part.rejects),
        attributes=(*draft.attributes, *fresh),
        counts=dict(Counter(draft.counts) + Counter(part.counts)),
        left=dict(Counter(draft.left) + Counter(part.left)),
    )


def _mapped(mapping: Mapping, cells: Cells, reader: Reader) -> Draft:
    """One file's rows as those of one canonical table."""
    table, part = mapping.table, mapping.part
    everything = place(cells.columns, str(part.path), cells.lines)
    raw = _selected(everything, part)
    columns: dict[str, pa.ChunkedArray] = {}
    rejects = [ragged_rejects(cells, str(part.path), table)]
    bad = pa.chunked_array([pa.repeat(False, raw.num_rows)])
    for column in mapping.columns:
        values = source_values(mapping, column, raw, columns, reader)
        parsed = parse(values, column.kind, column.form)
        columns[column.target] = scaled(parsed.values, column.scale)
        bad = pc.or_(bad, parsed.bad)
        rejects.append(_unreadable(mapping, column, raw, values, parsed))
    if part.cursor:
        columns[CURSOR], missing, noted = cursors(table, part, raw)
        bad = pc.or_(bad, missing)
        rejects.append(noted)
    rows = pa.table({**columns, FILE: raw[FILE], LINE: raw[LINE]})
    draft = Draft({table: rows}, (), mapping.attributes, _not_selected(mapping, everything, raw),
                  {table: len(cells.ragged)})  # fmt: skip
    return draft.without(table, bad, joined(rejects))


def _not_selected(mapping: Mapping, everything: pa.Table, raw: pa.Table) -> dict[str, int]:
    left = everything.num_rows - raw.num_rows
    return {f"{mapping.table}: not selected from {mapping.part.path.name}": left} if left else {}


def _selected(raw: pa.Table, part: FileTable) -> pa.Table:
    keep = [pc.is_in(as_text(raw[name]), pa.array(wanted)) for name, wanted in part.select.items()]
    return raw.filter(reduce(pc.and_, keep)) if keep else raw


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
