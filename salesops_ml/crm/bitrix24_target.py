"""Bitrix24 as the place where scores are written: fields of our own on deals.

Deals go in batches of `crm.item.update`, with an outcome each. An update ignores a field that the deal
does not have, without a word; so the fields are looked for before the first write, and each answer,
which holds the deal as it was saved, is looked through for them.

Sources: Bitrix24 REST documentation, `crm.item.update`, `crm.item.fields`, `userfieldconfig.add`, "How
to Execute Batch Requests".
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from salesops_ml.crm.bitrix24_api import (
    CLOSED,
    DEAL,
    PASSING,
    UNTIL_FREE,
    Portal,
    Record,
    code_of,
    cure_of,
)
from salesops_ml.crm.bitrix24_fields import (
    CHANCE,
    OWN_FIELDS,
    PERCENT_DIGITS,
    OwnField,
    from_bitrix24,
    to_bitrix24,
)
from salesops_ml.crm.landing_book import squashed
from salesops_ml.crm.limits import Clock
from salesops_ml.crm.target import GONE, Done, Failed, FieldProblem, Outcome, Standing
from salesops_ml.crm.targets import connection_of, pace_book
from salesops_ml.crm_settings import Bitrix24Source
from salesops_ml.errors import Ambiguous, Refused, Throttled
from salesops_ml.scoring.fields import Score
from salesops_ml.scoring.plan import Change
from salesops_ml.settings import Settings

LABEL_LANGUAGES = ("en", "ru", "de")
_CURES = {
    "CRM_FIELD_ERROR_VALUE_NOT_VALID": "make the field as docs/crm_bitrix24.md says",
    "ACCESS_DENIED": "give the webhook's user the right to change this deal",
}


class Bitrix24Target:
    """Bitrix24's side of writing back; see `target.Target`."""

    def __init__(
        self,
        source: Bitrix24Source,
        *,
        clock: Clock | None = None,
        pace_book: Path | None = None,
        timeout: float = 60.0,
    ) -> None:
        self._portal = Portal(source, clock=clock, pace_book=pace_book, timeout=timeout)
        self.limits, self.place = self._portal.limits, self._portal.place
        self._lock = threading.Lock()
        self._names: dict[str, str] = {}

    def as_stored(self, score: Score) -> Score:
        """Two decimals of a percentage, and texts that fit."""
        return from_bitrix24(to_bitrix24(score))

    def missing_fields(self) -> list[FieldProblem]:
        """What is wrong with the fields of ours on deals."""
        there = self._portal.fields(DEAL)
        known = {squashed(name): field for name, field in there.items()}
        self._learn(there)
        found = [_problem(own, known.get(squashed(own.name))) for own in OWN_FIELDS.values()]
        return [problem for problem in found if problem is not None]

    def create_fields(self, problems: Sequence[FieldProblem]) -> None:
        """Create what is missing; what another has made meanwhile will do.

        Raises:
            Refused: the webhook may not change the settings of deals.
        """
        for problem in problems:
            self._portal.door.patiently(partial(self._create, OWN_FIELDS[problem.field]))

    def read(self, deal_ids: Sequence[str]) -> dict[str, Standing]:
        """What stands in our fields; deals that the list does not have are gone."""
        standing: dict[str, Standing] = dict.fromkeys(deal_ids, GONE)
        numbers = [int(deal) for deal in deal_ids if deal.isdigit()]
        if not numbers:
            return standing
        names = self._known_names()
        asked = {"entityTypeId": DEAL, "select": ["id", *names.values()],
                 "filter": {"@id": numbers}, "start": -1}  # fmt: skip
        for item in self._portal.call("crm.item.list", asked)["result"]["items"]:
            standing[str(item["id"])] = from_bitrix24(_ours(item, names))
        return standing

    def send(self, changes: Sequence[Change]) -> list[Outcome]:
        """Write one chunk; see `target.Target.send`."""
        names = self._known_names()
        scores = {f"d{n}": to_bitrix24(one.new or Score()) for n, one in enumerate(changes)}
        commands = {
            f"d{n}": ("crm.item.update", {
                "entityTypeId": DEAL, "id": one.deal_id,
                "fields": {names[own]: value for own, value in scores[f"d{n}"].items()},
            })
            for n, one in enumerate(changes) if one.deal_id.isdigit()
        }  # fmt: skip
        if not commands:
            return [Failed(GONE.reason)] * len(changes)
        told = self._portal.batch(commands)
        if not commands.keys() <= told["result"].keys() | told["result_error"].keys():
            raise Ambiguous(f"{self.place}: the answer does not tell of each deal")
        if all(name in told["result_error"] for name in commands):
            self._refuse_if_closed(told["result_error"])
        return [
            self._outcome(told, f"d{n}", names) if f"d{n}" in commands else Failed(GONE.reason)
            for n in range(len(changes))
        ]

    def close(self) -> None:
        """Close the connections."""
        self._portal.door.close()

    def _create(self, own: OwnField) -> None:
        label = dict.fromkeys(LABEL_LANGUAGES, own.label)
        field = {"entityId": "CRM_DEAL", "fieldName": own.name, "userTypeId": own.kind,
                 "editFormLabel": label, "settings": own.settings, "showFilter": "Y"}  # fmt: skip
        try:
            self._portal.write("userfieldconfig.add", {"moduleId": "crm", "field": field})
        except Refused as error:
            if "already exists" not in str(error):
                raise

    def _learn(self, there: Mapping[str, Record]) -> None:
        known = {squashed(name): name for name in there}
        with self._lock:
            self._names = {
                own: known[squashed(own)] for own in OWN_FIELDS if squashed(own) in known
            }

    def _known_names(self) -> dict[str, str]:
        """Our fields' names in the API, which are not to be guessed where digits are among letters."""
        if len(self._names) < len(OWN_FIELDS):
            self._learn(self._portal.fields(DEAL))
        missing = [own for own in OWN_FIELDS if own not in self._names]
        if missing:
            raise Refused(
                f"{self.place}: deals have no field `{missing[0]}` any more, and Bitrix24 would ignore "
                "what is written to it; create it again (--create-fields)"
            )
        return self._names

    def _outcome(self, told: Record, name: str, names: Mapping[str, str]) -> Outcome:
        if name in told["result_error"]:
            return self._failed(told["result_error"][name])
        item = told["result"][name].get("item") or {}
        ignored = next((own for own, shown in names.items() if shown not in item), None)
        if ignored is None:
            return Done()
        with self._lock:
            self._names = {}
        return Failed(f"Bitrix24 ignored the field `{ignored}`; create it again", permanent=False)

    def _refuse_if_closed(self, errors: Mapping[str, Mapping[str, object]]) -> None:
        """Where updates are closed to the whole company, nothing was done; it is no fault of a deal."""
        codes = {code_of(error)[0] for error in errors.values()}
        if codes == {CLOSED}:
            _, words = code_of(next(iter(errors.values())))
            raise Throttled(f"{self.place}: {words}", UNTIL_FREE)

    def _failed(self, error: Mapping[str, object]) -> Failed:
        code, words = code_of(error)
        if code == "NOT_FOUND":
            return Failed(GONE.reason)
        if code == CLOSED:
            self._portal.door.pace.hold(UNTIL_FREE)
        passing = code in PASSING or code == CLOSED
        return Failed(f"{words} ({code}); {_CURES.get(code, cure_of(code))}", permanent=not passing)


