"""What a vendor's twin is made of: calls, answers, meters, and the part that each vendor fills in."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from salesops_ml.crm.limits import Clock, Window


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

    @property
    def seen(self) -> int:
        """Calls in the window that ends with the last one."""
        return len(self._seen)


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

    def meters_for(self, request: Request) -> Sequence[WindowMeter | BucketMeter]:
        """What counts this call."""
        return self.meters

    def authorise(self, request: Request) -> Response | None:
        """The refusal where the call shows no valid login."""
        return None

    def shows_token(self, request: Request) -> bool:
        """Whether the call shows a token, which may have expired; a login shows none."""
        return True

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
