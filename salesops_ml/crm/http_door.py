"""The one place that opens a connection to a vendor: paced, patient, verified, and discreet.

A call ends in an answer or in one of four errors, which say what is known of its effect: `NotSent`
(surely none: no connection, 429), `Ambiguous` (perhaps: the answer was lost), `Refused` (the vendor
says no), `Throttled` (not now). `read` repeats itself, since reading changes nothing; `write` never
does, since only who keeps the outbox knows what may be sent again. No text holds a secret.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import logging
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx

from salesops_ml.crm.limits import Backoff, Clock, Limits, Pace
from salesops_ml.crm.secrets import Secret, mask
from salesops_ml.errors import Ambiguous, ConfigError, NotSent, Refused, RemoteError, Throttled

LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
USER_AGENT = "salesops-ml"
LONGEST_PAUSE = 900.0
"""A vendor that asks for a longer pause is not waited for, in seconds."""
MOST_RENEWALS = 2
"""A call that is not known with so many new tokens is refused for good."""
FIRST_TRIES = 5
"""Tries (some 6 s) of a vendor that nobody has reached yet: a wrong address stays wrong."""
_SHOWN = 300
_Done = TypeVar("_Done")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers with lower-case names, and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            Ambiguous: it is none, so that what was done is not known.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise Ambiguous(
                f"the answer (HTTP {self.status}) is no JSON: {mask(_short(self.body))}"
            ) from None


class Login(Protocol):
    """How calls are authenticated."""

    def headers(self) -> Mapping[str, str]:
        """The headers that show who calls."""

    def renew(self, shown: Mapping[str, str]) -> bool:
        """After a 401 for the headers `shown`: get others where that can be done; whether there are."""


class BearerLogin:
    """A token that does not change."""

    def __init__(self, token: Secret) -> None:
        self._token = token

    def headers(self) -> Mapping[str, str]:
        """The `Authorization` header."""
        return {"authorization": f"Bearer {self._token.reveal()}"}

    def renew(self, shown: Mapping[str, str]) -> bool:
        """There is no other token."""
        return False


class RenewedLogin:
    """A token that expires: `get` fetches one at first need, and another when it is refused.

    Of several threads that are refused at once, one fetches and the others take what it got.
    """

    def __init__(self, get: Callable[[], Secret]) -> None:
        self._get = get
        self._lock = threading.Lock()
        self._token: Secret | None = None

    def headers(self) -> Mapping[str, str]:
        """The `Authorization` header."""
        with self._lock:
            if self._token is None:
                self._token = self._get()
            return {"authorization": f"Bearer {self._token.reveal()}"}

    def renew(self, shown: Mapping[str, str]) -> bool:
        """Fetch another token, unless somebody has since `shown` was refused."""
        with self._lock:
            if self._token is None or shown["authorization"] == f"Bearer {self._token.reveal()}":
                self._token = self._get()
            return True


class NoLogin:
    """Calls that show nobody."""

    def headers(self) -> Mapping[str, str]:
        """None."""
        return {}

    def renew(self, shown: Mapping[str, str]) -> bool:
        """Nothing to renew."""
        return False


Explain = Callable[[Answer], "RemoteError | None"]
"""A vendor's own reading of an answer: the error that it means, None where it is as HTTP has it."""


