"""HubSpot as the place where scores are written: properties of our own on deals.

Deals go in batches of 100, each input with an `objectWriteTraceId`, by which HubSpot tells what became
of it. A batch that is refused as a whole is halved by `delivery` until the deal is found that spoils it.

Sources: HubSpot developer documentation, "Deals" (batch update and read), "Error handling" (207),
"Properties"; changelog "Deals now support merging" (a merged id leads to the deal that stands for it).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from salesops_ml.crm.hubspot_api import Account, Record, of_batches
from salesops_ml.crm.hubspot_fields import (
    BAND,
    OWN_PROPERTIES,
    OwnProperty,
    from_hubspot,
    to_hubspot,
)
from salesops_ml.crm.hubspot_pass import MERGED
from salesops_ml.crm.limits import Clock
from salesops_ml.crm.target import GONE, Done, Failed, FieldProblem, Gone, Outcome, Standing
from salesops_ml.crm.targets import connection_of, pace_book
from salesops_ml.crm_settings import HubSpotSource
from salesops_ml.errors import Ambiguous, Refused
from salesops_ml.scoring.batch import BANDS
from salesops_ml.scoring.fields import Score
from salesops_ml.scoring.plan import Change
from salesops_ml.settings import Settings

_CURES = {
    "PROPERTY_DOESNT_EXIST": "create the property, or run with --create-fields",
    "READ_ONLY_VALUE": "make the property editable",
    "INVALID_OPTION": "add the option to the property, or make it a single-line text",
    "INVALID_NUMBER": "make the property a number",
    "INVALID_DATE": "make the property a date picker",
}
_READ_ANEW = "the answer does not tell of each deal"


class HubSpotTarget:
    """HubSpot's side of writing back; see `target.Target`."""

    def __init__(
        self,
        source: HubSpotSource,
        *,
        clock: Clock | None = None,
        pace_book: Path | None = None,
        timeout: float = 60.0,
    ) -> None:
        self._account = Account(source, clock=clock, pace_book=pace_book, timeout=timeout)
        self.limits, self.place = self._account.limits, self._account.place

    def as_stored(self, score: Score) -> Score:
        """Texts that fit; numbers and moments stand as they are."""
        return from_hubspot(to_hubspot(score))

    def missing_fields(self) -> list[FieldProblem]:
        """What is wrong with the properties of ours on deals."""
        told = self._account.get("properties", "deals")["results"]
        there = {one["name"]: one for one in told if not one.get("archived")}
        found = [_problem(own, there.get(own.name)) for own in OWN_PROPERTIES.values()]
        return [problem for problem in found if problem is not None]

    def create_fields(self, problems: Sequence[FieldProblem]) -> None:
        """Create what is missing; what is there by now will do, which makes a lost answer harmless.

        Raises:
            Refused: the token may not create properties.
        """
        for problem in problems:
            own = OWN_PROPERTIES[problem.field]
            self._account.door.patiently(partial(self._create, own))

    def read(self, deal_ids: Sequence[str]) -> dict[str, Standing]:
        """What stands in our properties; deleted deals do not come, merged ones as their survivor."""
        told = self._account.batch("deals", deal_ids, [*OWN_PROPERTIES, MERGED])
        standing: dict[str, Standing] = {
            str(record["id"]): from_hubspot(record["properties"]) for record in told
        }
        into = {
            old.strip(): str(record["id"])
            for record in told
            for old in str(record["properties"].get(MERGED) or "").split(";")
        }
        return {
            one: standing.get(one, Gone(into[one]) if one in into else GONE) for one in deal_ids
        }

    def send(self, changes: Sequence[Change]) -> list[Outcome]:
        """Write one chunk; see `target.Target.send`."""
        inputs = [
            {"id": c.deal_id, "objectWriteTraceId": c.deal_id,
             "properties": to_hubspot(c.new or Score())}
            for c in changes
        ]  # fmt: skip
        answer = self._account.write("objects", "deals/batch/update", {"inputs": inputs})
        results, errors = of_batches(answer.json(), self.place)
        outcomes = _done(results) | _refused(errors)
        missing = [c.deal_id for c in changes if c.deal_id not in outcomes]
        if missing:
            raise Ambiguous(f"{self.place}: {_READ_ANEW}, such as `{missing[0]}`")
        return [outcomes[c.deal_id] for c in changes]

    def close(self) -> None:
        """Close the connections."""
        self._account.door.close()

    def _create(self, own: OwnProperty) -> None:
        try:
            self._account.write("properties", "deals", own.as_created())
        except Refused as error:
            if error.status != 409:
                raise


def open_target(settings: Settings) -> HubSpotTarget:
    """The target that a run's settings name."""
    source = connection_of(settings)
    return HubSpotTarget(source, pace_book=pace_book(settings, source.url))


def _done(results: Sequence[Record]) -> dict[str, Outcome]:
    """By id that was asked for: done, unless the write went to the deal that it was merged into."""
    outcomes: dict[str, Outcome] = {}
    for result in results:
        found = str(result["id"])
        asked = str(result.get("objectWriteTraceId") or found)
        outcomes[asked] = Done() if asked == found else Failed(Gone(found).reason)
    return outcomes


def _refused(errors: Sequence[Record]) -> dict[str, Outcome]:
    """By id that was asked for: why not. An error speaks of one trace id, or of several ids."""
    outcomes: dict[str, Outcome] = {}
    for error in errors:
        context: Mapping[str, Any] = error.get("context") or {}
        ids = [*context.get("objectWriteTraceId", ()), *context.get("ids", ())]
        gone = error.get("category") == "OBJECT_NOT_FOUND"
        outcome = Failed(GONE.reason) if gone else Failed(_reason(error))
        outcomes |= dict.fromkeys(map(str, ids), outcome)
    return outcomes


def _reason(error: Record) -> str:
    message = " ".join(str(error.get("message", "refused")).split())
    cures = [cure for code, cure in _CURES.items() if re.search(rf"\b{code}\b", message)]
    return f"{message} ({error.get('category')})" + "".join(f"; {cure}" for cure in cures)


def _problem(own: OwnProperty, there: Record | None) -> FieldProblem | None:
    kind = f"{own.kinds[0]}, shown as {own.field}"
    if there is None:
        cure = f"create the deal property {own.name} ({kind})"
        return FieldProblem(own.name, "missing", cure, creatable=True)
    if there["type"] not in own.kinds:
        cure = f"it is a {there['type']} property; delete it and make it {kind}"
        return FieldProblem(own.name, "wrong_type", cure)
    if own.name == BAND and there["type"] == "enumeration":
        options = {str(option["value"]) for option in there.get("options") or ()}
        lacking = [band for band in BANDS if band not in options]
        if lacking:
            return FieldProblem(own.name, "wrong_type", f"add the options: {', '.join(lacking)}")
    locked = (there.get("modificationMetadata") or {}).get("readOnlyValue", False)
    if locked or there.get("calculated"):
        return FieldProblem(
            own.name, "read_only", "let the app edit it, and calculate it from nothing"
        )
    return None
