"""One walk through a kind of HubSpot's records, which fills several landed tables at once.

A record, the past of its properties and what it is tied to come by the same calls, but land in tables
of their own. A list tells its next page only with the one before, so pages follow each other; what is
asked for by id does not, and is asked for several calls at once: records with their past, and ties.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
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
from salesops_ml.crm.read_ahead import Step, in_order

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
GROUPS_AT_ONCE = 2
"""Calls for associations that are under way at once in a walk; each holds its records till then."""


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
    """One walk through a kind of records.

    Args:
        account: where they are.
        kind: which they are.
        properties: what is read of each.
        last_saved: when one of them was last saved, as known before any is read; a record that is saved
            while others are read counts as saved then, so that the next load reads it again.
        history: the properties whose past is read.
        tie: what they are tied to.

    Attributes:
        tables: what it fills, the records' own table first.
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
        self.tables = [kind, *([HISTORY] if history else []), *([tie.table] if tie else [])]
        self._account, self._properties, self._history = account, properties, history
        self._last_saved = last_saved

    def steps(self, since: str | None) -> Iterator[Step]:
        """Rows by table: of the records saved since, then of those in the recycle bin."""
        return chain(self._read(since), self._deleted())

    def _read(self, since: str | None) -> Iterator[Step]:
        yield from in_order(self._step, _groups(self._pages(since), LINKED), GROUPS_AT_ONCE)

    def _pages(self, since: str | None) -> Iterator[list[Record]]:
        short = len(",".join(self._properties)) <= LONGEST_ADDRESS
        if since is None and short and not self._history:
            return self._account.listed(self.kind, self._properties)
        size = WITH_HISTORY if self._history else PAGE
        batch = partial(
            self._account.batch, self.kind, properties=self._properties, history=self._history
        )
        return in_order(batch, _cut(self._ids(since), size), self._account.limits.calls_at_once)

    def _ids(self, since: str | None) -> Iterator[list[str]]:
        if since is not None:
            yield from self._account.found(self.kind, moment_of(since) - AGAIN)
            return
        for page in self._account.listed(self.kind, ()):
            yield [str(record["id"]) for record in page]

    def _step(self, told: Sequence[Record]) -> Step:
        """Rows of all tables from some records."""
        records = {str(record["id"]): record for record in told}.values()
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


def _groups(pages: Iterable[list[Any]], most: int) -> Iterator[list[Any]]:
    """Pages put together, so that a group has no more than one call bears."""
    group: list[Any] = []
    for page in pages:
        if group and len(group) + len(page) > most:
            yield group
            group = []
        group = group + page
    if group:
        yield group


def _cut(pages: Iterable[list[Any]], size: int) -> Iterator[list[Any]]:
    """Pages cut to what one call bears."""
    for page in pages:
        for start in range(0, len(page), size):
            yield page[start : start + size]
