"""Batches of HubSpot's twin: records read and updated together, each with its own fate.

Source: HubSpot developer documentation, "Deals" (100 inputs a batch, 50 with history) and "Error
handling" (207, `objectWriteTraceId`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from salesops_ml.crm.hubspot_twin_fields import ValueFault, refusal, stored
from salesops_ml.crm.twin_vendor import Request, Response

if TYPE_CHECKING:
    from salesops_ml.crm.hubspot_twin import HubSpotTwin

Row = dict[str, Any]
APP = "4711"
"""The id of the private app that writes by the token."""
_GONE = (
    "Could not get some {kind} objects, they may be deleted or not exist. Check that ids are valid."
)


class Batches:
    """Reading and updating many records by one call."""

    def __init__(self, twin: HubSpotTwin) -> None:
        self.twin = twin

    def told(self, results: list[Row], errors: list[Row]) -> Response:
        """What became of a batch; 207 where a part failed."""
        moment = self.twin.moment()
        body = {
            "status": "COMPLETE",
            "results": results,
            "startedAt": moment,
            "completedAt": moment,
        }
        if not errors:
            return self.twin.answer(body)
        return self.twin.answer({**body, "numErrors": len(errors), "errors": errors}, 207)

    def read(self, request: Request, kind: str) -> Response:
        """Records by id; deleted ones fail, a merged one comes as the one that stands for it."""
        asked = request.json()
        past = asked.get("propertiesWithHistory") or []
        most = 50 if past else 100
        if len(asked["inputs"]) > most:
            what = "a batch request for property histories" if past else "a batch request"
            return refusal(400, "VALIDATION_ERROR",
                           f"The maximum number of inputs supported in {what} is {most}. Please reduce "
                           "the number of items and try again")  # fmt: skip
        found: dict[str, Row] = {}
        missing = []
        for one in asked["inputs"]:
            row = self.twin.standing(kind, str(one["id"]))
            if row is None:
                missing.append(str(one["id"]))
            else:
                found[row["id"]] = self.twin.record(kind, row, asked.get("properties") or [], past)
        errors = [_not_found(kind, missing)] if missing else []
        return self.told(list(found.values()), errors)

    def links(self, request: Request, kind: str, to: str) -> Response:
        """By record, what it is tied to; one that is tied to nothing counts as an error."""
        inputs = request.json()["inputs"]
        if len(inputs) > 1_000:
            return refusal(400, "VALIDATION_ERROR", f"at most 1000 inputs, not {len(inputs)}")
        results, errors = [], []
        for one in inputs:
            owner = str(one["id"])
            tied = self.twin.links.get((kind, to), {}).get(owner, {})
            if tied:
                told = [_link(other, types) for other, types in tied.items()]
                results.append({"from": {"id": owner}, "to": told})
            else:
                errors.append(_no_link(kind, to, owner))
        return self.told(results, errors)

    def update(self, request: Request) -> Response:
        """Deals updated."""
        inputs = request.json()["inputs"]
        if not 1 <= len(inputs) <= 100:
            return refusal(400, "VALIDATION_ERROR",
                           "The maximum number of inputs supported in a batch request is 100. Please "
                           "reduce the number of items and try again")  # fmt: skip
        if len({str(one["id"]) for one in inputs}) < len(inputs):
            return refusal(400, "VALIDATION_ERROR", "Duplicate IDs found in batch input.")
        checked = [(one, *self._checked(one["properties"])) for one in inputs]
        apart = self.twin.multi_status and all(one.get("objectWriteTraceId") for one in inputs)
        faults = [fault for *_, told in checked for fault in told]
        if faults and not apart:
            return refusal(400, "VALIDATION_ERROR", _invalid(faults))
        results, errors, missing = [], [], []
        for one, values, told in checked:
            trace = one.get("objectWriteTraceId")
            deal = self.twin.standing("deals", str(one["id"]))
            if told:
                context = {"objectWriteTraceId": [trace]}
                errors.append({"status": "error", "category": "VALIDATION_ERROR",
                               "message": _invalid(told), "context": context})  # fmt: skip
            elif deal is None:
                missing.append(str(one["id"]))
            else:
                self.twin.saved(deal, values, source={"sourceType": "INTEGRATION", "sourceId": APP})
                self.twin.wrote(str(one["id"]), values)
                shown = self.twin.record("deals", deal, values)
                results.append({**shown, **({"objectWriteTraceId": trace} if trace else {})})
        errors += [_not_found("deals", missing)] if missing else []
        return self.told(results, errors)

    def merge(self, request: Request) -> Response:
        """Two deals made one."""
        asked = request.json()
        pair = [
            self.twin.standing("deals", str(asked[n]))
            for n in ("primaryObjectId", "objectIdToMerge")
        ]
        if None in pair:
            return refusal(404, "OBJECT_NOT_FOUND", "Object not found.")
        fresh = self.twin.merge(str(asked["primaryObjectId"]), str(asked["objectIdToMerge"]))
        return self.twin.answer(self.twin.record("deals", self.twin.objects["deals"][fresh], ()))

    def _checked(self, given: Mapping[str, Any]) -> tuple[dict[str, str | None], list[Row]]:
        """Values as they are kept, and those that are not taken."""
        values, faults = {}, []
        for name, value in given.items():
            try:
                values[name] = stored(self.twin.properties.get(name), name, value)
            except ValueFault as fault:
                faults.append(fault.told())
        return values, faults


def _not_found(kind: str, ids: list[str]) -> Row:
    return {"status": "error", "category": "OBJECT_NOT_FOUND",
            "message": _GONE.format(kind=kind.removesuffix("s")), "context": {"ids": ids}}  # fmt: skip


def _no_link(kind: str, to: str, owner: str) -> Row:
    return {"status": "error", "category": "OBJECT_NOT_FOUND",
            "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
            "message": f"No {to} is associated with {kind} {owner}.",
            "context": {"fromObjectId": [owner]}}  # fmt: skip


def _link(to: str, types: Iterable[int]) -> Row:
    told = [{"category": "HUBSPOT_DEFINED", "typeId": one, "label": None} for one in sorted(types)]
    return {"toObjectId": to, "associationTypes": told}


def _invalid(faults: list[Row]) -> str:
    return f"Property values were not valid: {json.dumps(faults)}"
