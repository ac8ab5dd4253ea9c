"""HubSpot's API as reading and writing both use it: addresses, pages, searches, batches, refusals.

Sources: HubSpot developer documentation, "Usage guidelines" (limits, 429, headers), "Search the CRM"
(200 a page, 10,000 results a query, five calls a second an account), "Associations v4" (1,000 ids a
call), "Error handling", and "2026-03 API reference" (versions by date); issue 143 of
HubSpot/hubspot-api-python for the 50 records a call that come with history.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from salesops_ml.crm.http_door import Answer, HttpDoor, RenewedLogin
from salesops_ml.crm.limits import Backoff, Clock, Limits, Pace, Window
from salesops_ml.crm.secrets import mask, read_secret
from salesops_ml.crm_settings import HubSpotSource
from salesops_ml.errors import Ambiguous, Refused, RemoteError, SourceError, Throttled

PAGE, WITH_HISTORY, FOUND, LINKED = 100, 50, 200, 1_000
"""Most records a call: listed or in a batch, with history, found by a search, with associations."""
STAMP = "hs_lastmodifieddate"
UNTIL_MORE = 3_600.0
"""Seconds until it is worth asking again where a day's calls are used up."""
RESERVE = 0.02
"""Share of the account's daily calls that is left to others."""
_CURES = {
    400: "{}",
    401: "does not know the credentials ({}); check the token, or make a new one",
    404: "there is no such address ({}); check `url` and `api_version`",
}
_ROLLING = {"SECONDLY": 1.0, "TEN_SECONDLY_ROLLING": 10.0}

Record = dict[str, Any]


