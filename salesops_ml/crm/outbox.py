"""The outbox: what is to be written into a CRM, and how far each piece of it has come, in SQL.

A row a run and deal. It is committed before a call is made and after its answer came, in that order,
so that after a crash the state says the truth:

- `planned`: not sent, or surely without effect;
- `sent`: a call was begun, no answer is noted;
- `ambiguous`: the answer was lost;
- `confirmed`: the CRM said that it is done, or it was read back;
- `failed`: the CRM said no for good, and why.

`sent` and `ambiguous` rows are read back before anything is sent again. SQLite by default; any
SQLAlchemy URL. Rows are read by key, a chunk at a time, so that memory does not grow with them.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from salesops_ml.crm.file_lock import hold
from salesops_ml.crm.outbox_tables import (
    CANARY,
    STATES,
    Entry,
    OutboxRun,
    RunState,
    Settled,
    State,
    entry_of,
    row_of,
    rows_table,
    run_of,
    runs_table,
)
from salesops_ml.crm.secrets import mask
from salesops_ml.crm.sql_engine import Database
from salesops_ml.errors import DataError, UsageError, WriteBackError
from salesops_ml.scoring.plan import Change

LEAST_CANARY = 10
"""So many deals go ahead at least: a single one may just have been deleted."""
DEFAULT_URL = "sqlite:///store/outbox.db"
_FILLED_AT_ONCE = 2_000
_NAMED_AT_ONCE = 500
_PG_LOCK = 7_303_001
_KILLED_SESSION_ENDS = 3.0
"""How long PostgreSQL may take to notice that the process of a session was killed, in seconds."""


class Outbox:
    """The outbox in a database.

    Args:
        url: SQLAlchemy URL.

    Raises:
        WriteBackError: the URL cannot be used, or the database cannot be written.
    """

    def __init__(self, url: str = DEFAULT_URL) -> None:
        self.database = Database(url, setting="write_back.outbox")
        self._metadata = sa.MetaData()
        self._runs = runs_table(self._metadata)
        self._rows = rows_table(self._metadata)
        if self.database.engine.dialect.name == "sqlite":
            _survive_crashes(self.database.engine)

    def prepare(self) -> None:
        """Make our tables where they are missing."""
        with self._errors():
            self.database.make_folder()
            with self.database.writing() as connection:
                self._metadata.create_all(connection)
                for index in self._rows.indexes:
                    index.create(connection, checkfirst=True)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes from delivering out of this outbox; a crash gives it free.

        Raises:
            WriteBackError: another process delivers.
        """
        if self.database.engine.dialect.name == "postgresql":
            with self._advisory_lock():
                yield
            return
        path = self.database.file
        if path is None:
            yield
            return
        self.database.make_folder()
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not hold(lock, wait=False, what=f"{path}.lock"):
                raise self._busy()
            yield
        finally:
            os.close(lock)

    @contextmanager
    def _advisory_lock(self) -> Iterator[None]:
        """PostgreSQL's lock of a session: it ends with the connection, however that ends."""
        with self._errors():
            plain = self.database.engine.connect()
        with plain:
            connection = plain.execution_options(isolation_level="AUTOCOMMIT")
            until = time.monotonic() + _KILLED_SESSION_ENDS
            while not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_PG_LOCK))):
                if time.monotonic() > until:
                    raise self._busy()
                time.sleep(0.1)
            try:
                yield
            finally:
                connection.scalar(sa.select(sa.func.pg_advisory_unlock(_PG_LOCK)))

    def plan(
        self,
        run_id: str,
        place: str,
        changes: Iterable[Change],
        *,
        at: datetime,
        canary_share: float = 0.01,
        of_run: str | None = None,
    ) -> int:
        """Write a run's plan into the outbox, chunk by chunk; changes that keep are left out.

        A plan that was not written to its end is never sent: `open` comes last.

        Args:
            run_id: the run; a new one.
            place: the CRM, for people.
            changes: what to write; may be a generator of any length.
            at: when, naive UTC.
            canary_share: share of the deals that is sent first; `LEAST_CANARY` at least.
            of_run: the run that this one rolls back.

        Returns:
            How many changes are to be written.

        Raises:
            UsageError: there is such a run.
            DataError: a deal stands twice in the plan.
        """
        self.prepare()
        run = {
            "run_id": run_id, "place": mask(place), "kind": "rollback" if of_run else "write",
            "of_run": of_run, "state": "planning", "canary": False, "planned_at": at,
        }  # fmt: skip
        with self._errors(), self.database.writing() as connection:
            if connection.scalar(self._chosen(run_id).with_only_columns(sa.func.count())):
                raise UsageError(f"run `{run_id}` is in the outbox already; resume it")
            connection.execute(sa.insert(self._runs), run)
        written = (change for change in changes if change.action != "keep")
        filled = sum(
            self._fill(run_id, chunk, at, canary_share)
            for chunk in _chunks(written, _FILLED_AT_ONCE)
        )
        with self._errors(), self.database.writing() as connection:
            self._name_a_canary(connection, run_id)
        self.set_state(run_id, "open")
        return filled

    def drop_plan(self, run_id: str) -> None:
        """Forget a plan that was not written to its end; nothing of it was sent."""
        with self._errors(), self.database.writing() as connection:
            state = connection.scalar(self._chosen(run_id).with_only_columns(self._runs.c.state))
            if state == "planning":
                for table in (self._rows, self._runs):
                    connection.execute(sa.delete(table).where(table.c.run_id == run_id))

    def runs(self) -> list[OutboxRun]:
        """All runs, the last planned first."""
        if not self._is_there():
            return []
        with self._errors(), self.database.engine.connect() as connection:
            found = connection.execute(
                sa.select(self._runs).order_by(self._runs.c.planned_at.desc(), self._runs.c.run_id)
            )
            return [run_of(row) for row in found.mappings()]

    def run(self, run_id: str) -> OutboxRun:
        """The run of that name.

        Raises:
            UsageError: there is none.
        """
        for run in self.runs():
            if run.run_id == run_id:
                return run
        raise UsageError(
            f"{self.database.place}: no run `{run_id}`; `salesops write-back status` lists them"
        )

    def set_state(self, run_id: str, state: RunState, *, reason: str | None = None) -> None:
        """Note how far a run has come."""
        self._update_run(run_id, state=state, reason=mask(reason) if reason else None)

    def supersede(self, place: str) -> None:
        """Runs at that place that are not finished are never resumed: a later plan takes their place.

        Raises:
            WriteBackError: another process delivers one of them just now.
        """
        if not self._is_there():
            return
        runs = self._runs.c
        stale = (runs.place == mask(place)) & runs.state.in_(("open", "stopped", "planning"))
        with self.exclusive(), self._errors(), self.database.writing() as connection:
            connection.execute(sa.update(self._runs).where(stale).values(state="superseded"))

    def set_canary(self, run_id: str) -> None:
        """Note that the canary share was read back right."""
        self._update_run(run_id, canary=True)

    def entries(
        self,
        run_id: str,
        states: Sequence[State],
        *,
        lane: int | None = None,
        after: str = "",
        limit: int,
    ) -> list[Entry]:
        """At most `limit` rows in these states, by deal, behind the deal `after`."""
        rows = self._rows.c
        asked = (
            sa.select(self._rows)
            .where(rows.run_id == run_id, rows.state.in_(states), rows.deal_id > after)
            .order_by(rows.deal_id)
            .limit(limit)
        )
        if lane is not None:
            asked = asked.where(rows.lane == lane)
        with self._errors(), self.database.engine.connect() as connection:
            return [entry_of(row) for row in connection.execute(asked).mappings()]

    def all_entries(
        self, run_id: str, states: Sequence[State], *, lane: int | None = None, limit: int
    ) -> Iterator[list[Entry]]:
        """All rows in these states, in chunks, by deal."""
        after = ""
        while chunk := self.entries(run_id, states, lane=lane, after=after, limit=limit):
            yield chunk
            after = chunk[-1].deal_id

    def mark_sent(self, run_id: str, deal_ids: Sequence[str], *, at: datetime) -> None:
        """Commit that a call with these deals begins now."""
        values = {"state": "sent", "attempts": self._rows.c.attempts + 1, "sent_at": at}
        self._set(run_id, deal_ids, values)

    def settle(self, run_id: str, found: Sequence[Settled], *, at: datetime) -> None:
        """Commit what became of these deals, all in one transaction."""
        groups: dict[tuple[State, str | None, bool], list[str]] = {}
        for one in found:
            reason = mask(one.reason) if one.reason else None
            groups.setdefault((one.state, reason, one.refused), []).append(one.deal_id)
        refusals = self._rows.c.refusals
        with self._errors(), self.database.writing() as connection:
            for (state, reason, refused), deal_ids in groups.items():
                values = {"state": state, "reason": reason, "settled_at": at}
                more = {"refusals": refusals + 1} if refused else {}
                self._set(run_id, deal_ids, {**values, **more}, connection)

    def retry_failed(self, run_id: str) -> None:
        """Plan again what the CRM refused, after a person has mended the cause."""
        rows = self._rows.c
        failed = sa.update(self._rows).where(rows.run_id == run_id, rows.state == "failed")
        with self._errors(), self.database.writing() as connection:
            connection.execute(failed.values(state="planned", refusals=0))
            run = sa.update(self._runs).where(self._runs.c.run_id == run_id)
            again = run.where(self._runs.c.state == "finished")
            connection.execute(again.values(state="open"))

    def counts(self, run_id: str) -> dict[State, int]:
        """How many rows are in each state."""
        rows = self._rows.c
        asked = sa.select(rows.state, sa.func.count()).where(rows.run_id == run_id)
        with self._errors(), self.database.engine.connect() as connection:
            found = {str(s): int(n) for s, n in connection.execute(asked.group_by(rows.state))}
        return {state: found.get(state, 0) for state in STATES}

    def reasons(self, run_id: str, *, limit: int = 10) -> list[tuple[str, int, str]]:
        """Why rows failed: reason, how many, one such deal; the most frequent first."""
        rows = self._rows.c
        many = sa.func.count()
        asked = (
            sa.select(rows.reason, many, sa.func.min(rows.deal_id))
            .where(rows.run_id == run_id, rows.state == "failed")
            .group_by(rows.reason)
            .order_by(many.desc(), rows.reason)
            .limit(limit)
        )
        with self._errors(), self.database.engine.connect() as connection:
            return [(str(r), int(n), str(d)) for r, n, d in connection.execute(asked)]

    def written_deals(self, place: str, *, limit: int) -> Iterator[list[str]]:
        """The deals that were ever written at that place, in chunks, by deal."""
        if not self._is_there():
            return
        rows, runs, after = self._rows.c, self._runs.c, ""
        here = sa.exists().where(runs.run_id == rows.run_id, runs.place == mask(place))
        while True:
            asked = (
                sa.select(rows.deal_id)
                .where(rows.deal_id > after, rows.attempts > 0, here)
                .distinct()
                .order_by(rows.deal_id)
                .limit(limit)
            )
            with self._errors(), self.database.engine.connect() as connection:
                found = [str(deal_id) for deal_id in connection.scalars(asked)]
            if not found:
                return
            yield found
            after = found[-1]

    def dispose(self) -> None:
        """Close the connections."""
        self.database.dispose()

    def _fill(self, run_id: str, chunk: Sequence[Change], at: datetime, share: float) -> int:
        rows = [row_of(run_id, change, at, share) for change in chunk]
        with self._errors(), self.database.writing() as connection:
            try:
                connection.execute(sa.insert(self._rows), rows)
            except IntegrityError:
                raise DataError(
                    f"run `{run_id}`: a deal between `{rows[0]['deal_id']}` and "
                    f"`{rows[-1]['deal_id']}` stands twice in the plan; plan each deal once"
                ) from None
        return len(rows)

    def _name_a_canary(self, connection: sa.Connection, run_id: str) -> None:
        """The first few deals go ahead too where chance named fewer."""
        rows = self._rows.c
        ours = rows.run_id == run_id
        named = sa.select(sa.func.count()).where(ours, rows.lane == CANARY)
        if int(connection.scalar(named) or 0) < LEAST_CANARY:
            few = sa.select(rows.deal_id).where(ours).order_by(rows.deal_id).limit(LEAST_CANARY)
            these = ours & rows.deal_id.in_(list(connection.scalars(few)))
            connection.execute(sa.update(self._rows).where(these).values(lane=CANARY))

    def _set(
        self,
        run_id: str,
        deal_ids: Sequence[str],
        values: dict[str, Any],
        connection: sa.Connection | None = None,
    ) -> None:
        if connection is None:
            with self._errors(), self.database.writing() as fresh:
                self._set(run_id, deal_ids, values, fresh)
            return
        rows = self._rows.c
        for chunk in _chunks(deal_ids, _NAMED_AT_ONCE):
            these = sa.update(self._rows).where(rows.run_id == run_id, rows.deal_id.in_(chunk))
            connection.execute(these.values(values))

    def _update_run(self, run_id: str, **values: Any) -> None:
        with self._errors(), self.database.writing() as connection:
            ours = self._runs.c.run_id == run_id
            connection.execute(sa.update(self._runs).where(ours).values(values))

    def _chosen(self, run_id: str) -> sa.Select[Any]:
        return sa.select(self._runs).where(self._runs.c.run_id == run_id)

    def _is_there(self) -> bool:
        path = self.database.file
        if path and not path.exists():
            return False
        with self._errors():
            return bool(sa.inspect(self.database.engine).has_table(self._runs.name))

    def _busy(self) -> WriteBackError:
        return WriteBackError(
            f"{self.database.place}: another process is writing back from this outbox; wait for it"
        )

    def _errors(self) -> AbstractContextManager[None]:
        return self.database.errors(
            "the outbox keeps what was noted before. Check that the database of "
            "`write_back.outbox` is there, free and can be written, then resume"
        )


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while chunk := list(itertools.islice(rest, size)):
        yield chunk


def _survive_crashes(engine: sa.Engine) -> None:
    """A write-ahead log: a killed process loses nothing, and a commit need not wait for the disk."""

    @sa.event.listens_for(engine, "connect")
    def _log_ahead(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
