"""HubSpot read by its CRM API: deals with all their history, and what is tied to them.

The first load lists every record, all kinds at the same time (`read_ahead`); later ones search for those
saved since, from ten minutes before the last one that is known, read them by id, and list the recycle
bin. No clock of ours is asked. What the token may not see is left out with a warning, but for deals and
their pipelines.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from salesops_ml.crm.hubspot_api import Account, Record
from salesops_ml.crm.hubspot_mapping import DEAL, history_properties, map_hubspot, shape, tracked
from salesops_ml.crm.hubspot_pass import AS_OF, HISTORY, MODIFIED, Pass, Tie
from salesops_ml.crm.landing_run import Feed, Page, Read
from salesops_ml.crm.read_ahead import Step, Together, Walk
from salesops_ml.crm.vendors import Vendor
from salesops_ml.crm_settings import HubSpotSource, is_own_field
from salesops_ml.errors import Refused, SourceError

COMPANY = ("name", "industry", "region", "country", "numberofemployees", "annualrevenue",
           "hs_parent_company_id", "createdate")  # fmt: skip
_ANY_ACTIVITY = ("hs_timestamp", "hs_createdate", "hubspot_owner_id", "hs_activity_type")
PROPERTIES: dict[str, tuple[str, ...]] = {
    "companies": COMPANY,
    "meetings": (*_ANY_ACTIVITY, "hs_meeting_start_time", "hs_meeting_end_time",
                 "hs_meeting_outcome"),
    "calls": (*_ANY_ACTIVITY, "hs_call_duration", "hs_call_disposition"),
    "emails": (*_ANY_ACTIVITY, "hs_email_status"),
    "tasks": (*_ANY_ACTIVITY, "hs_task_status", "hs_task_completion_date"),
    "quotes": ("hs_quote_amount", "hs_discount_percentage", "hs_status", "hs_createdate"),
}  # fmt: skip
"""What is read of each kind of record beside deals, where the token may see it."""
ACTIVITIES = ("meetings", "calls", "emails", "tasks")
_COMPANIES = Tie("deal_companies", "companies", "deal_id", "company_id")
_ACTIVITY = Tie("activity_deals", "deals", "activity_id", "deal_id")
_QUOTE = Tie("quote_deals", "deals", "quote_id", "deal_id")
OWNERS_A_PAGE = 500

_LOG = logging.getLogger(__name__)


def feeds(source: HubSpotSource, *, pace_book: Path | None = None) -> Sequence[Feed]:
    """The tables of an account that the token may see, each from where the last load ended.

    The tables that come by one reading follow the records that they belong to.

    Raises:
        SourceError: the account cannot be reached, the token may not see deals, or settings name a
            property that deals do not have.
    """
    account = Account(source, pace_book=pace_book)
    last = {"deals": account.last_saved("deals")}
    for kind in PROPERTIES:
        with _if_seen(account, kind):
            last[kind] = account.last_saved(kind)
    together = Together(account.limits.calls_at_once)
    found = _deals(account, source, last, together)
    small = _Small(account, together)
    found += small.pipelines()
    if "companies" in last:
        companies = Pass(account, "companies", COMPANY, last["companies"])
        found.append(_records(companies, together)[0])
    found += _activities(account, last, together)
    if "quotes" in last:
        quotes = Pass(account, "quotes", PROPERTIES["quotes"], last["quotes"], tie=_QUOTE)
        records, walk = _records(quotes, together)
        found += [records, _tied(_QUOTE, [walk])]
    found += small.optional()
    close = together.closing(account.door.close)
    return [replace(feed, close=close) for feed in found]


def _deals(
    account: Account, source: HubSpotSource, last: dict[str, datetime | None], together: Together
) -> list[Feed]:
    """Deals, the past of their properties, and their companies."""
    chosen, past = _chosen(account, source)
    tie = _COMPANIES if "companies" in last else None
    deals = Pass(account, "deals", chosen, last["deals"], history=past, tie=tie)
    records, walk = _records(deals, together)
    history = Feed(HISTORY, ("deal_id", "name", "timestamp"), lambda _: walk.beside(HISTORY),
                   cursor="timestamp")  # fmt: skip
    ties = [_tied(tie, [walk])] if tie else []
    return [records, history, *ties]


def _activities(
    account: Account, last: dict[str, datetime | None], together: Together
) -> list[Feed]:
    made = [
        _records(Pass(account, kind, PROPERTIES[kind], last[kind], tie=_ACTIVITY), together)
        for kind in ACTIVITIES if kind in last
    ]  # fmt: skip
    ties = [_tied(_ACTIVITY, [walk for _, walk in made])] if made else []
    return [*(records for records, _ in made), *ties]


def _records(one: Pass, together: Together) -> tuple[Feed, Walk]:
    """The records' own table, and the walk that fills it and those beside it."""
    walk = together.walk(one.tables, one.steps)
    return Feed(one.kind, ("id",), walk.read, cursor=MODIFIED, deleted="archived"), walk


