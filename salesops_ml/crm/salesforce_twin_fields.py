"""Fields as Salesforce's twin keeps them: their kinds, how they are described, what they take.

Sources: Salesforce REST API Developer Guide, sObject Describe; Tooling API, CustomField.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from salesops_ml.crm.salesforce_twin_query import stamp_of
from salesops_ml.crm.twin_vendor import Response
from salesops_ml.crm.twin_world import Row

USER = "005000000000999AAA"
"""The user that calls."""


def problem(code: str, message: str, fields: Sequence[str] = ()) -> Row:
    """An error of one record."""
    return {"statusCode": code, "message": message, "fields": list(fields)}


def refusal(status: int, code: str, message: str) -> Response:
    """An error of a whole call."""
    return Response(status, [{"errorCode": code, "message": message}])


@dataclass(frozen=True)
class Field:
    """One field of an object."""

    name: str
    kind: str
    length: int = 0
    precision: int = 0
    scale: int = 0
    updateable: bool = True

    def described(self) -> dict[str, Any]:
        """As a description shows it."""
        return {
            "name": self.name, "type": self.kind, "length": self.length, "nillable": True,
            "precision": self.precision, "scale": self.scale, "updateable": self.updateable,
            "custom": self.name.endswith("__c"), "label": self.name,
        }  # fmt: skip


class FieldFault(ValueError):
    """A value that a field does not take."""

    def __init__(self, code: str, field: str, message: str) -> None:
        super().__init__(message)
        self.code, self.field = code, field


OWN_KINDS = (
    Field("Salesops_Win_Probability__c", "percent", precision=5, scale=2),
    Field("Salesops_Close_P50__c", "date"),
    Field("Salesops_Score_Band__c", "string", 20),
    Field("Salesops_Reasons__c", "textarea", 2_000),
    Field("Salesops_Scored_At__c", "datetime"),
    Field("Salesops_Model_Version__c", "string", 255),
)
"""The fields for scores as an administrator makes them."""

EMPTY = {
    "OpportunityHistory": ("Probability",), "User": ("UserRoleId",), "Quote": ("TotalPrice",),
    "Task": ("ActivityDate", "CallDisposition"),
}  # fmt: skip
"""Fields that every org has, though nothing stands in them here."""
_SYSTEM = ("Id", "CreatedDate", "CreatedById", "SystemModstamp", "IsDeleted", "IsClosed", "IsWon")
_MADE = {"Percent": "percent", "Number": "double", "Date": "date", "DateTime": "datetime",
         "Text": "string", "LongTextArea": "textarea", "Checkbox": "boolean"}  # fmt: skip


def fields_of(rows: Iterable[Row], name: str = "") -> dict[str, Field]:
    """The fields that records of a kind show, their kinds told from what stands in them."""
    kinds = dict.fromkeys(EMPTY.get(name, ()), "string")
    for row in rows:
        for name, value in row.items():
            if value is not None or name not in kinds:
                kinds[name] = _kind(name, value)
    return {
        name: Field(name, kind, length=255 if kind == "string" else 0,
                    precision=18 if kind == "double" else 0, scale=2 if kind == "double" else 0,
                    updateable=name not in _SYSTEM)
        for name, kind in kinds.items()
    }  # fmt: skip


def created_field(given: Mapping[str, Any]) -> Field:
    """The field that a call to the Tooling API makes."""
    made = given["Metadata"]
    return Field(
        str(given["FullName"]).partition(".")[2], _MADE[made["type"]],
        length=int(made.get("length", 0)), precision=int(made.get("precision", 0)),
        scale=int(made.get("scale", 0)),
    )  # fmt: skip


def stored(field: Field, value: Any) -> Any:
    """A value as the field keeps it.

    Raises:
        FieldFault: it does not take it.

    Example:
        >>> stored(OWN_KINDS[0], 12.345), stored(OWN_KINDS[2], "  low ")
        (12.35, 'low')
    """
    if value is None or value == "":
        return None
    if field.kind in ("percent", "double"):
        return _number(field, value)
    text = str(value)
    if field.kind == "date":
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            raise FieldFault("INVALID_TYPE_ON_FIELD_IN_RECORD", field.name,
                             f"{field.name}: value not of required type: {text}")  # fmt: skip
        return text
    if field.kind == "datetime":
        try:
            return stamp_of(datetime.fromisoformat(text))
        except ValueError:
            raise FieldFault("INVALID_TYPE_ON_FIELD_IN_RECORD", field.name,
                             f"{field.name}: value not of required type: {text}") from None  # fmt: skip
    if field.kind == "boolean":
        return value is True or text.lower() == "true"
    text = text.strip()
    if field.length and len(text) > field.length:
        raise FieldFault("STRING_TOO_LONG", field.name,
                         f"{field.name}: data value too large: {text[:20]} "
                         f"(max length={field.length})")  # fmt: skip
    return text or None


def _number(field: Field, value: Any) -> float:
    try:
        told = Decimal(str(value)).quantize(Decimal(1).scaleb(-field.scale), ROUND_HALF_UP)
    except ArithmeticError:
        raise FieldFault("INVALID_TYPE_ON_FIELD_IN_RECORD", field.name,
                         f"{field.name}: value not of required type: {value}") from None  # fmt: skip
    if field.precision and abs(told) >= 10 ** (field.precision - field.scale):
        raise FieldFault("NUMBER_OUTSIDE_VALID_RANGE", field.name,
                         f"{field.name}: value outside of valid range: {value}")  # fmt: skip
    return float(told)


def _kind(name: str, value: Any) -> str:
    if name == "Id":
        return "id"
    if isinstance(value, bool) or name.startswith("Is"):
        return "boolean"
    if isinstance(value, int | float):
        return "double"
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+0000", value):
        return "datetime"
    if name in ("CreatedDate", "SystemModstamp"):
        return "datetime"
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return "date"
    return "reference" if name.endswith("Id") else "string"
