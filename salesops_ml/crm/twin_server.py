"""A loopback stand-in for a vendor: the HTTP server that all twins share.

A vendor's twin is a `TwinVendor`: routes over a state of its own. The server adds what every vendor
does: it counts calls against the vendor's limits and refuses those above, checks the login, and on
demand fails as networks and vendors fail, by a seeded plan, so that a test can be repeated. What it
saw is in `report()`, and at `/_twin/report` for other processes.

    with TwinServer(HubSpotTwin(...)) as twin:
        ...  # call twin.url

`python -m salesops_ml.crm.twin_server hubspot` starts one until Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import random
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qs, urlsplit

from salesops_ml.crm.limits import Clock, Window
from salesops_ml.errors import UsageError

TWINS = {
    "hubspot": "salesops_ml.crm.hubspot_twin:HubSpotTwin",
    "salesforce": "salesops_ml.crm.salesforce_twin:SalesforceTwin",
    "amocrm": "salesops_ml.crm.amocrm_twin:AmoCrmTwin",
    "bitrix24": "salesops_ml.crm.bitrix24_twin:Bitrix24Twin",
}
"""Where each vendor's twin lives; its `demo()` makes one with deals in it."""

Fault = Literal[
    "429", "503", "timeout_before", "timeout_after", "drop_before", "drop_after", "truncate",
    "slow", "expired_token",
]  # fmt: skip
FAULTS: tuple[Fault, ...] = (
    "429", "503", "timeout_before", "timeout_after", "drop_before", "drop_after", "truncate",
    "slow", "expired_token",
)  # fmt: skip
"""What can go wrong on demand; `before` and `after` the call took effect."""
_WITHOUT_EFFECT = ("429", "503", "timeout_before", "drop_before", "expired_token")


@dataclass(frozen=True)
class Request:
    """A call as the twin sees it; header names are lower-case."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; None where there is none."""
        return json.loads(self.body) if self.body else None

    def one(self, name: str, default: str = "") -> str:
        """The last value of a query parameter."""
        return self.query.get(name, [default])[-1]


@dataclass(frozen=True)
class Response:
    """What the twin answers; `body` is JSON unless it is bytes."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """The body as it is sent."""
        if self.body is None or isinstance(self.body, bytes):
            return self.body or b""
        return json.dumps(self.body).encode()


class WindowMeter:
    """Counts calls in a sliding window."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self._seen: deque[float] = deque()

    def allows(self, now: float) -> bool:
        """Count a call; whether it was within the limit."""
        while self._seen and self._seen[0] <= now - self.window.seconds:
            self._seen.popleft()
        self._seen.append(now)
        return len(self._seen) <= self.window.calls


class BucketMeter:
    """A bucket that each call fills by one, and that drains steadily."""

    def __init__(self, *, a_second: float, burst: int) -> None:
        self.a_second, self.burst = a_second, burst
        self._level, self._at = 0.0, 0.0

    def allows(self, now: float) -> bool:
        """Count a call; whether the bucket held it."""
        self._level = max(0.0, self._level - (now - self._at) * self.a_second)
        self._at = now
        self._level += 1.0
        fits = self._level <= self.burst + 1e-9
        if not fits:
            self._level -= 1.0
        return fits


Route = tuple[str, str, Callable[..., Response]]
"""Method, pattern of the whole path, and who answers: called with the request and the named groups."""


class TwinVendor:
    """What a vendor's twin fills in; the shapes of errors are the vendor's own.

    Attributes:
        name: the vendor's name.
        meters: what counts the calls.
        calls_at_once: how many calls may be in flight; None for any number.
        ledger: every write that took effect, by deal, in order: for tests.
        clock: the clock of the server; set by it.
        skew: seconds by which the twin's wall clock is ahead.
    """

    name: ClassVar[str] = "vendor"

    def __init__(self) -> None:
        self.meters: list[WindowMeter | BucketMeter] = []
        self.calls_at_once: int | None = None
        self.ledger: dict[str, list[Any]] = {}
        self.clock = Clock()
        self.skew = 0.0

    def routes(self) -> Sequence[Route]:
        """The vendor's addresses."""
        return ()

    def authorise(self, request: Request) -> Response | None:
        """The refusal where the call shows no valid login."""
        return None

    def too_many(self) -> Response:
        """The answer to a call above the limit."""
        return Response(429, {"message": "too many calls"}, {"Retry-After": "1"})

    def unavailable(self) -> Response:
        """The answer when the vendor is in trouble."""
        return Response(503, {"message": "service unavailable"})

    def expired(self) -> Response:
        """The answer when the token is too old."""
        return Response(401, {"message": "the token has expired"})

    def unknown(self, request: Request) -> Response:
        """The answer at an address that is none."""
        return Response(404, {"message": f"no such address: {request.path}"})

    def wrote(self, deal_id: str, values: Any) -> None:
        """Note a write that took effect."""
        self.ledger.setdefault(deal_id, []).append(values)

    def written_unlike(self) -> list[str]:
        """The deals that were written more than once with different values."""
        return [deal for deal, values in self.ledger.items() if any(v != values[0] for v in values)]


