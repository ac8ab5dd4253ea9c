"""Bitrix24's REST API as reading and writing both use it: an inbound webhook, batches, pages, refusals.

The webhook's code stands in the address of every call; it is a `Secret`, and no text of ours holds it.
Two limits are kept: calls (a bucket that drains steadily), and the time that the portal spends on each
method, 480 s in ten minutes. Above that it is closed to everyone in the company, so we stop before.

Sources: Bitrix24 REST documentation, "REST API Limits", "How to Execute Batch Requests", "Retrieve Large
Volumes of Data", "Statuses and System Error Codes"; the lists of b24pysdk 1.3, Bitrix24's own client.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from salesops_ml.crm.bitrix24_operating import OperatingTime, until_free
from salesops_ml.crm.http_door import Answer, HttpDoor
from salesops_ml.crm.limits import Backoff, Clock, Limits, Window
from salesops_ml.crm.secrets import mask, read_secret
from salesops_ml.crm_settings import Bitrix24Source
from salesops_ml.errors import Ambiguous, NotSent, Refused, RemoteError, SourceError, Throttled

PAGE = 50
"""Records that a list method gives a call."""
CLOSED = "OPERATION_TIME_LIMIT"
COMMANDS = 50
"""Most commands in a batch."""
PAGES_AT_ONCE = (1, 5, 20, COMMANDS)
"""Pages that each call asks for, the last number for all calls after: a small answer costs little."""
CROWDED = 2.0
"""Seconds until it is worth asking again where too many calls came at once."""
UNTIL_FREE = 120.0
"""The same where a method is closed and the portal does not say until when: ten minutes at most."""
DEAL, COMPANY, QUOTE = 2, 4, 7

Record = dict[str, Any]
Command = tuple[str, Mapping[str, Any]]


class Portal:
    """Calls to one Bitrix24 portal.

    Args:
        source: how it is reached.
        clock: the clock of limits and pauses.
        pace_book: the file that keeps the times of the last calls.
        timeout: seconds without a word until a call is given up.

    Attributes:
        limits: how fast it may be called.
        place: where that is, without the code.
        seen_at: the portal's clock in UTC when `scopes` was asked last.
    """

    def __init__(
        self,
        source: Bitrix24Source,
        *,
        clock: Clock | None = None,
        pace_book: Path | None = None,
        timeout: float = 60.0,
    ) -> None:
        self._source = source
        self._code = read_secret(source.webhook)
        if "/" in self._code.reveal():
            raise SourceError(
                f"`{source.webhook}`: holds more than the webhook's code; of its address "
                "https://portal/rest/USER/CODE/ keep the portal in `url`, USER in `user_id`, and CODE "
                "alone as the secret"
            )
        window = Window.of_bucket(a_second=source.calls_a_second, burst=source.burst)
        self.limits = Limits(source.records_a_call, (window,), calls_at_once=source.calls_at_once)
        self.door = HttpDoor(
            source.url, limits=self.limits, clock=clock, timeout=timeout, pace_book=pace_book,
            explain=self._explain, backoff=Backoff(attempts=10),
        )  # fmt: skip
        self.place = self.door.place
        self._operating = OperatingTime(self.door.clock)
        self.seen_at: datetime | None = None

    def call(self, method: str, asked: Mapping[str, Any] | None = None) -> Record:
        """The whole answer of a method that changes nothing: `result`, `next`, `time`.

        Raises:
            RemoteError: it cannot be had.
        """
        told = self.door.read_json("POST", self._path(method), json=dict(asked or {}))
        return self._checked(told)

    def write(self, method: str, asked: Mapping[str, Any]) -> Record:
        """A method that changes something; called once."""
        answer = self.door.write("POST", self._path(method), json=dict(asked))
        return self._checked(answer.json())

    def batch(self, commands: Mapping[str, Command]) -> Record:
        """What a batch of one method's commands gave: `result` and `result_error` by their names.

        Called once: each call takes of the method's time, whether or not its answer comes.
        """
        asked = {"halt": 0, "cmd": {name: _query(*command) for name, command in commands.items()}}
        (method,) = {command[0] for command in commands.values()}
        with self._operating.spend(method, len(commands)) as began:
            told = self.write("batch", asked)
            result = told.get("result")
            if not isinstance(result, Mapping):
                raise Ambiguous(f"{self.place}: the answer to a batch holds no results")
            times = [*named(result.get("result_time")).values()]
            self._operating.note(method, times, began=began)
        return {name: named(result.get(name)) for name in ("result", "result_error")}

    def fields(self, entity: int) -> dict[str, Record]:
        """The fields of a kind of item, by name."""
        told = self.call("crm.item.fields", {"entityTypeId": entity})["result"]["fields"]
        return dict(told)

    def scopes(self) -> set[str]:
        """What the webhook may do."""
        told = self.call("scope")
        finish = named(told.get("time")).get("finish")
        if isinstance(finish, int | float):
            self.seen_at = datetime.fromtimestamp(finish, UTC).replace(tzinfo=None)
        return {str(scope) for scope in told["result"]}

    def counted(
        self, method: str, asked: Mapping[str, Any], *, inside: str | None = None
    ) -> Iterator[list[Record]]:
        """All records of a short list, page by page, each by the number that the one before gives.

        Raises:
            SourceError: a page came twice.
            RemoteError: the list cannot be had.
        """
        start = 0
        while True:
            told = self.call(method, {**asked, "start": start, "START": start})
            result = told.get("result")
            rows = result.get(inside) if inside and isinstance(result, Mapping) else result
            yield list(rows) if isinstance(rows, list) else []
            following = told.get("next")
            if following is None:
                return
            if int(following) <= start:
                raise SourceError(self._twice(method))
            start = int(following)

    def total(self, method: str, asked: Mapping[str, Any]) -> int | None:
        """How many records a list has; None where the portal does not tell."""
        told = self.call(method, {**asked, "start": 0}).get("total")
        return told if isinstance(told, int) else None

    def pages(
        self, method: str, asked: Mapping[str, Any], *, key: str, inside: str | None = None,
        after: int = 0,
    ) -> Iterator[list[Record]]:  # fmt: skip
        """All records of a list in the order of their ids, as many at once as a call gives.

        Each page is asked for by the last id of the one before, without a count; in a batch the
        portal itself puts that id into the next command.

        Args:
            method: the list method.
            asked: its parameters; `filter` is added to, and `order` unless it says it itself.
            key: the column of the id.
            inside: where the records lie in `result`; None for `result` itself.
            after: the id before the first.

        Raises:
            SourceError: a page came twice.
            RemoteError: the list cannot be had.
        """
        numbers = iter(PAGES_AT_ONCE)
        pages_at_once = next(numbers)
        while True:
            commands = self._chained(method, asked, key, inside, after, pages_at_once)
            found: list[Record] = []
            for rows in self._answered(commands, method, inside):
                if rows and int(rows[0][key]) <= after:
                    raise SourceError(self._twice(method))
                after = int(rows[-1][key]) if rows else after
                found += rows
                if len(rows) < PAGE:
                    yield found
                    return
            yield found
            pages_at_once = next(numbers, PAGES_AT_ONCE[-1])

    def _answered(
        self, commands: Mapping[str, Command], method: str, inside: str | None
    ) -> list[list[Record]]:
        """The pages that the commands of a batch gave, up to the first that the portal refused."""

        def attempt() -> Record:
            told = self.batch(commands)
            first = told["result_error"].get(next(iter(commands)))
            if first is not None:
                raise self._refusal(first, method)
            return told

        told = self.door.patiently(attempt)
        done: list[list[Record]] = []
        for name in commands:
            if name in told["result_error"]:
                break
            found = told["result"].get(name)
            rows = found.get(inside) if inside and isinstance(found, Mapping) else found
            done.append(list(rows) if isinstance(rows, list) else [])
        return done

    def _chained(
        self, method: str, asked: Mapping[str, Any], key: str, inside: str | None, after: int,
        count: int,
    ) -> dict[str, Command]:  # fmt: skip
        """Commands of which each asks for what follows the last record of the one before."""
        commands: dict[str, Command] = {}
        for number in range(1, count + 1):
            path = f"[p{number - 1}]" + (f"[{inside}]" if inside else "")
            last = after if number == 1 else f"$result{path}[{PAGE - 1}][{key}]"
            told = {**asked, "filter": {**asked.get("filter", {}), f">{key}": last}, "start": -1}
            commands[f"p{number}"] = (method, {"order": {key: "ASC"}, **told})
        return commands

    def _twice(self, method: str) -> str:
        return (
            f"{self.place}: a page of {method} came twice, so the list would never end; nothing was "
            "kept. Run again; if it stays, tell Bitrix24"
        )

    def _path(self, method: str) -> str:
        code = quote(self._code.reveal(), safe="")
        return f"/rest/{self._source.user_id}/{code}/{method}.json"

    def _refusal(self, error: Mapping[str, Any], method: str) -> RemoteError:
        """The error of one command of a batch that only reads."""
        code, told = code_of(error)
        if code == CLOSED:
            return Throttled(f"{self.place}: {method} is closed for a while: {told}", UNTIL_FREE)
        if code in PASSING:
            return NotSent(f"{self.place}: {method}: {told} ({code})")
        return Refused(f"{self.place}: {method}: {told} ({code}); {cure_of(code)}")

    def _checked(self, told: Any) -> Record:
        if not isinstance(told, dict):
            raise Ambiguous(f"{self.place}: the answer is no object; check `url`")
        return told

    def _explain(self, answer: Answer) -> RemoteError | None:
        """Bitrix24's own reading of an answer: `error` and `error_description`, at any status."""
        if answer.status < 300 and not answer.body.lstrip().startswith(b'{"error"'):
            return None
        told = _json(answer)
        code, words = code_of(told)
        if not code and words.lower().startswith("access denied"):
            code = "ACCESS_DENIED"
        if code == "QUERY_LIMIT_EXCEEDED":
            return Throttled(f"{self.place}: {words}", CROWDED)
        if code == CLOSED:
            wait = until_free(told.get("time")) or UNTIL_FREE
            return Throttled(f"{self.place}: {words}", wait)
        if code.lower() == "expired_token":
            return NotSent(
                f"{self.place}: says that the token has expired, which a webhook does not have; if it "
                "stays, make a new webhook"
            )
        if code in PASSING:
            return None
        if code or answer.status < 300:
            return Refused(f"{self.place}: {words} ({code}); {cure_of(code)}", answer.status)
        return None


