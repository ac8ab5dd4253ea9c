"""Salesforce as the place where scores are written: fields of our own on opportunities.

Up to `bulk_from` deals go as collections of 200 at most, more of them by Bulk jobs. What was sent is
read back by SOQL. Where the org's own triggers do not bear a collection, its deals are sent again in
smaller ones, and those that follow stay as small.

Sources: Salesforce REST API Developer Guide, "Update Multiple Records with Fewer Round-Trips"; Status
Codes of the SOAP API Developer Guide, which REST shares; Tooling API, CustomField.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from salesops_ml.crm.limits import Clock
from salesops_ml.crm.salesforce_api import Org, Record, limits_of, quoted
from salesops_ml.crm.salesforce_bulk import finish, upload, wait_for_others
from salesops_ml.crm.salesforce_fields import (
    CHANCE,
    OWN_FIELDS,
    PERCENT_DIGITS,
    OwnField,
    from_salesforce,
    to_salesforce,
)
from salesops_ml.crm.salesforce_rights import create_own_fields
from salesops_ml.crm.target import GONE, Done, Failed, FieldProblem, Outcome, Standing
from salesops_ml.crm.targets import connection_of, pace_book
from salesops_ml.crm_settings import SalesforceSource
from salesops_ml.errors import Ambiguous, RemoteError
from salesops_ml.scoring.fields import Score
from salesops_ml.scoring.plan import Change
from salesops_ml.settings import Settings

IDS_A_QUERY = 400
"""Ids in one condition: an address may have 16,384 bytes."""
_PASSING = ("UNABLE_TO_LOCK_ROW", "REQUEST_RUNNING_TOO_LONG", "SERVER_UNAVAILABLE")
_GONE = ("ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "MALFORMED_ID")
_TOO_MUCH = re.compile(r"\bLIMIT_EXCEEDED|LimitException|Apex CPU time|Too many (SOQL|DML)")
_CURES = {
    "INVALID_FIELD_FOR_INSERT_UPDATE": "give the integration user Edit on the field",
    "INSUFFICIENT_ACCESS_OR_READONLY": "give the integration user Edit on opportunities",
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": "give the integration user access to the account",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": "let the org's validation rule pass the integration user",
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": "let the org's trigger pass the integration user",
    "STRING_TOO_LONG": "make the field as long as docs/crm_salesforce.md says",
}


class SalesforceTarget:
    """Salesforce's side of writing back; see `target.Target`."""

    def __init__(
        self,
        source: SalesforceSource,
        *,
        clock: Clock | None = None,
        pace_book: Path | None = None,
        timeout: float = 60.0,
    ) -> None:
        self.limits = limits_of(source, source.records_a_job)
        self._org = Org(
            source, limits=self.limits, clock=clock, pace_book=pace_book, timeout=timeout
        )
        self.place = self._org.place
        self._source = source
        self._together = source.records_a_call
        self._lock = threading.Lock()
        self._jobs_seen = False

    def as_stored(self, score: Score) -> Score:
        """Two decimals of a percentage, and texts that fit."""
        return from_salesforce(to_salesforce(score))

    def missing_fields(self) -> list[FieldProblem]:
        """What is wrong with the fields of ours on opportunities."""
        there = self._org.fields("Opportunity", anew=True)
        known = {name.lower(): field for name, field in there.items()}
        found = [_problem(own, known.get(own.name.lower())) for own in OWN_FIELDS.values()]
        return [problem for problem in found if problem is not None]

    def create_fields(self, problems: Sequence[FieldProblem]) -> None:
        """Create what is missing, and a permission set that lets the calling user edit it.

        Raises:
            Refused: the user may not customize the org.
        """
        create_own_fields(self._org, [OWN_FIELDS[problem.field] for problem in problems])

    def read(self, deal_ids: Sequence[str]) -> dict[str, Standing]:
        """What stands in our fields, by SOQL; deals that no query finds are gone."""
        self._wait_for_jobs()
        standing: dict[str, Standing] = dict.fromkeys(deal_ids, GONE)
        asked = {deal_id[:15]: deal_id for deal_id in deal_ids}
        fields = ", ".join(("Id", *OWN_FIELDS))
        for some in _parts(list(deal_ids), IDS_A_QUERY):
            ids = ", ".join(map(quoted, some))
            for page in self._org.pages(f"SELECT {fields} FROM Opportunity WHERE Id IN ({ids})"):
                for record in page:
                    standing[asked[record["Id"][:15]]] = from_salesforce(record)
        return standing

    def send(self, changes: Sequence[Change]) -> list[Outcome]:
        """Write one chunk; see `target.Target.send`."""
        self._wait_for_jobs()
        if len(changes) > self._source.bulk_from:
            return self._send_in_bulk(changes)
        return self._send_together(changes)

    def close(self) -> None:
        """Close the connections."""
        self._org.door.close()

    def _wait_for_jobs(self) -> None:
        """Once, and again after a job whose end was not seen."""
        with self._lock:
            if not self._jobs_seen:
                wait_for_others(self._org)
                self._jobs_seen = True

    def _send_in_bulk(self, changes: Sequence[Change]) -> list[Outcome]:
        records = [{"Id": c.deal_id, **to_salesforce(c.new or Score())} for c in changes]
        job = upload(self._org, records)
        try:
            told = finish(self._org, job)
        except RemoteError as error:
            with self._lock:
                self._jobs_seen = False
            raise Ambiguous(f"{error}; the Bulk job {job} is waited for") from None
        by_id = {deal_id[:15]: reason for deal_id, reason in told.items()}
        left = "the Bulk job ended before it came to this deal:"
        return [_of_job(by_id.get(c.deal_id[:15], left)) for c in changes]

    def _send_together(self, changes: Sequence[Change]) -> list[Outcome]:
        """Collection after collection; an error after the first one leaves the whole in doubt."""
        outcomes: list[Outcome] = []
        while len(outcomes) < len(changes):
            some = changes[len(outcomes) : len(outcomes) + self._together]
            try:
                outcomes += self._send_some(some)
            except RemoteError as error:
                if not outcomes or isinstance(error, Ambiguous):
                    raise
                raise Ambiguous(f"{error}; {len(outcomes):,} deals before it were sent") from None
        return outcomes

    def _send_some(self, changes: Sequence[Change]) -> list[Outcome]:
        """One collection; what the org's triggers did not bear goes again by halves."""
        results = self._collection(changes)
        heavy = [at for at, result in enumerate(results) if _too_much(result)]
        outcomes = [_outcome(result) for result in results]
        if not heavy or len(changes) == 1:
            return outcomes
        half = max(1, len(changes) // 2)
        with self._lock:
            self._together = min(self._together, half)
        for start in range(0, len(heavy), half):
            places = heavy[start : start + half]
            try:
                again = self._send_some([changes[at] for at in places])
            except RemoteError as error:
                raise Ambiguous(f"{error}; a part of the deals was sent") from None
            for at, outcome in zip(places, again, strict=True):
                outcomes[at] = outcome
        return outcomes

    def _collection(self, changes: Sequence[Change]) -> list[Record]:
        records = [
            {
                "attributes": {"type": "Opportunity"},
                "id": c.deal_id,
                **to_salesforce(c.new or Score()),
            }
            for c in changes
        ]
        answer = self._org.write(
            "PATCH", "composite/sobjects", json={"allOrNone": False, "records": records}
        )
        results = answer.json()
        if not isinstance(results, list) or len(results) != len(changes):
            raise Ambiguous(f"{self.place}: the answer does not tell of each deal")
        return results


def open_target(settings: Settings) -> SalesforceTarget:
    """The target that a run's settings name."""
    source = connection_of(settings)
    return SalesforceTarget(source, pace_book=pace_book(settings, source.url))


def _problem(own: OwnField, there: Record | None) -> FieldProblem | None:
    if there is None:
        cure = (
            f"create the field {own.name} ({own.metadata['type']}) on Opportunity, and give the "
            "integration user Read and Edit on it"
        )
        return FieldProblem(own.name, "missing", cure, creatable=True)
    if there["type"] not in own.kinds:
        cure = f"it is a {there['type']} field; delete it and make it {own.metadata['type']}"
        return FieldProblem(own.name, "wrong_type", cure)
    if own.name == CHANCE and there.get("scale", PERCENT_DIGITS) < PERCENT_DIGITS:
        return FieldProblem(own.name, "wrong_type", f"give it {PERCENT_DIGITS} decimal places")
    if own.length is not None and there.get("length", own.length) < own.length:
        return FieldProblem(own.name, "wrong_type", f"give it a length of {own.length:,}")
    if not there.get("updateable", True):
        cure = (
            "give the integration user Edit on it (field-level security), and no page layout rule"
        )
        return FieldProblem(own.name, "read_only", cure)
    return None


def _outcome(result: Record) -> Outcome:
    if result.get("success"):
        return Done()
    first = (result.get("errors") or [{}])[0]
    return _failed(str(first.get("statusCode", "")), str(first.get("message", "")))


def _of_job(reason: str | None) -> Outcome:
    if reason is None:
        return Done()
    code, _, message = reason.partition(":")
    if not message:
        return Failed(code, permanent=False)
    return _failed(code, message.removesuffix(":--"))


def _failed(code: str, message: str) -> Failed:
    if code in _GONE:
        return Failed(GONE.reason)
    cure = f"; {_CURES[code]}" if code in _CURES else ""
    return Failed(f"{' '.join(message.split())} ({code}){cure}", permanent=code not in _PASSING)


def _too_much(result: Record) -> bool:
    return any(
        _TOO_MUCH.search(f"{error.get('statusCode')} {error.get('message')}")
        for error in result.get("errors") or ()
    )


def _parts(values: Sequence[str], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
