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
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from salesops_ml.crm.limits import Clock
from salesops_ml.crm.twin_faults import WITHOUT_EFFECT, Fault, FaultPlan
from salesops_ml.crm.twin_vendor import Request, Response, TwinVendor
from salesops_ml.errors import UsageError

TWINS = {
    "hubspot": "salesops_ml.crm.hubspot_twin:HubSpotTwin",
    "salesforce": "salesops_ml.crm.salesforce_twin:SalesforceTwin",
    "amocrm": "salesops_ml.crm.amocrm_twin:AmoCrmTwin",
    "bitrix24": "salesops_ml.crm.bitrix24_twin:Bitrix24Twin",
}
"""Where each vendor's twin lives; its `demo()` makes one with deals in it."""


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
        lost = fault in ("timeout_before", "timeout_after", "drop_before", "drop_after")
        with self.lock:
            self._statuses["none" if lost else str(response.status)] += 1
        return (None if lost else response), fault

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
        if False in [meter.allows(now) for meter in vendor.meters_for(request)]:
            self._above_limit += 1
            return vendor.too_many()
        if vendor.calls_at_once is not None and self._in_flight > vendor.calls_at_once:
            self._above_at_once += 1
            return vendor.too_many()
        if fault in WITHOUT_EFFECT and (fault != "expired_token" or vendor.shows_token(request)):
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
        if len(body) < length:
            self.close_connection = True
            return
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
    """Run a twin until Ctrl-C.

    Raises:
        UsageError: there is no such twin, or the port is taken.
    """
    made = make_twin(name)
    try:
        twin = TwinServer(made, port=port)
    except OSError as error:
        raise UsageError(
            f"port {port}: cannot be listened on ({error.strerror}); choose another, or 0 for any"
        ) from None
    with twin as server:
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
