"""A private PostgreSQL that lives as long as a test session, on a socket in its own folder.

It asks for its password; `address` and `PASSWORD` are for settings that name it as a secret.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from tests.needs import missing

PASSWORD = "pa@ss:w/rd"
FORMS = (PASSWORD, "pa%40ss:w%2Frd", "pa%40ss%3Aw%2Frd")
"""The ways in which the password would be written into a URL, and plain."""
USER = "postgres"


@contextmanager
def private_cluster() -> Iterator[str]:
    """The SQLAlchemy URL of a database in a fresh cluster; skips where PostgreSQL is missing."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, USER, USER)
        (folder / "password").write_text(PASSWORD)
        _run(
            binaries / "initdb", "-D", folder / "data", "-U", "ada", "-N",
            "-A", "scram-sha-256", "--pwfile", folder / "password",
        )  # fmt: skip
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        _run(
            binaries / "pg_ctl",
            "-D",
            folder / "data",
            "-w",
            "-o",
            options,
            "-l",
            folder / "log",
            "start",
        )
        try:
            yield f"postgresql+psycopg://ada:pa%40ss%3Aw%2Frd@/postgres?host={folder}"
        finally:
            _run(binaries / "pg_ctl", "-D", folder / "data", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def address(url: str, database: str = "postgres") -> str:
    """The cluster's URL as a configuration holds it: without the password."""
    return f"postgresql+psycopg://ada@/{database}?{url.partition('?')[2]}"


def everything_in(url: str) -> str:
    """All rows of all tables of a database, as text."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        metadata = sa.MetaData()
        metadata.reflect(connection)
        rows = [
            str(tuple(row)) for table in metadata.tables.values()
            for row in connection.execute(sa.select(table))
        ]  # fmt: skip
    engine.dispose()
    return "\n".join(rows)


def _binaries() -> Path:
    """Debian keeps the server's programs off the path, in a folder by version."""
    found = shutil.which("pg_ctl")
    if found:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if not folders:
        missing("PostgreSQL (`pg_ctl`) is not installed")
    return folders[-1].parent


def _run(*command: str | Path) -> None:
    """Run a server program; as the user `postgres` where we are root, whom it refuses."""
    words = [str(word) for word in command]
    if os.geteuid() == 0:
        words = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", *words]
    subprocess.run(
        words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/tmp", text=True
    )
