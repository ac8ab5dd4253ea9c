"""A real Tryton server with a bad network before it, for write-backs that are killed.

The twin answers nothing itself: it counts calls, fails as networks fail, and hands the rest on to the
server; what the server has written stands in its ledger.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from salesops_ml.crm.limits import Clock, Limits
from salesops_ml.crm.target import FieldProblem, Outcome, Standing
from salesops_ml.crm.tryton_target import TrytonTarget
from salesops_ml.crm.twin_vendor import Request, Response, Route, TwinVendor
from salesops_ml.crm_settings import TrytonSource
from salesops_ml.scoring.fields import Score
from salesops_ml.scoring.plan import Change

ROOT = Path(__file__).resolve().parents[2]
DATABASE = "crm"
PASSWORD = "s3cret-of-scorer"
WRITE = "model.sale.opportunity.write"
_KEPT = ("content-type", "authorization")


class TrytonProxy(TwinVendor):
    """A Tryton server behind a twin's door.

    Args:
        server: the server's address.
    """

    name = "tryton"

    def __init__(self, server: str) -> None:
        super().__init__()
        self.server = server

    def routes(self) -> Sequence[Route]:
        return [("POST", "/.*", self.forward)]

    def shows_token(self, request: Request) -> bool:
        return "authorization" in request.headers

    def forward(self, request: Request) -> Response:
        """What the server answers; a write that it has made is noted."""
        headers = {name: request.headers[name] for name in _KEPT if name in request.headers}
        call = urllib.request.Request(self.server + request.path, request.body, headers)
        try:
            with urllib.request.urlopen(call, timeout=600) as answer:
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return Response(error.code, error.read(), {"Content-Type": "text/html"})
        if status == 200 and not json.loads(body).get("error"):
            self._note(request.json())
        return Response(status, body)

    def _note(self, asked: dict[str, Any]) -> None:
        if asked.get("method") == WRITE:
            *pairs, _context = asked["params"]
            for ids, values in zip(pairs[::2], pairs[1::2], strict=True):
                for one in ids:
                    self.wrote(str(one), values)


@cache
def _server(deals: int) -> str:
    """A server with so many opportunities; it ends with this process."""
    tests = ModuleType("tests")
    tests.__path__ = [str(ROOT / "tests")]
    sys.modules.setdefault("tests", tests)
    from tests.end_to_end.tryton_world import TrytonWorld, story_of

    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    world = TrytonWorld(Path(folder.name) / "tryton")
    world.make("sale_opportunity", "salesops_scores")
    world.fill(story_of(deals))
    world.start(DATABASE)
    atexit.register(world.stop)
    return world.url


def served(deals: int) -> TrytonProxy:
    """A server with so many opportunities, behind the twin's door."""
    return TrytonProxy(_server(deals))


def open_target(url: str, *, clock: Clock, pace_book: Path) -> NumberedTarget:
    """The target, as `killed_delivery` asks for it; Tryton names no limit, so there is no pace book."""
    os.environ["TRYTON_PASSWORD"] = PASSWORD
    source = TrytonSource.model_validate(
        {"type": "tryton", "url": url, "database": DATABASE, "user": "scorer",
         "password": "env:TRYTON_PASSWORD"}
    )  # fmt: skip
    return NumberedTarget(TrytonTarget(source, clock=clock))


class NumberedTarget:
    """Deals called `d000041` by the plans of tests are the opportunities 42 of Tryton."""

    def __init__(self, target: TrytonTarget) -> None:
        self.target = target

    @property
    def place(self) -> str:
        return self.target.place

    @property
    def limits(self) -> Limits:
        return self.target.limits

    def as_stored(self, score: Score) -> Score:
        return self.target.as_stored(score)

    def missing_fields(self) -> list[FieldProblem]:
        return self.target.missing_fields()

    def create_fields(self, problems: Sequence[FieldProblem]) -> None:
        self.target.create_fields(problems)

    def read(self, deal_ids: Sequence[str]) -> dict[str, Standing]:
        found = self.target.read([_number(deal) for deal in deal_ids])
        return {deal: found[_number(deal)] for deal in deal_ids}

    def send(self, changes: Sequence[Change]) -> list[Outcome]:
        return self.target.send([replace(one, deal_id=_number(one.deal_id)) for one in changes])


def _number(deal: str) -> str:
    return str(int(deal.removeprefix("d")) + 1)
