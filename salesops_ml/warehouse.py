"""The one door to the data engine.

A `Warehouse` hands out canonical tables as Ibis expressions. It is a DuckDB file by default, and one
process owns the file: `publish` builds a new one beside it and puts it in place with `os.replace`,
so a failed load leaves the last good one.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from salesops_ml.errors import ConfigError, DataError
from salesops_ml.schema import TABLES, Attribute, CanonicalTables, conform

_ATTRIBUTES = pa.schema([("name", pa.string()), ("kind", pa.string()), ("known", pa.string())])
_LANDING = "_landing"
_SCRATCH = itertools.count()
_INGESTS = pa.schema(
    [("ingested_at", pa.timestamp("us")), ("digest", pa.string()), ("counts", pa.string())]
)


class Warehouse:
    """Canonical tables as Ibis expressions, on one connection; while it is open they do not change.

    Example:
        >>> import pyarrow as pa
        >>> from salesops_ml.schema import CanonicalTables, no_rejects
        >>> deals = pa.table({"deal_id": ["a", "b"], "status": ["won", "open"]})
        >>> with Warehouse.in_memory(CanonicalTables({"deals": deals}, no_rejects())) as warehouse:
        ...     warehouse.rows("deals"), warehouse.has("quotes")
        (2, False)
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._here = frozenset(connection.list_tables())
        self._tables: dict[str, ir.Table] = {}
        self._rows: dict[str, int] = {}

    @classmethod
    @contextmanager
    def open(cls, url: str, *, threads: int | None = None) -> Iterator[Warehouse]:
        """Open an existing warehouse for reading.

        Raises:
            DataError: there is no such file yet, or another process holds it.
            ConfigError: the URL's engine is not supported.
        """
        path = database_path(url)
        if not path.exists():
            raise DataError(f"{path}: no warehouse yet; run `salesops ingest` first")
        try:
            raw = duckdb.connect(str(path), read_only=True)
        except duckdb.IOException as error:
            raise DataError(
                f"{path}: cannot be opened, is another job writing? {error}; "
                "if it is no warehouse of ours, move it away"
            ) from error
        if threads:
            raw.execute(f"SET threads = {int(threads)}")
        try:
            yield cls(ibis.duckdb.from_connection(raw))
        finally:
            raw.close()

    @classmethod
    @contextmanager
    def in_memory(cls, tables: CanonicalTables) -> Iterator[Warehouse]:
        """A warehouse that lives as long as the `with` block, for tests and small frames."""
        raw = duckdb.connect()
        _write(raw, tables)
        try:
            yield cls(ibis.duckdb.from_connection(raw))
        finally:
            raw.close()

    def names(self) -> list[str]:
        """Names of the canonical tables that are here."""
        return [name for name in TABLES if name in self._here]

    def has(self, name: str) -> bool:
        """Whether canonical table `name` is here and holds a row."""
        return name in TABLES and name in self._here and self.rows(name) > 0

    def table(self, name: str) -> ir.Table:
        """The table called `name`, or an empty one of its schema where the source had none."""
        if name not in self._tables:
            here = name in self._here
            empty = None if here else ibis.memtable(TABLES[name].arrow().empty_table())
            self._tables[name] = self.connection.table(name) if here else empty
        return self._tables[name]

    def rows(self, name: str) -> int:
        """How many rows the table holds."""
        if name not in self._rows:
            self._rows[name] = int(self.table(name).count().execute())
        return self._rows[name]

    def add(self, name: str, rows: pa.Table) -> None:
        """Rows of table `name` that are kept outside the file; the file stays as it is.

        Args:
            rows: in the columns of the canonical table (`schema.conform`).
        """
        self._tables[name] = self.table(name).union(ibis.memtable(rows))
        self._here |= {name}
        self._rows.pop(name, None)

    @contextmanager
    def scratch(self) -> Iterator[Callable[[ir.Table], ir.Table]]:
        """A function that computes an expression once and keeps its rows until the block ends."""
        kept: list[str] = []

        def keep(expression: ir.Table) -> ir.Table:
            name = f"_scratch_{next(_SCRATCH)}"
            kept.append(name)
            return self.connection.create_table(name, expression, temp=True)

        try:
            yield keep
        finally:
            for name in kept:
                self.connection.drop_table(name, force=True)

    def attributes(self) -> tuple[Attribute, ...]:
        """The extra deal attributes that the source declared."""
        rows = self.connection.table("_attributes").to_pyarrow().to_pylist()
        return tuple(Attribute(row["name"], row["kind"], row["known"]) for row in rows)

    def rejects(self) -> pa.Table:
        """What the last load could not use, and why."""
        return self.connection.table("rejects").to_pyarrow()

    def landing(self) -> Landing | None:
        """What incremental loads have landed so far; None where the source has no cursor."""
        if _LANDING not in self._here:
            return None
        listed = self.connection.table(_LANDING).to_pyarrow().to_pylist()
        tables = {
            row["name"]: self.connection.table(f"{_LANDING}_{row['name']}").to_pyarrow()
            for row in listed
        }
        return Landing(listed[0]["source"], tables)

    def counts(self) -> dict[str, int]:
        """How many source rows the last load used or left, by reason."""
        rows = self.connection.table("_ingests").to_pyarrow().to_pylist()
        latest = max(rows, key=lambda row: row["ingested_at"])
        return dict(json.loads(latest["counts"]))


