"""The landing: a CRM's own tables as they were last read, kept beside the warehouse.

A feed brings the rows of one table; `dlt` merges them by key into a DuckDB file of our own, which
keeps how far each feed has come; a few rows of known columns are merged by plain SQL, to the same end.
All feeds land together or none does: the work is done on a copy, which takes the file's place at the
end. Values land as text, so that a field that changes its kind at the vendor breaks no load; the
mapping reads them.

Beside the vendor's columns every row has three of ours: `_load`, the number of the load that last
changed it; `_row`, its place in that load; `_deleted`. A deleted row stays, marked.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import ibis
import ibis.expr.types as ir

from salesops_ml.crm.landing_book import (
    DATASET,
    DELETED,
    LOAD,
    ROW,
    Book,
    Earlier,
    columns_of,
    earlier_landing,
    squashed,
    unreadable,
    write_book,
)
from salesops_ml.crm.landing_merge import Columns, merge
from salesops_ml.crm.landing_run import Counter, Feed, bring
from salesops_ml.errors import SourceError
from salesops_ml.warehouse import database_path, workshop

__all__ = ["DATASET", "DELETED", "LOAD", "ROW", "Feed", "Landed", "land", "landed_tables"]


@dataclass(frozen=True)
class Landed:
    """What a load brought.

    Attributes:
        number: the load's number; rows that it changed carry it in `_load`.
        read: rows read, by table.
        changed: rows that are new, other than before, or newly deleted, by table.
        new_columns: columns that an earlier load had not seen, as `table.column`.
        identity: which landing it is in; numbers of another one say nothing of this.
    """

    number: int
    read: dict[str, int]
    changed: dict[str, int]
    new_columns: tuple[str, ...]
    identity: str = field(compare=False)


def landing_path(warehouse: str) -> Path:
    """The landing beside a warehouse.

    Example:
        >>> landing_path("duckdb:///store/warehouse.duckdb").as_posix()
        'store/warehouse.landing.duckdb'
    """
    return database_path(warehouse).with_suffix(".landing.duckdb")


def land(
    feeds: Sequence[Feed],
    path: Path,
    *,
    origin: str,
    place: str,
    progress: Callable[[int], None] | None = None,
) -> Landed:
    """Read what is new in each feed and lay it over what landed before.

    Args:
        feeds: the tables to read.
        path: the landing's file; made where it is missing.
        origin: a digest of what is read from where; a landing of another origin starts from nothing.
        place: the CRM in words, for messages.
        progress: called now and then with the number of rows read so far.

    Raises:
        SourceError: the CRM cannot be read, or the file cannot be written. The last landing stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with earlier_landing(path) as stands, workshop(path.parent) as folder:
        earlier = stands if stands is not None and stands.book.origin == origin else None
        number = (stands.book.number if stands is not None else 0) + 1
        cursors = dict(earlier.book.cursors) if earlier is not None else {}
        identity = earlier.book.identity if earlier is not None else uuid.uuid4().hex
        fresh = folder / "landing.duckdb"
        if earlier is not None:
            shutil.copyfile(path, fresh)
        counters, few = bring(
            feeds, cursors, fresh, earlier, number, place=place, progress=progress
        )
        moved = {name: counter.cursor for name, counter in counters.items()}
        with closing(duckdb.connect(str(fresh))) as raw:
            seen = columns_of(raw)
            columns = seen if earlier is None else earlier.columns
            raw.execute("BEGIN")
            if few is None and earlier is not None:
                _leave_unchanged(raw, feeds, path, earlier, seen, number)
            merge(raw, few or {}, seen)
            changed = _marked(raw, counters, seen, number)
            new_rows = earlier is None or any(changed.values()) or seen != columns
            number -= 0 if new_rows else 1
            if new_rows or moved != cursors:
                write_book(raw, Book(origin, number, moved, identity))
            raw.execute("COMMIT")
        if new_rows or moved != cursors:
            os.replace(fresh, path)
    new = [f"{t}.{c}" for t, names in seen.items() if t in columns for c in names - columns[t]]
    read = {name: counter.rows for name, counter in counters.items()}
    return Landed(number, read, changed, tuple(sorted(new)), identity)


