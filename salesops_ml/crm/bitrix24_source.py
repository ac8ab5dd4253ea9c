"""Bitrix24 read by its API: each kind of record, from where the last load ended.

Deals, companies, quotes and activities come by the moment of their last change, with ten minutes read
again; stage history, whose rows never change, by number. No list tells what was deleted, so the ids of
all deals, companies and quotes are read with each load: what is missing is gone.

No clock of ours is asked. A record that is saved while others are being read may come with its old
values, so no load counts as having seen more than what stood when it began: that moment, by the portal's
clock, or the record's own if it is earlier, is in the column `changedAt`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from salesops_ml.crm.bitrix24_api import COMPANY, DEAL, QUOTE, Portal, Record
from salesops_ml.crm.bitrix24_mapping import map_bitrix24, shape, tracked
from salesops_ml.crm.landing_book import squashed
from salesops_ml.crm.landing_run import Feed, Page
from salesops_ml.crm.read_ahead import Step, Together
from salesops_ml.crm.vendors import Vendor
from salesops_ml.crm_settings import Bitrix24Source, is_own_field
from salesops_ml.errors import SourceError

ITEMS = {
    "deals": (DEAL, (
        "id", "categoryId", "stageId", "stageSemanticId", "companyId", "assignedById", "opportunity",
        "currencyId", "sourceId", "typeId", "closedate", "createdTime", "updatedTime", "movedTime",
    )),
    "companies": (COMPANY, ("id", "title", "industry", "revenue", "ufCrmRegion", "createdTime",
                            "updatedTime")),
    "quotes": (QUOTE, ("id", "dealId", "opportunity", "stageId", "createdTime", "updatedTime")),
}  # fmt: skip
"""Kind of item -> its `entityTypeId`, and what is read of it where the portal has it."""

IDS = {"deals": "deal_ids", "companies": "company_ids", "quotes": "quote_ids"}
"""Kind of item -> the table of all its ids."""
ACTIVITY = (
    "ID", "OWNER_ID", "OWNER_TYPE_ID", "TYPE_ID", "PROVIDER_ID", "PROVIDER_TYPE_ID",
    "RESPONSIBLE_ID", "START_TIME", "END_TIME", "DEADLINE", "CREATED", "LAST_UPDATED", "COMPLETED",
)  # fmt: skip
DICTIONARIES = ("SOURCE", "DEAL_TYPE", "INDUSTRY", "QUOTE_STATUS")
"""The dictionaries that words are taken from, beside the stages of deals."""
STATUS = ("ID", "ENTITY_ID", "STATUS_ID", "NAME", "SORT", "SEMANTICS")
CHANGED_AT = "changedAt"
AGAIN = timedelta(minutes=10)
AGAIN_ROWS = 1_000
"""Rows of stage history read again: a row may become visible after one with a higher number."""

IDS_A_PAGE = 50_000


def feeds(source: Bitrix24Source, *, pace_book: Path | None = None) -> Sequence[Feed]:
    """The kinds of records that the webhook may read, each from where the last load ended.

    Raises:
        SourceError: the portal cannot be reached, or the webhook may not read the CRM.
    """
    portal = Portal(source, pace_book=pace_book)
    scopes = portal.scopes()
    if "crm" not in scopes:
        raise SourceError(
            f"{portal.place}: the webhook lacks the scope `crm`, without which nothing can be read; "
            "add it to the webhook"
        )
    fields = {name: _chosen(portal, source, name) for name in ITEMS}
    together = Together(source.calls_at_once)
    found = [feed for name in ITEMS for feed in _items(portal, name, list(fields[name]), together)]
    found.append(_history(portal, together))
    found += _activities(portal, source, together)
    found += _dictionaries(portal)
    words = _words(fields["deals"])
    if words:
        found.append(Feed("field_words", ("field", "id"), lambda _: iter([words]), whole=True))
    if {"user", "user_basic", "user_brief"} & scopes:
        found.append(_users(portal, source, together))
    if "department" in scopes:
        found.append(_whole(portal, "departments", "ID", "department.get", {}))
    close = together.closing(portal.door.close)
    return [replace(feed, close=close) for feed in found]


def _chosen(portal: Portal, source: Bitrix24Source, name: str) -> dict[str, Record]:
    """The fields to read: those that the mapping knows, and those that settings name."""
    entity, wanted = ITEMS[name]
    if name == "deals":
        named = [field.column or own for own, field in source.custom_fields.items()]
        wanted = (*wanted, *named, *source.canonical_fields.values())
    described = portal.fields(entity)
    there = {squashed(field): field for field in described}
    chosen = [there[squashed(field)] for field in wanted if squashed(field) in there]
    return {field: described[field] for field in dict.fromkeys(chosen) if not is_own_field(field)}


def _items(portal: Portal, name: str, fields: list[str], together: Together) -> list[Feed]:
    """Items by the moment of their last change, and then the ids of all that there are.

    Ids come last: an item that is made meanwhile may be missing among the items, never among the ids.
    Later loads ask for them only where their number says that some are gone.
    """
    entity, _ = ITEMS[name]
    ids = IDS[name]

    def steps(since: str | None) -> Iterator[Step]:
        asked = {"entityTypeId": entity, "select": fields, "filter": _since("updatedTime", since)}
        for page in portal.pages("crm.item.list", asked, key="id", inside="items"):
            yield {name: [_dated(row, "updatedTime", portal.seen_at) for row in page]}
        if since is None:
            yield from ({ids: held} for held in all_ids())

    def all_ids() -> Iterator[pa.Table]:
        return _held(portal.pages("crm.item.list", only_ids, key="id", inside="items"), "id")

    def read_ids(_: Any) -> Iterator[Page]:
        return walk.beside(ids) if walk.first else walk.before(all_ids())

    only_ids = {"entityTypeId": entity, "select": ["id"]}
    walk = together.walk([name, ids], steps)
    return [
        Feed(name, ("id",), walk.read, cursor=CHANGED_AT),
        Feed(ids, ("id",), read_ids, whole=True,
             count=partial(portal.total, "crm.item.list", only_ids), news=name),
    ]  # fmt: skip


def _held(pages: Iterator[list[Record]], key: str) -> Iterator[pa.Table]:
    """Ids alone, many to a page: they are read whole with each load, so they should cost little."""
    held: list[str] = []
    for page in pages:
        held += [str(row[key]) for row in page]
        if len(held) >= IDS_A_PAGE:
            yield pa.table({key: held})
            held = []
    if held:
        yield pa.table({key: held})


def _history(portal: Portal, together: Together) -> Feed:
    """Stage history by number."""
    asked = {"entityTypeId": DEAL}

    def read(since: int | None) -> Iterator[list[Record]]:
        after = max(0, int(since or 0) - AGAIN_ROWS)
        for page in portal.pages(
            "crm.stagehistory.list", asked, key="ID", inside="items", after=after
        ):
            yield [{**row, "ID": int(row["ID"])} for row in page]

    return Feed("stage_history", ("ID",), together.table("stage_history", read), cursor="ID")


def _activities(portal: Portal, source: Bitrix24Source, together: Together) -> list[Feed]:
    """Activities by the moment of their last change, with the deal that each belongs to; and all ids."""

    def read(since: str | None) -> Iterator[list[Record]]:
        asked = {"select": ACTIVITY, "filter": _since("LAST_UPDATED", since)}
        for page in portal.pages("crm.activity.list", asked, key="ID"):
            yield [_dated(_of_deal(row), "LAST_UPDATED", portal.seen_at) for row in page]

    def read_ids(_: Any) -> Iterator[pa.Table]:
        return _held(portal.pages("crm.activity.list", only_ids, key="ID"), "ID")

    only_ids = {"select": ["ID"]}
    table = together.table("activities", read)
    found = [Feed("activities", ("ID",), table, cursor=CHANGED_AT)]
    if source.gone_activities:
        count = partial(portal.total, "crm.activity.list", only_ids)
        found.append(
            Feed("activity_ids", ("ID",), read_ids, whole=True, count=count, news="activities")
        )
    return found


def _dictionaries(portal: Portal) -> list[Feed]:
    """Pipelines, stages and other words, and currencies: short lists, read whole."""

    def statuses(_: Any) -> Iterator[list[Record]]:
        for page in portal.counted("crm.status.list", {"order": {"ID": "ASC"}}):
            yield [
                {key: row.get(key) for key in STATUS}
                for row in page
                if row["ENTITY_ID"].startswith("DEAL_STAGE") or row["ENTITY_ID"] in DICTIONARIES
            ]  # fmt: skip

    of_deals = {"entityTypeId": DEAL}
    return [
        _whole(portal, "categories", "id", "crm.category.list", of_deals, inside="categories"),
        Feed("statuses", ("ID",), statuses, whole=True),
        _whole(portal, "currencies", "CURRENCY", "crm.currency.list", {}),
    ]


def _whole(
    portal: Portal, name: str, key: str, method: str, asked: Mapping[str, Any],
    inside: str | None = None,
) -> Feed:  # fmt: skip
    return Feed(name, (key,), lambda _: portal.counted(method, asked, inside=inside), whole=True)


def _users(portal: Portal, source: Bitrix24Source, together: Together) -> Feed:
    """Users, each with the first of its departments; addresses and pictures stay where they are."""
    kept = ("ID", "ACTIVE", "NAME", "LAST_NAME", "DATE_REGISTER", "WORK_COUNTRY",
            *source.rep_fields.values())  # fmt: skip

    def read(_: Any) -> Iterator[list[Record]]:
        for page in portal.pages("user.get", {"sort": "ID", "order": "ASC"}, key="ID"):
            yield [
                {**{key: row.get(key) for key in kept if key in row},
                 "department": next(iter(row.get("UF_DEPARTMENT") or []), None)}
                for row in page
            ]  # fmt: skip

    return Feed("users", ("ID",), together.table("users", read), whole=True)


def _words(fields: Mapping[str, Record]) -> list[Record]:
    """The words of list fields by their number; the fields' own values are numbers."""
    return [
        {"field": squashed(name), "id": str(one["ID"]), "word": one["VALUE"]}
        for name, field in fields.items() if field.get("type") == "enumeration"
        for one in field.get("items") or ()
    ]  # fmt: skip


def _of_deal(row: Record) -> Record:
    of_deal = str(row["OWNER_TYPE_ID"]) == str(DEAL)
    return {**row, "dealId": str(row["OWNER_ID"]) if of_deal else None}


def _dated(row: Record, column: str, seen_at: datetime | None) -> Record:
    """A record with the moment up to which it is known: never later than the load's beginning."""
    if not row.get(column):
        return {**row, CHANGED_AT: None}
    moment = _utc(row[column])
    if seen_at is not None:
        moment = min(moment, seen_at.replace(microsecond=0))
    return {**row, CHANGED_AT: moment.isoformat(timespec="seconds")}


def _since(column: str, since: str | None) -> Record:
    """The condition that a record changed since a load, or shortly before its end."""
    if since is None:
        return {}
    earlier = datetime.fromisoformat(since) - AGAIN
    return {f">={column}": f"{earlier.isoformat(timespec='seconds')}+00:00"}


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


VENDOR = Vendor(feeds, map_bitrix24, shape, tracked)
"""How Bitrix24 is read."""
