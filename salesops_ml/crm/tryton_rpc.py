"""Tryton's JSON-RPC: one session, one database, values as Tryton writes them.

A call is `model.<model>.<method>` with its arguments and a context. What Tryton says no to comes back as
an `error` in an answer of HTTP 200; all of a call is one transaction there, so that nothing of it took
effect then. Sources: trytond's documentation, "Remote Procedure Call", and the protocol of trytond 8.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from salesops_ml.crm.http_door import Answer, HttpDoor
from salesops_ml.crm.limits import Backoff, Clock, Limits
from salesops_ml.crm.secrets import Secret, mask, read_secret, remember
from salesops_ml.crm_settings import TrytonSource
from salesops_ml.errors import Ambiguous, NotSent, Refused, RemoteError

OPPORTUNITY = "sale.opportunity"
LIMITS = Limits(records_a_call=200, windows=(), calls_at_once=1)
"""Tryton names no limit; a write is one transaction, and small ones hold up nobody."""
IN_A_TRANSACTION = 422
"""The status that we give to an error of Tryton's own: a record of the call was refused."""


class Tryton:
    """A session on a Tryton database.

    Args:
        source: address, database, user, and where the password is kept.
        clock, backoff: as `HttpDoor` takes them.

    Raises:
        ConfigError: the address cannot be used, or the password's reference is none.
        SourceError: no password is kept there.
    """

    def __init__(
        self, source: TrytonSource, *, clock: Clock | None = None, backoff: Backoff | None = None
    ) -> None:
        self.database, self.user = source.database, source.user
        path = f"{source.url}/{quote(source.database, safe='')}"
        told = {"limits": LIMITS, "clock": clock, "backoff": backoff}
        self._login = _Session(source, HttpDoor(path, **told, explain=_explained))  # type: ignore[arg-type]
        self._door = HttpDoor(path, **told, login=self._login, explain=_explained)  # type: ignore[arg-type]
        self.place = f"{self._door.place}/{source.database}"

    def read(self, method: str, *arguments: Any, context: Mapping[str, Any] | None = None) -> Any:
        """What a method that changes nothing gives; tried again after passing failures.

        Raises:
            RemoteError: the last failure, or a refusal at once, as a sentence.
        """
        asked = _request(method, arguments, context or {})
        answer = self._door.patiently(lambda: self._door.write("POST", "rpc/", json=asked).json())
        return self._result(answer)

    def write(self, method: str, *arguments: Any) -> Any:
        """What a method that changes something gives; called once.

        Raises:
            NotSent, Ambiguous, Refused: as `HttpDoor.write`; Tryton's own errors are `Refused`.
        """
        asked = _request(method, arguments, {})
        return self._result(self._door.write("POST", "rpc/", json=asked).json())

    def close(self) -> None:
        """Close the connections."""
        self._door.close()
        self._login.door.close()

    def _result(self, answer: Any) -> Any:
        if not isinstance(answer, dict):
            raise Ambiguous(f"{self.place}: the answer is none of Tryton's; check `url`")
        if answer.get("error"):
            raise _said(self.place, answer["error"])
        return from_json(answer.get("result"))