def open_target(settings: Settings) -> Bitrix24Target:
    """The target that a run's settings name."""
    source = connection_of(settings)
    return Bitrix24Target(source, pace_book=pace_book(settings, source.url))


def _ours(item: Record, names: Mapping[str, str]) -> Record:
    return {own: item.get(shown) for own, shown in names.items()}


def _problem(own: OwnField, there: Record | None) -> FieldProblem | None:
    if there is None:
        cure = f"create the custom field {own.name} of kind `{own.kind}` for deals"
        return FieldProblem(own.name, "missing", cure, creatable=True)
    if there.get("type") != own.kind or there.get("isMultiple"):
        many = "multiple " if there.get("isMultiple") else ""
        cure = f"it is a {many}{there.get('type')} field; delete it and make it a single {own.kind}"
        return FieldProblem(own.name, "wrong_type", cure)
    settings = there.get("settings") or {}
    precision = settings.get("PRECISION") if isinstance(settings, Mapping) else None
    if own.name == CHANCE and precision is not None and int(precision) < PERCENT_DIGITS:
        return FieldProblem(own.name, "wrong_type", f"give it a precision of {PERCENT_DIGITS}")
    if there.get("isReadOnly"):
        return FieldProblem(own.name, "read_only", "let the webhook's user edit it")
    return None