def database_path(url: str) -> Path:
    """The file behind a `duckdb:///path` URL.

    Raises:
        ConfigError: the URL names another engine.
    """
    scheme, _, rest = url.partition("://")
    if scheme != "duckdb" or not rest.strip("/"):
        raise ConfigError(
            f"`warehouse`: `{url}` is not a DuckDB file; write duckdb:///store/warehouse.duckdb"
        )
    return Path(rest.removeprefix("/") if not rest.startswith("//") else rest[1:])


@dataclass(frozen=True)
class Landing:
    """Rows as an incremental source brought them, kept so that the next load can add to them.

    Attributes:
        source: which source and mapping they came by; another one starts from nothing.
        tables: the rows, by canonical table; `@` columns say where each came from.
    """

    source: str
    tables: dict[str, pa.Table]


def truth_folder(url: str) -> Path:
    """Where a synthetic world's truth lies: beside the warehouse, never inside it."""
    return database_path(url).with_suffix(".truth")


def publish(
    url: str,
    tables: CanonicalTables,
    *,
    ingested_at: datetime,
    mode: Literal["replace", "merge"] = "replace",
    landing: Landing | None = None,
) -> bool:
    """Put `tables` into the warehouse file, all or nothing; False where nothing would change.

    `merge` keeps the rows that are there and lets new ones win by key, table by table; `replace`
    starts from nothing. The same content twice leaves the file untouched, whatever the mode.
    `landing` is kept beside the tables for the next load of an incremental source.

    Raises:
        DataError: the folder cannot be written, what lies there is no warehouse, or rows to merge have
            other columns than those that are there.
    """
    path = database_path(url)
    digest = content_digest(tables)
    if path.exists() and digest == _last_digest(path):
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with workshop(path.parent) as folder:
            fresh = folder / path.name
            if mode == "merge" and path.exists():
                shutil.copyfile(path, fresh)
            with _interruptible(), duckdb.connect(str(fresh)) as raw:
                _write(raw, tables, digest=digest, ingested_at=ingested_at)
                _write_landing(raw, landing)
            _put_in_place(url, fresh, _written_truth(tables.truth, folder / "truth"))
    except (OSError, duckdb.IOException) as error:
        raise DataError(f"{path}: cannot be written: {error}; check the folder's rights") from error
    return True


