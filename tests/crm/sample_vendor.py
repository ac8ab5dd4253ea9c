"""A made-up CRM for tests of writing back: its twin, and the target that writes into it.

It has what real vendors have: batches of 50, 40 calls in 10 seconds, 4 at once, answers with an outcome
a record, percentages with two decimals, a scope, a version, deleted, merged and locked deals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from salesops_ml.crm.http_door import BearerLogin, HttpDoor
from salesops_ml.crm.limits import Backoff, Clock, Limits, Window
from salesops_ml.crm.secrets import Secret
from salesops_ml.crm.target import (
    GONE,
    Done,
    Failed,
    FieldProblem,
    Gone,
    Outcome,
    Standing,
)
from salesops_ml.crm.twin_vendor import Request, Response, Route, TwinVendor, WindowMeter
from salesops_ml.scoring.fields import FIELDS, Score, score_of
from salesops_ml.scoring.plan import Change

TOKEN = "sample-t0ken"
BATCH = 50
WINDOW = Window(calls=40, seconds=10)
AT_ONCE = 4
KINDS = dict(zip(FIELDS, ("percent", "date", "text", "text", "moment", "text"), strict=True))


class SampleTwin(TwinVendor):
    """The vendor's side."""

    name = "sample"

    def __init__(self, deals: int = 0) -> None:
        super().__init__()
        self.meters = [WindowMeter(WINDOW)]
        self.calls_at_once = AT_ONCE
        self.deals: dict[str, dict[str, Any]] = {f"d{at:06}": {} for at in range(deals)}
        self.merged: dict[str, str] = {}
        self.locked: dict[str, int] = {}
        self.fields: dict[str, dict[str, Any]] = {
            name: {"kind": kind, "read_only": False} for name, kind in KINDS.items()
        }
        self.scopes = {"deals.read", "deals.write", "fields.write"}
        self.version = "v2"
        self.spoil: Any = None
        self.poison: set[str] = set()
        self.refuse_batch: Response | None = None

    def routes(self) -> list[Route]:
        return [
            ("POST", r"/(?P<version>v\d+)/deals/update", self.update),
            ("POST", r"/(?P<version>v\d+)/deals/read", self.read),
            ("GET", r"/(?P<version>v\d+)/fields", self.list_fields),
            ("POST", r"/(?P<version>v\d+)/fields", self.create_field),
        ]

    def authorise(self, request: Request) -> Response | None:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            shown = request.headers.get("authorization")
            return Response(401, {"message": f"`{shown}` is not known here"})
        if not request.path.startswith(f"/{self.version}/"):
            return Response(410, {"message": "this version was retired"})
        needed = "deals.write" if request.path.endswith("update") else "deals.read"
        if needed not in self.scopes:
            return Response(403, {"message": f"missing scope {needed}"})
        return None

    def update(self, request: Request, version: str) -> Response:
        records = request.json()["deals"]
        if len(records) > BATCH:
            return Response(400, {"message": f"at most {BATCH} deals a call"})
        if self.refuse_batch:
            return self.refuse_batch
        if self.poison & {record["id"] for record in records}:
            return Response(400, {"message": "a value of the batch cannot be used"})
        results = [self._update_one(record) for record in records]
        mixed = any(result["status"] != "ok" for result in results)
        return Response(207 if mixed else 200, {"results": results})

    def _update_one(self, record: dict[str, Any]) -> dict[str, Any]:
        deal_id = record["id"]
        if deal_id in self.merged:
            return {"status": "error", "code": "MERGED", "into": self.merged[deal_id]}
        if deal_id not in self.deals:
            return {"status": "error", "code": "NOT_FOUND"}
        if self.locked.get(deal_id, 0) > 0:
            self.locked[deal_id] -= 1
            return {"status": "error", "code": "LOCKED"}
        known = {name: value for name, value in record["fields"].items() if name in self.fields}
        if self.spoil:
            known = self.spoil(deal_id, known)
        self.deals[deal_id].update(known)
        self.wrote(deal_id, known)
        return {"status": "ok"}

    def read(self, request: Request, version: str) -> Response:
        ids = request.json()["ids"]
        if len(ids) > BATCH:
            return Response(400, {"message": f"at most {BATCH} deals a call"})
        found: list[dict[str, Any]] = [
            {"id": deal_id, "fields": self.deals[deal_id]}
            for deal_id in ids
            if deal_id in self.deals
        ]
        found += [{"id": d, "merged_into": self.merged[d]} for d in ids if d in self.merged]
        return Response(200, {"deals": found})

    def list_fields(self, request: Request, version: str) -> Response:
        return Response(200, self.fields)

    def create_field(self, request: Request, version: str) -> Response:
        if "fields.write" not in self.scopes:
            return Response(403, {"message": "missing scope fields.write"})
        asked = request.json()
        self.fields[asked["name"]] = {"kind": asked["kind"], "read_only": False}
        return Response(201, {})