@contextmanager
def landed_tables(path: Path) -> Iterator[Mapping[str, ir.Table]]:
    """The landing's tables by name, rows marked as deleted among them, while the block lasts.

    Raises:
        SourceError: there is no landing, or it cannot be opened.
    """
    if not path.exists():
        raise SourceError(f"{path}: nothing has landed yet; run `salesops ingest` first")
    try:
        raw = duckdb.connect(str(path), read_only=True)
    except duckdb.Error as error:
        raise SourceError(unreadable(path, error)) from error
    try:
        connection = ibis.duckdb.from_connection(raw)
        names = [name for name in columns_of(raw) if not name.startswith("_")]
        yield {name: connection.table(name, database=DATASET) for name in names}
    finally:
        raw.close()


def landed_number(path: Path) -> int:
    """The number of the last load; 0 where nothing has landed."""
    with earlier_landing(path) as stands:
        return stands.book.number if stands is not None else 0


def changes_since(path: Path, number: int) -> dict[str, int]:
    """How many rows of each table a later load than `number` brought or changed."""
    with closing(duckdb.connect(str(path), read_only=True)) as raw:
        names = list(columns_of(raw))
        counts = [f"SELECT '{n}', count(*) FROM {DATASET}.\"{n}\" WHERE {LOAD} > ?" for n in names]
        if not counts:
            return {}
        rows = raw.execute(" UNION ALL ".join(counts), [number] * len(names)).fetchall()
    return {str(name): int(count) for name, count in rows}


def _marked(
    raw: duckdb.DuckDBPyConnection, counters: Mapping[str, Counter], seen: Columns, number: int
) -> dict[str, int]:
    """How many rows of each feed the load changed; those that no longer come are marked as deleted."""
    here = {squashed(name): (name, columns) for name, columns in seen.items()}
    changed = {}
    for name, counter in counters.items():
        table, columns = here.get(squashed(name), ("", set()))
        if not table or not (counter.feed.whole or counter.rows):
            changed[name] = 0
            continue
        if counter.feed.whole and not counter.spared:
            _mark_missing(raw, table, columns, counter, number)
        told = raw.execute(f'SELECT count(*) FROM {DATASET}."{table}" WHERE {LOAD} = {number}')
        changed[name] = int((told.fetchone() or (0,))[0])
    return changed


def _mark_missing(
    raw: duckdb.DuckDBPyConnection, table: str, columns: set[str], counter: Counter, number: int
) -> None:
    """What a whole read no longer brings is deleted."""
    landed = {squashed(column): column for column in columns}
    raw.register("read_keys", counter.keys())
    same = " AND ".join(f't."{landed[squashed(key)]}" = k."{key}"' for key in counter.feed.key)
    raw.execute(
        f'UPDATE {DATASET}."{table}" t SET {DELETED} = true, {LOAD} = {number} '
        f"WHERE NOT {DELETED} AND NOT EXISTS (SELECT 1 FROM read_keys k WHERE {same})"
    )
    raw.unregister("read_keys")


def _leave_unchanged(
    raw: duckdb.DuckDBPyConnection,
    feeds: Sequence[Feed],
    path: Path,
    earlier: Earlier,
    seen: Columns,
    number: int,
) -> None:
    """Rows that came again word for word keep the number of the load that last changed them."""
    raw.execute("ATTACH '{}' AS earlier (READ_ONLY)".format(str(path).replace("'", "''")))
    here = {squashed(name): (name, columns) for name, columns in seen.items()}
    for feed in feeds:
        table, now = here.get(squashed(feed.name), ("", set()))
        if table not in earlier.columns:
            continue
        known, told = earlier.columns[table], {squashed(key) for key in feed.key}
        keys = {column for column in now if squashed(column) in told}
        same = [f'n."{c}" = o."{c}"' for c in sorted(keys)]
        content = sorted((now & known) - keys - {LOAD, ROW})
        same += [f'n."{column}" IS NOT DISTINCT FROM o."{column}"' for column in content]
        same += [f'n."{column}" IS NULL' for column in sorted(now - known)]
        raw.execute(
            f'UPDATE {DATASET}."{table}" n SET {LOAD} = o.{LOAD}, {ROW} = o.{ROW} '
            f'FROM earlier.{DATASET}."{table}" o WHERE n.{LOAD} = {number} AND {" AND ".join(same)}'
        )
