"""Databases that we write to: their URLs, their transactions, and their errors in our words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from salesops_ml.errors import WriteBackError

_WRITES = "salesops_writes"


class Database:
    """A database by SQLAlchemy URL; SQLite files and their folders are made when first written.

    Args:
        url: such as `sqlite:///store/outbox.db` or `postgresql+psycopg://user:password@host/crm`.
        setting: the name of the setting that holds the URL, for messages.

    Raises:
        WriteBackError: the URL cannot be read, or its driver is not installed.
    """

    def __init__(self, url: str, *, setting: str) -> None:
        self.url = _parse(url, setting)
        self.place = self.url.render_as_string(hide_password=True)
        self.engine = _engine(self.url, self.place, setting)

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database on disk."""
        name = self.url.database
        on_disk = self.url.get_backend_name() == "sqlite" and name not in (None, "", ":memory:")
        return Path(str(name)) if on_disk and not str(name).startswith("file:") else None

    def make_folder(self) -> None:
        """The folder of an SQLite file."""
        if self.file:
            self.file.parent.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that locks at once where the database can do that (SQLite)."""
        with self.engine.connect() as connection:
            writing = connection.execution_options(**{_WRITES: True})
            with writing.begin():
                yield writing

    @contextmanager
    def errors(self, cure: str) -> Iterator[None]:
        """Errors of the database and of the file system as `WriteBackError`, without passwords."""
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            text = self._without_password(" ".join(str(cause).split()))
            raise WriteBackError(f"{self.place}: {text}; {cure}") from None

    def dispose(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def _without_password(self, text: str) -> str:
        secret = self.url.password
        return text.replace(str(secret), "***") if secret else text


def _parse(url: str, setting: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except ArgumentError:
        raise WriteBackError(
            f"`{setting}`: this is no database URL; write one such as sqlite:///store/crm.db "
            "or postgresql://user:password@host/database"
        ) from None
    hidden = sorted(name for name in parsed.query if re.search("(?i)pass|secret|token", name))
    if hidden:
        raise WriteBackError(
            f"`{setting}`: put the password before the host, not into `{hidden[0]}=`"
        )
    return parsed


def _engine(url: sa.URL, place: str, setting: str) -> sa.Engine:
    try:
        engine = sa.create_engine(url)
    except NoSuchModuleError:
        raise WriteBackError(
            f"`{setting}`: {place}: no database is called `{url.drivername}`; "
            "write sqlite, postgresql, or another that SQLAlchemy knows"
        ) from None
    except ImportError as error:
        raise WriteBackError(
            f"`{setting}`: {place}: the driver is not installed ({error}); "
            "for PostgreSQL: pip install 'salesops-ml[postgres]'"
        ) from None
    if engine.dialect.name == "sqlite":
        _take_over_transactions(engine)
    return engine


def _take_over_transactions(engine: sa.Engine) -> None:
    """SQLite's driver opens transactions late; open them ourselves, and lock at once for writing."""

    @sa.event.listens_for(engine, "connect")
    def _no_own_transactions(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