@dataclass(frozen=True)
class FaultPlan:
    """Which calls fail, and how; the n-th call's fate depends on seed and n alone.

    Args:
        rates: share of the calls that meets each fault.
        seed: of the draws.
        paths: pattern of the paths that may fail.
        first: how many calls at the start are left alone.
        at_most: how many faults in all.

    Example:
        >>> plan = FaultPlan({"503": 0.5}, seed=1)
        >>> [plan.fault(n, "/deals") for n in range(4)] == [plan.fault(n, "/x") for n in range(4)]
        True
    """

    rates: Mapping[Fault, float] = field(default_factory=dict)
    seed: int = 7
    paths: str = ".*"
    first: int = 0
    at_most: int | None = None

    def fault(self, number: int, path: str) -> Fault | None:
        """What goes wrong with that call."""
        if number < self.first or not re.fullmatch(self.paths, path):
            return None
        draw = random.Random(f"{self.seed}:{number}").random()
        for kind, rate in self.rates.items():
            if draw < rate:
                return kind
            draw -= rate
        return None

    @classmethod
    def of_every_kind(cls, share: float, *, seed: int, paths: str = ".*") -> FaultPlan:
        """That share of the calls fails, each kind as often as the others."""
        return cls(dict.fromkeys(FAULTS, share / len(FAULTS)), seed=seed, paths=paths)


