"""A loopback Bitrix24: an inbound webhook, items, stage history, dictionaries, batches, and both limits.

It answers as the REST API does: pages of 50, with a count unless `start=-1`; results of a batch by the
commands' names, an error each; what a record does not have is ignored in an update, without a word. It
measures the time that each method takes in ten minutes, and closes a method that took too much.

Sources: Bitrix24 REST documentation, as in `bitrix24_api`, and the pages of each method.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

from salesops_ml.crm.bitrix24_fields import OWN_FIELDS
from salesops_ml.crm.bitrix24_twin_fields import Field, fields_of, made
from salesops_ml.crm.bitrix24_twin_methods import ITEMS, METHODS, Refusal
from salesops_ml.crm.bitrix24_twin_query import (
    BadArgument,
    Table,
    parse_php,
    php_array,
    resolved,
)
from salesops_ml.crm.twin_vendor import BucketMeter, Request, Response, Route, TwinVendor
from salesops_ml.crm.twin_world import Row, Rows
from salesops_ml.crm.twin_world_bitrix24 import bitrix24_rows, stamp, with_bitrix24_ids

USER_ID, CODE = 1, "twin-webhook-c0de"
COMMANDS = 50
OPERATING, WINDOW = 480.0, 600.0
"""Seconds that a method may take in a window of so many."""
KEYS = {"deals": "id", "companies": "id", "quotes": "id", "categories": "id"}
"""Tables whose id is `id`; the others' is `ID`."""
SCOPES = {
    "crm": "crm", "user": "user_brief", "department": "department",
    "userfieldconfig": "userfieldconfig",
}  # fmt: skip
"""The scope that methods need which begin so."""
SAVED_AT = ("updatedTime", "LAST_UPDATED")
"""Columns with the moment of a record's last save."""
_PATH = r"/rest/(?P<user>\d+)/(?P<code>[^/]+)/(?P<method>[\w.]+?)(?:\.json)?/?"


