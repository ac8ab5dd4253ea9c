"""The landing: a CRM's own tables as they were last read, kept beside the warehouse.

A feed brings the rows of one table; `dlt` merges them by key into a DuckDB file of our own and keeps how
far each feed has come. All feeds land together or none does: the work is done on a copy, which takes
the file's place at the end, and what dlt must remember lies in the file itself. Values land as
text, so that a field that changes its kind at the vendor breaks no load; the mapping reads them.

Beside the vendor's columns every row has three of ours: `_load`, the number of the load that last
changed it; `_row`, its place in that load; `_deleted`. A deleted row stays, marked.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.landed_text import text_rows
from salesops_ml.errors import SalesOpsError, SourceError
from salesops_ml.warehouse import database_path, workshop

DATASET = "crm"
LOAD, ROW, DELETED = "_load", "_row", "_deleted"
OURS = (LOAD, ROW, DELETED)
_BOOK = "_landing_book"

Page: TypeAlias = list[dict[str, Any]] | pa.Table
Read = Callable[[Any], Iterable[Page]]


@dataclass(frozen=True)
class Feed:
    """How one table of a CRM is read.

    Attributes:
        name: the table's name in the landing.
        key: the columns that name a row.
        read: called with the highest cursor landed so far (None at first), gives pages of rows: lists
            of dicts, or Arrow tables. A row again is a newer version of it; the last one stands.
            It should give rows at that cursor once more: others may have come at the same moment.
        cursor: the column that grows with each change; None where there is none.
        whole: each read brings every row there is, so what no longer comes is deleted.
        deleted: the column that is true (or holds a time) in rows that were deleted.
    """

    name: str
    key: tuple[str, ...]
    read: Read
    cursor: str | None = None
    whole: bool = False
    deleted: str | None = None


@dataclass(frozen=True)
class Landed:
    """What a load brought.

    Attributes:
        number: the load's number; rows that it changed carry it in `_load`.
        read: rows read, by table.
        changed: rows that are new, other than before, or newly deleted, by table.
        new_columns: columns that an earlier load had not seen, as `table.column`.
    """

    number: int
    read: dict[str, int]
    changed: dict[str, int]
    new_columns: tuple[str, ...]


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
    with workshop(path.parent) as folder:
        fresh = folder / "landing.duckdb"
        book = _book(path)
        before = path if book is not None and book[0] == origin else None
        if before is not None:
            shutil.copyfile(before, fresh)
        number = (book[1] if book is not None else 0) + 1
        counters = {feed.name: _Counter(number, feed, progress) for feed in feeds}
        columns = _columns(before)
        _run(feeds, counters, folder, place)
        with closing(duckdb.connect(str(fresh))) as raw:
            changed = _marked(raw, feeds, counters, before, number)
            seen = _columns_of(raw)
            if before is None or any(changed.values()) or seen != columns:
                _note(raw, origin, number)
            else:
                number -= 1
        os.replace(fresh, path)
    new = [f"{t}.{c}" for t, names in seen.items() if t in columns for c in names - columns[t]]
    read = {name: counter.rows for name, counter in counters.items()}
    return Landed(number, read, changed, tuple(sorted(new)))


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
        raise SourceError(_unreadable(path, error)) from error
    try:
        connection = ibis.duckdb.from_connection(raw)
        names = [name for name in _columns_of(raw) if not name.startswith("_")]
        yield {name: connection.table(name, database=DATASET) for name in names}
    finally:
        raw.close()


def landed_number(path: Path) -> int:
    """The number of the last load; 0 where nothing has landed."""
    book = _book(path)
    return book[1] if book is not None else 0


def changes_since(path: Path, number: int) -> dict[str, int]:
    """How many rows of each table a later load than `number` brought or changed."""
    with closing(duckdb.connect(str(path), read_only=True)) as raw:
        names = list(_columns_of(raw))
        counts = [f"SELECT '{n}', count(*) FROM {DATASET}.\"{n}\" WHERE {LOAD} > ?" for n in names]
        if not counts:
            return {}
        rows = raw.execute(" UNION ALL ".join(counts), [number] * len(names)).fetchall()
    return {str(name): int(count) for name, count in rows}


class _Counter:
    """Pages on their way: counted, turned to text, each row with its load, place and fate."""

    def __init__(self, number: int, feed: Feed, progress: Callable[[int], None] | None) -> None:
        self.number, self.feed, self.progress = number, feed, progress
        self.rows = 0
        self.highest: Any = None

    def prepared(self, page: Page) -> pa.Table:
        feed = self.feed
        if feed.cursor is not None:
            self._advance(page, feed.cursor)
        table = text_rows(page, self.feed.name, feed.key)
        deleted = pa.repeat(False, table.num_rows)
        if feed.deleted is not None and feed.deleted in table.column_names:
            told = pc.fill_null(table[feed.deleted], "false")
            deleted = pc.invert(pc.is_in(pc.utf8_lower(told), pa.array(["false", "0", ""])))
        rows = pa.array(range(self.rows, self.rows + table.num_rows), pa.int64())
        self.rows += table.num_rows
        if self.progress is not None:
            self.progress(self.rows)
        table = table.append_column(LOAD, pa.repeat(pa.scalar(self.number, pa.int64()), len(rows)))
        return table.append_column(ROW, rows).append_column(DELETED, deleted)

    def _advance(self, page: Page, cursor: str) -> None:
        if isinstance(page, pa.Table):
            found = pc.max(page[cursor]).as_py() if cursor in page.column_names else None
        else:
            found = max((row[cursor] for row in page if row.get(cursor) is not None), default=None)
        if found is not None and (self.highest is None or found > self.highest):
            self.highest = found


def _run(feeds: Sequence[Feed], counters: dict[str, _Counter], folder: Path, place: str) -> None:
    """One run of dlt over all feeds, into the file in `folder`; nothing is written elsewhere."""
    dlt = _dlt()
    pipeline = dlt.pipeline(
        "landing", pipelines_dir=str(folder / "dlt"), dataset_name=DATASET,
        destination=dlt.destinations.duckdb(str(folder / "landing.duckdb")),
    )  # fmt: skip
    try:
        pipeline.run([_resource(dlt, feed, counters[feed.name]) for feed in feeds])
    except Exception as error:
        raise _ours(error, place) from error
    finally:
        pipeline.deactivate()


def _dlt() -> Any:
    """dlt, which reports nothing to anyone and says nothing that is not an error."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "ERROR")
    import dlt

    logging.getLogger("dlt").setLevel(logging.ERROR)
    return dlt


