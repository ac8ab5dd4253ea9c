"""Salesforce's REST API as reading and writing both use it: login, queries, descriptions, refusals.

Sources: Salesforce REST API Developer Guide (Query, QueryAll, sObject Describe, Status Codes and Error
Responses, Sforce-Limit-Info header) and OAuth 2.0 Client Credentials Flow.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from salesops_ml.crm.http_door import Answer, BearerLogin, HttpDoor, Login, RenewedLogin
from salesops_ml.crm.limits import Backoff, Clock, Limits, Window
from salesops_ml.crm.secrets import Secret, mask, read_secret
from salesops_ml.crm_settings import SalesforceSource
from salesops_ml.errors import NotSent, Refused, RemoteError, SourceError, Throttled

PAGE = 2_000
"""Most rows that a query gives a call."""
UNTIL_MORE = 3_600.0
"""Seconds until it is worth asking again where a day's calls are used up."""
CROWDED = 5.0
"""Seconds until it is worth asking again where too many calls run at once."""
RESERVE = 0.02
"""Share of the org's daily calls that is left to others."""

Record = dict[str, Any]


class Org:
    """Calls to one Salesforce org.

    Args:
        source: how it is reached.
        limits: how fast it may be called.
        clock: the clock of limits and pauses.
        pace_book: the file that keeps the times of the last calls.
        timeout: seconds without a word until a call is given up.

    Attributes:
        user: the id of the user that calls, where the login tells it.
    """

    def __init__(
        self,
        source: SalesforceSource,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
        pace_book: Path | None = None,
        timeout: float = 60.0,
    ) -> None:
        self._source, self._clock = source, clock
        self.user: str | None = None
        self._used = self._allowed = 0
        self._lock = threading.Lock()
        self._described: dict[str, dict[str, Record]] = {}
        self.door = HttpDoor(
            source.url, limits=limits or limits_of(source, PAGE),
            login=self._login(), clock=clock, pace_book=pace_book, timeout=timeout,
            explain=self._explain, backoff=Backoff(attempts=10),
        )  # fmt: skip
        self.place = self.door.place

    def path(self, rest: str) -> str:
        """An address of this version of the API."""
        return f"/services/data/v{self._source.api_version}/{rest}"

    def get(self, rest: str, **asked: Any) -> Any:
        """What stands at an address, as JSON."""
        self._leave_some()
        return self.door.read_json("GET", self.path(rest), **asked)

    def get_bytes(self, rest: str) -> bytes:
        """What stands at an address, as it is."""
        self._leave_some()
        return self.door.read("GET", self.path(rest)).body

    def write(self, method: str, rest: str, **asked: Any) -> Answer:
        """A call that changes something; made once."""
        self._leave_some()
        return self.door.write(method, self.path(rest), **asked)

    def objects(self) -> dict[str, Record]:
        """The kinds of records that the user may see, by name."""
        return {found["name"]: found for found in self.get("sobjects")["sobjects"]}

    def fields(self, name: str, *, anew: bool = False) -> dict[str, Record]:
        """The fields of a kind of record that the user may see, by name."""
        if anew or name not in self._described:
            told = self.get(f"sobjects/{name}/describe")["fields"]
            self._described[name] = {field["name"]: field for field in told}
        return self._described[name]

    def pages(self, soql: str, *, deleted: bool = False) -> Iterator[list[Record]]:
        """The rows of a query, page by page.

        Args:
            soql: the query.
            deleted: deleted rows that still lie in the recycle bin come too.

        Raises:
            SourceError: a page came twice.
            RemoteError: the query cannot be answered.
        """
        found = self.get("queryAll" if deleted else "query", params={"q": soql})
        seen = set()
        while True:
            yield [_row(record) for record in found["records"]]
            following = found.get("nextRecordsUrl")
            if found["done"] or not following:
                return
            if following in seen:
                raise SourceError(
                    f"{self.place}: the page {following.rsplit('/', 1)[-1]} came twice, so the query "
                    "would never end; nothing was kept. Run again; if it stays, tell Salesforce"
                )
            seen.add(following)
            self._leave_some()
            found = self.door.read_json("GET", following)

    def _login(self) -> Login:
        source = self._source
        if source.token is not None:
            return BearerLogin(read_secret(source.token))
        return RenewedLogin(self._get_token)

    def _get_token(self) -> Secret:
        """A fresh token, by the refresh token where there is one, else by client credentials."""
        source = self._source
        asked = {"client_id": str(source.client_id), "grant_type": "client_credentials"}
        if source.client_secret is not None:
            asked["client_secret"] = read_secret(source.client_secret).reveal()
        if source.refresh_token is not None:
            refresh = read_secret(source.refresh_token).reveal()
            asked |= {"grant_type": "refresh_token", "refresh_token": refresh}
        door = HttpDoor(source.url, limits=Limits(1), clock=self._clock, explain=self._no_token)
        try:
            told = door.read_json("POST", "/services/oauth2/token", data=asked)
        finally:
            door.close()
        self.user = str(told.get("id", "")).rsplit("/", 1)[-1] or None
        return Secret(str(told["access_token"]))

    def _no_token(self, answer: Answer) -> RemoteError | None:
        if answer.status not in (400, 401):
            return self._explain(answer)
        if error_of(answer)[0] == "INVALID_SESSION_ID":
            return NotSent(f"{mask(self._source.url)}: gives no token just now")
        told = _json(answer)
        code = told.get("error", "") if isinstance(told, Mapping) else ""
        why = (
            told.get("error_description", code) if isinstance(told, Mapping) else "no reason given"
        )
        return Refused(
            f"{mask(self._source.url)}: does not let us in ({code}: {mask(str(why))}); check "
            "`client_id` and the secrets, that the connected app allows this flow, and that it runs "
            "as a user who is active"
        )

    def _explain(self, answer: Answer) -> RemoteError | None:
        """Salesforce's own reading of an answer: an array of `errorCode` and `message`."""
        with self._lock:
            usage = re.search(r"api-usage=(\d+)/(\d+)", answer.headers.get("sforce-limit-info", ""))
            if usage:
                self._used, self._allowed = int(usage[1]), int(usage[2])
        if answer.status < 400:
            return None
        code, message = error_of(answer)
        if code == "REQUEST_LIMIT_EXCEEDED":
            daily = "concurrent" not in message.lower()
            return Throttled(
                f"{self.place}: {message or 'the calls of this org are used up'}",
                UNTIL_MORE if daily else CROWDED,
            )
        if code in _CURES:
            return Refused(f"{self.place}: {message} ({code}); {_CURES[code]}")
        return None

    def _leave_some(self) -> None:
        """Stop before the org's calls of the day are used up: others need them too."""
        with self._lock:
            used, allowed = self._used, self._allowed
            if not allowed or used < allowed * (1 - RESERVE):
                return
            self._used = self._allowed = 0
        raise Throttled(
            f"{self.place}: {used:,} of the {allowed:,} calls that the org has in 24 hours are used; "
            "the last ones are left to others",
            UNTIL_MORE,
        )


