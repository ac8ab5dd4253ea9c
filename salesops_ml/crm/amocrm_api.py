"""amoCRM's and Kommo's API v4 as reading and writing both use it: login, lists, fields, refusals.

Sources: amoCRM developer documentation, pages "Limitations", "Leads", "Events and notes", "Custom
fields" and "Account"; the vendor's own PHP client (amocrm/amocrm-api-php) for error shapes. Lists come
with HTTP 204 where they are empty. Filters of leads and companies are a paid option of the account:
where it is off they are ignored in silence, so that nothing here may trust them unasked.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from salesops_ml.crm.http_door import Answer, HttpDoor, RenewedLogin
from salesops_ml.crm.limits import Backoff, Clock, Limits, Window
from salesops_ml.crm.secrets import mask, read_secret
from salesops_ml.crm_settings import AmoCrmSource
from salesops_ml.errors import Refused, RemoteError, SourceError, Throttled

PAGE, EVENTS_PAGE, FIELDS_PAGE = 250, 100, 50
"""Most rows of a list, of the list of events, and (by report) of the list of custom fields."""
LOCKED_OUT = 3_600.0
"""Seconds until it is worth asking again after calls above the limit were followed by a 403."""
_SUSPECT = 120.0
_GONE = (204, 404)

Record = dict[str, Any]


class Invalid(Refused):
    """A call that holds something wrong; nothing of it took effect.

    Attributes:
        errors: what is wrong with each record, by its `request_id`, where the answer tells.
    """

    def __init__(self, message: str, errors: Mapping[str, list[Record]]) -> None:
        super().__init__(message, 400)
        self.errors = errors


class Account:
    """Calls to one account.

    Args:
        source: how it is reached.
        limits: how fast it may be called.
        clock: the clock of limits and pauses.
        pace_book: the file that keeps the times of the last calls.
        timeout: seconds without a word until a call is given up.

    Attributes:
        told_at: the vendor's clock at its last answer, unix seconds; None where it tells none.
    """

    def __init__(
        self,
        source: AmoCrmSource,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
        pace_book: Path | None = None,
        timeout: float = 60.0,
    ) -> None:
        self._version = source.api_version
        self._clock = clock or Clock()
        self._throttled_at: float | None = None
        self.told_at: float | None = None
        self._fields: dict[str, list[Record]] = {}
        self.door = HttpDoor(
            source.url, limits=limits or limits_of(source), clock=clock, pace_book=pace_book,
            login=RenewedLogin(lambda: read_secret(source.token)), timeout=timeout,
            explain=self._explain, backoff=Backoff(attempts=10),
        )  # fmt: skip
        self.place = self.door.place

    def get(self, rest: str, params: Mapping[str, Any] = {}) -> Record | None:
        """What stands at an address; None where there is nothing."""
        answer = self.door.read("GET", self._path(rest), params=dict(params))
        found: Record | None = answer.json() if answer.status != 204 else None
        return found

    def write(self, method: str, rest: str, body: Any) -> Answer:
        """A call that changes something; made once."""
        return self.door.write(method, self._path(rest), json=body)

    def pages(self, rest: str, name: str, params: Mapping[str, Any] = {}) -> Iterator[list[Record]]:
        """The rows of a list, page by page, as its `next` links say.

        Args:
            rest: the list's address.
            name: what its rows are called in `_embedded`.
            params: filters and order, as the API names them.

        Raises:
            SourceError: a page came twice.
            RemoteError: the list cannot be read.
        """
        before: list[Any] = []
        page = 1
        while True:
            found = self.get(rest, {"limit": PAGE, "page": page, **params})
            rows = embedded(found, name)
            if not rows:
                return
            ids = [row["id"] for row in rows]
            if ids == before:
                raise came_twice(self.place, rest, page)
            yield rows
            if not has_next(found):
                return
            before, page = ids, page + 1

    def by_change(
        self, rest: str, name: str, params: Mapping[str, Any], since: int | None
    ) -> Iterator[list[Record]]:
        """The rows of a list in the order of their last change.

        Each page is asked for by the last moment of the one before, which comes again: so a row that is
        deleted meanwhile moves none out of sight. Only where one moment fills a page, the next is asked
        for by its number.

        Raises:
            SourceError: a page came twice.
            RemoteError: the list cannot be read.
        """
        before: list[Any] = []
        page = 1
        while True:
            bound = {} if since is None else {"filter[updated_at][from]": since}
            order = {"order[updated_at]": "asc", "limit": PAGE, "page": page}
            found = self.get(rest, {**order, **params, **bound})
            rows = embedded(found, name)
            ids = [row["id"] for row in rows]
            if rows and ids == before:
                raise came_twice(self.place, rest, page)
            if rows:
                yield rows
            if not rows or not has_next(found):
                return
            before, last = ids, rows[-1]["updated_at"]
            page = page + 1 if last == since else 1 + (last == rows[0]["updated_at"])
            since = last

    @cached_property
    def about(self) -> Record:
        """The account itself: its currency, clock, task types, and whether filters work."""
        wanted = "datetime_settings,task_types,is_api_filter_enabled"
        return self.get("account", {"with": wanted}) or {}

    @property
    def filters(self) -> bool:
        """Whether leads and companies can be filtered."""
        return bool(self.about.get("is_api_filter_enabled"))

    @property
    def zone(self) -> ZoneInfo:
        """The account's time zone; UTC where it names none that is known here."""
        told = self.about.get("_embedded", {}).get("datetime_settings", {}).get("timezone")
        try:
            return ZoneInfo(told or "UTC")
        except (ZoneInfoNotFoundError, ValueError):
            return ZoneInfo("UTC")

    def fields(self, entity: str, *, anew: bool = False) -> list[Record]:
        """The custom fields of `leads` or `companies`."""
        if anew or entity not in self._fields:
            limit = {"limit": FIELDS_PAGE}
            pages = self.pages(f"{entity}/custom_fields", "custom_fields", limit)
            self._fields[entity] = [field for page in pages for field in page]
        return self._fields[entity]

    def one(self, kind: str, record_id: int | str) -> Record | None:
        """One of the `leads` or `companies`; None where there is none, or it lies in the bin."""
        try:
            found = self.get(f"{kind}/{record_id}")
        except Refused as error:
            if error.status not in _GONE:
                raise
            return None
        return None if found is None or found.get("is_deleted") else found

    def leads(self, lead_ids: list[int]) -> list[Record] | None:
        """The leads among `lead_ids` that there are; None where the account ignores filters."""
        if not self.filters:
            return None
        found = [
            lead
            for page in self.pages("leads", "leads", {"filter[id][]": lead_ids})
            for lead in page
        ]
        unasked = {lead["id"] for lead in found} - set(lead_ids)
        return None if unasked else found

    def _path(self, rest: str) -> str:
        return f"/api/{self._version}/{rest}"

    def _explain(self, answer: Answer) -> RemoteError | None:
        """amoCRM's own reading of an answer."""
        with contextlib.suppress(KeyError, ValueError):
            self.told_at = email.utils.parsedate_to_datetime(answer.headers["date"]).timestamp()
        if answer.status == 429:
            self._throttled_at = self._clock.now()
            asked = answer.headers.get("retry-after", "")
            seconds = float(asked) if asked.isdigit() else 1.0
            return Throttled(f"{self.place}: too many calls (HTTP 429)", seconds)
        if answer.status == 403 and self._lately_throttled():
            return Throttled(
                f"{self.place}: locks this machine out, since too many calls came (HTTP 403); wait, "
                "or ask support to unlock the address. Other programs with this token count, too",
                LOCKED_OUT,
            )
        if answer.status not in _CURES:
            return None
        message = (
            f"{self.place}: {_CURES[answer.status]} (HTTP {answer.status}); {problem_of(answer)}"
        )
        if answer.status == 400:
            return Invalid(message, errors_of(answer))
        return Refused(message, answer.status)

    def _lately_throttled(self) -> bool:
        at = self._throttled_at
        return at is not None and self._clock.now() - at < _SUSPECT


