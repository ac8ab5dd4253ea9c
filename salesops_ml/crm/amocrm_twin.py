"""A loopback amoCRM: lists, events, custom fields, writes of up to 250 leads, and seven calls a second.

It keeps a company's records as the API gives them and answers as the API does: pages with `next` links,
204 for nothing, `application/problem+json` for errors, 429 above the limit, 403 for whoever goes on. One
record that is wrong makes a whole write a 400 that names it by its `request_id`. What people do - move,
change, delete, restore, merge - leaves the events that amoCRM would. Lists are in `amocrm_twin_lists`,
kinds of fields in `amocrm_twin_fields`.

Sources: amoCRM developer documentation; the vendor's PHP client amocrm/amocrm-api-php and its issues.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from salesops_ml.crm.amocrm_twin_fields import (
    KINDS,
    NO_CHOICE,
    OWN_KINDS,
    error,
    field_errors,
    field_row,
    kept,
)
from salesops_ml.crm.amocrm_twin_lists import (
    JSON,
    ListFault,
    Listing,
    Lists,
    events_page,
    page_of,
    problem,
)
from salesops_ml.crm.amocrm_twin_people import People
from salesops_ml.crm.limits import Window
from salesops_ml.crm.twin_vendor import Request, Response, Route, TwinVendor, WindowMeter
from salesops_ml.crm.twin_world import Row, Rows
from salesops_ml.crm.twin_world_amocrm import (
    ZONE,
    amocrm_rows,
    custom_change,
    with_amocrm_ids,
)

TOKEN = "twin-long-lived-t0ken"
MOST_LEADS, MOST_FIELDS = 250, 50
LOCKS_AFTER = 3
"""So many times the limit in a second, and the address is locked out."""
LISTS = {
    "leads": Listing("leads", ("id", "updated_at", "created_at", "pipeline_id"),
                     ("id", "created_at", "updated_at"), paid=True),
    "leads/pipelines": Listing("pipelines"),
    "leads/loss_reasons": Listing("loss_reasons"),
    "leads/custom_fields": Listing("custom_fields", ("type",), ("id", "sort"), 50),
    "companies/custom_fields": Listing("custom_fields", ("type",), ("id", "sort"), 50),
    "leads/notes": Listing("notes", ("id", "note_type", "updated_at", "entity_id"),
                           ("id", "updated_at")),
    "contacts/notes": Listing("notes", ("id", "note_type", "updated_at", "entity_id"),
                              ("id", "updated_at")),
    "companies": Listing("companies", ("id", "updated_at"), ("id", "updated_at"), paid=True),
    "tasks": Listing("tasks", ("id", "updated_at", "entity_id", "is_completed"),
                     ("id", "created_at", "complete_till")),
    "users": Listing("users"),
}  # fmt: skip
_TABLES = {"leads/pipelines": "pipelines", "leads/loss_reasons": "loss_reasons",
           "leads/custom_fields": "lead_fields", "companies/custom_fields": "company_fields",
           "leads/notes": "notes", "contacts/notes": "contact_notes"}  # fmt: skip


class AmoCrmTwin(TwinVendor):
    """One account.

    Args:
        rows: the account's records; see `twin_world_amocrm.amocrm_rows`.
        calls_a_second: the limit.

    Attributes:
        tables: kind of record -> id -> record.
        events: all events, in the order of time.
        filters_on: whether leads and companies can be filtered.
        administrator: whether the token's user may list users and make fields.
        paid: whether the account is paid for.
        leaves_out: a write names no lead that there is not, instead of refusing the whole.
        people: what people do.
    """

    name = "amocrm"

    def __init__(self, rows: Rows, *, calls_a_second: int = 7) -> None:
        super().__init__()
        self.limit = calls_a_second
        self.meters = [WindowMeter(Window(calls_a_second, 1.0))]
        self.tables: dict[str, dict[Any, Row]] = {}
        self.events: list[Row] = []
        self.filters_on = self.administrator = self.paid = self.has_data = True
        self.leaves_out = self.repeats = False
        self.rules: Callable[[Row], str | None] = lambda _lead: None
        self.tokens = {TOKEN}
        self.numbers = itertools.count(1)
        self.user = 999_999
        self.lists = Lists()
        self.people = People(self)
        self.put(rows)

    @classmethod
    def demo(cls) -> AmoCrmTwin:
        """An account with 300 leads and the fields for scores."""
        from salesops_ml.source_settings import SyntheticSource
        from salesops_ml.synthetic import generate, parameters_from

        world = with_amocrm_ids(generate(parameters_from(SyntheticSource(deals=300))))
        return cls(amocrm_rows(world)).with_own_fields()

    @classmethod
    def bare(cls, deals: int) -> AmoCrmTwin:
        """An account of that many leads `1000000`, ... with nothing but the fields for scores."""
        leads = [
            {"id": 1_000_000 + n, "name": "", "status_id": 1, "pipeline_id": 1, "updated_at": 0,
             "is_deleted": False, "custom_fields_values": None}
            for n in range(deals)
        ]  # fmt: skip
        clock = {"datetime_settings": {"timezone": str(ZONE)}}
        return cls({"leads": leads, "account": [{"id": 1, "_embedded": clock}]}).with_own_fields()

    def with_own_fields(self) -> AmoCrmTwin:
        """The same account with the fields for scores."""
        for code, kind in OWN_KINDS:
            self.make_field(
                {"name": code.capitalize(), "code": code, "type": kind, "is_api_only": True}
            )
        return self

    def put(self, rows: Mapping[str, Iterable[Row]]) -> None:
        """Records laid over those that are there."""
        for name, fresh in rows.items():
            if name == "events":
                self.events += fresh
                self.events.sort(key=lambda row: (row["created_at"], row["id"]))
                continue
            table = self.tables.setdefault(name, {})
            for row in fresh:
                table[row["id"]] = {**table.get(row["id"], {}), **row}
        stamps = [row["updated_at"] for name in ("leads", "tasks", "notes", "contact_notes", "companies")
                  for row in self.tables.get(name, {}).values() if row.get("updated_at")]  # fmt: skip
        stamps += [row["created_at"] for row in self.events[-1:]]
        self.people.now = max([self.people.now, *stamps])
        self.lists.forget()

    def routes(self) -> Sequence[Route]:
        """The addresses of API v4 that the connector or its tests use."""
        base = "/api/v4"
        lists: list[Route] = [
            ("GET", f"{base}/(?P<rest>{'|'.join(map(str, LISTS))})/?", self._list),
            ("GET", f"{base}/(?P<kind>leads|companies)/(?P<record_id>\\d+)/?", self._one),
            ("GET", f"{base}/events/?", self._events),
            ("GET", f"{base}/account/?", self._account),
        ]
        writes: list[Route] = [
            ("PATCH", f"{base}/leads/?", self._update),
            ("POST", f"{base}/leads/custom_fields/?", self._make_fields),
        ]
        return [*lists, *writes]

    def authorise(self, request: Request) -> Response | None:
        """A token that is known, an account that is paid for, and the right to its data."""
        shown = request.headers.get("authorization", "").removeprefix("Bearer ")
        if shown not in self.tokens:
            return self.expired()
        if not self.paid:
            return problem(402, "Payment Required", "Account is not paid")
        admins = request.path.rstrip("/").endswith("/users") or request.method == "POST"
        if not self.has_data or (admins and not self.administrator):
            return problem(403, "Forbidden", "Access denied")
        return None

    def too_many(self) -> Response:
        """Above the limit, in no JSON; whoever goes on is locked out."""
        meter = self.meters[0]
        if isinstance(meter, WindowMeter) and meter.seen > LOCKS_AFTER * self.limit:
            return Response(403, b"<html><body>403 Forbidden</body></html>", _HTML)
        return Response(429, b"<html><body>429 Too Many Requests</body></html>", _HTML)

    def unavailable(self) -> Response:
        """The server is in trouble."""
        return Response(503, b"<html><body>503 Service Unavailable</body></html>", _HTML)

    def expired(self) -> Response:
        """A token that is not known."""
        return problem(401, "Unauthorized", "Incorrect token",
                       hint="Token is invalid, expired or the integration is disabled")  # fmt: skip

    def unknown(self, request: Request) -> Response:
        """No such address."""
        return problem(404, "Not Found", "No route found")

    def make_field(self, given: Mapping[str, Any]) -> Row:
        """A custom field of leads made."""
        field = field_row(900_000 + next(self.numbers), given)
        self.tables.setdefault("lead_fields", {})[field["id"]] = field
        self.lists.forget()
        return field

    def fields(self) -> dict[Any, Row]:
        """Custom fields of leads by id and by code."""
        told = self.tables.get("lead_fields", {})
        return {**told, **{field["code"]: field for field in told.values() if field.get("code")}}

    def _list(self, request: Request, rest: str) -> Response:
        listing = LISTS[rest]
        table = self.tables.get(_TABLES.get(rest, rest), {})
        deleted = rest == "leads" and "only_deleted" in request.one("with").split(",")

        def rows() -> Iterable[Row]:
            return (row for row in table.values() if bool(row.get("is_deleted")) == deleted)

        with_all = rest != "leads" or "contacts" in request.one("with").split(",")
        show = dict if with_all else _without_contacts
        try:
            found = self.lists.rows(listing, request, rows, self.filters_on)
            return page_of(listing, request, found, repeats=self.repeats, show=show)
        except ListFault as fault:
            return problem(400, "Bad Request", str(fault))

    def _events(self, request: Request) -> Response:
        try:
            return events_page(request, self.events, repeats=self.repeats)
        except ListFault as fault:
            return problem(400, "Bad Request", str(fault))

    def _one(self, request: Request, kind: str, record_id: str) -> Response:
        found = self.tables[kind].get(int(record_id))
        if found is None or found.get("is_deleted"):
            return Response(204)
        shown = _without_contacts(found) if kind == "leads" else found
        return Response(200, shown, {"Content-Type": JSON})

    def _account(self, request: Request) -> Response:
        (account,) = self.tables["account"].values()
        told = {**account, "is_api_filter_enabled": self.filters_on}
        asked = request.one("with").split(",")
        if "is_api_filter_enabled" not in asked:
            del told["is_api_filter_enabled"]
        shown = {
            name: value for name, value in (told.pop("_embedded", {})).items() if name in asked
        }
        return Response(200, {**told, "_embedded": shown}, {"Content-Type": JSON})

    def _update(self, request: Request) -> Response:
        asked = _read(request)
        if not isinstance(asked, list) or not asked:
            return problem(400, "Bad Request", "Invalid request body")
        if len(asked) > MOST_LEADS:
            return problem(400, "Bad Request", f"No more than {MOST_LEADS} elements at once")
        there = self.fields()
        wrong = []
        for n, given in enumerate(asked):
            errors = self._errors(given, there)
            if errors:
                wrong.append({"request_id": str(given.get("request_id", n)), "errors": errors})
        if wrong:
            return problem(400, "Bad Request", "Request validation failed",
                           **{"validation-errors": wrong})  # fmt: skip
        at = self.people.tick()
        done = []
        for n, given in enumerate(asked):
            lead = self.tables["leads"].get(given["id"])
            if lead is not None and not lead.get("is_deleted"):
                self._save(lead, given, there, at)
                done.append({"id": given["id"], "updated_at": at,
                             "request_id": str(given.get("request_id", n))})  # fmt: skip
        self.lists.forget()
        return Response(200, {"_embedded": {"leads": done}}, {"Content-Type": JSON})

    def _errors(self, given: Any, there: Mapping[Any, Row]) -> list[Row]:
        lead = self.tables["leads"].get(given.get("id")) if isinstance(given, dict) else None
        if (lead is None or lead.get("is_deleted")) and not self.leaves_out:
            return [error("id", NO_CHOICE)]
        broken = self.rules(given)
        if broken:
            return [error("custom_fields_values.0.values.0.value", broken, "InvalidType")]
        values = given.get("custom_fields_values") or []
        return [one for n, value in enumerate(values) for one in field_errors(n, value, there)]

    def _save(self, lead: Row, given: Row, there: Mapping[Any, Row], at: int) -> None:
        """The values of a lead's own fields kept, each change with its event."""
        stands = {field["field_id"]: field for field in lead["custom_fields_values"] or []}
        written = {}
        for value in given.get("custom_fields_values") or []:
            field = there[value.get("field_id") or value.get("field_code")]
            texts = [kept(field["type"], one.get("value")) for one in value.get("values") or []]
            before = stands.pop(field["id"], None)
            after = None
            if [text for text in texts if text != ""]:
                after = {"field_id": field["id"], "field_name": field["name"],
                         "field_code": field["code"], "field_type": field["type"],
                         "values": [{"value": text} for text in texts]}  # fmt: skip
                stands[field["id"]] = after
            written[field["code"] or field["id"]] = texts
            if before != after:
                shown = [
                    [] if told is None else [custom_change(field, told)] for told in (before, after)
                ]
                self.people.note(f"custom_field_{field['id']}_value_changed", lead["id"], at,
                                 self.user, *shown)  # fmt: skip
        lead.update(custom_fields_values=list(stands.values()) or None, updated_at=at,
                    updated_by=self.user)  # fmt: skip
        self.wrote(str(lead["id"]), written)

    def _make_fields(self, request: Request) -> Response:
        asked = _read(request)
        if not isinstance(asked, list) or not 1 <= len(asked) <= MOST_FIELDS:
            return problem(400, "Bad Request", f"From 1 to {MOST_FIELDS} fields at once")
        there = self.fields()
        wrong = [
            {"request_id": str(given.get("request_id", n)), "errors": [error(path, NO_CHOICE)]}
            for n, given in enumerate(asked)
            for path, bad in (
                ("type", given.get("type") not in KINDS),
                ("code", given.get("code") in there),
            )
            if bad
        ]
        if wrong:
            return problem(400, "Bad Request", "Request validation failed",
                           **{"validation-errors": wrong})  # fmt: skip
        made = [{**self.make_field(given), "request_id": str(given.get("request_id", n))}
                for n, given in enumerate(asked)]  # fmt: skip
        body = {"_total_items": len(made), "_embedded": {"custom_fields": made}}
        return Response(201, body, {"Content-Type": JSON})


_HTML = {"Content-Type": "text/html"}


def _without_contacts(lead: Row) -> Row:
    """A lead as it is shown to whoever does not ask for its contacts."""
    told = {name: rows for name, rows in lead.get("_embedded", {}).items() if name != "contacts"}
    return {**lead, "_embedded": told}


def _read(request: Request) -> Any:
    try:
        return request.json()
    except json.JSONDecodeError:
        return None