def _resource(dlt: Any, feed: Feed, counter: _Counter) -> Any:
    def rows() -> Iterator[pa.Table]:
        state = dlt.current.resource_state()
        known = _back(state.get("cursor"))
        for page in feed.read(known):
            if len(page):
                yield counter.prepared(page)
        if counter.highest is not None and (known is None or counter.highest > known):
            state["cursor"] = _kept(counter.highest)

    ours = {
        LOAD: {"data_type": "bigint"},
        ROW: {"data_type": "bigint", "dedup_sort": "desc"},
        DELETED: {"data_type": "bool"},
    }
    return dlt.resource(
        rows, name=feed.name, primary_key=list(feed.key), write_disposition="merge", columns=ours
    )


def _kept(cursor: Any) -> Any:
    """A cursor as dlt's state keeps it unchanged: text and whole numbers; a time as its ISO text."""
    return {"at": cursor.isoformat()} if isinstance(cursor, datetime) else cursor


def _back(kept: Any) -> Any:
    return datetime.fromisoformat(kept["at"]) if isinstance(kept, dict) else kept


def _ours(error: BaseException, place: str) -> SalesOpsError:
    """Our own error where one lies beneath dlt's, else one that says where it happened."""
    beneath: BaseException | None = error
    last = error
    while beneath is not None:
        if isinstance(beneath, SalesOpsError):
            return beneath
        last = beneath
        beneath = beneath.__cause__ or beneath.__context__
    return SourceError(f"{place}: could not be read: {type(last).__name__}: {last}")