class Bitrix24Twin(TwinVendor):
    """One portal.

    Args:
        rows: the portal's records; see `twin_world_bitrix24.bitrix24_rows`.
        a_second: calls that drain from the bucket.
        burst: calls that fill it.

    Attributes:
        tables: the records by kind.
        fields: kind of item -> name -> field.
        read_only: fields of deals that the webhook's user may not edit.
        scopes: what the webhook may do.
        seconds: how long a command of each method takes; others take `usual_seconds`.
        rules: what keeps a deal's update from being made; an error's code and description.
        repeats: whether lists forget where they were.
        gone_methods: methods that this portal's version does not have.
        closed_calls: calls and commands that came while their method was closed.
    """

    name = "bitrix24"

    def __init__(self, rows: Rows, *, a_second: float = 2.0, burst: int = 50) -> None:
        super().__init__()
        self.meters = [BucketMeter(a_second=a_second, burst=burst)]
        self.tables = {
            name: Table(KEYS.get(name, "ID"))
            for name in ("deals", "stage_history", "statuses", "companies", "users", "departments",
                         "activities", "quotes")
        }  # fmt: skip
        self.categories: list[Row] = list(rows.get("categories", []))
        self.currencies: list[Row] = list(rows.get("currencies", []))
        self.fields: dict[str, dict[str, Field]] = {name: {} for name in ITEMS.values()}
        self.read_only: set[str] = set()
        self.scopes = {"crm", "user_brief", "department", "userfieldconfig"}
        self.may_customize = True
        self.seconds: dict[str, float] = {"crm.item.update": 0.005}
        self.usual_seconds = 0.002
        self.rules: Callable[[Row], tuple[str, str] | None] = lambda _values: None
        self.repeats = False
        self.gone_methods: set[str] = set()
        self.closed_calls = 0
        self.codes = {CODE}
        self._spent: dict[str, deque[tuple[float, float]]] = {}
        self._begun = datetime(2020, 1, 1)
        self._saves = 0
        self.put(rows)

    @classmethod
    def demo(cls) -> Bitrix24Twin:
        """A portal with 300 deals and the fields for scores."""
        from salesops_ml.source_settings import SyntheticSource
        from salesops_ml.synthetic import generate, parameters_from

        world = with_bitrix24_ids(generate(parameters_from(SyntheticSource(deals=300))))
        return cls(bitrix24_rows(world)).with_own_fields()

    @classmethod
    def bare(cls, deals: int) -> Bitrix24Twin:
        """A portal of that many deals, numbered from 1, with nothing but the fields for scores."""
        rows = [{"id": at, "stageId": "NEW", "updatedTime": stamp(datetime(2026, 1, 1))}
                for at in range(1, deals + 1)]  # fmt: skip
        return cls({"deals": rows}).with_own_fields()

    def with_own_fields(self) -> Bitrix24Twin:
        """The same portal with the fields for scores."""
        for own in OWN_FIELDS.values():
            field = made({"entityId": "CRM_DEAL", "fieldName": own.name, "userTypeId": own.kind,
                          "settings": own.settings})  # fmt: skip
            assert isinstance(field, Field)
            self.fields["deals"][field.name] = field
        return self

    def put(self, rows: Mapping[str, Iterable[Row]]) -> None:
        """Records laid over those that are there, as people save them."""
        for name, fresh in rows.items():
            if name in ("categories", "currencies"):
                setattr(self, name, list(fresh))
                continue
            table = self.tables[name]
            known = bool(table.rows)
            if not known:
                fresh = list(fresh)
                self._begin_after(fresh)
            for given in fresh:
                row = dict(given)
                for saved in SAVED_AT:
                    if known and saved in row:
                        row[saved] = self.moment()
                number = int(row[table.key])
                table.rows[number] = {**table.rows.get(number, {}), **row}
            table.version += 1
            if name in self.fields:
                self.fields[name] = fields_of(table.rows.values()) | self.fields[name]

    def _begin_after(self, rows: Iterable[Row]) -> None:
        """The portal's clock starts when the last of its first records was saved."""
        stamps = [row[saved] for row in rows for saved in SAVED_AT if row.get(saved)]
        if stamps:
            last = max(datetime.fromisoformat(at) for at in stamps).astimezone(UTC)
            self._begun = max(self._begun, last.replace(tzinfo=None))

    def delete(self, name: str, record_id: int) -> None:
        """A record deleted: no list has it any more; a deal takes its activities and history along."""
        self.tables[name].rows.pop(record_id, None)
        self.tables[name].version += 1
        if name != "deals":
            return
        for other in ("stage_history", "activities"):
            table = self.tables[other]
            table.rows = {
                number: row for number, row in table.rows.items()
                if str(row["OWNER_ID"]) != str(record_id) or row.get("OWNER_TYPE_ID", "2") != "2"
            }  # fmt: skip
            table.version += 1

    def moment(self) -> str:
        """The moment of a save, by the portal's clock: each is a second after the one before."""
        self._saves += 1
        return str(stamp(self.wall()))

    def wall(self) -> datetime:
        """What the portal's clock shows in UTC."""
        return self._begun + timedelta(seconds=self.skew + self._saves)

    def routes(self) -> Sequence[Route]:
        """Every method at the webhook's address."""
        return [(method, _PATH, self._called) for method in ("POST", "GET")]

    def authorise(self, request: Request) -> Response | None:
        """The webhook's user and code."""
        found = re.fullmatch(_PATH, request.path)
        if found is None:
            return None
        if int(found["user"]) != USER_ID or found["code"] not in self.codes:
            return self._refused(
                Refusal("INVALID_CREDENTIALS", "Invalid request credentials", status=401)
            )
        return None

    def too_many(self) -> Response:
        """The bucket is full."""
        return self._refused(Refusal("QUERY_LIMIT_EXCEEDED", "Too many requests", status=503))

    def unavailable(self) -> Response:
        """The server in front of the portal is in trouble."""
        page = b"<html><body>503 Service Temporarily Unavailable</body></html>"
        return Response(503, page, {"Content-Type": "text/html"})

    def expired(self) -> Response:
        """What an application's call gets whose token is too old."""
        words = "The access token provided has expired."
        return self._refused(Refusal("expired_token", words, status=401))

    def unknown(self, request: Request) -> Response:
        """No such address."""
        return Response(404, b"<html>404</html>", {"Content-Type": "text/html"})

    def _refused(self, refusal: Refusal) -> Response:
        return Response(refusal.status, refusal.told())

    def _called(self, request: Request, user: str, code: str, method: str) -> Response:
        asked = _asked(request)
        started = self.clock.now()
        try:
            told = self._batch(asked) if method == "batch" else self._alone(method, asked)
        except Refusal as refusal:
            told = {**refusal.told(), "time": self._time(method, started)}
            return Response(refusal.status, told)
        return Response(200, {**told, "time": self._time(method, started)})

    def _alone(self, method: str, asked: Row) -> Row:
        result, more = self._run(method, asked)
        return {"result": result, **more}

    def _batch(self, asked: Row) -> Row:
        """The commands one after the other, each with the results of those before it at hand."""
        cmd = asked.get("cmd") or {}
        commands = cmd if isinstance(cmd, dict) else {str(n): one for n, one in enumerate(cmd)}
        if len(commands) > COMMANDS:
            raise Refusal("ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded")
        halt = str(asked.get("halt", 0)).lower() in ("1", "true")
        found: dict[str, dict[str, Any]] = {
            name: {} for name in ("result", "result_error", "result_total", "result_next",
                                  "result_time")
        }  # fmt: skip
        for name, command in commands.items():
            method, _, query = str(command).partition("?")
            started = self.clock.now()
            try:
                told, more = self._run(method, resolved(parse_php(query), found["result"]))
            except Refusal as refusal:
                found["result_error"][name] = refusal.told()
                if halt:
                    break
                continue
            found["result"][name] = told
            found["result_time"][name] = self._time(method, started)
            for key in more:
                found[f"result_{key}"][name] = more[key]
        return {"result": {name: php_array(told) for name, told in found.items()}}

    def _run(self, method: str, asked: Row) -> tuple[Any, Row]:
        """One method, in whatever case: its result, and what stands beside it."""
        method = method.lower()
        if method == "batch":
            raise Refusal(
                "ERROR_BATCH_METHOD_NOT_ALLOWED", "Method is not allowed for batch usage", 405
            )
        run = METHODS.get(method)
        if run is None or method in self.gone_methods:
            raise Refusal("ERROR_METHOD_NOT_FOUND", "Method not found!", 404)
        needed = SCOPES.get(method.partition(".")[0])
        if needed is not None and needed not in self.scopes:
            words = "The request requires higher privileges than provided by the webhook token"
            raise Refusal("insufficient_scope", words, 401)
        self._spend(method)
        try:
            told: tuple[Any, Row] = run(self, asked)
        except BadArgument as error:
            raise Refusal("INVALID_ARG_VALUE", str(error)) from None
        return told

    def _spend(self, method: str) -> None:
        """Count a command's time; a method that took too much in the last ten minutes is closed."""
        now = self.clock.now()
        spent = self._spent.setdefault(method, deque())
        while spent and spent[0][0] <= now - WINDOW:
            spent.popleft()
        if sum(cost for _, cost in spent) >= OPERATING:
            self.closed_calls += 1
            raise Refusal(
                "OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit.", 429
            )
        cost = self.seconds.get(method, self.usual_seconds)
        if spent and now - spent[-1][0] < 1.0:
            spent[-1] = (spent[-1][0], spent[-1][1] + cost)
        else:
            spent.append((now, cost))

    def _time(self, method: str, started: float) -> Row:
        """The answer's `time`; `operating` is what the method took in the last ten minutes."""
        now, wall = self.clock.now(), self.wall().replace(tzinfo=UTC)
        spent = self._spent.get(method) or deque([(now, 0.0)])
        shown = wall.isoformat(timespec="seconds")
        return {
            "start": wall.timestamp(), "finish": wall.timestamp() + now - started,
            "duration": now - started, "processing": now - started,
            "date_start": shown, "date_finish": shown,
            "operating_reset_at": int(wall.timestamp() + spent[0][0] + WINDOW - now) + 1,
            "operating": sum(cost for _, cost in spent),
        }  # fmt: skip


def _asked(request: Request) -> Row:
    """Parameters of a call: JSON, or as a form, and those of the address."""
    told = parse_php(urlencode(parse_qsl("&".join(
        f"{key}={value}" for key, values in request.query.items() for value in values
    )))) if request.query else {}  # fmt: skip
    if not request.body:
        return told
    if "json" in request.headers.get("content-type", ""):
        try:
            body = json.loads(request.body)
        except ValueError:
            return told
        return {**told, **body} if isinstance(body, dict) else told
    return {**told, **parse_php(request.body.decode())}
