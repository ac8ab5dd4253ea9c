"""Properties of HubSpot's twin: their kinds, what each keeps of a value, and the shapes of refusals.

Source: HubSpot developer documentation, "Properties" (types and field types; dates at midnight UTC),
"Error handling" and "Usage guidelines".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from salesops_ml.crm.twin_vendor import Response

Row = dict[str, Any]

CORRELATION = "00000000-0000-4000-8000-000000000000"
_SCOPES_PAGE = "https://developers.hubspot.com/scopes"
_KINDS = {"string": ("text", "textarea", "html", "phonenumber", "file"), "number": ("number",),
          "date": ("date",), "datetime": ("date",), "bool": ("booleancheckbox",),
          "enumeration": ("select", "radio", "checkbox", "booleancheckbox")}  # fmt: skip
"""Types -> the field types that each may be shown by."""
LONGEST_TEXT = 65_536


@dataclass(frozen=True)
class Property:
    """One property of deals."""

    name: str
    kind: str = "string"
    field: str = "text"
    options: tuple[str, ...] = ()
    read_only: bool = False
    label: str = ""
    group: str = "dealinformation"

    def described(self) -> Row:
        """As the properties API shows it."""
        return {
            "name": self.name, "label": self.label or self.name, "type": self.kind,
            "fieldType": self.field, "groupName": self.group, "description": "",
            "options": [{"label": o, "value": o, "displayOrder": n, "hidden": False}
                        for n, o in enumerate(self.options)],
            "calculated": False, "archived": False, "hidden": False, "formField": False,
            "hasUniqueValue": False, "hubspotDefined": not self.name.startswith("salesops_"),
            "modificationMetadata": {"archivable": True, "readOnlyDefinition": False,
                                     "readOnlyValue": self.read_only},
        }  # fmt: skip


class ValueFault(ValueError):
    """A value that a property does not take."""

    def __init__(self, code: str, name: str, message: str) -> None:
        super().__init__(message)
        self.code, self.name = code, name

    def told(self) -> Row:
        """As HubSpot lists it."""
        return {"isValid": False, "message": str(self), "error": self.code, "name": self.name}


OWN_PROPERTIES = (
    Property("salesops_win_probability", "number", "number"),
    Property("salesops_close_p50", "date", "date"),
    Property("salesops_score_band"),
    Property("salesops_reasons", "string", "textarea"),
    Property("salesops_scored_at", "datetime", "date"),
    Property("salesops_model_version"),
)
"""The properties for scores as an administrator makes them."""

_READ_ONLY = ("hs_is_closed", "hs_is_closed_won", "hs_merged_object_ids", "createdate",
              "amount_in_home_currency", "hs_lastmodifieddate", "hs_object_id")  # fmt: skip
BUILT_IN = ("dealname", "dealstage", "pipeline", "amount", "closedate", "hubspot_owner_id",
            "hs_analytics_source", "hs_object_id", "hs_lastmodifieddate")  # fmt: skip


def properties_of(rows: Iterable[Row]) -> dict[str, Property]:
    """The properties that records show, beside those that every account has."""
    names = {name for row in rows for name in row} - {"id", "archived", "archived_at"}
    numbers = ("amount", "amount_in_home_currency", "hubspot_owner_id", "hs_object_id")
    moments = ("createdate", "closedate", "hs_lastmodifieddate")
    return {
        name: Property(
            name,
            "number" if name in numbers else "datetime" if name in moments else "string",
            "number" if name in numbers else "date" if name in moments else "text",
            read_only=name in _READ_ONLY,
        )
        for name in sorted(names | {*BUILT_IN})
    }


def created_property(given: Mapping[str, Any]) -> Property:
    """The property that a call makes.

    Raises:
        ValueFault: type and field type do not go together, or the name is none.
    """
    name, kind, field = str(given["name"]), str(given["type"]), str(given["fieldType"])
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueFault("INVALID_NAME", name, f"Property name {name} is invalid")
    if field not in _KINDS.get(kind, ()):
        raise ValueFault("INVALID_TYPE", name, f"fieldType {field} is not valid for type {kind}")
    options = tuple(str(option["value"]) for option in given.get("options") or ())
    return Property(name, kind, field, options, False, str(given["label"]), str(given["groupName"]))


def stored(there: Property | None, name: str, value: Any) -> str | None:
    """A value as the property keeps it: text, moments in ISO, nothing for the empty text.

    Raises:
        ValueFault: it does not take it.

    Example:
        >>> stored(OWN_PROPERTIES[4], "", "2026-03-01T12:00:00Z"), stored(OWN_PROPERTIES[2], "", " low ")
        ('2026-03-01T12:00:00Z', 'low')
    """
    if there is None:
        raise ValueFault("PROPERTY_DOESNT_EXIST", name, f'Property "{name}" does not exist')
    if there.read_only:
        raise ValueFault("READ_ONLY_VALUE", name, f'"{name}" is a read only property')
    text = "" if value is None else str(value).strip()
    if not text:
        return None
    if there.kind == "number":
        return _number(name, text)
    if there.kind in ("date", "datetime"):
        return _moment(there, text)
    if there.kind == "enumeration" and text not in there.options:
        listed = ", ".join(f"label: {option}" for option in there.options)
        raise ValueFault("INVALID_OPTION", name,
                         f"{text} was not one of the allowed options: [{listed}]")  # fmt: skip
    if len(text) > LONGEST_TEXT:
        raise ValueFault("INVALID_LENGTH", name, f'"{name}" is longer than {LONGEST_TEXT}')
    return text


def _number(name: str, text: str) -> str:
    try:
        return format(Decimal(text).normalize() + 0, "f")
    except ArithmeticError:
        raise ValueFault("INVALID_NUMBER", name, f"{text} was not a valid number.") from None


def _moment(there: Property, text: str) -> str:
    try:
        if re.fullmatch(r"-?\d+", text):
            at = datetime.fromtimestamp(int(text) / 1000, UTC)
        else:
            at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueFault("INVALID_DATE", there.name, f"{text} was not a valid date.") from None
    at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    if there.kind == "date":
        if (at.hour, at.minute, at.second, at.microsecond) != (0, 0, 0, 0):
            raise ValueFault("INVALID_DATE", there.name,
                             f"{text} is at {at.time()} UTC, not midnight!")  # fmt: skip
        return at.date().isoformat()
    return shown(at.replace(tzinfo=None))


def shown(moment: datetime) -> str:
    """A naive UTC moment as HubSpot shows it: no milliseconds where there are none.

    Example:
        >>> shown(datetime(2026, 3, 1, 12, 30)), shown(datetime(2026, 3, 1, 12, 30, 0, 500_000))
        ('2026-03-01T12:30:00Z', '2026-03-01T12:30:00.500Z')
    """
    return f"{moment.isoformat(timespec='milliseconds' if moment.microsecond else 'seconds')}Z"


def refusal(status: int, category: str, message: str, **more: Any) -> Response:
    """An error as HubSpot sends it."""
    body = {"status": "error", "message": message, "correlationId": CORRELATION}
    return Response(status, {**body, **({"category": category} if category else {}), **more})


def rate_limited(policy: str) -> Response:
    """The 429 of a limit."""
    body = {"status": "error", "message": f"You have reached your {policy.lower()} limit.",
            "errorType": "RATE_LIMIT", "correlationId": CORRELATION, "policyName": policy}  # fmt: skip
    return Response(429, body)


def missing_scopes(*names: str) -> Response:
    """The 403 of a token that may not do this."""
    return refusal(
        403, "MISSING_SCOPES",
        "This app hasn't been granted all required scopes to make this call. Read more about required "
        f"scopes here: {_SCOPES_PAGE}.",
        errors=[{"message": "One or more of the following scopes are required.",
                 "context": {"requiredGranularScopes": list(names)}}],
        links={"scopes": _SCOPES_PAGE},
    )  # fmt: skip
