"""amoCRM and Kommo as the place where scores are written: fields of our own on leads.

A write is `PATCH leads` with up to 250 of them. One lead that is wrong makes the whole a 400, which
names it by `request_id`; it is set aside, and the others go again, with the same values. What a 200 does
not name is read back. Reading asks for many ids at once where the account's filters work, else for one.

Sources: amoCRM developer documentation, pages "Leads" and "Custom fields"; answers quoted in issues of
the vendor's PHP client (amocrm/amocrm-api-php, 88 and 115).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from salesops_ml.crm.amocrm_api import Account, Invalid, Record, embedded, limits_of
from salesops_ml.crm.amocrm_fields import (
    OWN_FIELDS,
    from_amocrm,
    own_fields,
    problem_of_field,
    to_amocrm,
)
from salesops_ml.crm.limits import Clock
from salesops_ml.crm.target import GONE, Done, Failed, FieldProblem, Outcome, Standing
from salesops_ml.crm.targets import connection_of, pace_book
from salesops_ml.crm_settings import AmoCrmSource
from salesops_ml.errors import Ambiguous, Refused, RemoteError
from salesops_ml.scoring.fields import Score
from salesops_ml.scoring.plan import Change
from salesops_ml.settings import Settings

IDS_A_QUERY = 100
"""Ids in one address, which may have some thousand bytes."""
_UTC = ZoneInfo("UTC")
_NO_FIELD = "a field for scores is gone; `salesops write-back check --create-fields` makes it again"


class AmoCrmTarget:
    """amoCRM's side of writing back; see `target.Target`."""

    def __init__(
        self,
        source: AmoCrmSource,
        *,
        clock: Clock | None = None,
        pace_book: Path | None = None,
        timeout: float = 60.0,
    ) -> None:
        self.limits = limits_of(source)
        self._account = Account(
            source, limits=self.limits, clock=clock, pace_book=pace_book, timeout=timeout
        )
        self.place = self._account.place

    def as_stored(self, score: Score) -> Score:
        """Two decimals of a percentage, and texts that fit."""
        return from_amocrm(to_amocrm(score), _UTC)

    def missing_fields(self) -> list[FieldProblem]:
        """What is wrong with the fields of ours on leads."""
        there = own_fields(self._account.fields("leads", anew=True))
        found = [problem_of_field(own, there.get(own.code)) for own in OWN_FIELDS.values()]
        return [problem for problem in found if problem is not None]

    def create_fields(self, problems: Sequence[FieldProblem]) -> None:
        """Create what is missing, as fields that only the API fills in; again where it was cut off.

        Raises:
            Refused: the token's user is no administrator.
        """
        wanted = [problem.field for problem in problems]

        def attempt() -> None:
            there = own_fields(self._account.fields("leads", anew=True))
            missing = [OWN_FIELDS[code].definition() for code in wanted if code not in there]
            if missing:
                self._account.write("POST", "leads/custom_fields", missing)

        self._account.door.patiently(attempt)
        self._account.fields("leads", anew=True)

    def read(self, deal_ids: Sequence[str]) -> dict[str, Standing]:
        """What stands in our fields; leads that are not found are gone."""
        standing: dict[str, Standing] = dict.fromkeys(deal_ids, GONE)
        numbers = [int(deal_id) for deal_id in deal_ids if deal_id.isdigit()]
        codes = {field["id"]: code for code, field in self._own().items()}
        for start in range(0, len(numbers), IDS_A_QUERY):
            for lead in self._leads(numbers[start : start + IDS_A_QUERY]):
                standing[str(lead["id"])] = self._score(lead, codes)
        return standing

    def send(self, changes: Sequence[Change]) -> list[Outcome]:
        """Write one chunk; see `target.Target.send`."""
        ids = {field: told["id"] for field, told in self._own().items()}
        if len(ids) < len(OWN_FIELDS):
            raise Refused(f"{self.place}: {_NO_FIELD}")
        outcomes: dict[str, Outcome] = {
            c.deal_id: Failed(GONE.reason) for c in changes if not c.deal_id.isdigit()
        }
        due = [c for c in changes if c.deal_id.isdigit()]
        for _ in range(len(changes)):
            if not due:
                break
            try:
                outcomes |= self._sent(due, ids)
            except RemoteError as error:
                if not outcomes or isinstance(error, Ambiguous):
                    raise
                raise Ambiguous(f"{error}; a part of the deals was told apart before") from None
            due = [c for c in due if c.deal_id not in outcomes]
        return [outcomes[c.deal_id] for c in changes]

    def close(self) -> None:
        """Close the connections."""
        self._account.door.close()

    def _own(self) -> dict[str, Record]:
        return own_fields(self._account.fields("leads"))

    def _leads(self, lead_ids: list[int]) -> list[Record]:
        found = self._account.leads(lead_ids)
        if found is None:
            found = [
                lead for one in lead_ids if (lead := self._account.one("leads", one)) is not None
            ]
        return found

    def _score(self, lead: Record, codes: dict[int, str]) -> Score:
        told = {
            codes[field["field_id"]]: field["values"][0]["value"]
            for field in lead.get("custom_fields_values") or []
            if field["field_id"] in codes and field.get("values")
        }
        return from_amocrm(told, self._account.zone)

    def _sent(self, changes: Sequence[Change], ids: dict[str, int]) -> dict[str, Outcome]:
        """One call, and the outcomes that it tells; the others are due again."""
        try:
            answer = self._account.write("PATCH", "leads", [_update(one, ids) for one in changes])
        except Invalid as error:
            return self._refused(error, changes)
        done = {str(lead["id"]) for lead in embedded(answer.json(), "leads")}
        told: dict[str, Outcome] = {c.deal_id: Done() for c in changes if c.deal_id in done}
        left = {c.deal_id: "the answer does not name it" for c in changes if c.deal_id not in done}
        return told | self._told_apart(left, permanent=False)

    def _refused(self, error: Invalid, changes: Sequence[Change]) -> dict[str, Outcome]:
        """The leads that a 400 names: gone, or refused for a reason.

        Raises:
            Refused: it names none, or says that a field of ours is gone.
        """
        asked = {change.deal_id for change in changes}
        named = {key: errors for key, errors in error.errors.items() if key in asked and errors}
        paths = [str(one.get("path")) for errors in named.values() for one in errors]
        if any(path.endswith((".field_id", ".field_code")) for path in paths):
            raise Refused(f"{self.place}: {_NO_FIELD}")
        if not named:
            raise error
        why = {key: _reason(errors[0]) for key, errors in named.items()}
        return self._told_apart(why, permanent=True)

    def _told_apart(self, why: dict[str, str], *, permanent: bool) -> dict[str, Outcome]:
        """Leads that a call did not write: those that are gone, and those that are not."""
        if not why:
            return {}
        standing = self.read(list(why))
        return {
            deal_id: Failed(GONE.reason) if standing[deal_id] == GONE else Failed(reason, permanent)
            for deal_id, reason in why.items()
        }


def open_target(settings: Settings) -> AmoCrmTarget:
    """The target that a run's settings name."""
    source = connection_of(settings)
    return AmoCrmTarget(source, pace_book=pace_book(settings, source.url))


def _update(change: Change, ids: dict[str, int]) -> Record:
    """A lead's own fields, all six of them; an empty one has no values."""
    values: list[dict[str, Any]] = [
        {"field_id": ids[code], "values": None if value is None else [{"value": value}]}
        for code, value in to_amocrm(change.new or Score()).items()
    ]
    return {"id": int(change.deal_id), "request_id": change.deal_id, "custom_fields_values": values}


def _reason(error: Record) -> str:
    detail = " ".join(str(error.get("detail", "")).split()) or "no reason given"
    path = error.get("path")
    return f"{detail} ({path})" if path else detail
