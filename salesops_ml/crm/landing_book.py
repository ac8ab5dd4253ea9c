"""What a landing's file says of itself: where its rows came from, by which load, how far feeds are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from salesops_ml.errors import SourceError

DATASET = "crm"
LOAD, ROW, DELETED = "_load", "_row", "_deleted"
_BOOK = "_landing_book"


@dataclass(frozen=True)
class Book:
    """The state of a landing.

    Attributes:
        origin: a digest of what is read from where.
        number: the last load.
        cursors: feed -> the highest cursor that landed; None where nothing has.
        identity: which landing this is; one that starts from nothing is another.
    """

    origin: str
    number: int
    cursors: Mapping[str, Any]
    identity: str


@dataclass(frozen=True)
class Earlier:
    """A landing as the last load left it, open for reading.

    Attributes:
        book: its state.
        raw: a connection to it.
        columns: each landed table with its columns.
    """

    book: Book
    raw: duckdb.DuckDBPyConnection
    columns: Mapping[str, set[str]]


@contextmanager
def earlier_landing(path: Path) -> Iterator[Earlier | None]:
    """The landing in that file while the block lasts; None where there is none.

    Raises:
        SourceError: the file is no landing, or another job is writing it.
    """
    if not path.exists():
        yield None
        return
    raw = None
    try:
        raw = duckdb.connect(str(path), read_only=True)
        (row,) = raw.execute(f"FROM {_BOOK}").to_arrow_table().to_pylist() or (None,)
        columns = columns_of(raw)
    except duckdb.Error as error:
        if raw is not None:
            raw.close()
        raise SourceError(unreadable(path, error)) from error
    try:
        yield Earlier(_book(row), raw, columns) if row is not None else None
    finally:
        raw.close()


def _book(row: Mapping[str, Any]) -> Book:
    """The state from the book's row; the first landings had no identity, and keep none."""
    back = {name: _back(kept) for name, kept in json.loads(row["cursors"]).items()}
    return Book(row["origin"], row["number"], back, row.get("identity", ""))


def write_book(raw: duckdb.DuckDBPyConnection, book: Book) -> None:
    """Note the state in the landing's file."""
    cursors = json.dumps({name: _kept(cursor) for name, cursor in book.cursors.items()})
    row = [book.origin, book.number, cursors, book.identity]
    raw.execute(
        f"CREATE OR REPLACE TABLE {_BOOK} "
        "(origin VARCHAR, number BIGINT, cursors VARCHAR, identity VARCHAR)"
    )
    raw.execute(f"INSERT INTO {_BOOK} VALUES (?, ?, ?, ?)", row)


def _kept(cursor: Any) -> Any:
    """A cursor in JSON: text and numbers as they are, a time as its ISO text."""
    return {"at": cursor.isoformat()} if isinstance(cursor, datetime) else cursor


def _back(kept: Any) -> Any:
    return datetime.fromisoformat(kept["at"]) if isinstance(kept, dict) else kept


def columns_of(raw: duckdb.DuckDBPyConnection) -> dict[str, set[str]]:
    """Each landed table with its columns."""
    rows = raw.execute(
        "SELECT table_name, column_name FROM duckdb_columns() "
        f"WHERE schema_name = '{DATASET}' AND database_name = current_database()"
    ).fetchall()
    found: dict[str, set[str]] = {}
    for table, column in rows:
        if not table.startswith("_dlt"):
            found.setdefault(table, set()).add(column)
    return found


def squashed(name: str) -> str:
    """A name without case and underscores, which vendors, loaders and dlt write differently.

    Example:
        >>> squashed("StageName") == squashed("stage_name")
        True
    """
    return name.replace("_", "").lower()


def unreadable(path: Path, error: Exception) -> str:
    """What to say of a file that does not open."""
    return (
        f"{path}: is no landing of ours, or another job is writing it: {error}; wait for the job, "
        "or move the file away: the next `salesops ingest` then reads everything anew"
    )