class Account:
    """Calls to one HubSpot account.

    A token that is refused is read again from where settings name it: it may have been rotated, and
    HubSpot says that a 401 alone does not prove a token to be dead.

    Args:
        source: how it is reached.
        clock: the clock of limits and pauses.
        pace_book: the file that keeps the times of the last calls; searches have one beside it.
        timeout: seconds without a word until a call is given up.
    """

    def __init__(
        self,
        source: HubSpotSource,
        *,
        clock: Clock | None = None,
        pace_book: Path | None = None,
        timeout: float = 60.0,
    ) -> None:
        self.limits = Limits(
            PAGE,
            (Window(source.calls_per_10_seconds, 10.0), Window(source.daily_calls, 86_400.0)),
            calls_at_once=source.calls_at_once,
        )
        self._version = source.api_version
        self._left = self._allowed = 0
        self._lock = threading.Lock()
        login = RenewedLogin(lambda: read_secret(source.token))
        self.door = HttpDoor(
            source.url, limits=self.limits, login=login, clock=clock, pace_book=pace_book,
            timeout=timeout, explain=self._explain, backoff=Backoff(attempts=10),
        )  # fmt: skip
        self.place = self.door.place
        beside = None if pace_book is None else pace_book.with_name(f"{pace_book.name}-search")
        few = Limits(1, (Window(source.searches_a_second, 1.0),))
        self._searches = Pace(few, self.door.clock, beside)

    def path(self, api: str, rest: str) -> str:
        """An address of this version: `/crm/v3/objects/deals`, `/crm/objects/2026-03/deals`."""
        version, root = self._version, "/crm"
        if not version.startswith("v"):
            root = "/settings" if api == "currencies" else root
            return f"{root}/{api}/{version}/{rest}".rstrip("/")
        if api == "currencies":
            return f"/settings/{version}/{api}/{rest}"
        if api == "associations" and version == "v3":
            version = "v4"
        return f"{root}/{version}/{api}/{rest}".rstrip("/")

    def get(self, api: str, rest: str, **params: Any) -> Any:
        """What stands at an address, as JSON."""
        self._leave_some()
        return self.door.read_json("GET", self.path(api, rest), params=params)

    def ask(self, api: str, rest: str, asked: Record) -> Any:
        """What a POST that changes nothing answers."""
        self._leave_some()
        return self.door.read_json("POST", self.path(api, rest), json=asked)

    def write(self, api: str, rest: str, asked: Record) -> Answer:
        """A call that changes something; made once."""
        self._leave_some()
        return self.door.write("POST", self.path(api, rest), json=asked)

    def pages(self, api: str, rest: str, **params: Any) -> Iterator[list[Record]]:
        """All records at an address, page by page.

        Raises:
            SourceError: a page came twice.
        """
        seen: set[str] = set()
        while True:
            told = self.get(api, rest, **params)
            yield told["results"]
            after = told.get("paging", {}).get("next", {}).get("after")
            if after is None:
                return
            self._refuse_repeated(str(after), seen, rest)
            params["after"] = after

    def listed(
        self, kind: str, properties: Sequence[str], *, archived: bool = False
    ) -> Iterator[list[Record]]:
        """All records of a kind, live or in the recycle bin."""
        params: dict[str, Any] = {"limit": PAGE, "properties": ",".join(properties)}
        if archived:
            params["archived"] = "true"
        return self.pages("objects", kind, **params)

    def found(self, kind: str, since: datetime) -> Iterator[list[str]]:
        """Ids of the live records saved since a moment, in the order of their ids.

        Each page is a search of its own for the ids above the last one, so that there may be more than
        10,000, and a record that is saved meanwhile moves no other.

        Raises:
            SourceError: a page came twice.
        """
        last, seen = "0", set[str]()
        while True:
            filters = [
                {"propertyName": STAMP, "operator": "GTE", "value": str(milliseconds(since))},
                {"propertyName": "hs_object_id", "operator": "GT", "value": last},
            ]
            told = self._search(kind, filters, "hs_object_id", "ASCENDING", FOUND)
            ids = [str(record["id"]) for record in told]
            if ids:
                yield ids
            if len(ids) < FOUND:
                return
            last = ids[-1]
            self._refuse_repeated(last, seen, f"{kind}/search")

    def last_saved(self, kind: str) -> datetime | None:
        """When a record of this kind was last saved, as searches know it; None where there is none."""
        told = self._search(kind, [], STAMP, "DESCENDING", 1)
        stamp = told[0]["properties"].get(STAMP) if told else None
        return None if stamp is None else moment_of(stamp)

    def batch(
        self, kind: str, ids: Iterable[str], properties: Sequence[str], history: Sequence[str] = ()
    ) -> list[Record]:
        """Records by id; deleted ones are left out, a merged one comes as the one that stands for it."""
        asked: Record = {"inputs": [{"id": one} for one in ids], "properties": list(properties)}
        if history:
            asked["propertiesWithHistory"] = list(history)
        found: list[Record] = self.ask("objects", f"{kind}/batch/read", asked)["results"]
        return found

    def links(self, kind: str, to: str, ids: Sequence[str]) -> dict[str, dict[str, set[int]]]:
        """By id of a record: the records of another kind that it is tied to, and by which types."""
        tied: dict[str, dict[str, set[int]]] = {}
        due: list[Record] = [{"id": one} for one in ids]
        while due:
            told = self.ask("associations", f"{kind}/{to}/batch/read", {"inputs": due})
            due = []
            for result in told["results"]:
                owner = str(result["from"]["id"])
                known = tied.setdefault(owner, {})
                for link in result["to"]:
                    types = {int(one["typeId"]) for one in link["associationTypes"]}
                    known.setdefault(str(link["toObjectId"]), set()).update(types)
                after = result.get("paging", {}).get("next", {}).get("after")
                if after is not None:
                    due.append({"id": owner, "after": after})
        return tied

    def _search(
        self, kind: str, filters: list[Record], by: str, direction: str, limit: int
    ) -> list[Record]:
        asked = {
            "filterGroups": [{"filters": filters}] if filters else [], "limit": limit,
            "properties": [STAMP], "sorts": [{"propertyName": by, "direction": direction}],
        }  # fmt: skip
        path = self.path("objects", f"{kind}/search")

        def attempt() -> list[Record]:
            with self._searches.call():
                found: list[Record] = self.door.write("POST", path, json=asked).json()["results"]
                return found

        return self.door.patiently(attempt)

    def _refuse_repeated(self, after: str, seen: set[str], rest: str) -> None:
        if after in seen:
            raise SourceError(
                f"{self.place}: the page of `{rest}` after {after} came twice, so reading would never "
                "end; nothing was kept. Run again; if it stays, tell HubSpot"
            )
        seen.add(after)

    def _leave_some(self) -> None:
        """Stop before the account's calls of the day are used up: others need them too."""
        with self._lock:
            left, allowed = self._left, self._allowed
            if not allowed or left > allowed * RESERVE:
                return
            self._left = self._allowed = 0
        raise Throttled(
            f"{self.place}: {left:,} of the {allowed:,} calls that the account has a day are left; they "
            "are left to others until midnight there",
            UNTIL_MORE,
        )

    def _explain(self, answer: Answer) -> RemoteError | None:
        """HubSpot's own reading of an answer: `category`, `message`, `policyName`."""
        with self._lock, contextlib.suppress(KeyError, ValueError):
            self._left = int(answer.headers["x-hubspot-ratelimit-daily-remaining"])
            self._allowed = int(answer.headers["x-hubspot-ratelimit-daily"])
        if answer.status < 400:
            return None
        told = error_of(answer)
        message = mask(" ".join(str(told.get("message", "")).split()))
        if answer.status == 429:
            policy = str(told.get("policyName", ""))
            cure = "; go on after midnight in the account's time zone" if policy == "DAILY" else ""
            wait = _ROLLING.get(policy, UNTIL_MORE if cure else 1.0)
            return Throttled(f"{self.place}: {message or 'too many calls'} ({policy}){cure}", wait)
        if answer.status in (423, 477):
            return Throttled(f"{self.place}: {message or 'is locked just now'}", 10.0)
        if answer.status == 403 and told.get("category") == "MISSING_SCOPES":
            return Refused(f"{self.place}: {_missing(told)}", 403)
        if answer.status in _CURES and message:
            return Refused(f"{self.place}: {_CURES[answer.status].format(message)}", answer.status)
        return None


