"""Write scores into a SQL database: two tables of our own, one transaction, a journal.

`salesops_scores` holds the current score of each deal for the CRM to join; `salesops_write_journal`
holds every change ever made, with old and new value, and why. Both are written in one transaction,
so a run that is killed leaves neither half. SQLite by default; any SQLAlchemy URL.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa

from salesops_ml.crm.sql_engine import Database
from salesops_ml.errors import WriteBackError
from salesops_ml.scoring.fields import FIELDS, Score, score_of
from salesops_ml.scoring.plan import Change, WriteBackPlan

JOURNAL = "salesops_write_journal"
KEY_LENGTH = 255
_NAMED_AT_ONCE = 500
_WRITTEN_AT_ONCE = 2_000


@dataclass(frozen=True)
class Applied:
    """What an apply did: deals written, and deals that already stood as planned."""

    written: int
    already_there: int


class Standing:
    """What stands in the table, inside one transaction; a chunk at a time."""

    def __init__(self, connection: sa.Connection | None, scores: sa.Table) -> None:
        self._connection, self._scores = connection, scores

    @property
    def connection(self) -> sa.Connection:
        """The transaction."""
        if self._connection is None:
            raise WriteBackError("nothing was ever written here")
        return self._connection

    def of(self, deal_ids: Sequence[str]) -> dict[str, Score]:
        """The fields of these deals; deals whose fields are all empty are left out."""
        return {deal: score for deal, score in self.rows_of(deal_ids).items() if not score.empty}

    def rows_of(self, deal_ids: Sequence[str]) -> dict[str, Score]:
        """The fields of these deals, as far as they have a row."""
        found: dict[str, Score] = {}
        if self._connection is None:
            return found
        for at in range(0, len(deal_ids), _NAMED_AT_ONCE):
            named = self._scores.c.deal_id.in_(deal_ids[at : at + _NAMED_AT_ONCE])
            rows = self._connection.execute(sa.select(self._scores).where(named)).mappings()
            found |= {str(row["deal_id"]): score_of(row) for row in rows}
        return found

    def deals(self, *, limit: int) -> Iterator[list[str]]:
        """All deals that have a row, in chunks, by deal."""
        after, key = "", self._scores.c.deal_id
        while self._connection is not None:
            asked = sa.select(key).where(key > after).order_by(key).limit(limit)
            found = [str(deal) for deal in self._connection.scalars(asked)]
            if not found:
                return
            yield found
            after = found[-1]


class SqlTarget:
    """A SQL database as the place where scores are written.

    Args:
        url: a SQLAlchemy URL, such as `sqlite:///store/crm.db` or `postgresql://user@host/crm`.
        table: our table, `schema.table` where it is not in the default schema.
        journal: our journal, in the same schema.

    Raises:
        WriteBackError: the URL cannot be read, or its driver is not installed.
    """

    def __init__(self, url: str, table: str = "salesops_scores", *, journal: str = JOURNAL) -> None:
        self.database = Database(url, setting="write_back.url")
        self.place = self.database.place
        schema, _, name = table.rpartition(".")
        metadata = sa.MetaData(schema=schema or None)
        self.scores = _scores_table(name, metadata)
        self.journal = _journal_table(journal, metadata)

    def prepare(self) -> None:
        """Make our tables where they are missing.

        Raises:
            WriteBackError: the place cannot be written, or a table of that name has another shape.
        """
        with self.errors():
            self.database.make_folder()
            with self.database.writing() as connection:
                self.scores.metadata.create_all(connection)
                self._check_shapes(connection)

    def current(self) -> pd.DataFrame:
        """deal_id and `FIELDS` as they stand, sorted by deal; no rows where there is no table yet.

        Raises:
            WriteBackError: the database cannot be read, or the table has another shape.
        """
        nothing = pd.DataFrame(columns=["deal_id", *FIELDS], dtype=object)
        if not self.has_table(self.scores):
            return nothing
        with self.errors(), self.database.engine.connect() as connection:
            self._check_shape(connection, self.scores)
            rows = connection.execute(sa.select(self.scores)).mappings().all()
        frame = pd.DataFrame([dict(row) for row in rows], columns=list(nothing.columns))
        return frame.sort_values("deal_id", ignore_index=True)

    def apply(self, plan: WriteBackPlan, *, run_id: str, at: datetime) -> Applied:
        """Carry out a plan and write its journal, all or nothing; make the tables if need be.

        A change that already stands is passed over, so the same plan twice writes once.

        Args:
            plan: what to write.
            run_id: written into the journal beside each change.
            at: when, naive UTC; written into the journal.

        Raises:
            WriteBackError: a field changed since the plan was made, or the database refused. Nothing
                was written then.
        """
        if not plan.to_write:
            return Applied(0, 0)
        return self.apply_planned(lambda _standing: plan.to_write, run_id=run_id, at=at)

    def apply_planned(
        self, plan: Callable[[Standing], Iterable[Change]], *, run_id: str, at: datetime
    ) -> Applied:
        """Plan and write in one transaction, a chunk at a time: `apply` for any number of deals.

        Args:
            plan: gives the changes, from what stands; changes that keep are left out.
            run_id: written into the journal beside each change.
            at: when, naive UTC; written into the journal.

        Raises:
            WriteBackError: as `apply`.
        """
        self.prepare()
        written = there = 0
        with self.errors(), self.database.writing() as connection:
            self.lock(connection)
            standing = Standing(connection, self.scores)
            changes = (change for change in plan(standing) if change.action != "keep")
            while chunk := list(itertools.islice(changes, _WRITTEN_AT_ONCE)):
                stands = standing.of([change.deal_id for change in chunk])
                due = [change for change in chunk if _due(change, stands, self.place)]
                self.write(connection, due, run_id=run_id, at=at)
                written += len(due)
                there += len(chunk) - len(due)
        return Applied(written, there)

    @contextmanager
    def reading(self) -> Iterator[Standing]:
        """What stands, for a plan that is only looked at; nothing where there is no table yet."""
        if not self.has_table(self.scores):
            yield Standing(None, self.scores)
            return
        with self.errors(), self.database.engine.connect() as connection:
            yield Standing(connection, self.scores)

    def dispose(self) -> None:
        """Close the connections."""
        self.database.dispose()

    def has_table(self, table: sa.Table) -> bool:
        """Whether `scores` or `journal` is there."""
        if self.database.file and not self.database.file.exists():
            return False
        with self.errors():
            inspector = sa.inspect(self.database.engine)
            return bool(inspector.has_table(table.name, table.schema))

    def write(
        self, connection: sa.Connection, changes: list[Change], *, run_id: str, at: datetime
    ) -> None:
        """Write changes and their journal inside a transaction."""
        if not changes:
            return
        known = set(Standing(connection, self.scores).rows_of([c.deal_id for c in changes]))
        self._write_scores(connection, changes, known)
        entries = [_entry(change, run_id, at) for change in changes]
        connection.execute(sa.insert(self.journal), entries)

    def lock(self, connection: sa.Connection) -> None:
        """Keep other writers out until the transaction ends (SQLite: `BEGIN IMMEDIATE` did it)."""
        if self.database.engine.dialect.name == "postgresql":
            name = self.database.engine.dialect.identifier_preparer.format_table(self.scores)
            connection.exec_driver_sql(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE")

    def _write_scores(
        self, connection: sa.Connection, changes: list[Change], known: set[str]
    ) -> None:
        """Update the rows that are there, insert the others; touch no column but ours."""
        rows = [(change.deal_id, (change.new or Score()).values()) for change in changes]
        there = [{"key": deal_id, **values} for deal_id, values in rows if deal_id in known]
        fresh = [{"deal_id": deal_id, **values} for deal_id, values in rows if deal_id not in known]
        if fresh:
            connection.execute(sa.insert(self.scores), fresh)
        if there:
            same = self.scores.c.deal_id == sa.bindparam("key")
            ours: dict[str, Any] = {name: sa.bindparam(name) for name in FIELDS}
            connection.execute(sa.update(self.scores).where(same).values(ours), there)

    def _check_shapes(self, connection: sa.Connection) -> None:
        self._check_shape(connection, self.scores)
        self._check_shape(connection, self.journal)

    def _check_shape(self, connection: sa.Connection, table: sa.Table) -> None:
        """Refuse a table that lacks our columns, or whose key is not ours."""
        inspector = sa.inspect(connection)
        found = {
            column["name"]: column for column in inspector.get_columns(table.name, table.schema)
        }
        missing = [column.name for column in table.columns if column.name not in found]
        cure = "name another table in `write_back.table`, or drop this one if it is ours"
        if missing:
            raise WriteBackError(
                f"{self.place}: table `{table.fullname}` has no column `{missing[0]}`; {cure}"
            )
        if table is self.scores and not _is_unique(inspector, table):
            raise WriteBackError(
                f"{self.place}: `deal_id` is no key of table `{table.fullname}`; {cure}"
            )

    def errors(self) -> AbstractContextManager[None]:
        """Errors of the database in our words, without passwords."""
        return self.database.errors(
            "nothing was written. Check that the database is there, free and can be written"
        )


def _scores_table(name: str, metadata: sa.MetaData) -> sa.Table:
    kinds: tuple[Any, ...] = (
        sa.Float(53),
        sa.Date(),
        sa.String(20),
        sa.Text(),
        sa.DateTime(),
        sa.String(200),
    )
    return sa.Table(
        name,
        metadata,
        sa.Column("deal_id", sa.String(KEY_LENGTH), primary_key=True),
        *[sa.Column(field, kind) for field, kind in zip(FIELDS, kinds, strict=True)],
    )


def _journal_table(name: str, metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("entry", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.String(KEY_LENGTH), nullable=False),
        sa.Column("deal_id", sa.String(KEY_LENGTH), nullable=False, index=True),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("old_value", sa.Text()),
        sa.Column("new_value", sa.Text()),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
    )


def _due(change: Change, stands: dict[str, Score], place: str) -> bool:
    """Whether the change is still to be made; an error where someone wrote in between."""
    here = stands.get(change.deal_id)
    if here == change.new:
        return False
    if here != change.old:
        raise WriteBackError(
            f"{place}: deal `{change.deal_id}` was changed by another since the plan was made; "
            "nothing was written, make a new plan"
        )
    return True


def _entry(change: Change, run_id: str, at: datetime) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "deal_id": change.deal_id,
        "action": change.action,
        "old_value": change.old.to_json() if change.old else None,
        "new_value": change.new.to_json() if change.new else None,
        "why": change.why,
        "at": at,
    }


def _is_unique(inspector: Any, table: sa.Table) -> bool:
    """Whether `deal_id` alone is a primary key, a unique constraint or a unique index."""
    where = (table.name, table.schema)
    keys = [inspector.get_pk_constraint(*where)["constrained_columns"]]
    keys += [found["column_names"] for found in inspector.get_unique_constraints(*where)]
    keys += [
        found["column_names"] for found in inspector.get_indexes(*where) if found.get("unique")
    ]
    return ["deal_id"] in keys