def _marked(
    raw: duckdb.DuckDBPyConnection,
    feeds: Sequence[Feed],
    counters: dict[str, _Counter],
    before: Path | None,
    number: int,
) -> dict[str, int]:
    """Rows that no longer come marked as deleted, rows that came as they were left as they were."""
    here = _names(raw)
    changed = {}
    if before is not None:
        raw.execute(f"ATTACH '{_quoted(before)}' AS earlier (READ_ONLY)")
    earlier = _columns_of(raw, "earlier") if before is not None else {}
    for feed in feeds:
        table = here.get(_squashed(feed.name))
        if table is None:
            continue
        if feed.whole:
            raw.execute(
                f'UPDATE {DATASET}."{table}" SET {DELETED} = true, {LOAD} = {number} '
                f"WHERE {LOAD} <> {number} AND NOT {DELETED}"
            )
        if table in earlier:
            _leave_unchanged(raw, table, feed, earlier[table], number)
        told = raw.execute(f'SELECT count(*) FROM {DATASET}."{table}" WHERE {LOAD} = {number}')
        changed[feed.name] = int((told.fetchone() or (0,))[0])
    if before is not None:
        raw.execute("DETACH earlier")
    return changed


def _leave_unchanged(
    raw: duckdb.DuckDBPyConnection, table: str, feed: Feed, known: set[str], number: int
) -> None:
    """Rows that came again word for word keep the number of the load that last changed them."""
    now = _columns_of(raw)[table]
    keys = {column for column in now if _squashed(column) in {_squashed(key) for key in feed.key}}
    same = [f'n."{c}" = o."{c}"' for c in sorted(keys)]
    content = sorted((now & known) - keys - {LOAD, ROW})
    same += [f'n."{column}" IS NOT DISTINCT FROM o."{column}"' for column in content]
    same += [f'n."{column}" IS NULL' for column in sorted(now - known)]
    raw.execute(
        f'UPDATE {DATASET}."{table}" n SET {LOAD} = o.{LOAD}, {ROW} = o.{ROW} '
        f'FROM earlier.{DATASET}."{table}" o WHERE n.{LOAD} = {number} AND {" AND ".join(same)}'
    )


def _columns(path: Path | None) -> dict[str, set[str]]:
    if path is None:
        return {}
    with closing(duckdb.connect(str(path), read_only=True)) as raw:
        return _columns_of(raw)


def _columns_of(raw: duckdb.DuckDBPyConnection, catalog: str = "") -> dict[str, set[str]]:
    """Each landed table with its columns."""
    chosen = f"'{catalog}'" if catalog else "current_database()"
    rows = raw.execute(
        "SELECT table_name, column_name FROM information_schema.columns "
        f"WHERE table_schema = '{DATASET}' AND table_catalog = {chosen}"
    ).fetchall()
    found: dict[str, set[str]] = {}
    for table, column in rows:
        if not table.startswith("_dlt"):
            found.setdefault(table, set()).add(column)
    return found


def _names(raw: duckdb.DuckDBPyConnection) -> dict[str, str]:
    return {_squashed(name): name for name in _columns_of(raw)}


def _squashed(name: str) -> str:
    """A name without case and underscores, as vendors, loaders and dlt write them differently."""
    return name.replace("_", "").lower()


def _note(raw: duckdb.DuckDBPyConnection, origin: str, number: int) -> None:
    raw.execute(f"CREATE OR REPLACE TABLE {_BOOK} (origin VARCHAR, number BIGINT)")
    raw.execute(f"INSERT INTO {_BOOK} VALUES (?, ?)", [origin, number])


def _book(path: Path) -> tuple[str, int] | None:
    """Origin and number of the last load; None where there is no landing."""
    if not path.exists():
        return None
    try:
        with closing(duckdb.connect(str(path), read_only=True)) as raw:
            row = raw.execute(f"SELECT origin, number FROM {_BOOK}").fetchone()
    except duckdb.Error as error:
        raise SourceError(_unreadable(path, error)) from error
    return (str(row[0]), int(row[1])) if row else None


def _unreadable(path: Path, error: Exception) -> str:
    return (
        f"{path}: is no landing of ours, or another job is writing it: {error}; wait for the job, "
        "or move the file away: the next `salesops ingest` then reads everything anew"
    )


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
