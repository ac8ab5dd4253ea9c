"""A loopback Salesforce: OAuth, queries, descriptions, collections of records, fields, and limits.

It keeps a company's rows as Salesforce's objects and answers as the REST API does: pages of 2,000 with
locators of which ten are kept, errors as arrays of `errorCode` and `message`, results in order. Bulk
jobs are in `salesforce_twin_bulk`, SOQL in `salesforce_twin_query`, rights in `salesforce_twin_rights`.

Sources: Salesforce REST API Developer Guide; Tooling API, CustomField; Object Reference.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from salesops_ml.crm.limits import Window
from salesops_ml.crm.salesforce_twin_bulk import BulkJobs
from salesops_ml.crm.salesforce_twin_fields import (
    OWN_KINDS,
    USER,
    Field,
    FieldFault,
    fields_of,
    problem,
    refusal,
    stored,
)
from salesops_ml.crm.salesforce_twin_query import MalformedQuery, read_query, stamp_of
from salesops_ml.crm.salesforce_twin_rights import Rights
from salesops_ml.crm.twin_vendor import Request, Response, Route, TwinVendor, WindowMeter
from salesops_ml.crm.twin_world import Row, Rows, salesforce_rows, with_salesforce_ids

VERSION = "64.0"
RETIRED = 21.0
"""Versions of the API below this one are gone."""
CLIENT_ID, CLIENT_SECRET = "salesops-twin", "twin-client-s3cret"
REFRESH_TOKEN, TOKEN = "twin-refresh-t0ken", "twin-access-t0ken"
PAGE, COLLECTION, LOCATORS = 2_000, 200, 10
_BASE = r"/services/data/v(?P<version>\d+\.\d)"


class SalesforceTwin(TwinVendor):
    """One org.

    Args:
        rows: the org's records by object; see `twin_world.salesforce_rows`.
        daily_calls: calls in 24 hours.

    Attributes:
        tables: object -> id -> record.
        fields: object -> name -> field.
        hidden, read_only: fields of opportunities by the security of fields.
        locked: opportunity -> how often it is still locked.
        trigger_bears: records a call that the org's own trigger bears.
        scopes: what tokens are good for.
        bulk: the Bulk jobs.
    """

    name = "salesforce"

    def __init__(self, rows: Rows, *, daily_calls: int = 100_000) -> None:
        super().__init__()
        self.meters = [WindowMeter(Window(daily_calls, 86_400))]
        self.tables: dict[str, dict[str, Row]] = {}
        self.fields: dict[str, dict[str, Field]] = {}
        self.hidden: set[str] = set()
        self.read_only: set[str] = set()
        self.locked: dict[str, int] = {}
        self.rules: Callable[[Row], str | None] = lambda _values: None
        self.trigger_bears = COLLECTION
        self.scopes = {"api"}
        self.may_customize = True
        self.repeats = False
        self.sessions = {TOKEN}
        self.bulk = BulkJobs(self)
        self._locators: dict[str, list[Row]] = {}
        self.numbers = itertools.count(1)
        self._begun = datetime(2020, 1, 1, tzinfo=UTC)
        self.rights = Rights(self)
        self.put(rows)

    @classmethod
    def demo(cls) -> SalesforceTwin:
        """An org with 300 opportunities and the fields for scores."""
        from salesops_ml.source_settings import SyntheticSource
        from salesops_ml.synthetic import generate, parameters_from

        world = with_salesforce_ids(generate(parameters_from(SyntheticSource(deals=300))))
        return cls(salesforce_rows(world)).with_own_fields()

    @classmethod
    def bare(cls, deals: int) -> SalesforceTwin:
        """An org of that many opportunities `d000000`, ... with nothing but the fields for scores."""
        rows = [
            {"Id": f"d{at:06}", "StageName": "Open", "IsDeleted": False, "SystemModstamp": None}
            for at in range(deals)
        ]
        return cls({"Opportunity": rows}).with_own_fields()

    def with_own_fields(self) -> SalesforceTwin:
        """The same org with the fields for scores."""
        for field in OWN_KINDS:
            self.fields["Opportunity"][field.name] = field
        return self

    def put(self, rows: Mapping[str, Iterable[Row]]) -> None:
        """Records laid over those that are there, as people save them."""
        for name, fresh in rows.items():
            table = self.tables.setdefault(name, {})
            known = bool(table)
            for given in fresh:
                row = dict(given)
                if name in ("OpportunityHistory", "OpportunityFieldHistory"):
                    row.setdefault("IsDeleted", False)
                if name == "OpportunityHistory":
                    row.setdefault("SystemModstamp", row["CreatedDate"])
                if known and "SystemModstamp" in row:
                    row["SystemModstamp"] = self.moment()
                table[row["Id"]] = {**table.get(row["Id"], {}), **row}
            self.fields[name] = fields_of(table.values(), name) | self.fields.get(name, {})
        stamps = [row["SystemModstamp"] for table in self.tables.values() for row in table.values()
                  if row.get("SystemModstamp")]  # fmt: skip
        if stamps:
            self._begun = max(self._begun, datetime.fromisoformat(max(stamps)))

    def delete(self, name: str, record_id: str) -> None:
        """A record into the recycle bin; an opportunity takes its histories along."""
        for other, table in self.tables.items():
            for row in table.values():
                own = other == name and row["Id"] == record_id
                if own or (other.startswith(name) and row.get(f"{name}Id") == record_id):
                    row["IsDeleted"] = True
                    if "SystemModstamp" in row:
                        row["SystemModstamp"] = self.moment()

    def moment(self) -> str:
        """The moment of a save, by the org's clock."""
        passed = next(self.numbers)
        return stamp_of(self._begun + timedelta(seconds=self.skew, milliseconds=passed))

    def routes(self) -> Sequence[Route]:
        """The addresses of the REST API, and of Bulk API 2.0."""
        rest: list[Route] = [
            ("POST", "/services/oauth2/token", self._token),
            ("GET", f"{_BASE}/sobjects/?", self._objects),
            ("GET", f"{_BASE}/sobjects/(?P<name>\\w+)/describe/?", self._describe),
            ("POST", f"{_BASE}/sobjects/(?P<name>\\w+)/?", self.rights.create),
            ("PATCH", f"{_BASE}/composite/sobjects/?", self._update),
            ("GET", f"{_BASE}/limits/?", self._limits),
            ("GET", f"{_BASE}/(?P<kind>query|queryAll)/?", self._query),
            ("GET", f"{_BASE}/(?:query|queryAll)/(?P<locator>[\\w-]+)", self._next_page),
            ("POST", f"{_BASE}/tooling/sobjects/CustomField/?", self.rights.create_field),
        ]
        return [*rest, *self.bulk.routes(_BASE)]

    def authorise(self, request: Request) -> Response | None:
        """A session's token, a version that there is, and the scope `api`."""
        self.bulk.advance()
        if request.path == "/services/oauth2/token":
            return None
        shown = request.headers.get("authorization", "").removeprefix("Bearer ")
        if shown not in self.sessions:
            return self.expired()
        version = re.match(_BASE, request.path)
        if version is not None and float(version["version"]) < RETIRED:
            return refusal(410, "GONE", f"API version {version['version']} was retired")
        if version is None or float(version["version"]) > float(VERSION):
            return refusal(404, "NOT_FOUND", "The requested resource does not exist")
        if "api" not in self.scopes:
            return refusal(
                403, "INVALID_SESSION_ID", "This session is not valid for use with the API"
            )
        return None

    def too_many(self) -> Response:
        """The day's calls are used up, else too many run at once."""
        kind = "TotalRequests" if self._calls_left() <= 0 else "ConcurrentRequests"
        return refusal(403, "REQUEST_LIMIT_EXCEEDED", f"{kind} Limit exceeded.")

    def unavailable(self) -> Response:
        """The server is too busy."""
        return refusal(503, "SERVER_UNAVAILABLE", "Server unavailable")

    def expired(self) -> Response:
        """The session has ended."""
        return refusal(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def unknown(self, request: Request) -> Response:
        """No such address."""
        return refusal(404, "NOT_FOUND", "The requested resource does not exist")

    def visible(self, name: str) -> dict[str, Field]:
        """The fields that the user may see."""
        hidden = self.hidden if name == "Opportunity" else set()
        return {key: field for key, field in self.fields[name].items() if key not in hidden}

    def save(self, record_id: str, values: Row) -> list[Row]:
        """One opportunity changed; the errors that kept it from being."""
        record = self.tables["Opportunity"].get(record_id)
        if record is None:
            return [problem("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")]
        if record.get("IsDeleted"):
            return [problem("ENTITY_IS_DELETED", "entity is deleted")]
        closed = sorted(name for name in values if not self._writable(name))
        if closed:
            return [problem("INVALID_FIELD_FOR_INSERT_UPDATE",
                            f"Unable to create/update fields: {', '.join(closed)}. Please check the "
                            "security settings of this field and verify that it is read/write for your "
                            "profile or permission set.", closed)]  # fmt: skip
        if self.locked.get(record_id, 0) > 0:
            self.locked[record_id] -= 1
            return [
                problem("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
            ]
        broken = self.rules(values)
        if broken:
            return [problem("FIELD_CUSTOM_VALIDATION_EXCEPTION", broken)]
        try:
            kept = {name: stored(self.fields["Opportunity"][name], v) for name, v in values.items()}
        except FieldFault as fault:
            return [problem(fault.code, str(fault), [fault.field])]
        record.update(kept, SystemModstamp=self.moment())
        self.wrote(record_id, kept)
        return []

    def unknown_field(self, names: Iterable[str]) -> Response | None:
        """The refusal of a whole call that names a field which the user cannot see."""
        for name in names:
            if name not in self.visible("Opportunity"):
                return refusal(400, "INVALID_FIELD",
                               f"No such column '{name}' on sobject of type Opportunity")  # fmt: skip
        return None

    def answer(self, body: Any, status: int = 200) -> Response:
        """An answer with how many of the day's calls are used."""
        allowed = self._meter().window.calls
        usage = f"api-usage={allowed - self._calls_left()}/{allowed}"
        headers = {"Sforce-Limit-Info": usage}
        if isinstance(body, bytes):
            headers["Content-Type"] = "text/csv"
        return Response(status, body, headers)

    def _meter(self) -> WindowMeter:
        meter = self.meters[0]
        assert isinstance(meter, WindowMeter)
        return meter

    def _calls_left(self) -> int:
        return self._meter().window.calls - self._meter().seen

    def _writable(self, name: str) -> bool:
        return name not in self.read_only and self.fields["Opportunity"][name].updateable

    def _token(self, request: Request) -> Response:
        given = {name: values[-1] for name, values in parse_qs(request.body.decode()).items()}
        basic = request.headers.get("authorization", "")
        known = given.get("client_id") == CLIENT_ID and given.get("client_secret") == CLIENT_SECRET
        if given.get("grant_type") == "refresh_token":
            if given.get("refresh_token") != REFRESH_TOKEN or given.get("client_id") != CLIENT_ID:
                return Response(400, {"error": "invalid_grant",
                                      "error_description": "expired access/refresh token"})  # fmt: skip
        elif not (known or basic == f"Basic {_BASIC}"):
            return Response(400, {"error": "invalid_client",
                                  "error_description": "invalid client credentials"})  # fmt: skip
        token = f"00Dtwin!{secrets.token_urlsafe(24)}"
        self.sessions.add(token)
        host = f"http://{request.headers.get('host', '127.0.0.1')}"
        return Response(200, {
            "access_token": token, "instance_url": host, "token_type": "Bearer",
            "id": f"{host}/id/00D000000000001AAA/{USER}", "scope": " ".join(sorted(self.scopes)),
            "signature": "", "issued_at": "0",
        })  # fmt: skip

    def _objects(self, request: Request, version: str) -> Response:
        told = [
            {"name": name, "queryable": True, "updateable": True} for name in sorted(self.tables)
        ]
        return self.answer({"encoding": "UTF-8", "maxBatchSize": COLLECTION, "sobjects": told})

    def _describe(self, request: Request, version: str, name: str) -> Response:
        if name not in self.tables:
            return refusal(404, "NOT_FOUND", "The requested resource does not exist")
        told = []
        for field in self.visible(name).values():
            shown = field.described()
            shown["updateable"] = field.updateable and field.name not in self.read_only
            told.append(shown)
        return self.answer({"name": name, "fields": told, "queryable": True})

    def _limits(self, request: Request, version: str) -> Response:
        daily = {"Max": self._meter().window.calls, "Remaining": self._calls_left()}
        return self.answer({"DailyApiRequests": daily})

    def _query(self, request: Request, version: str, kind: str) -> Response:
        try:
            query = read_query(request.one("q"))
        except MalformedQuery as error:
            return refusal(400, "MALFORMED_QUERY", str(error))
        if query.name not in self.tables:
            return refusal(400, "INVALID_TYPE", f"sObject type '{query.name}' is not supported.")
        counting = query.fields == ("COUNT()",)
        there = self.visible(query.name)
        for name in [*(() if counting else query.fields), *sorted(query.used)]:
            if name not in there:
                return refusal(400, "INVALID_FIELD",
                               f"No such column '{name}' on entity '{query.name}'.")  # fmt: skip
        table = [row for row in self.tables[query.name].values()
                 if kind == "queryAll" or not row.get("IsDeleted")]  # fmt: skip
        rows = query.rows(table)
        if counting:
            return self.answer({"totalSize": len(rows), "done": True, "records": []})
        named = {"type": query.name, "url": ""}
        shown = [{"attributes": named, **{f: row.get(f) for f in query.fields}} for row in rows]
        locator = f"01g{next(self.numbers):012d}AAA"
        if len(shown) > PAGE:
            self._locators[locator] = shown
            for old in list(self._locators)[:-LOCATORS]:
                del self._locators[old]
        return self._page(version, locator, shown, 0)

    def _next_page(self, request: Request, version: str, locator: str) -> Response:
        name, _, start = locator.rpartition("-")
        if name not in self._locators or not start.isdigit():
            return refusal(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(version, name, self._locators[name], int(start))

    def _page(self, version: str, locator: str, rows: list[Row], start: int) -> Response:
        end = start + PAGE
        told = {"totalSize": len(rows), "done": end >= len(rows), "records": rows[start:end]}
        if end < len(rows):
            following = start if self.repeats and start else end
            told["nextRecordsUrl"] = f"/services/data/v{version}/query/{locator}-{following}"
        return self.answer(told)

    def _update(self, request: Request, version: str) -> Response:
        asked = _read(request)
        if not isinstance(asked, dict) or not isinstance(asked.get("records"), list):
            return refusal(400, "JSON_PARSER_ERROR", "Unexpected character in the request body")
        records = asked["records"]
        if len(records) > COLLECTION:
            return refusal(400, "EXCEEDED_ID_LIMIT",
                           f"record limit reached. cannot submit more than {COLLECTION} records "
                           "into this call")  # fmt: skip
        changes = [{k: v for k, v in r.items() if k not in ("attributes", "id")} for r in records]
        refused = self.unknown_field(name for values in changes for name in values)
        if refused is not None:
            return refused
        ids = [str(record.get("id")) for record in records]
        return self.answer([self._saved(record_id, values, len(ids))
                            for record_id, values in zip(ids, changes, strict=True)])  # fmt: skip

    def _saved(self, record_id: str, values: Row, together: int) -> Row:
        if together > self.trigger_bears:
            errors = [problem("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                              "Scoring: execution of BeforeUpdate caused by: System.LimitException: "
                              "Too many SOQL queries: 101")]  # fmt: skip
        else:
            errors = self.save(record_id, values)
        return {"id": record_id, "success": not errors, "errors": errors}


_BASIC = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()


def _read(request: Request) -> Any:
    try:
        return request.json()
    except json.JSONDecodeError:
        return None