_CURES = {
    400: "does not accept the call",
    401: "does not know the credentials; check the token, or make a new one in the integration",
    404: "there is no such address; check `url` and `api_version`",
    410: "this version of the API is gone; set a newer `api_version`",
    402: "the account is not paid for, so its API is closed; pay, or end the trial",
    403: "the token may not do this; let an administrator of the account make the integration, with "
    "access to the account's data",
}  # fmt: skip


def limits_of(source: AmoCrmSource) -> Limits:
    """What the account allows.

    Example:
        >>> source = AmoCrmSource(type="amocrm", url="https://x.kommo.com", token="env:KOMMO")
        >>> limits_of(source).windows
        (Window(calls=7, seconds=1.0),)
    """
    return Limits(
        source.records_a_call, (Window(source.calls_a_second, 1.0),),
        calls_at_once=source.calls_at_once,
    )  # fmt: skip


def embedded(found: Mapping[str, Any] | None, name: str) -> list[Record]:
    """The rows that an answer holds under a name; none where it holds nothing.

    Example:
        >>> embedded({"_embedded": {"leads": [{"id": 1}]}}, "leads"), embedded(None, "leads")
        ([{'id': 1}], [])
    """
    told = (found or {}).get("_embedded") or {}
    return list(told.get(name) or [])


def has_next(found: Mapping[str, Any] | None) -> bool:
    """Whether an answer names a next page."""
    return bool(((found or {}).get("_links") or {}).get("next"))


def came_twice(place: str, rest: str, page: int) -> SourceError:
    """What to say of a page that repeats."""
    return SourceError(
        f"{place}: page {page} of {rest} came twice, so the list would never end; nothing was kept. "
        "Run again; if it stays, tell the vendor's support"
    )


def problem_of(answer: Answer) -> str:
    """What an answer of `application/problem+json` says.

    Example:
        >>> problem_of(Answer(403, {}, b'{"title": "Forbidden", "status": 403, "detail": "No rights"}'))
        'Forbidden: No rights'
    """
    told = told_by(answer)
    parts = [str(told[key]) for key in ("title", "detail") if told.get(key)]
    details = [
        f"{error.get('path')}: {error.get('detail')}"
        for found in errors_of(answer).values()
        for error in found
    ]
    return mask(": ".join(parts + details[:1])) or "no explanation given"


def told_by(answer: Answer) -> Record:
    """The JSON of an answer that may hold none."""
    with contextlib.suppress(ValueError):
        told = json.loads(answer.body)
        if isinstance(told, dict):
            return told
    return {}


def errors_of(answer: Answer) -> dict[str, list[Record]]:
    """What is wrong with each record of a call, by its `request_id`; or by the id of a lead.

    Example:
        >>> body = b'{"errors": {"7": "Loss reason can be specified only for lost lead"}}'
        >>> errors_of(Answer(400, {}, body))["7"][0]["detail"]
        'Loss reason can be specified only for lost lead'
    """
    told = told_by(answer)
    rows, plain = told.get("validation-errors"), told.get("errors")
    found = {
        str(row.get("request_id")): list(row.get("errors") or [])
        for row in (rows if isinstance(rows, list) else [])
    }
    if isinstance(plain, dict):
        found |= {str(key): [{"path": "", "detail": str(text)}] for key, text in plain.items()}
    return found
