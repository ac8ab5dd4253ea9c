"""Fields of the Bitrix24 twin's records: how they are described, stored, shown and made.

A field's name in `crm.item.*` is its name in the database in camel case; where letters and digits are
mixed so that there is no way back, the part after `UF_CRM` stays as it is.

Sources: Bitrix24 REST documentation, "Universal Methods for Core Elements", "CRM Object Fields",
`crm.item.fields`, `userfieldconfig.add`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from salesops_ml.crm.twin_world import Row
from salesops_ml.crm.twin_world_bitrix24 import FORECASTS, camel, day_stamp, stamp

_READ_ONLY = {"id", "createdTime", "updatedTime", "movedTime", "stageSemanticId", "closed"}
_TYPES = {
    "id": "integer", "categoryId": "crm_category", "stageId": "crm_status", "companyId": "crm_company",
    "assignedById": "user", "opportunity": "double", "currencyId": "crm_currency",
    "sourceId": "crm_status", "typeId": "crm_status", "begindate": "date", "closedate": "date",
    "createdTime": "datetime", "updatedTime": "datetime", "movedTime": "datetime",
    "closed": "boolean", "UF_CRM_SERVICE_START": "date", "UF_CRM_TERM_MONTHS": "integer",
    "UF_CRM_FORECAST": "enumeration", "UF_CRM_CAMPAIGN": "string",
}  # fmt: skip
LONGEST_NAME = 50


@dataclass(frozen=True)
class Field:
    """One field: the database's name of a custom one, its kind, and what its kind brings along."""

    name: str
    kind: str = "string"
    read_only: bool = False
    upper: str = ""
    multiple: bool = False
    precision: int | None = None
    longest: int = 0
    choices: tuple[tuple[str, str], ...] = ()

    def described(self) -> Row:
        """As `crm.item.fields` has it."""
        told: Row = {
            "type": self.kind, "isRequired": False, "isReadOnly": self.read_only,
            "isImmutable": False, "isMultiple": self.multiple, "isDynamic": bool(self.upper),
            "title": self.name, "upperName": self.upper or self.name.upper(),
        }  # fmt: skip
        if self.choices:
            told["items"] = [{"ID": key, "VALUE": word} for key, word in self.choices]
        if self.upper:
            told["settings"] = {"PRECISION": self.precision, "MAX_LENGTH": self.longest}
        return told


class FieldFault(Exception):
    """A value that a field does not take (`CRM_FIELD_ERROR_VALUE_NOT_VALID`)."""


def shown_name(upper: str) -> str:
    """A custom field as `crm.item.*` names it.

    Example:
        >>> shown_name("UF_CRM_TERM_MONTHS"), shown_name("UF_CRM_CLOSE_P50")
        ('ufCrmTermMonths', 'ufCrm_CLOSE_P50')
    """
    if re.search(r"[A-Z]\d", upper):
        return f"ufCrm_{upper.removeprefix('UF_CRM_')}"
    return camel(upper)


def fields_of(rows: Iterable[Row]) -> dict[str, Field]:
    """The fields that some records have."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: _field(name) for name in names}


def _field(name: str) -> Field:
    if not name.startswith("ufCrm"):
        return Field(name, _TYPES.get(name, "string"), name in _READ_ONLY)
    upper = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()
    kind = _TYPES.get(upper, "string")
    words = enumerate(FORECASTS, 501) if kind == "enumeration" else ()
    return Field(name, kind, upper=upper, choices=tuple((str(n), word) for n, word in words))


def stored(field: Field, value: Any) -> Any:
    """A value as a field keeps and shows it.

    Raises:
        FieldFault: the field does not take it.
    """
    if value is None or value == "":
        return "" if field.kind == "string" else None
    try:
        return _KEPT[field.kind if field.kind in _KEPT else "string"](field, value)
    except (TypeError, ValueError, OverflowError):
        raise FieldFault(f'Invalid value for field "{field.name}"') from None


def _text(field: Field, value: Any) -> str:
    told = str(value)
    if field.longest and len(told) > field.longest:
        raise ValueError(told)
    return told


def _double(field: Field, value: Any) -> float:
    number = float(value)
    return number if field.precision is None else round(number, field.precision)


def _day(_: Field, value: Any) -> str | None:
    return day_stamp(date.fromisoformat(str(value)[:10]))


def _moment(_: Field, value: Any) -> str | None:
    moment = datetime.fromisoformat(str(value))
    return stamp(moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment)


def _whole(_: Field, value: Any) -> int:
    return int(value)


_KEPT: dict[str, Callable[[Field, Any], Any]] = {
    "string": _text, "double": _double, "date": _day, "datetime": _moment, "integer": _whole,
}  # fmt: skip


def made(asked: Any) -> Field | str:
    """The field that `userfieldconfig.add` is to make, or why it cannot."""
    told = asked if isinstance(asked, dict) else {}
    name, kind = str(told.get("fieldName") or ""), str(told.get("userTypeId") or "")
    if not kind:
        return "The 'USER_TYPE_ID' field is not found"
    if not name:
        return "The 'FIELD_NAME' field is not found"
    if told.get("entityId") != "CRM_DEAL" or not name.startswith("UF_CRM_"):
        return "You cannot create custom fields"
    if not re.fullmatch(r"[A-Z0-9_]+", name) or len(name) > LONGEST_NAME or kind not in _KEPT:
        return "Fail to create new user field"
    settings = told.get("settings") or {}
    precision = settings.get("PRECISION")
    return Field(
        shown_name(name), kind, upper=name, longest=int(settings.get("MAX_LENGTH") or 0),
        precision=None if precision is None else int(precision),
    )  # fmt: skip