class HttpDoor:
    """Calls to one vendor.

    Args:
        url: where the vendor's API begins; https, or http on this machine (a twin).
        limits: what the vendor allows.
        login: who calls.
        clock: the clock of limits and pauses.
        timeout: seconds without a word until a call is given up.
        pace_book: the file that keeps the times of the last calls over processes.
        explain: the vendor's own reading of an answer.
        backoff: pauses between attempts of a read.
        seed: of the jitter.

    Raises:
        ConfigError: the URL cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        limits: Limits,
        login: Login | None = None,
        clock: Clock | None = None,
        timeout: float = 30.0,
        pace_book: Path | None = None,
        explain: Explain | None = None,
        backoff: Backoff | None = None,
        seed: int = 7,
    ) -> None:
        self._url = _checked(url)
        self.place = mask(f"{self._url.scheme}://{self._url.host}{_port(self._url)}")
        self.clock = clock or Clock()
        self.pace = Pace(limits, self.clock, pace_book)
        self._login = login or NoLogin()
        self._explain = explain or _no_opinion
        self._backoff = backoff or Backoff()
        self._draws = random.Random(seed)
        self._reached = False
        self._client = httpx.Client(
            timeout=max(0.05, self.clock.real(timeout)),
            headers={"user-agent": USER_AGENT},
            trust_env=self._url.host not in LOOPBACK,
            limits=httpx.Limits(max_connections=max(2, limits.calls_at_once + 1)),
        )

    def read(self, method: str, path: str, **asked: Any) -> Answer:
        """A call that changes nothing; repeated with pauses until it succeeds or patience ends.

        Args:
            method: GET, or POST where the vendor reads by POST.
            path: below the vendor's URL, or a whole URL of the same host (a next page).
            asked: `params`, `json`, `content`, `headers`, as httpx takes them.

        Raises:
            RemoteError: the last failure, or a refusal at once.
        """
        return self.patiently(lambda: self._once(method, path, asked))

    def read_json(self, method: str, path: str, **asked: Any) -> Any:
        """The JSON that `read` finds; a truncated one is asked for again."""
        return self.patiently(lambda: self._once(method, path, asked).json())

    def write(self, method: str, path: str, **asked: Any) -> Answer:
        """A call that changes something; made once.

        Raises:
            NotSent: it took no effect (`Throttled`: and a pause is asked for).
            Ambiguous: it may have taken effect.
            Refused: the vendor says no.
        """
        return self._once(method, path, asked)

    def patiently(self, attempt: Callable[[], _Done]) -> _Done:
        """Try again after passing failures, with pauses, up to `backoff.attempts` times.

        Where no call has reached the vendor yet, there are `FIRST_TRIES` at most.
        """
        for failures in range(1, self._backoff.attempts + 1):
            try:
                return attempt()
            except (NotSent, Ambiguous) as error:
                if failures >= self._tries() or _too_long(error):
                    raise
                _LOG.info("%s; attempt %d failed", error, failures)
                self.clock.sleep(self.pause(error, failures))
        raise AssertionError("a backoff has one attempt at least")

    def _tries(self) -> int:
        most = self._backoff.attempts
        return most if self._reached else min(most, FIRST_TRIES)

    def pause(self, error: RemoteError, failures: int) -> float:
        """How long to wait after that failure, in seconds of the clock."""
        asked = error.seconds if isinstance(error, Throttled) else 0.0
        return max(asked, self._backoff.seconds(failures, draws=self._draws))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _once(self, method: str, path: str, asked: Mapping[str, Any]) -> Answer:
        shown = self._login.headers()
        answer = self._exchange(method, path, asked, shown)
        for _ in range(MOST_RENEWALS):
            if answer.status != httpx.codes.UNAUTHORIZED or not self._login.renew(shown):
                break
            shown = self._login.headers()
            answer = self._exchange(method, path, asked, shown)
        problem = self._explain(answer) or _problem(answer, self.place, self.clock)
        if problem is not None:
            if isinstance(problem, Throttled) and not _too_long(problem):
                self.pace.hold(problem.seconds)
            raise problem
        return answer

    def _exchange(
        self, method: str, path: str, asked: Mapping[str, Any], shown: Mapping[str, str]
    ) -> Answer:
        url = self._joined(path)
        headers = {**asked.get("headers", {}), **shown}
        rest = {name: value for name, value in asked.items() if name != "headers"}
        with self.pace.call(), self._errors():
            found = self._client.request(method, url, headers=headers, **rest)
            self._reached = True
            return Answer(found.status_code, dict(found.headers), found.content)

    def _joined(self, path: str) -> httpx.URL:
        """The URL to call; never one of another host, which would be shown our token."""
        if "://" not in path:
            base = str(self._url).rstrip("/")
            return httpx.URL(f"{base}/{path.lstrip('/')}")
        url = httpx.URL(path)
        if (url.scheme, url.host, url.port) != (self._url.scheme, self._url.host, self._url.port):
            raise Refused(f"{self.place}: sends us on to {url.scheme}://{url.host}; not followed")
        return url

    @contextlib.contextmanager
    def _errors(self) -> Any:
        """What httpx raises, as what is known of the call's effect."""
        try:
            yield
        except (httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ConnectError) as error:
            raise self._not_connected(error) from None
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            raise Refused(f"{self.place}: {mask(str(error))}") from None
        except httpx.TransportError as error:
            self._reached = True
            what = mask(str(error)) or type(error).__name__
            raise Ambiguous(
                f"{self.place}: the answer was lost ({what}), so it is not known what was done"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Ambiguous(f"{self.place}: {mask(str(error))}") from None

    def _not_connected(self, error: Exception) -> RemoteError:
        text = mask(str(error)) or type(error).__name__
        if isinstance(error.__context__, ssl.SSLError) or "CERTIFICATE" in text.upper():
            return Refused(
                f"{self.place}: its certificate cannot be verified ({text}); install the authority "
                "that signed it (SSL_CERT_FILE), or check the address"
            )
        return NotSent(
            f"{self.place}: cannot be reached ({text}); check address, network and proxy"
        )


def _no_opinion(_answer: Answer) -> RemoteError | None:
    return None


def _problem(answer: Answer, place: str, clock: Clock) -> RemoteError | None:
    """What a status means where the vendor has no word of its own."""
    status, told = answer.status, mask(_short(answer.body))
    if status < 300:
        return None
    if status == 429:
        seconds = _retry_after(answer)
        return Throttled(f"{place}: too many calls (HTTP 429); {told}", seconds)
    if status >= 500 or status == 408:
        return Ambiguous(f"{place}: is in trouble (HTTP {status}); {told}")
    if status < 400:
        where = mask(answer.headers.get("location", "elsewhere"))
        return Refused(f"{place}: sends us on to {where}; correct the `url`", status)
    return Refused(
        f"{place}: {_CURES.get(status, 'refused the call')} (HTTP {status}); {told}", status
    )


_CURES = {
    401: "does not know the credentials; check the token, or make a new one",
    403: "the token may not do this; give it the scopes that the connector's page lists",
    404: "there is no such address; check `url` and `api_version`",
    410: "this version of the API is gone; set a newer `api_version`",
}


def _retry_after(answer: Answer) -> float:
    """Seconds that the vendor asks us to wait; 0 where it does not say, and for a date gone by."""
    text = answer.headers.get("retry-after", "").strip()
    if not text:
        return 0.0
    with contextlib.suppress(ValueError):
        return max(0.0, float(text))
    with contextlib.suppress(ValueError, TypeError):
        then = email.utils.parsedate_to_datetime(text).timestamp()
        told = answer.headers.get("date")
        now = email.utils.parsedate_to_datetime(told).timestamp() if told else time.time()
        return max(0.0, then - now)
    return 0.0


def _too_long(error: RemoteError) -> bool:
    return isinstance(error, Throttled) and error.seconds > LONGEST_PAUSE


def _checked(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        raise ConfigError("`url`: this is no web address; write one such as https://...") from None
    if parsed.userinfo:
        raise ConfigError("`url`: holds a password; name it by `env:NAME` in a setting of its own")
    if parsed.scheme == "https" and parsed.host:
        return parsed
    if parsed.scheme == "http" and parsed.host in LOOPBACK:
        return parsed
    raise ConfigError(
        f"`url`: {mask(url)} is not safe; write https://... (http is for twins on this machine)"
    )


def _port(url: httpx.URL) -> str:
    return f":{url.port}" if url.port else ""


def _short(body: bytes) -> str:
    text = " ".join(body[: 4 * _SHOWN].decode("utf-8", "replace").split())
    return (text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...") or "no explanation given"
