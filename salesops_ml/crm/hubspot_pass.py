"""One reading of a kind of HubSpot's records, which fills several landed tables at once.

A record, the past of its properties and what it is tied to come by the same calls, but land in tables
of their own, each of which is read when the landing asks for it. What comes before it is asked for
waits in a temporary file, so that memory does not grow with the records.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from salesops_ml.crm.hubspot_api import (
    LINKED,
    PAGE,
    STAMP,
    WITH_HISTORY,
    Account,
    Record,
    moment_of,
)

MODIFIED = "modified"
"""Our name of when a record was last saved, as far as it counts for the next load; the cursor."""
AS_OF = "as_of"
"""When the record was last saved whose associations stand in a row: those of the last time hold."""
MERGED = "hs_merged_object_ids"
PRIMARY = 5
"""The type of the association of a deal with its primary company."""
LONGEST_ADDRESS = 6_000
"""Characters of names of properties that a list is asked for; more are asked for by id, in a body."""
AGAIN = timedelta(minutes=10)
"""Read again: searches find a record some moments after it was saved."""
HISTORY = "deal_property_history"

Step = Mapping[str, list[Record]]


@dataclass(frozen=True)
class Tie:
    """A landed table that says what records of a kind are tied to.

    Attributes:
        table: its name.
        to: the other kind.
        mine, theirs: its columns of the two ids.
    """

    table: str
    to: str
    mine: str
    theirs: str


class Pass:
    """One reading of a kind of records.

    Args:
        account: where they are.
        kind: which they are.
        properties: what is read of each.
        last_saved: when one of them was last saved, as known before any is read; a record that is saved
            while others are read counts as saved then, so that the next load reads it again.
        history: the properties whose past is read.
        tie: what they are tied to.
    """

    def __init__(
        self,
        account: Account,
        kind: str,
        properties: Sequence[str],
        last_saved: datetime | None,
        *,
        history: Sequence[str] = (),
        tie: Tie | None = None,
    ) -> None:
        self.kind, self.tie = kind, tie
        self._account, self._properties, self._history = account, properties, history
        self._last_saved = last_saved
        self._steps: Iterator[Step] = iter(())
        tables = [kind, *([HISTORY] if history else []), *([tie.table] if tie else [])]
        self._waiting = {table: _Waiting() for table in tables}

    def records(self, since: str | None) -> Iterator[list[Record]]:
        """The records that were saved since, then those in the recycle bin; begins the reading."""
        self._steps = chain(self._read(since), self._deleted())
        yield from self._pages(self.kind)

    def beside(self, table: str) -> Iterator[list[Record]]:
        """The rows of another table that the same reading brings; `records` must have begun."""
        yield from self._pages(table)

    def close(self) -> None:
        """Let go of what waited in vain."""
        for waiting in self._waiting.values():
            waiting.close()

    def _pages(self, table: str) -> Iterator[list[Record]]:
        waiting = self._waiting[table]
        while True:
            if waiting:
                yield waiting.take()
                continue
            step = next(self._steps, None)
            if step is None:
                return
            for name, rows in step.items():
                if name != table and rows:
                    self._waiting[name].add(rows)
            if step.get(table):
                yield step[table]

    def _read(self, since: str | None) -> Iterator[Step]:
        asked = ",".join([*self._properties, *self._history])
        if since is None and len(asked) <= LONGEST_ADDRESS:
            pages = self._account.listed(self.kind, self._properties, history=self._history)
            for records in _groups(pages):
                yield self._step(records)
            return
        for ids in _groups(self._ids(since)):
            size = WITH_HISTORY if self._history else PAGE
            found = {
                str(record["id"]): record
                for start in range(0, len(ids), size)
                for record in self._account.batch(
                    self.kind, ids[start : start + size], self._properties, self._history
                )
            }
            yield self._step(list(found.values()))

    def _ids(self, since: str | None) -> Iterator[list[str]]:
        if since is not None:
            yield from self._account.found(self.kind, moment_of(since) - AGAIN)
            return
        for page in self._account.listed(self.kind, ()):
            yield [str(record["id"]) for record in page]

    def _step(self, records: Sequence[Record]) -> Step:
        """Rows of all tables from some records."""
        done: dict[str, list[Record]] = {self.kind: [self._row(record) for record in records]}
        if self._history:
            done[HISTORY] = [row for record in records for row in _past(record)]
        if self.tie is not None and records:
            done[self.tie.table] = self._ties(self.tie, done[self.kind])
        return done

    def _row(self, record: Record) -> Record:
        told = record["properties"]
        row = {name: told.get(name) for name in self._properties}
        return {"id": str(record["id"]), "archived": False, **row, MODIFIED: self._saved(told)}

    def _saved(self, told: Record) -> str | None:
        """When it was saved, no later than the reading began; None where that is not known."""
        if self._last_saved is None or not told.get(STAMP):
            return None
        moment = min(moment_of(told[STAMP]), self._last_saved)
        return moment.isoformat(timespec="milliseconds")

    def _ties(self, tie: Tie, rows: Sequence[Record]) -> list[Record]:
        """What records are tied to; nothing in the place of the other's id where there is none."""
        tied = self._account.links(self.kind, tie.to, [row["id"] for row in rows])
        done = []
        for row in rows:
            for other, types in (tied.get(row["id"]) or {"": set()}).items():
                kind = PRIMARY if PRIMARY in types else min(types, default=None)
                link = {tie.mine: row["id"], tie.theirs: other, AS_OF: row[MODIFIED]}
                done.append({**link, "type_id": kind} if tie.to == "companies" else link)
        return done

    def _deleted(self) -> Iterator[Step]:
        """Records in the recycle bin, which no search finds and which archiving did not save."""
        kept = [MERGED] if MERGED in self._properties else []
        for page in self._account.listed(self.kind, kept, archived=True):
            rows = [
                {
                    "id": str(one["id"]),
                    "archived": True,
                    **{n: one["properties"].get(n) for n in kept},
                }
                for one in page
            ]
            yield {self.kind: rows}


def _past(record: Record) -> Iterator[Record]:
    """The past of a record's properties, a row a value."""
    for name, values in (record.get("propertiesWithHistory") or {}).items():
        for value in values:
            yield {
                "deal_id": str(record["id"]), "name": name, "value": value["value"],
                "timestamp": value["timestamp"], "source_type": value.get("sourceType"),
                "source_id": value.get("sourceId"),
                "updated_by_user_id": value.get("updatedByUserId"),
            }  # fmt: skip


def _groups(pages: Iterable[list[Any]]) -> Iterator[list[Any]]:
    """Pages put together as far as one call for associations bears."""
    group: list[Any] = []
    for page in pages:
        if len(group) + len(page) > LINKED:
            yield group
            group = []
        group = group + page
    if group:
        yield group


class _Waiting:
    """Pages that wait in a file, first come first served."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._next, self._count = 0, 0

    def __bool__(self) -> bool:
        return self._count > 0

    def close(self) -> None:
        self._file.close()

    def add(self, rows: list[Record]) -> None:
        self._file.seek(0, 2)
        self._file.write(json.dumps(rows).encode() + b"\n")
        self._count += 1

    def take(self) -> list[Record]:
        self._file.seek(self._next)
        rows: list[Record] = json.loads(self._file.readline())
        self._next, self._count = self._file.tell(), self._count - 1
        if not self._count:
            self._file.truncate(0)
            self._next = 0
        return rows