class TwinServer:
    """A twin on a loopback port, with threads of its own; a context manager.

    Args:
        vendor: whose twin.
        clock: sped up by its factor; give the client the same.
        faults: what goes wrong.
        port: 0 for any free one.
        latency: seconds that each answer takes.
        patience: seconds that a timed-out call is held open; longer than the client waits.
        slow: seconds that a slow answer takes.
    """

    def __init__(
        self,
        vendor: TwinVendor,
        *,
        clock: Clock | None = None,
        faults: FaultPlan | None = None,
        port: int = 0,
        latency: float = 0.0,
        patience: float = 120.0,
        slow: float = 5.0,
    ) -> None:
        self.vendor = vendor
        self.clock = vendor.clock = clock or Clock()
        self.faults = faults or FaultPlan()
        self.latency, self.patience, self.slow = latency, patience, slow
        self.lock = threading.RLock()
        self._routes = [(m, re.compile(p), answer) for m, p, answer in vendor.routes()]
        self._calls = self._in_flight = self._most_in_flight = 0
        self._above_limit = self._above_at_once = 0
        self._statuses: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._first_call = self._last_call = 0.0
        self._stopped = threading.Event()
        handler = type("_Handler", (_Handler,), {"twin": self})
        self._server = _Server(("127.0.0.1", port), handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    @property
    def url(self) -> str:
        """Where the twin listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> TwinServer:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def report(self) -> dict[str, Any]:
        """What was seen; `seconds` lie between the first call and the last, by the twin's clock."""
        with self.lock:
            return {
                "vendor": self.vendor.name,
                "calls": self._calls,
                "statuses": dict(self._statuses),
                "faults": dict(self._faults),
                "above_limit": self._above_limit,
                "above_calls_at_once": self._above_at_once,
                "most_in_flight": self._most_in_flight,
                "seconds": self._last_call - self._first_call,
                "deals_written": len(self.vendor.ledger),
                "written_unlike": len(self.vendor.written_unlike()),
            }

    def handle(self, request: Request) -> tuple[Response | None, Fault | None]:
        """The answer (None: the connection is dropped without one) and the fault that it met."""
        with self.lock:
            fault = self._count(request)
            try:
                response = self._answer(request, fault)
            finally:
                held = self.latency or fault == "slow"
                if not held:
                    self._in_flight -= 1
        if held:
            self.wait(self.latency + (self.slow if fault == "slow" else 0.0))
            with self.lock:
                self._in_flight -= 1
        if fault in ("timeout_before", "timeout_after"):
            self.wait(self.patience)
            response = None
        if fault in ("drop_before", "drop_after"):
            response = None
        with self.lock:
            self._statuses[str(response.status) if response else "none"] += 1
        return response, fault

    def wait(self, seconds: float) -> None:
        """Sleep so many seconds of the twin's clock; shorter where the server stops."""
        self._stopped.wait(self.clock.real(seconds))

    def _count(self, request: Request) -> Fault | None:
        now = self.clock.now()
        fault = self.faults.fault(self._calls, request.path)
        if self.faults.at_most is not None and self._faults.total() >= self.faults.at_most:
            fault = None
        if self._calls == 0:
            self._first_call = now
        self._last_call = now
        self._calls += 1
        self._in_flight += 1
        self._most_in_flight = max(self._most_in_flight, self._in_flight)
        if fault:
            self._faults[fault] += 1
        return fault

    def _answer(self, request: Request, fault: Fault | None) -> Response:
        now, vendor = self.clock.now(), self.vendor
        if False in [meter.allows(now) for meter in vendor.meters]:
            self._above_limit += 1
            return vendor.too_many()
        if vendor.calls_at_once is not None and self._in_flight > vendor.calls_at_once:
            self._above_at_once += 1
            return vendor.too_many()
        if fault in _WITHOUT_EFFECT:
            made = {"429": vendor.too_many, "503": vendor.unavailable}
            return made.get(str(fault), vendor.expired)()
        refusal = vendor.authorise(request)
        if refusal is not None:
            return refusal
        return self._routed(request)

    def _routed(self, request: Request) -> Response:
        for method, pattern, answer in self._routes:
            match = pattern.fullmatch(request.path)
            if match and method == request.method:
                return answer(request, **match.groupdict())
        return self.vendor.unknown(request)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed breaks its connections; only faults of our own are worth words."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    twin: ClassVar[TwinServer]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: Any) -> None:
        """The report tells what was seen."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        if parts.path == "/_twin/report":
            self._send(Response(200, self.twin.report()), None)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = parse_qs(parts.query, keep_blank_values=True)
        response, fault = self.twin.handle(Request(self.command, parts.path, query, headers, body))
        if response is None:
            self._drop()
        else:
            self._send(response, fault)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve

    def _send(self, response: Response, fault: Fault | None) -> None:
        content = response.content()
        self.send_response(response.status)
        if response.status != 204:
            self.send_header("Content-Length", str(len(content)))
            if "Content-Type" not in response.headers:
                self.send_header("Content-Type", "application/json")
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if fault == "truncate" and response.status < 400 and len(content) > 1:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.close_connection = True
        else:
            self.wfile.write(content)
            self.wfile.flush()

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The `Date` header, by the twin's own wall clock."""
        return super().date_time_string((timestamp or time.time()) + self.twin.vendor.skew)

    def _drop(self) -> None:
        """Break the connection off, as a network does."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.shutdown(socket.SHUT_RDWR)
            self.connection.close()


def make_twin(name: str) -> TwinVendor:
    """The vendor's twin with some deals in it.

    Raises:
        UsageError: there is no such twin.
    """
    if name not in TWINS:
        raise UsageError(f"`{name}` has no twin; they are: {', '.join(TWINS)}")
    module, _, kind = TWINS[name].partition(":")
    try:
        made: TwinVendor = getattr(importlib.import_module(module), kind).demo()
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise UsageError(f"`{name}` has no twin in this version") from None
    return made


def serve(name: str, *, port: int, say: Callable[[str], None]) -> None:
    """Run a twin until Ctrl-C."""
    with TwinServer(make_twin(name), port=port) as server:
        say(
            f"{name} twin: {server.url} (Ctrl-C ends it; {server.url}/_twin/report tells what it saw)"
        )
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        say(json.dumps(server.report()))


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m salesops_ml.crm.twin_server")
    parser.add_argument("vendor", choices=sorted(TWINS))
    parser.add_argument("--port", type=int, default=0)
    asked = parser.parse_args()
    serve(asked.vendor, port=asked.port, say=lambda text: print(text, flush=True))  # noqa: T201


if __name__ == "__main__":
    _main()
