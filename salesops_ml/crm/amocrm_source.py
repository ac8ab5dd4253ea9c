"""amoCRM and Kommo read by their API: what changed since the last load, kind by kind.

Leads, companies and tasks come in the order of their ids, from ten minutes before the last load's
highest `updated_at` on: what is saved meanwhile joins the list and moves nobody out of it. What is
deleted meanwhile moves those behind it one place forward; where the bin of leads, or the events of
companies and tasks, say that this happened, the list is read again. Notes, of whose deletion nothing
tells, come by their last change, page by page from a moment on, so that nothing moves. What was saved
during a long reading is asked for once more, since the highest `updated_at` may be of a later save than
one that was read over. History comes from events (`amocrm_events`). An account that ignores filters
gives everything each time, of which the landing keeps what is new. No clock of ours is asked.

Sources: amoCRM developer documentation, pages "Leads", "Leads pipelines", "Companies", "Tasks",
"Events and notes", "Users", "Loss reasons" and "Filters".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from salesops_ml.crm.amocrm_api import Account, Record
from salesops_ml.crm.amocrm_events import CUSTOM, TRACKED, fates, walk
from salesops_ml.crm.amocrm_mapping import (
    histories,
    map_amocrm,
    references,
    shape,
    tracked,
)
from salesops_ml.crm.amocrm_rows import (
    NOTE_KINDS,
    Chosen,
    company_row,
    contact_of,
    event_row,
    lead_row,
    note_row,
    status_rows,
    task_kinds,
    task_row,
    user_row,
)
from salesops_ml.crm.landing_run import Feed
from salesops_ml.crm.read_ahead import Step, Together
from salesops_ml.crm.vendors import Vendor
from salesops_ml.crm_settings import AmoCrmSource, is_own_field
from salesops_ml.errors import SourceError

AGAIN = 600
"""Seconds before the last load's end that are read again: a save may show after a later one."""
SHORT = 300
"""A list whose reading took longer, in seconds, is asked once more for what was saved meanwhile."""
MOST_TRIES = 5
_LOG = logging.getLogger(__name__)
_Rows = Iterator[list[Record]]
_Read = Callable[[Any], _Rows]


def feeds(source: AmoCrmSource, *, pace_book: Path | None = None) -> Sequence[Feed]:
    """The kinds of records of an account, each from where the last load ended.

    Args:
        source: how the account is reached.
        pace_book: the file that keeps the times of the last calls, also of those that write.

    Raises:
        SourceError: the account cannot be reached, or has no field that settings name.
    """
    account = Account(source, pace_book=pace_book)
    if not account.filters:
        _LOG.warning(
            "%s: filters of its API are switched off, so every load reads all leads and companies",
            account.place,
        )
    together = Together(source.calls_at_once)
    found = _tables(account, _Reader(account, source), together)
    close = together.closing(account.door.close)
    return [replace(feed, close=close) for feed in found]


def _tables(account: Account, reader: _Reader, together: Together) -> list[Feed]:
    """Leads first; what changes with them, then what is read whole, which is short."""
    changed: list[tuple[str, str, _Read, bool]] = [
        ("leads", "id", reader.leads, True),
        ("lead_events", "id", reader.events, False),
        ("companies", "id", reader.companies, True),
        ("lead_contacts", "deal_id", reader.contacts, True),
        ("tasks", "activity_id", reader.tasks, False),
        ("lead_notes", "activity_id", reader.lead_notes, False),
        ("contact_notes", "activity_id", reader.contact_notes, False),
    ]
    found = [
        Feed(name, (key,), together.table(name, _caught_up(account, read, paid=paid)),
             cursor="created_at" if name == "lead_events" else "updated_at", deleted="is_deleted")
        for name, key, read, paid in changed
    ]  # fmt: skip
    lines = together.walk(["pipelines", "statuses"], reader.pipelines)
    return [
        *found,
        Feed("pipelines", ("id",), lines.read, whole=True),
        Feed("statuses", ("stage",), lambda _: lines.beside("statuses"), whole=True),
        Feed("account", ("id",), together.table("account", reader.about), whole=True),
        Feed(
            "loss_reasons", ("id",), together.table("loss_reasons", reader.loss_reasons), whole=True
        ),
        Feed("custom_fields", ("id", "ref"), reader.fields, whole=True),
        Feed("users", ("id",), together.table("users", reader.users), whole=True),
    ]


