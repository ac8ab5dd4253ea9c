"""Salesforce read by its API: each kind of record, from where the last load ended.

Rows come by `SystemModstamp` (histories that have none by `CreatedDate`), deleted ones among them, with
ten minutes read again: a save may become visible after a later one. No clock of ours is asked. A query
whose locator Salesforce has dropped (it keeps ten) goes on after the last row that came. A first load
reads as many kinds at the same time as there may be calls.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from salesops_ml.crm.landing_run import Feed
from salesops_ml.crm.read_ahead import Together
from salesops_ml.crm.salesforce_api import Org, Record, quoted
from salesops_ml.crm.salesforce_mapping import map_salesforce, shape, tracked
from salesops_ml.crm.vendors import Vendor
from salesops_ml.crm_settings import SalesforceSource, is_own_field
from salesops_ml.errors import Refused, SourceError

OBJECTS: dict[str, tuple[str, ...]] = {
    "Opportunity": (
        "Id", "Name", "AccountId", "OwnerId", "Amount", "StageName", "ForecastCategoryName",
        "CloseDate", "CreatedDate", "IsClosed", "IsWon", "LeadSource", "Type", "RecordTypeId",
        "CurrencyIsoCode", "IsDeleted", "SystemModstamp",
    ),
    "OpportunityHistory": (
        "Id", "OpportunityId", "StageName", "Amount", "CloseDate", "Probability",
        "ForecastCategory", "CreatedDate", "CreatedById", "IsDeleted", "SystemModstamp",
    ),
    "OpportunityFieldHistory": (
        "Id", "OpportunityId", "Field", "OldValue", "NewValue", "CreatedDate", "CreatedById",
        "IsDeleted",
    ),
    "OpportunityStage": (
        "Id", "MasterLabel", "ApiName", "IsActive", "IsWon", "IsClosed", "SortOrder",
        "DefaultProbability",
    ),
    "Account": (
        "Id", "Name", "Industry", "Region__c", "BillingCountry", "NumberOfEmployees",
        "AnnualRevenue", "ParentId", "CreatedDate", "IsDeleted", "SystemModstamp",
    ),
    "User": (
        "Id", "Name", "Department", "Country", "ManagerId", "UserRoleId", "IsActive", "CreatedDate",
        "SystemModstamp",
    ),
    "UserRole": ("Id", "Name"),
    "RecordType": ("Id", "Name", "SobjectType"),
    "Task": (
        "Id", "WhatId", "OwnerId", "Type", "TaskSubtype", "Status", "IsClosed", "ActivityDate",
        "CompletedDateTime", "CallDurationInSeconds", "CallDisposition", "Outcome__c",
        "CreatedDate", "IsDeleted", "SystemModstamp",
    ),
    "Event": (
        "Id", "WhatId", "OwnerId", "Type", "StartDateTime", "DurationInMinutes", "Outcome__c",
        "CreatedDate", "IsDeleted", "SystemModstamp",
    ),
    "Quote": (
        "Id", "OpportunityId", "GrandTotal", "TotalPrice", "Status", "Discount", "CreatedDate",
        "IsDeleted", "SystemModstamp",
    ),
    "DatedConversionRate": (
        "Id", "IsoCode", "StartDate", "NextStartDate", "ConversionRate",
    ),
    "CurrencyType": ("Id", "IsoCode", "ConversionRate", "IsCorporate", "IsActive"),
}  # fmt: skip
"""What is read of each kind of record, where the org has it and the user may see it."""

NEEDED = ("Opportunity", "OpportunityStage")
KEPT_BY = {"OpportunityFieldHistory": "CreatedDate"}
"""The time by which a history is read that has no `SystemModstamp`; its rows never change."""
NOT_EVERYWHERE = ("CurrencyIsoCode", "RecordTypeId", "Region__c", "Outcome__c", "CompletedDateTime",
                  "TaskSubtype")  # fmt: skip
"""Fields that many an org does not have; any other that cannot be seen was hidden from the user."""
AGAIN = timedelta(minutes=10)
_LOG = logging.getLogger(__name__)


def feeds(source: SalesforceSource, *, pace_book: Path | None = None) -> Sequence[Feed]:
    """The kinds of records that the org has, each from where the last load ended.

    Args:
        source: how the org is reached.
        pace_book: the file that keeps the times of the last calls, also of those that write.

    Raises:
        SourceError: the org cannot be reached, or the user may not see opportunities or stages.
    """
    org = Org(source, pace_book=pace_book)
    there = org.objects()
    for name in NEEDED:
        if name not in there:
            raise SourceError(
                f"{org.place}: the user may not see `{name}`, which nothing can be read without; give "
                "its permission set Read on opportunities"
            )
    together = Together(source.calls_at_once)
    close = together.closing(org.door.close)
    found = [_feed(org, source, name, together) for name in OBJECTS if name in there]
    return [replace(feed, close=close) for feed in found]


def _feed(org: Org, source: SalesforceSource, name: str, together: Together) -> Feed:
    cursor = KEPT_BY.get(name, "SystemModstamp" if "SystemModstamp" in OBJECTS[name] else None)

    def read(since: Any) -> Iterator[list[Record]]:
        return _pages(org, name, _chosen(org, source, name), cursor, since)

    return Feed(name, ("Id",), together.table(name, read), cursor=cursor, whole=cursor is None,
                deleted="IsDeleted")  # fmt: skip


def _chosen(org: Org, source: SalesforceSource, name: str) -> list[str]:
    """The fields to read: those that the mapping knows, and those that settings name."""
    wanted = list(OBJECTS[name])
    if name == "Opportunity":
        wanted += [field.column or own for own, field in source.custom_fields.items()]
        wanted += source.canonical_fields.values()
    elif name == "User":
        wanted += source.rep_fields.values()
    there = {field.lower(): field for field in org.fields(name)}
    found = [there[field.lower()] for field in wanted if field.lower() in there]
    _tell_hidden(org, name, [field for field in wanted if field.lower() not in there])
    return [field for field in dict.fromkeys(found) if not is_own_field(field)]


def _tell_hidden(org: Org, name: str, missing: Sequence[str]) -> None:
    """Say which fields are not read, since an org that hides one answers as if it had never been."""
    hidden = [f"`{field}`" for field in missing if field not in NOT_EVERYWHERE]
    if hidden:
        _LOG.warning(
            "%s: `%s`: the user may not see %s, so it is not read: rows that are read again lose what "
            "landed of it before, all others keep it as it was; give its permission set Read on it, and "
            "delete the landing beside the warehouse once, so that all is read anew",
            org.place, name, ", ".join(hidden),
        )  # fmt: skip


def _pages(
    org: Org, name: str, fields: Sequence[str], cursor: str | None, since: str | None
) -> Iterator[list[Record]]:
    """All rows since, in the order of cursor and id, whatever becomes of locators."""
    where = "" if cursor is None or since is None else f"{cursor} >= {_literal(since, AGAIN)}"
    order = "Id" if cursor is None else f"{cursor}, Id"
    while True:
        last = None
        soql = f"SELECT {', '.join(fields)} FROM {name}"
        soql += f" WHERE {where}" if where else ""
        try:
            for page in org.pages(f"{soql} ORDER BY {order}", deleted="IsDeleted" in fields):
                last = page[-1] if page else last
                yield page
            return
        except Refused as error:
            if "INVALID_QUERY_LOCATOR" not in str(error) or last is None:
                raise
        where = _after(last, cursor)


def _after(row: Record, cursor: str | None) -> str:
    """The condition that a row comes after another."""
    later_id = f"Id > {quoted(row['Id'])}"
    if cursor is None:
        return later_id
    at = _literal(row[cursor])
    return f"({cursor} > {at} OR ({cursor} = {at} AND {later_id}))"


def _literal(stamp: str, earlier: timedelta = timedelta()) -> str:
    """A moment as SOQL writes it.

    Example:
        >>> _literal("2026-03-01T12:30:00.000+0000", timedelta(minutes=10))
        '2026-03-01T12:20:00.000Z'
    """
    moment = datetime.fromisoformat(stamp).replace(tzinfo=None) - earlier
    return f"{moment.isoformat(timespec='milliseconds')}Z"


VENDOR = Vendor(feeds, map_salesforce, shape, tracked)