class _Session:
    """Who calls: a login with user and password, made at first need and again when it has run out."""

    def __init__(self, source: TrytonSource, door: HttpDoor) -> None:
        self._source, self.door = source, door
        self._password = read_secret(source.password)
        self._lock = threading.Lock()
        self._shown: dict[str, str] | None = None

    def headers(self) -> Mapping[str, str]:
        """The `Authorization` header of the session."""
        with self._lock:
            if self._shown is None:
                self._shown = self._begun()
            return self._shown

    def renew(self, shown: Mapping[str, str]) -> bool:
        """Log in again, unless somebody has since `shown` was refused."""
        with self._lock:
            if self._shown is None or dict(shown) == self._shown:
                self._shown = self._begun()
            return True

    def _begun(self) -> dict[str, str]:
        source = self._source
        parameters = {"password": self._password.reveal()}
        asked = {"id": 0, "method": "common.db.login", "params": [source.user, parameters, "en"]}
        try:
            answer = self.door.read_json("POST", "rpc/", json=asked)
        except Refused as error:
            raise _no_login(source, self.door.place, error) from None
        found = answer.get("result") if isinstance(answer, dict) else None
        if not found:
            raise Refused(
                f"{self.door.place}: Tryton opened no session ({_said_of(answer)}); is "
                f"`{source.database}` a database that this server was started with (trytond -d)?"
            )
        user, token = found[0], Secret(str(found[1]))
        shown = f"{source.user}:{user}:{token.reveal()}".encode()
        header = base64.b64encode(shown).decode()
        remember(header)
        return {"authorization": f"Session {header}"}


def _no_login(source: TrytonSource, place: str, error: Refused) -> Refused:
    if error.status == 401:
        return Refused(
            f"{place}: Tryton does not know user `{source.user}` with this password; check "
            f"`user`, and what is kept at `{source.password}`",
            error.status,
        )
    if error.status == 404:
        return Refused(
            f"{place}: Tryton has no database `{source.database}`; check `database` and `url`",
            error.status,
        )
    return error


def _explained(answer: Answer) -> RemoteError | None:
    """Passing troubles of a Tryton server that HTTP has other words for."""
    if answer.status == 503:
        return NotSent("Tryton's own database is not to be reached at the moment (HTTP 503)")
    return None


def _request(method: str, arguments: Sequence[Any], context: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": 1, "method": method, "params": to_json([*arguments, dict(context)])}


def _said(place: str, error: Any) -> RemoteError:
    """Tryton's error as a sentence: its own, and what to do where that is known."""
    kind = error[0] if isinstance(error, list) and error else str(error)
    if kind == "ConcurrencyException":
        return NotSent(f"{place}: another was writing the same records; nothing was written")
    told = mask(_said_of({"error": error}))
    if "access" in told.lower() or "not allowed" in told.lower():
        told += "; give the user the groups that docs/crm_tryton.md names"
    return Refused(f"{place}: Tryton says: {told}", IN_A_TRANSACTION)


def _said_of(answer: Any) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, list) or not error:
        return str(error or "no explanation given")
    words = error[1] if error[0] in ("UserError", "UserWarning") and len(error) > 1 else error[:1]
    parts = [str(word).strip() for word in words if isinstance(word, str) and word.strip()]
    return " ".join(" ".join(parts).split()) or str(error[0])


def to_json(value: Any) -> Any:
    """A value as Tryton's JSON has it.

    Example:
        >>> to_json({"end_date": date(2026, 3, 1)})["end_date"]["__class__"]
        'date'
        >>> from_json(to_json([Decimal("1.50"), datetime(2026, 3, 1, 8)]))
        [Decimal('1.50'), datetime.datetime(2026, 3, 1, 8, 0)]
    """
    if isinstance(value, Mapping):
        return {name: to_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(part) for part in value]
    if isinstance(value, datetime):
        names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        return {"__class__": "datetime", **{name: getattr(value, name) for name in names}}
    if isinstance(value, date):
        return {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
    if isinstance(value, Decimal):
        return {"__class__": "Decimal", "decimal": str(value)}
    return value


def from_json(value: Any) -> Any:
    """Tryton's JSON as values of Python; kinds that no field of ours has stay as they came."""
    if isinstance(value, list):
        return [from_json(part) for part in value]
    if not isinstance(value, dict):
        return value
    told = {name: part for name, part in value.items() if name != "__class__"}
    kind = value.get("__class__")
    if kind == "datetime":
        return datetime(**told)
    if kind == "date":
        return date(**told)
    if kind == "Decimal":
        return Decimal(told["decimal"])
    return {name: from_json(part) for name, part in value.items()}