def limits_of(source: SalesforceSource, records_a_call: int) -> Limits:
    """What we may call in a day, reading and writing together."""
    day = Window(source.daily_calls, 86_400)
    return Limits(records_a_call, (day,), calls_at_once=source.calls_at_once)


_CURES = {
    "INVALID_FIELD": "correct the field's name, or give the user the right to see it",
    "INVALID_TYPE": "give the user the right to see these records",
    "MALFORMED_QUERY": "this is a fault of ours; please report it",
    "INVALID_QUERY_LOCATOR": "the page is no longer kept; ask anew",
    "API_DISABLED_FOR_ORG": "give the user the permission `API Enabled`",
    "API_CURRENTLY_DISABLED": "give the user the permission `API Enabled`",
    "INSUFFICIENT_ACCESS": "give the user the permissions that docs/crm_salesforce.md lists",
    "FEATURENOTENABLED": "this org's edition does not have that part of the API",
}


def error_of(answer: Answer) -> tuple[str, str]:
    """`errorCode` and `message` of an answer; empty where it holds none.

    Example:
        >>> error_of(Answer(400, {}, b'[{"errorCode": "INVALID_FIELD", "message": "No column x"}]'))
        ('INVALID_FIELD', 'No column x')
    """
    told = _json(answer)
    first = told[0] if isinstance(told, list) and told else told
    if not isinstance(first, Mapping):
        return "", ""
    message = " ".join(str(first.get("message", "")).split())
    return str(first.get("errorCode", "")), mask(message)


def quoted(value: str) -> str:
    r"""A text for SOQL.

    Example:
        >>> quoted("O'Hara")
        "'O\\'Hara'"
    """
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _row(record: Record) -> Record:
    return {name: value for name, value in record.items() if name != "attributes"}


def _json(answer: Answer) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(answer.body)
    return None