class _Reader:
    """The account's lists as landed rows."""

    def __init__(self, account: Account, source: AmoCrmSource) -> None:
        self.account, self.source = account, source
        self.zone = account.zone
        self.of_leads = _chosen(account, "leads", references(source))
        refs = {f"account_fields.{name}": ref for name, ref in source.account_fields.items()}
        self.of_companies = _chosen(account, "companies", refs)

    def about(self, _: Any) -> _Rows:
        told = self.account.about
        yield [{"id": told["id"], "name": told.get("name"), "currency": told.get("currency")}]

    def leads(self, since: Any) -> _Rows:
        """Leads that changed, and the fate of those that were deleted, restored or merged."""
        for _ in range(MOST_TRIES):
            bin_before, pages = self._newest_in_bin(), 0
            for page in self.account.pages("leads", "leads", _since(since)):
                pages += 1
                yield self._lead_rows(page)
            if pages < 2 or self._newest_in_bin() == bin_before:
                break
        for lead_id, deleted in self._told(since, "lead"):
            lead = None if deleted else self.account.one("leads", lead_id)
            yield self._lead_rows([lead]) if lead else [_tombstone(lead_id)]
        if since is not None:
            for page in self.account.pages("leads", "leads", {"with": "only_deleted"}):
                yield [_tombstone(lead["id"]) for lead in page]

    def events(self, since: Any) -> _Rows:
        told = set(histories(self.source).values())
        by_id = {field.field_id: field for field in self.of_leads if field.ref in told}
        kinds = [*TRACKED, *(CUSTOM.format(field_id) for field_id in by_id)]
        for page in walk(self.account, kinds, _from(since)):
            yield [event_row(event, by_id, self.zone) for event in page]

    def pipelines(self, _: Any) -> Iterator[Step]:
        """Pipelines and their statuses, which come together."""
        for page in self.account.pages("leads/pipelines", "pipelines"):
            yield {
                "pipelines": [
                    {"id": r["id"], "name": r["name"], "sort": r.get("sort")} for r in page
                ],
                "statuses": status_rows(page),
            }

    def loss_reasons(self, _: Any) -> _Rows:
        for page in self.account.pages("leads/loss_reasons", "loss_reasons"):
            yield [{"id": row["id"], "name": row["name"]} for row in page]

    def fields(self, _: Any) -> _Rows:
        """The fields that settings name: by them an event's field is known."""
        yield [{"id": field.field_id, "ref": field.ref} for field in self.of_leads]

    def users(self, _: Any) -> _Rows:
        since = self.account.about.get("created_at")
        for page in self.account.pages("users", "users", {"with": "group"}):
            yield [user_row(user, since) for user in page]

    def companies(self, since: Any) -> _Rows:
        """Companies that changed, and the fate of those that were deleted, restored or merged."""
        yield from self._standing("company", "companies", self._company_row, since)
        for company_id, deleted in self._told(since, "company"):
            company = None if deleted else self.account.one("companies", company_id)
            yield [self._company_row(company) if company else _tombstone(company_id)]

    def tasks(self, since: Any) -> _Rows:
        """Tasks that changed, and those that were deleted."""
        kinds = task_kinds(self.account.about)
        yield from self._standing("task", "tasks", lambda task: task_row(task, kinds), since)
        for task_id, _ in self._told(since, "task"):
            yield [{"activity_id": f"task-{task_id}", "is_deleted": True}]

    def contacts(self, since: Any) -> _Rows:
        """Each lead's main contact, on whom telephony hangs its calls."""
        for page in self.account.pages("leads", "leads", {"with": "contacts", **_since(since)}):
            yield [contact_of(lead) for lead in page]

    def lead_notes(self, since: Any) -> _Rows:
        yield from self._notes("leads", "deal_id", since)

    def contact_notes(self, since: Any) -> _Rows:
        yield from self._notes("contacts", "contact_id", since)

    def _notes(self, entity: str, column: str, since: Any) -> _Rows:
        kinds = {"filter[note_type][]": list(NOTE_KINDS)}
        for page in self.account.by_change(f"{entity}/notes", "notes", kinds, _from(since)):
            yield [note_row(row, column) for row in page]

    def _standing(
        self, entity: str, kind: str, row: Callable[[Record], Record], since: Any
    ) -> _Rows:
        """A list without a bin; read again where events tell that one of it was deleted meanwhile."""
        for _ in range(MOST_TRIES):
            began, pages = self.account.told_at, 0
            for page in self.account.pages(kind, kind, _since(since)):
                pages += 1
                yield [row(record) for record in page]
            if pages < 2 or began is None:
                return
            if not any(fates(self.account, int(began) - 1, entity=entity).values()):
                return

    def _told(self, since: int | None, entity: str) -> Iterable[tuple[int, bool]]:
        """What events tell of records of a kind that landed: id, and whether it was deleted."""
        return () if since is None else fates(self.account, since - AGAIN, entity=entity).items()

    def _company_row(self, company: Record) -> Record:
        return company_row(company, self.of_companies, self.zone)

    def _lead_rows(self, leads: Sequence[Record]) -> list[Record]:
        return [lead_row(lead, self.of_leads, self.zone) for lead in leads]

    def _newest_in_bin(self) -> list[Any]:
        asked = {"with": "only_deleted", "order[updated_at]": "desc", "limit": 1}
        found = self.account.get("leads", asked) or {}
        return [lead["id"] for lead in found.get("_embedded", {}).get("leads", [])]