PASSING = ("INTERNAL_SERVER_ERROR", "ERROR_UNEXPECTED_ANSWER")
_SCOPES = (
    "the webhook lacks a scope: reading needs `crm`, and `user_brief` and `department` for reps and "
    "teams; creating fields needs `userfieldconfig`"
)
_CURES = {
    "INVALID_CREDENTIALS": "the portal does not know this webhook: check `url`, `user_id` and the code, "
    "or make a new one",
    "NO_AUTH_FOUND": "the portal does not know this webhook: check `url`, `user_id` and the code, or "
    "make a new one",
    "INSUFFICIENT_SCOPE": _SCOPES,
    "ERROR_METHOD_NOT_FOUND": "this version of the portal does not have that method, or " + _SCOPES,
    "ACCESS_DENIED": "give the webhook's user the right in CRM > Settings > Permissions, and check that "
    "the plan includes the REST API",
    "USER_ACCESS_ERROR": "give the webhook's user access",
    "ALLOWED_ONLY_INTRANET_USER": "make the webhook as an employee, not as an external user",
    "PORTAL_DELETED": "the portal is closed; check `url`",
    "OVERLOAD_LIMIT": "Bitrix24 has blocked the REST API of this portal; ask its support",
    "INVALID_ARG_VALUE": "this is a fault of ours; please report it",
}  # fmt: skip