def _missing(told: Mapping[str, Any]) -> str:
    """Which scopes are wanted, as HubSpot names them."""
    contexts = [error.get("context", {}) for error in told.get("errors", [])]
    names = sorted({n for c in contexts for key in c for n in c[key] if "cope" in key})
    wanted = " or ".join(f"`{name}`" for name in names) or "that docs/crm_hubspot.md lists"
    return f"the token lacks the scope {wanted}; add it to the app that the token is of"


def error_of(answer: Answer) -> Record:
    """What an answer says went wrong; empty where it holds no JSON.

    Example:
        >>> error_of(Answer(400, {}, b'{"category": "VALIDATION_ERROR"}'))["category"]
        'VALIDATION_ERROR'
    """
    with contextlib.suppress(ValueError):
        told = json.loads(answer.body)
        if isinstance(told, dict):
            return told
    return {}


def moment_of(text: str) -> datetime:
    """A moment as HubSpot writes it, naive UTC; milliseconds may be missing.

    Example:
        >>> moment_of("2026-03-01T12:30:00Z"), moment_of("1772368200000")
        (datetime.datetime(2026, 3, 1, 12, 30), datetime.datetime(2026, 3, 1, 12, 30))
    """
    if text.isdigit():
        return datetime.fromtimestamp(int(text) / 1000, UTC).replace(tzinfo=None)
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def milliseconds(moment: datetime) -> int:
    """A naive UTC moment as HubSpot's searches compare it."""
    return round(moment.replace(tzinfo=UTC).timestamp() * 1000)


def of_batches(told: Any, place: str) -> tuple[list[Record], list[Record]]:
    """Results and errors of a batch.

    Raises:
        Ambiguous: the answer is none of a batch.
    """
    if not isinstance(told, dict) or not isinstance(told.get("results"), list):
        raise Ambiguous(f"{place}: the answer does not tell of each deal")
    return told["results"], told.get("errors") or []
