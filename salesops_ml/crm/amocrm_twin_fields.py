"""Custom fields as amoCRM's twin keeps them: which kinds there are, and what each takes.

Sources: amoCRM developer documentation, page "Custom fields"; answers quoted in issues of the vendor's
PHP client (`NotSupportedChoice` with the path of the value). How long a text may be is not documented:
256 characters are what the twin keeps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from salesops_ml.crm.twin_world import Row
from salesops_ml.crm.twin_world_amocrm import midnight

KINDS = ("text", "numeric", "checkbox", "select", "multiselect", "date", "url", "textarea",
         "radiobutton", "date_time", "monetary", "birthday")  # fmt: skip
LONGEST_TEXT = 256
OWN_KINDS = (
    ("SALESOPS_WIN_PROBABILITY", "numeric"), ("SALESOPS_CLOSE_P50", "date"),
    ("SALESOPS_SCORE_BAND", "text"), ("SALESOPS_REASONS", "textarea"),
    ("SALESOPS_SCORED_AT", "date_time"), ("SALESOPS_MODEL_VERSION", "text"),
)  # fmt: skip
"""The fields for scores as an administrator makes them."""


def field_row(field_id: int, given: Mapping[str, Any]) -> Row:
    """A custom field as it is listed."""
    return {
        "id": field_id, "name": given["name"], "type": given["type"],
        "code": given.get("code") or None, "sort": given.get("sort", 500),
        "is_api_only": bool(given.get("is_api_only", False)), "is_computed": False,
        "enums": given.get("enums"), "entity_type": "leads",
    }  # fmt: skip


def error(path: str, detail: str, code: str = "NotSupportedChoice") -> Row:
    """What is wrong with one value."""
    return {"code": code, "path": path, "detail": detail}


NO_CHOICE = "The value you selected is not a valid choice."


def field_errors(place: int, given: Mapping[str, Any], there: Mapping[Any, Row]) -> list[Row]:
    """What is wrong with one of a lead's custom field values."""
    path = f"custom_fields_values.{place}"
    key = given.get("field_id") or given.get("field_code")
    field = there.get(key)
    if field is None or field.get("is_computed"):
        return [error(f"{path}.field_id", NO_CHOICE)]
    values = given.get("values")
    if values is None:
        return []
    try:
        for value in values:
            kept(field["type"], value.get("value"))
    except (ValueError, InvalidOperation, AttributeError, TypeError) as fault:
        return [error(f"{path}.values.0.value", str(fault) or NO_CHOICE, "InvalidType")]
    return []


def kept(kind: str, value: Any) -> Any:
    """A value as a field of that kind keeps it.

    Raises:
        ValueError: it does not take it.

    Example:
        >>> kept("numeric", 12.5), kept("date_time", 1772368200), kept("text", " low ")
        ('12.5', 1772368200, 'low')
    """
    if kind in ("numeric", "monetary"):
        return format(Decimal(str(value)).normalize(), "f")
    if kind in ("date", "birthday"):
        return midnight(date.fromisoformat(value)) if isinstance(value, str) else _stamp(value)
    if kind == "date_time":
        return (
            int(datetime.fromisoformat(value).timestamp())
            if isinstance(value, str)
            else _stamp(value)
        )
    if kind == "checkbox":
        return bool(value)
    if not isinstance(value, str):
        raise ValueError("This value should be of type string.")
    text = value.strip()
    if kind != "textarea":
        text = re.sub(r"[\r\n]+", " ", text)
        if len(text) > LONGEST_TEXT:
            raise ValueError(
                f"This value is too long. It should have {LONGEST_TEXT} characters or less."
            )
    return text


def _stamp(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("This value should be of type int.")
    return value
