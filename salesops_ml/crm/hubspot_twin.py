"""A loopback HubSpot: objects with history, searches, associations, properties, pipelines, limits.

It keeps a company's rows as HubSpot's objects and answers as the CRM API does: lists of 100 (50 with
history), searches that end at 10,000, batches with 207 for partial failures, a recycle bin that no
search sees. Writes are in `hubspot_twin_batch`, searches in `hubspot_twin_search`.

Sources: HubSpot developer documentation, "CRM API"; issues 14390, 19838 and 27199 of airbytehq/airbyte:
neither archiving a record nor tying it to another counts as saving it.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from salesops_ml.crm.hubspot_api import moment_of
from salesops_ml.crm.hubspot_twin_batch import Batches
from salesops_ml.crm.hubspot_twin_fields import (
    OWN_PROPERTIES,
    Property,
    missing_scopes,
    properties_of,
    rate_limited,
    refusal,
    shown,
)
from salesops_ml.crm.hubspot_twin_scopes import SCOPES, scopes_of
from salesops_ml.crm.hubspot_twin_search import MalformedSearch, search
from salesops_ml.crm.hubspot_twin_settings import SettingsPages
from salesops_ml.crm.limits import Window
from salesops_ml.crm.twin_vendor import (
    BucketMeter,
    Request,
    Response,
    Route,
    TwinVendor,
    WindowMeter,
)
from salesops_ml.crm.twin_world import Row, Rows

TOKEN = "twin-private-app-t0ken"
VERSIONS = ("v3", "v4", "2026-03")
ACTIVITIES = ("calls", "emails", "tasks", "meetings")
OBJECTS = ("deals", "companies", "quotes", *ACTIVITIES)
LINKS = {
    "deal_companies": ("deals", "deal_id", "companies", "company_id"),
    "activity_deals": ("activities", "activity_id", "deals", "deal_id"),
    "quote_deals": ("quotes", "quote_id", "deals", "deal_id"),
}
_PAGE, _HISTORY_PAGE = 100, 50


class HubSpotTwin(TwinVendor):
    """One account.

    Args:
        rows: its records by table; see `twin_world_hubspot.hubspot_rows`.
        calls: calls in ten seconds; a twentieth of them may be searches, in any one second.
        daily_calls: calls in 24 hours.

    Attributes:
        objects: kind -> id -> record, properties flat; records in the recycle bin have `archived`.
        history: deal -> property -> its values, the oldest first.
        links: (kind, kind) -> id -> id -> types of association.
        merged: deal -> the deal that stands for it.
        properties: those of deals.
        tables: pipelines, pipeline_stages, owners and exchange_rates.
        scopes: what the token is good for.
        unindexed: (kind, id) of records that searches do not find yet.
        multi_status: whether a refused value spoils its own record alone, not the whole batch.
        repeats: whether pages come again and again.
        history_kept: how many values of a property's past are told; None for all.
    """

    name = "hubspot"

    def __init__(self, rows: Rows, *, calls: int = 100, daily_calls: int = 250_000) -> None:
        super().__init__()
        self.burst, self.daily = (
            WindowMeter(Window(calls, 10)),
            WindowMeter(Window(daily_calls, 86_400)),
        )
        self.searches = WindowMeter(Window(max(1, calls // 20), 1))
        self.meters = [self.burst, self.daily]
        self.objects: dict[str, dict[str, Row]] = {kind: {} for kind in OBJECTS}
        self.history: dict[str, dict[str, list[Row]]] = {}
        self.links: dict[tuple[str, str], dict[str, dict[str, set[int]]]] = {}
        self.merged: dict[str, str] = {}
        self.tables: dict[str, dict[str, Row]] = {}
        self.properties: dict[str, Property] = {}
        self.scopes, self.tokens = set(SCOPES), {TOKEN}
        self.unindexed: set[tuple[str, str]] = set()
        self.multi_status, self.repeats = True, False
        self.history_kept: int | None = None
        self._found: dict[str, list[Row]] = {}
        self.batches, self.pages = Batches(self), SettingsPages(self)
        self._order: dict[tuple[str, bool], list[str]] = {}
        self._numbers = itertools.count(1)
        self._begun = datetime(2020, 1, 1)
        self.put(rows)
        self._loaded = True

    _loaded = False

    @classmethod
    def demo(cls) -> HubSpotTwin:
        """An account with 300 deals and the properties for scores."""
        from salesops_ml.crm.twin_world import with_hubspot_ids
        from salesops_ml.crm.twin_world_hubspot import hubspot_rows
        from salesops_ml.source_settings import SyntheticSource
        from salesops_ml.synthetic import generate, parameters_from

        world = with_hubspot_ids(generate(parameters_from(SyntheticSource(deals=300))))
        return cls(hubspot_rows(world)).with_own_fields()

    @classmethod
    def bare(cls, deals: int) -> HubSpotTwin:
        """An account of that many deals `d000000`, ... with nothing but the properties for scores."""
        return cls({"deals": [{"id": f"d{at:06}"} for at in range(deals)]}).with_own_fields()

    def with_own_fields(self) -> HubSpotTwin:
        """The same account with the properties for scores."""
        self.properties |= {one.name: one for one in OWN_PROPERTIES}
        return self

    def put(self, rows: Mapping[str, Iterable[Row]]) -> None:
        """Rows laid over those that are there, as people save them."""
        told = {name: list(fresh) for name, fresh in rows.items()}
        for kind in OBJECTS:
            for row in told.get(kind, ()):
                self._put_object(kind, row)
        for row in told.get("deal_property_history", ()):
            self._put_history(row)
        for name, (kind, mine, to, theirs) in LINKS.items():
            for row in told.get(name, ()):
                owner = self._kind_of(str(row[mine])) if kind == "activities" else kind
                types = self.links.setdefault((owner, to), {}).setdefault(str(row[mine]), {})
                types.setdefault(str(row[theirs]), set()).add(int(row.get("type_id") or 341))
        for name in ("pipelines", "pipeline_stages", "owners", "exchange_rates"):
            for row in told.get(name, ()):
                key = row.get("id") or f"{row['from_currency']}-{row['effective_at']}"
                self.tables.setdefault(name, {})[str(key)] = {**row, "id": str(key)}
        self.properties = properties_of(told.get("deals", ())) | self.properties
        self._order.clear()
        stamps = [row["hs_lastmodifieddate"] for kind in told.keys() & self.objects.keys()
                  for row in self.objects[kind].values()]  # fmt: skip
        self._begun = max([self._begun, *(moment_of(stamp) for stamp in set(stamps))])

    def delete(self, kind: str, record_id: str) -> None:
        """A record into the recycle bin; it does not count as saved."""
        self.objects[kind][record_id] |= {"archived": True, "archived_at": self.moment()}
        self._order.clear()

    def restore(self, kind: str, record_id: str) -> None:
        """A record out of the recycle bin."""
        self.objects[kind][record_id] |= {"archived": False, "hs_lastmodifieddate": self.moment()}
        self._order.clear()

    def purge(self, kind: str, record_id: str) -> None:
        """A record out of the recycle bin for good, as HubSpot does after 90 days."""
        del self.objects[kind][record_id]
        self._order.clear()

    def unlink(self, kind: str, record_id: str, to: str, other: str) -> None:
        """An association taken away, with the record saved by whoever did it."""
        del self.links[kind, to][record_id][other]
        self.objects[kind][record_id]["hs_lastmodifieddate"] = self.moment()

    def merge(self, first: str, second: str) -> str:
        """Two deals made one with a new id and both their histories; its id."""
        deals = self.objects["deals"]
        fresh = str(9 * 10**11 + next(self._numbers))
        told = [self.history.get(one, {}) for one in (first, second)]
        self.put(
            {"deals": [{**deals[first], "id": fresh, "hs_merged_object_ids": f"{first};{second}"}]}
        )
        self.history[fresh] = {
            name: sorted([*told[0].get(name, []), *told[1].get(name, [])], key=_when)
            for name in told[0].keys() | told[1].keys()
        }
        return fresh

    def moment(self) -> str:
        """The moment of a save, by the account's clock."""
        passed = timedelta(seconds=self.skew, milliseconds=next(self._numbers))
        return shown(self._begun + passed)

    def standing(self, kind: str, record_id: str) -> Row | None:
        """The live record that an id leads to; a merged deal leads to the one that stands for it."""
        passed: set[str] = set()
        while kind == "deals" and record_id in self.merged and record_id not in passed:
            passed.add(record_id)
            record_id = self.merged[record_id]
        row = self.objects.get(kind, {}).get(record_id)
        return None if row is None or row.get("archived") else row

    def routes(self) -> Sequence[Route]:
        """The addresses of the CRM API, under either way of naming versions."""
        found: list[Route] = []
        for method, api, rest, answer in (
            ("GET", "objects", r"(?P<kind>\w+)", self._listed),
            ("POST", "objects", r"(?P<kind>\w+)/search", self._search),
            ("POST", "objects", r"(?P<kind>\w+)/batch/read", self.batches.read),
            ("POST", "objects", r"deals/batch/update", self.batches.update),
            ("POST", "objects", r"deals/merge", self.batches.merge),
            ("GET", "objects", r"(?P<kind>\w+)/(?P<record_id>\w+)", self._single),
            ("POST", "associations", r"(?P<kind>\w+)/(?P<to>\w+)/batch/read", self.batches.links),
            ("GET", "pipelines", "deals", self.pages.pipelines),
            ("GET", "owners", "", self.pages.owners),
            ("GET", "properties", "deals", self.pages.properties),
            ("POST", "properties", "deals", self.pages.create_property),
            ("GET", "currencies", "exchange-rates", self.pages.rates),
        ):
            root = "/settings" if api == "currencies" else "/crm"
            tail = f"/{rest}/?" if rest else "/?"
            found += [(method, rf"{root}/v\d+/{api}{tail}", answer),
                      (method, rf"{root}/{api}/\d{{4}}-\d\d{tail}", answer)]  # fmt: skip
        return found

    def meters_for(self, request: Request) -> Sequence[WindowMeter | BucketMeter]:
        """Searches have a limit of their own beside the others."""
        return [*self.meters, self.searches] if request.path.endswith("/search") else self.meters

    def too_many(self) -> Response:
        """A limit is used up; which one is told."""
        if self.daily.seen > self.daily.window.calls:
            return rate_limited("DAILY")
        if self.burst.seen > self.burst.window.calls:
            return rate_limited("TEN_SECONDLY_ROLLING")
        return rate_limited("SECONDLY")

    def unavailable(self) -> Response:
        """The server is in trouble."""
        return refusal(503, "", "Service Unavailable")

    def expired(self) -> Response:
        """The token is not taken just now."""
        return refusal(
            401, "EXPIRED_AUTHENTICATION", "The OAuth token used to make this call expired."
        )

    def unknown(self, request: Request) -> Response:
        """No such address."""
        return refusal(404, "", "resource not found")

    def authorise(self, request: Request) -> Response | None:
        """A known token, a version that there is, and the scope that the address takes."""
        shown_token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if shown_token not in self.tokens:
            return refusal(
                401, "INVALID_AUTHENTICATION",
                "Authentication credentials not found. This API supports OAuth 2.0 authentication and "
                "you can find more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview",
            )  # fmt: skip
        version = re.search(r"/(v\d+|\d{4}-\d\d)(?=/|$)", request.path)
        if version is None or version[1] not in VERSIONS:
            return self.unknown(request)
        lacking = [scope for scope in scopes_of(request) if scope not in self.scopes]
        return missing_scopes(*lacking) if lacking else None

    def answer(self, body: Any, status: int = 200) -> Response:
        """An answer with how many calls are left; searches do not tell."""
        burst, daily = self.burst, self.daily
        return Response(status, body, {
            "X-HubSpot-RateLimit-Daily": str(daily.window.calls),
            "X-HubSpot-RateLimit-Daily-Remaining": str(max(0, daily.window.calls - daily.seen)),
            "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
            "X-HubSpot-RateLimit-Max": str(burst.window.calls),
            "X-HubSpot-RateLimit-Remaining": str(max(0, burst.window.calls - burst.seen)),
        })  # fmt: skip

    def record(self, kind: str, row: Row, names: Iterable[str], past: Iterable[str] = ()) -> Row:
        """A record as it is sent; properties that there are not are left out without a word."""
        known = self.properties if kind == "deals" else None
        wanted = [*dict.fromkeys([*names, "createdate", "hs_lastmodifieddate"])]
        told = {name: row.get(name) for name in wanted if known is None or name in known}
        found: Row = {
            "id": row["id"], "properties": {**told, "hs_object_id": row["id"]},
            "createdAt": row["createdate"], "updatedAt": row["hs_lastmodifieddate"],
            "archived": bool(row.get("archived")),
        }  # fmt: skip
        if row.get("archived"):
            found["archivedAt"] = row["archived_at"]
        past = [name for name in past if kind == "deals" and name in self.properties]
        if past:
            there = self.history.get(row["id"], {})
            told_of = {name: there.get(name, [])[::-1][: self.history_kept] for name in past}
            found["propertiesWithHistory"] = told_of
        return found

    def saved(self, deal: Row, values: Mapping[str, str | None], *, source: Row) -> None:
        """Values of a deal kept, with their history."""
        stamp = self.moment()
        deal.update(values, hs_lastmodifieddate=stamp)
        for name, value in values.items():
            entry = {"value": value or "", "timestamp": stamp, **source}
            self.history.setdefault(deal["id"], {}).setdefault(name, []).append(entry)

    def _put_object(self, kind: str, given: Row) -> None:
        row = dict(given)
        known = self.objects[kind].get(row["id"], {})
        for loser in filter(None, (row.get("hs_merged_object_ids") or "").split(";")):
            self.merged[loser.strip()] = row["id"]
        begun = row.get("createdate") or row.get("hs_createdate") or "2020-01-01T00:00:00Z"
        row["createdate"] = begun
        if row.get("archived") and not known.get("archived"):
            row["archived_at"] = self.moment()
        if not self._loaded:
            row["hs_lastmodifieddate"] = row.get("hs_lastmodifieddate") or begun
        elif not row.get("archived"):
            row["hs_lastmodifieddate"] = self.moment()
        self.objects[kind][row["id"]] = {**known, **row}

    def _put_history(self, row: Row) -> None:
        entry = {"value": "" if row["value"] is None else row["value"], "timestamp": row["timestamp"],
                 "sourceType": row["source_type"], "sourceId": row["source_id"]}  # fmt: skip
        user = re.fullmatch(r"userId:(\d+)", row["source_id"] or "")
        if user:
            entry["updatedByUserId"] = int(user[1])
        values = self.history.setdefault(row["deal_id"], {}).setdefault(row["name"], [])
        bisect.insort(values, entry, key=_when)

    def _kind_of(self, activity_id: str) -> str:
        return next(
            k for k in ("calls", "emails", "tasks", "meetings") if activity_id in self.objects[k]
        )

    def _ids(self, kind: str, *, archived: bool) -> list[str]:
        """Ids of live or of deleted records, in order; merged deals are neither."""
        if (kind, archived) not in self._order:
            gone = self.merged if kind == "deals" else {}
            ids = [one for one, row in self.objects[kind].items()
                   if bool(row.get("archived")) == archived and one not in gone]  # fmt: skip
            self._order[kind, archived] = sorted(ids, key=_in_order)
        return self._order[kind, archived]

    def _listed(self, request: Request, kind: str) -> Response:
        if kind not in OBJECTS:
            return refusal(400, "VALIDATION_ERROR", f"Unable to infer object type from: {kind}")
        names, past = _names(request, "properties"), _names(request, "propertiesWithHistory")
        most = _HISTORY_PAGE if past else _PAGE
        limit = int(request.one("limit", "10"))
        if not 1 <= limit <= most:
            return refusal(400, "VALIDATION_ERROR", f"limit: at most {most} a page, not {limit}")
        ids = self._ids(kind, archived=request.one("archived").lower() == "true")
        after = request.one("after")
        start = bisect.bisect_right(ids, _in_order(after), key=_in_order) if after else 0
        page = ids[start : start + limit]
        rows = [self.record(kind, self.objects[kind][one], names, past) for one in page]
        return self.answer(self.paged(rows, page[-1] if start + limit < len(ids) else None))

    def paged(self, rows: list[Row], after: str | None) -> Row:
        """A page, and where the next one begins."""
        after = "1" if self.repeats and rows else after
        return {"results": rows, **({"paging": {"next": {"after": after}}} if after else {})}

    def _single(self, request: Request, kind: str, record_id: str) -> Response:
        row = self.standing(kind, record_id)
        if row is None:
            return refusal(
                404, "OBJECT_NOT_FOUND", "Object not found.  objectId are usually numeric."
            )
        names, past = _names(request, "properties"), _names(request, "propertiesWithHistory")
        return self.answer(self.record(kind, row, names, past))

    def _search(self, request: Request, kind: str) -> Response:
        asked = request.json()
        rows = (self.objects[kind][one] for one in self._ids(kind, archived=False)
                if (kind, one) not in self.unindexed)  # fmt: skip
        try:
            page, total, after = search(rows, asked)
        except MalformedSearch as error:
            return refusal(400, "VALIDATION_ERROR", str(error))
        told = [self.record(kind, dict(row), asked.get("properties") or ()) for row in page]
        if self.repeats and len(told) > 1:
            told = self._found.setdefault(kind, told)
        return Response(200, {"total": total, **self.paged(told, after)})


def _names(request: Request, parameter: str) -> list[str]:
    return [name for told in request.query.get(parameter, []) for name in told.split(",") if name]


def _in_order(record_id: str) -> tuple[int, str]:
    return len(record_id), record_id


def _when(entry: Row) -> datetime:
    return moment_of(entry["timestamp"]).replace(tzinfo=UTC)
