"""Loading only what is new: files whose rows carry a cursor, a time or number that grows.

A first load takes everything. A later one takes the rows at or above the highest cursor seen, and lays
them over what was landed before, by key: of two versions of a row the one with the higher cursor
stands. What was landed is kept as it was read, so that checks always see the whole: a row that waited
for its deal is used once the deal arrives, and many small loads end where one full load ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.draft import FILE, Draft, joined, rejects_of
from salesops_ml.crm.rules import repeated
from salesops_ml.crm.values import Format, as_text, parse
from salesops_ml.errors import ConfigError
from salesops_ml.schema import TABLES
from salesops_ml.source_settings import FileTable

CURSOR = "@cursor"
_WITHOUT_SEQ = {
    "stage_events": ("deal_id", "entered_at", "stage"),
    "deal_changes": ("deal_id", "field", "changed_at", "new_value"),
}


def cursors(
    table: str, part: FileTable, raw: pa.Table
) -> tuple[pa.ChunkedArray, pa.ChunkedArray, pa.Table]:
    """Each row's cursor as a number, which rows have none, and those as rejects.

    Raises:
        ConfigError: the column holds neither times nor numbers.
    """
    cells = raw[part.cursor]
    values = _as_number(cells, part)
    if raw.num_rows and values.null_count == raw.num_rows:
        raise ConfigError(
            f"`source.tables.{table}.cursor`: column `{part.cursor}` of {part.path} holds neither "
            "times nor numbers; name a column that grows with every change"
        )
    missing = pc.is_null(values)
    noted = rejects_of(
        raw.filter(missing), table=table, column=str(part.cursor),
        values=as_text(cells).filter(missing), reason="is no cursor: neither a time nor a number",
        cure="fill it in: without it nobody can tell whether the row is new",
    )  # fmt: skip
    return values, missing, noted


def _as_number(cells: pa.ChunkedArray, part: FileTable) -> pa.ChunkedArray:
    """Times in microseconds, or plain numbers; whichever the column holds more of."""
    numbers = parse(cells, "float", Format(decimal=part.decimal)).values
    pattern = part.dates.get("*")
    times = parse(cells, "timestamp", Format(pattern)).values if _may_be_time(cells) else None
    if times is None or times.null_count > numbers.null_count:
        return numbers
    return times.cast(pa.int64()).cast(pa.float64())


def _may_be_time(cells: pa.ChunkedArray) -> bool:
    kind = cells.type
    return bool(pa.types.is_string(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def merged(draft: Draft, landed: Mapping[str, pa.Table]) -> tuple[Draft, dict[str, pa.Table]]:
    """The draft laid over what earlier loads landed, and what is landed now.

    Args:
        draft: what the files hold today.
        landed: table -> rows with cursors, as `merged` gave them after the last load.
    """
    now: dict[str, pa.Table] = {}
    for name, rows in draft.tables.items():
        if CURSOR not in rows.column_names:
            continue
        with_one = pc.is_valid(rows[CURSOR])
        fixed, moving = rows.filter(pc.invert(with_one)), rows.filter(with_one)
        if name in landed:
            moving, old = _newer(moving, landed[name])
            draft = _counted(draft, name, old)
            moving = joined([landed[name], moving])
        moving = _latest(name, moving)
        now[name] = moving
        draft = replace(draft, tables={**draft.tables, name: joined([fixed, moving])})
    return draft, now


def _newer(rows: pa.Table, landed: pa.Table) -> tuple[pa.Table, int]:
    """The rows at or above the highest cursor landed from their file, and how many others."""
    marks = landed.group_by(FILE).aggregate([(CURSOR, "max")])
    at = pc.index_in(rows[FILE], marks[FILE].combine_chunks())
    mark = pc.fill_null(marks[f"{CURSOR}_max"].take(at), float("-inf"))
    newer = pc.greater_equal(rows[CURSOR], mark)
    kept = rows.filter(newer)
    return kept, rows.num_rows - kept.num_rows


def _counted(draft: Draft, name: str, old: int) -> Draft:
    counts = {**draft.counts, f"{name}: not newer than the last load": old} if old else draft.counts
    return replace(draft, counts=counts)


def _latest(name: str, rows: pa.Table) -> pa.Table:
    """One row for each key: the one with the highest cursor."""
    key = TABLES[name].key
    if "seq" in key and "seq" not in rows.column_names:
        key = _WITHOUT_SEQ[name]
    order = pc.negate(rows[CURSOR])
    first = pa.table({**{k: rows[k] for k in key if k in rows.column_names}, "order": order,
                      **{c: rows[c] for c in rows.column_names if c not in key}})  # fmt: skip
    keep = pc.invert(repeated(first, key))
    return rows.filter(keep)