def cure_of(code: str) -> str:
    """What a person does about an error."""
    return _CURES.get(code.upper(), "see docs/crm_bitrix24.md")


def code_of(told: Any) -> tuple[str, str]:
    """`error` and `error_description`; empty where there is none.

    Example:
        >>> code_of({"error": "insufficient_scope", "error_description": "Higher privileges"})
        ('insufficient_scope', 'Higher privileges')
    """
    if not isinstance(told, Mapping):
        return "", "no reason given"
    words = " ".join(str(told.get("error_description") or "no reason given").split())
    return str(told.get("error", "")), mask(words)


def named(told: Any) -> Record:
    """A PHP array that is named by text: an empty one comes as an empty list.

    Example:
        >>> named([]), named({"a": 1})
        ({}, {'a': 1})
    """
    return dict(told) if isinstance(told, Mapping) else {}


def _query(method: str, asked: Mapping[str, Any]) -> str:
    """A command of a batch: the method, and its parameters as PHP reads them.

    Example:
        >>> _query("crm.item.list", {"select": ["id"], "filter": {">id": "$result[p1][0][id]"}})
        'crm.item.list?select[0]=id&filter[%3Eid]=%24result%5Bp1%5D%5B0%5D%5Bid%5D'
    """
    return f"{method}?" + "&".join(_pairs(asked, ""))


def _pairs(told: Any, name: str) -> Iterator[str]:
    if isinstance(told, Mapping) or (isinstance(told, Sequence) and not isinstance(told, str)):
        rows = told.items() if isinstance(told, Mapping) else enumerate(told)
        for key, value in rows:
            inner = quote_plus(str(key))
            yield from _pairs(value, f"{name}[{inner}]" if name else inner)
    else:
        yield f"{name}={'' if told is None else quote_plus(str(told))}"


def _json(answer: Answer) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(answer.body)
    return {}
