"""Every way in which a call fails ends in the error that says what is known of its effect."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from salesops_ml.crm.http_door import BearerLogin, HttpDoor, RenewedLogin
from salesops_ml.crm.limits import Backoff, Clock, Limits, Window
from salesops_ml.crm.secrets import Secret
from salesops_ml.crm.twin_faults import Fault, FaultPlan
from salesops_ml.crm.twin_server import TwinServer, make_twin
from salesops_ml.crm.twin_vendor import Request, Response, Route, TwinVendor, WindowMeter
from salesops_ml.errors import (
    Ambiguous,
    ConfigError,
    NotSent,
    Refused,
    RemoteError,
    Throttled,
    UsageError,
)
from tests.needs import program

TOKEN = "t0ken-that-nobody-sees"
FAST = Clock(factor=100)


class Waits(Clock):
    """A clock that does not wait, and remembers how long it should have."""

    waited: ClassVar[list[float]] = []

    def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)


class Counter(TwinVendor):
    """A vendor with one number that can be read and raised."""

    name = "counter"

    def __init__(self) -> None:
        super().__init__()
        self.value = 0
        self.answer: Response | None = None

    def routes(self) -> list[Route]:
        return [("GET", "/value", self.read), ("POST", "/raise", self.increase)]

    def authorise(self, request: Request) -> Response | None:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Response(401, {"message": f"unknown: {request.headers.get('authorization')}"})
        return None

    def read(self, request: Request) -> Response:
        return self.answer or Response(200, {"value": self.value})

    def increase(self, request: Request) -> Response:
        self.value += request.json()["by"]
        return Response(200, {"value": self.value})


@contextmanager
def twin(
    *, token: str = TOKEN, explain: Any = None, **asked: Any
) -> Iterator[tuple[Any, HttpDoor]]:
    with TwinServer(Counter(), clock=FAST, **asked) as server:
        door = HttpDoor(
            server.url, limits=Limits(1, calls_at_once=4), login=BearerLogin(Secret(token)),
            clock=FAST, timeout=100, backoff=Backoff(attempts=4), explain=explain,
        )  # fmt: skip
        yield server, door
        door.close()


def failing(kind: Fault, at_most: int = 1) -> FaultPlan:
    return FaultPlan({kind: 1.0}, at_most=at_most)


def test_reading_and_writing() -> None:
    with twin() as (server, door):
        assert door.write("POST", "/raise", json={"by": 3}).json() == {"value": 3}
        assert door.read_json("GET", "/value", params={"a": 1}) == {"value": 3}
        assert server.report()["calls"] == 2


EFFECTS: list[tuple[Fault, type[RemoteError] | None, int]] = [
    ("429", Throttled, 0), ("503", Ambiguous, 0), ("timeout_before", Ambiguous, 0),
    ("timeout_after", Ambiguous, 1), ("drop_before", Ambiguous, 0), ("drop_after", Ambiguous, 1),
    ("truncate", Ambiguous, 1), ("slow", None, 1), ("expired_token", Refused, 0),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "error", "effect"), EFFECTS)
def test_a_write_is_made_once_and_its_error_tells_the_effect(
    kind: Fault, error: type[RemoteError] | None, effect: int
) -> None:
    with twin(faults=failing(kind)) as (server, door):
        if error is None:
            door.write("POST", "/raise", json={"by": 1})
        else:
            with pytest.raises(error) as caught:
                door.write("POST", "/raise", json={"by": 1})
            assert type(caught.value) is error
            assert TOKEN not in str(caught.value)
        assert server.vendor.value == effect
        assert server.report()["calls"] == 1
        assert server.report()["faults"] == {kind: 1}


@pytest.mark.parametrize("kind", [kind for kind, error, _ in EFFECTS if error is not Refused])
def test_a_read_is_repeated_until_it_succeeds(kind: Fault) -> None:
    with twin(faults=failing(kind, at_most=2)) as (server, door):
        assert door.read_json("GET", "/value") == {"value": 0}
        assert server.report()["calls"] == (1 if kind == "slow" else 3)


def test_patience_ends() -> None:
    with twin(faults=failing("503", at_most=99)) as (server, door):
        with pytest.raises(Ambiguous, match="HTTP 503"):
            door.read("GET", "/value")
        assert server.report()["calls"] == 4


def test_retry_after_is_kept_to_the_second_and_by_date() -> None:
    with twin() as (server, door):
        server.vendor.answer = Response(429, {}, {"Retry-After": "7"})
        start = FAST.now()
        with pytest.raises(Throttled) as caught:
            door.write("GET", "/value")
        assert caught.value.seconds == 7
        server.vendor.answer = Response(429, {}, {"Retry-After": "Thu, 01 Jan 2099 00:00:20 GMT"})
        with pytest.raises(Throttled) as caught:
            door.write("GET", "/value")
        assert FAST.now() - start >= 7
        assert caught.value.seconds > 1e6
        calls = server.report()["calls"]
        with pytest.raises(Throttled):
            door.patiently(lambda: door.write("GET", "/value"))
        assert server.report()["calls"] == calls + 1


@pytest.mark.parametrize(
    ("status", "cure"),
    [(401, "credentials"), (403, "scopes"), (404, "api_version"), (410, "newer"), (302, "correct")],
)
def test_a_refusal_says_what_to_do_and_is_not_repeated(status: int, cure: str) -> None:
    with twin() as (server, door):
        server.vendor.answer = Response(status, {"told": TOKEN}, {"Location": "https://elsewhere/"})
        with pytest.raises(Refused, match=cure) as caught:
            door.read("GET", "/value")
        assert caught.value.status == status
        assert TOKEN not in str(caught.value)
        assert server.report()["calls"] == 1


def test_a_token_is_renewed_once_for_all_threads_that_were_refused() -> None:
    tokens = iter([Secret("an-old-token"), Secret(TOKEN), Secret("one-too-many")])
    with twin(latency=20) as (server, door):
        door._login = RenewedLogin(lambda: next(tokens))
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: door.read_json("GET", "/value"), range(4)))
        assert found == [{"value": 0}] * 4
        assert server.report()["statuses"] == {"401": 4, "200": 4}
        assert next(tokens).reveal() == "one-too-many"


def test_a_token_that_is_never_known_is_refused() -> None:
    with twin() as (server, door):
        door._login = RenewedLogin(lambda: Secret("a-wrong-token"))
        with pytest.raises(Refused, match="credentials"):
            door.read_json("GET", "/value")
        assert server.report()["statuses"] == {"401": 3}


def test_other_processes_see_what_the_twin_saw() -> None:
    with twin() as (server, door):
        door.read("GET", "/value")
        assert door.read_json("GET", "/_twin/report") == server.report()
        assert server.report()["calls"] == 1


def test_a_twin_that_is_none_is_named() -> None:
    with pytest.raises(UsageError, match="`pear` has no twin; they are: hubspot"):
        make_twin("pear")


def test_the_vendors_own_reading_of_an_answer_comes_first() -> None:
    def explain(answer: Any) -> RemoteError | None:
        return NotSent("busy") if b"0" in answer.body else None

    with twin(explain=explain) as (_, door), pytest.raises(NotSent, match="busy"):
        door.write("GET", "/value")


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    door = HttpDoor(url, limits=Limits(1), clock=FAST, backoff=Backoff(attempts=2))
    with pytest.raises(NotSent, match="cannot be reached"):
        door.write("POST", "/raise")


def test_an_address_where_nobody_ever_answered_is_given_up_soon() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    waits = Waits()
    door = HttpDoor(url, limits=Limits(1), clock=waits, backoff=Backoff(attempts=10))
    with pytest.raises(NotSent, match="cannot be reached"):
        door.read("GET", "/value")
    assert 1 < sum(waits.waited) < 10


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("http://crm.example.com", "not safe"), ("ftp://127.0.0.1", "not safe"),
        ("https://ada:pw@crm.example.com", "password"), ("crm", "not safe"), ("https://", "not safe"),
        ("https://crm:port", "no web address"),
    ],
)  # fmt: skip
def test_an_unsafe_address_is_refused(url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        HttpDoor(url, limits=Limits(1))


def test_another_host_is_never_shown_the_token() -> None:
    with twin() as (server, door):
        assert door.read_json("GET", f"{server.url}/value") == {"value": 0}
        with pytest.raises(Refused, match="not followed"):
            door.read("GET", "https://elsewhere.example.com/value")


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    program("openssl")
    subprocess.run(
        [*made, "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        door = HttpDoor(f"https://localhost:{server.server_address[1]}", limits=Limits(1))
        with pytest.raises(Refused, match="certificate cannot be verified"):
            door.write("GET", "/")
    finally:
        server.shutdown()
        server.server_close()


def test_the_twin_counts_what_is_above_the_limit() -> None:
    with twin() as (server, door):
        server.vendor.meters = [WindowMeter(Window(3, 10_000))]
        for _ in range(3):
            door.read("GET", "/value")
        with pytest.raises(Throttled, match="429"):
            door.write("GET", "/value")
        assert server.report()["above_limit"] == 1