class SampleLogin(BearerLogin):
    """A token that can be had anew."""

    def renew(self, shown: Mapping[str, str]) -> bool:
        """The vendor gives the same one again; a wrong one stays wrong."""
        return shown == {"authorization": f"Bearer {TOKEN}"}


class SampleTarget:
    """The client's side."""

    def __init__(
        self, url: str, *, token: str = TOKEN, version: str = "v2", clock: Clock | None = None,
        pace_book: Path | None = None, timeout: float = 30.0, place: str = "sample CRM",
    ) -> None:  # fmt: skip
        self.place = place
        self.limits = Limits(BATCH, (WINDOW,), calls_at_once=AT_ONCE)
        self._version = version
        self._door = HttpDoor(
            url, limits=self.limits, login=SampleLogin(Secret(token)), clock=clock, timeout=timeout,
            pace_book=pace_book, backoff=Backoff(attempts=10),
        )  # fmt: skip

    def as_stored(self, score: Score) -> Score:
        return _from_vendor(_to_vendor(score))

    def missing_fields(self) -> list[FieldProblem]:
        there = self._door.read_json("GET", f"{self._version}/fields")
        problems = []
        for name, kind in KINDS.items():
            found = there.get(name)
            if found is None:
                cure = f"create a field `{name}` of kind {kind}"
                problems.append(FieldProblem(name, "missing", cure, creatable=True))
            elif found["read_only"]:
                cure = f"allow the integration user to edit `{name}`"
                problems.append(FieldProblem(name, "read_only", cure))
            elif found["kind"] != kind:
                cure = f"`{name}` is of kind {found['kind']}: make it {kind}"
                problems.append(FieldProblem(name, "wrong_type", cure))
        return problems

    def create_fields(self, problems: Sequence[FieldProblem]) -> None:
        for problem in problems:
            asked = {"name": problem.field, "kind": KINDS[problem.field]}
            self._door.patiently(
                lambda asked=asked: self._door.write("POST", f"{self._version}/fields", json=asked)
            )

    def read(self, deal_ids: Sequence[str]) -> dict[str, Standing]:
        asked = {"ids": list(deal_ids)}
        found = self._door.read_json("POST", f"{self._version}/deals/read", json=asked)["deals"]
        standing: dict[str, Standing] = dict.fromkeys(deal_ids, GONE)
        for record in found:
            merged = record.get("merged_into")
            standing[record["id"]] = Gone(merged) if merged else _from_vendor(record["fields"])
        return standing

    def send(self, changes: Sequence[Change]) -> list[Outcome]:
        records = [{"id": c.deal_id, "fields": _to_vendor(c.new or Score())} for c in changes]
        answer = self._door.write(
            "POST", f"{self._version}/deals/update", json={"deals": records}
        ).json()
        return [_outcome(result) for result in answer["results"]]

    def close(self) -> None:
        self._door.close()


def _outcome(result: dict[str, Any]) -> Outcome:
    if result["status"] == "ok":
        return Done()
    if result["code"] == "MERGED":
        return Failed(Gone(result["into"]).reason)
    if result["code"] == "NOT_FOUND":
        return Failed(GONE.reason)
    return Failed("the deal is locked by a person", permanent=False)


def _to_vendor(score: Score) -> dict[str, Any]:
    chance = score.win_probability
    values = {
        **score.values(),
        FIELDS[0]: None if chance is None else round(100 * chance, 2),
    }
    return {
        name: value.isoformat() if isinstance(value, date | datetime) else value
        for name, value in values.items()
    }


def _from_vendor(fields: dict[str, Any]) -> Score:
    percent = fields.get(FIELDS[0])
    return score_of({**fields, FIELDS[0]: None if percent is None else percent / 100})