def _tied(tie: Tie, walks: Sequence[Walk]) -> Feed:
    def read(_: Any) -> Iterator[Page]:
        for walk in walks:
            yield from walk.beside(tie.table)

    return Feed(tie.table, (tie.mine, tie.theirs), read, cursor=AS_OF)


def _chosen(account: Account, source: HubSpotSource) -> tuple[list[str], list[str]]:
    """The properties of deals to read, and those whose past is read; none of ours.

    Raises:
        SourceError: deals lack one that settings name.
    """
    there = {one["name"] for one in account.get("properties", "deals")["results"]}
    named = {f"custom_fields.{n}": f.column or n for n, f in source.custom_fields.items()}
    named |= {f"canonical_fields.{name}": field for name, field in source.canonical_fields.items()}
    for setting, name in named.items():
        if name not in there:
            raise SourceError(
                f"{account.place}: `source.{setting}`: deals have no property `{name}`; correct it "
                "(Settings, Properties, Deal properties shows internal names), or leave it out"
            )
    wanted = dict.fromkeys([*DEAL, *named.values()])
    past = history_properties(source)
    return (
        [name for name in wanted if name in there and not is_own_field(name)],
        [name for name in past if name in there and not is_own_field(name)],
    )


@contextmanager
def _if_seen(account: Account, what: str) -> Iterator[None]:
    """What the token may not see, or the account does not have, is left out, and told."""
    try:
        yield
    except Refused as error:
        if error.status not in (403, 404):
            raise
        _LOG.warning("%s: %s are left out: %s", account.place, what, error)


class _Small:
    """What is small enough to be read whole each time."""

    def __init__(self, account: Account, together: Together) -> None:
        self._account, self._together = account, together

    def pipelines(self) -> list[Feed]:
        """Pipelines and their stages, which come together."""
        walk = self._together.walk(["pipelines", "pipeline_stages"], self._lines)
        return [
            Feed("pipelines", ("id",), walk.read, whole=True),
            Feed("pipeline_stages", ("id",), lambda _: walk.beside("pipeline_stages"), whole=True),
        ]

    def optional(self) -> list[Feed]:
        """Owners and exchange rates, where the token may see them."""
        account, found = self._account, list[Feed]()
        with _if_seen(account, "owners"):
            account.get("owners", "", limit=1)
            found.append(self._whole("owners", self._owners))
        with _if_seen(account, "exchange rates"):
            account.get("currencies", "exchange-rates", limit=1)
            found.append(self._whole("exchange_rates", self._rates))
        return found

    def _whole(self, name: str, read: Read) -> Feed:
        return Feed(name, ("id",), self._together.table(name, read), whole=True)

    def _lines(self, _: Any) -> Iterator[Step]:
        lines = self._account.get("pipelines", "deals")["results"]
        yield {
            "pipelines": [_line(line) for line in lines],
            "pipeline_stages": [stage for line in lines for stage in _stages(line)],
        }

    def _owners(self, _: Any) -> Iterator[list[Record]]:
        """Those who are here, and those who left."""
        for archived in ("false", "true"):
            for page in self._account.pages("owners", "", limit=OWNERS_A_PAGE, archived=archived):
                yield [_owner(one) for one in page]

    def _rates(self, _: Any) -> Iterator[list[Record]]:
        for page in self._account.pages("currencies", "exchange-rates"):
            yield [_rate(one) for one in page]


def _line(line: Record) -> Record:
    return {"id": line["id"], "label": line["label"], "display_order": line["displayOrder"]}


def _stages(line: Record) -> list[Record]:
    return [
        {"id": stage["id"], "pipeline_id": line["id"], "label": stage["label"],
         "display_order": stage["displayOrder"],
         "probability": stage.get("metadata", {}).get("probability"),
         "is_closed": stage.get("metadata", {}).get("isClosed")}
        for stage in line["stages"]
    ]  # fmt: skip


def _owner(told: Record) -> Record:
    """An owner; who left has no user any more, but is known by the number that it had."""
    teams = sorted(told.get("teams") or [], key=lambda team: not team.get("primary"))
    user = told.get("userId") or told.get("userIdIncludingInactive")
    return {"id": told["id"], "user_id": user, "first_name": told.get("firstName"),
            "last_name": told.get("lastName"), "email": told.get("email"),
            "team": teams[0]["name"] if teams else None, "archived": told["archived"],
            "created_at": told.get("createdAt")}  # fmt: skip


def _rate(told: Record) -> Record:
    return {"id": told["id"], "from_currency": told["fromCurrencyCode"],
            "to_currency": told["toCurrencyCode"], "rate": told["conversionRate"],
            "effective_at": told["effectiveAt"]}  # fmt: skip


VENDOR = Vendor(feeds, map_hubspot, shape, tracked)