@contextmanager
def workshop(parent: Path) -> Iterator[Path]:
    """A folder to build in, which is gone afterwards, at whatever moment Ctrl-C comes."""
    folder = parent / f".ingest-{uuid.uuid4().hex[:12]}"
    try:
        folder.mkdir()
        yield folder
    finally:
        try:
            shutil.rmtree(folder, ignore_errors=True)
        except KeyboardInterrupt:
            shutil.rmtree(folder, ignore_errors=True)
            raise


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C while DuckDB works is the same as Ctrl-C anywhere else."""
    try:
        yield
    except RuntimeError as error:
        if str(error) != "Query interrupted":
            raise
        raise KeyboardInterrupt from error


def content_digest(tables: CanonicalTables) -> str:
    """SHA-256 over every row of every table, whatever the order of rows in the source."""
    digest = hashlib.sha256()
    for name in sorted(tables.tables):
        table = conform(name, tables.tables[name], tables.attributes)
        digest.update(name.encode())
        digest.update(repr(table.schema).encode())
        for column in table.combine_chunks().itercolumns():
            digest.update(pc.is_null(column).to_numpy().tobytes())
            digest.update(_value_bytes(column))
    digest.update(repr(tables.attributes).encode())
    digest.update(repr(_reject_contents(tables.rejects)).encode())
    return digest.hexdigest()


def _value_bytes(column: pa.ChunkedArray) -> pa.Buffer:
    """The values that there are; what lies in memory under a null is nobody's business."""
    filled = pa.record_batch({"values": column.drop_null().combine_chunks()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, filled.schema) as stream:
        stream.write_batch(filled)
    return sink.getvalue()


def _reject_contents(rejects: pa.Table) -> list[tuple[Any, ...]]:
    """What was rejected and why, without the lines, which move when a file is sorted anew."""
    rows = conform("rejects", rejects).drop_columns("row").to_pylist()
    return sorted(tuple(str(value) for value in row.values()) for row in rows)


def _last_digest(path: Path) -> str | None:
    """The digest of what the last load brought."""
    try:
        with duckdb.connect(str(path), read_only=True) as raw:
            rows = raw.execute("SELECT digest FROM _ingests ORDER BY ingested_at").fetchall()
    except duckdb.Error as error:
        raise DataError(
            f"{path}: is no warehouse of ours, or another job is writing it: {error}; "
            "wait for the job, or move the file away and load again"
        ) from error
    return str(rows[-1][0]) if rows else None


def _write(
    raw: duckdb.DuckDBPyConnection,
    tables: CanonicalTables,
    *,
    digest: str = "",
    ingested_at: datetime = datetime(1970, 1, 1),
) -> None:
    raw.execute("BEGIN")
    for name, rows in tables.tables.items():
        _upsert(raw, name, conform(name, rows, tables.attributes), TABLES[name].key)
    _replace(raw, "rejects", conform("rejects", tables.rejects))
    attributes = [vars(attribute) for attribute in tables.attributes]
    _replace(raw, "_attributes", pa.Table.from_pylist(attributes, schema=_ATTRIBUTES))
    ingest = {"ingested_at": ingested_at, "digest": digest, "counts": json.dumps(tables.counts)}
    _upsert(raw, "_ingests", pa.Table.from_pylist([ingest], schema=_INGESTS), ("digest",))
    raw.execute("COMMIT")


def _replace(raw: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    raw.register("incoming", rows)
    raw.execute(f'CREATE OR REPLACE TABLE "{name}" AS SELECT * FROM incoming')
    raw.unregister("incoming")


def _upsert(
    raw: duckdb.DuckDBPyConnection, name: str, rows: pa.Table, key: tuple[str, ...]
) -> None:
    """Insert `rows`; where a row of the same key stands, the incoming one replaces it."""
    existing = {row[0] for row in raw.execute("SHOW TABLES").fetchall()}
    if name not in existing:
        _replace(raw, name, rows)
        return
    columns = {row[0] for row in raw.execute(f'DESCRIBE "{name}"').fetchall()}
    if columns != set(rows.column_names):
        other = ", ".join(sorted(columns ^ set(rows.column_names)))
        raise DataError(
            f"table `{name}`: the warehouse and the new rows do not both have {other}; load all anew"
        )
    same = " AND ".join(f'old."{column}" IS NOT DISTINCT FROM new."{column}"' for column in key)
    raw.register("incoming", rows)
    raw.execute(f'DELETE FROM "{name}" old USING incoming new WHERE {same}')
    raw.execute(f'INSERT INTO "{name}" BY NAME SELECT * FROM incoming')
    raw.unregister("incoming")


def _write_landing(raw: duckdb.DuckDBPyConnection, landing: Landing | None) -> None:
    if landing is None or not landing.tables:
        return
    listed = [{"source": landing.source, "name": name} for name in landing.tables]
    _replace(raw, _LANDING, pa.Table.from_pylist(listed))
    for name, rows in landing.tables.items():
        _replace(raw, f"{_LANDING}_{name}", rows)


def _written_truth(truth: dict[str, pa.Table], scratch: Path) -> Path | None:
    if not truth:
        return None
    scratch.mkdir()
    for name, rows in truth.items():
        pq.write_table(rows, scratch / f"{name}.parquet")
    return scratch


def _put_in_place(url: str, fresh: Path, truth: Path | None) -> None:
    """Swap the new file and its truth for the old ones; interrupted, both are old or both are new."""
    target, aside = truth_folder(url), fresh.with_name("truth-before")
    try:
        if target.exists():
            os.replace(target, aside)
        if truth is not None:
            os.replace(truth, target)
        os.replace(fresh, database_path(url))
    except BaseException:
        if fresh.exists():
            if truth is not None and not truth.exists():
                shutil.rmtree(target)
            if aside.exists():
                os.replace(aside, target)
        raise