def _caught_up(account: Account, read: _Read, *, paid: bool = False) -> _Read:
    """The same reading, and again over what was saved while it lasted, until that was short.

    Args:
        account: where it reads.
        read: gives what was saved since a moment.
        paid: where filters are off it gives everything each time, so that nothing can be missed.
    """

    def reading(since: Any) -> _Rows:
        while True:
            began = account.told_at
            yield from read(since)
            ended = account.told_at
            if began is None or ended is None or ended - began < SHORT:
                return
            if paid and not account.filters:
                return
            since = int(began)

    return reading


def _tombstone(record_id: int) -> Record:
    return {"id": record_id, "is_deleted": True}


def _from(since: int | None) -> int | None:
    return None if since is None else since - AGAIN


def _since(since: int | None) -> dict[str, Any]:
    """What changed since, in the order of ids."""
    asked: dict[str, Any] = {"order[id]": "asc"}
    return asked if since is None else {**asked, "filter[updated_at][from]": since - AGAIN}


def _chosen(account: Account, entity: str, refs: dict[str, str]) -> list[Chosen]:
    """The fields that settings name by id or code.

    Raises:
        SourceError: there is no such field, or it is one that scores are written to.
    """
    if not refs:
        return []
    there = account.fields(entity)
    done: dict[str, Chosen] = {}
    for setting, ref in refs.items():
        field = _found(there, ref)
        if field is None:
            known = ", ".join(f"{f.get('code') or f['id']} ({f['name']})" for f in there) or "none"
            raise SourceError(
                f"{account.place}: `source.{setting}`: {entity} have no field with the id or code "
                f"`{ref}`; they have: {known}; correct it, or leave it out"
            )
        if is_own_field(str(field.get("code") or "")) or is_own_field(str(field["name"])):
            raise SourceError(
                f"{account.place}: `source.{setting}`: `{ref}` is a field that scores are written to; "
                "learning from it would be learning from ourselves; leave it out"
            )
        done.setdefault(ref, Chosen(ref, field["id"], field["type"]))
    return list(done.values())


def _found(there: Sequence[Record], ref: str) -> Record | None:
    tests: tuple[Callable[[Record], bool], ...] = (
        lambda field: str(field["id"]) == ref,
        lambda field: str(field.get("code") or "").lower() == ref.lower(),
    )
    return next((field for test in tests for field in there if test(field)), None)


VENDOR = Vendor(feeds, map_amocrm, shape, tracked)
