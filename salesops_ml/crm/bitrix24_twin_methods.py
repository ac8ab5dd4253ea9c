"""The methods of the Bitrix24 twin: each takes the portal and what is asked, and gives its result.

Beside the result it gives what stands next to it in the answer: `total` and `next` of a list.

Sources: Bitrix24 REST documentation, the page of each method.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from salesops_ml.crm.bitrix24_twin_fields import Field, FieldFault, made, stored
from salesops_ml.crm.bitrix24_twin_query import in_camel_case, read_page
from salesops_ml.crm.twin_world import Row

if TYPE_CHECKING:
    from salesops_ml.crm.bitrix24_twin import Bitrix24Twin

ITEMS = {2: "deals", 4: "companies", 7: "quotes"}
"""`entityTypeId` -> the kind of item."""
_BRIEF = ("ID", "ACTIVE", "NAME", "LAST_NAME", "DATE_REGISTER", "WORK_COUNTRY", "UF_DEPARTMENT")
"""What the scope `user_brief` shows of a user."""


class Refusal(Exception):
    """A method's error: its code, its description, and the HTTP status where it is called alone."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.code, self.status = code, status

    def told(self) -> Row:
        """The error as it is shown."""
        return {"error": self.code, "error_description": str(self)}


def _item_table(twin: Bitrix24Twin, asked: Row) -> str:
    name = ITEMS.get(int(asked.get("entityTypeId") or 0))
    if name is None:
        raise Refusal("NOT_FOUND", "Smart process not found")
    return name


def _item_list(twin: Bitrix24Twin, asked: Row) -> tuple[Any, Row]:
    name = _item_table(twin, asked)
    known = set(twin.fields[name]) | {"id"}
    told, more = _listed(twin, name, in_camel_case(asked), known=known)
    fields = twin.fields[name]
    select = [field for field in asked.get("select") or ["*"] if field in fields]
    if "*" in (asked.get("select") or ["*"]):
        select = list(fields)
    rows = [{field: _shown(fields[field], row.get(field)) for field in select} for row in told]
    return {"items": rows}, more


def _listed(
    twin: Bitrix24Twin, name: str, asked: Row, *, known: set[str] | None = None
) -> tuple[list[Row], Row]:
    page = read_page(twin.tables[name], asked, known=known, repeats=twin.repeats)
    more = {"total": page.total, "next": page.following}
    return page.rows, {key: value for key, value in more.items() if value is not None}


def _item_get(twin: Bitrix24Twin, asked: Row) -> tuple[Any, Row]:
    name = _item_table(twin, asked)
    row = twin.tables[name].rows.get(int(asked.get("id") or 0))
    if row is None:
        raise Refusal("NOT_FOUND", "Item not found")
    return {"item": _whole(twin, name, row)}, {}


def _whole(twin: Bitrix24Twin, name: str, row: Row) -> Row:
    fields = twin.fields[name]
    return {key: _shown(field, row.get(key)) for key, field in fields.items()}


def _item_fields(twin: Bitrix24Twin, asked: Row) -> tuple[Any, Row]:
    name = _item_table(twin, asked)
    told = {key: field.described() for key, field in twin.fields[name].items()}
    for key in twin.read_only & told.keys():
        told[key]["isReadOnly"] = True
    return {"fields": told}, {}


def _item_update(twin: Bitrix24Twin, asked: Row) -> tuple[Any, Row]:
    """A deal changed; fields that it does not have, or that are read-only, are ignored."""
    name = _item_table(twin, asked)
    number = int(asked.get("id") or 0)
    row = twin.tables[name].rows.get(number)
    if row is None:
        raise Refusal("NOT_FOUND", "Item not found")
    values = asked.get("fields") or {}
    broken = twin.rules({"id": number, **values})
    if broken:
        raise Refusal(*broken)
    fields = twin.fields[name]
    kept = {}
    for key, value in values.items():
        if key in fields and not fields[key].read_only and key not in twin.read_only:
            try:
                kept[key] = stored(fields[key], value)
            except FieldFault as fault:
                raise Refusal("CRM_FIELD_ERROR_VALUE_NOT_VALID", str(fault)) from None
    if any(row.get(key) != value for key, value in kept.items()):
        row.update(kept, updatedTime=twin.moment())
        twin.tables[name].version += 1
    twin.wrote(str(number), kept)
    return {"item": _whole(twin, name, row)}, {}


def _add_field(twin: Bitrix24Twin, asked: Row) -> tuple[Any, Row]:
    field = made(asked.get("field"))
    if not twin.may_customize:
        raise Refusal("", "Access denied")
    if isinstance(field, str):
        raise Refusal("", field)
    if field.name in twin.fields["deals"]:
        raise Refusal("", f"Field {field.upper} already exists")
    twin.fields["deals"][field.name] = field
    told = {"id": str(len(twin.fields["deals"])), "fieldName": field.upper,
            "userTypeId": field.kind}  # fmt: skip
    return {"field": told}, {}


def _stage_history(twin: Bitrix24Twin, asked: Row) -> tuple[Any, Row]:
    if int(asked.get("entityTypeId") or 0) != 2:
        raise Refusal("ENTITY_TYPE_NOT_SUPPORTED", "Entity type is not supported")
    rows, more = _listed(twin, "stage_history", asked)
    return {"items": rows}, more


def _statuses(twin: Bitrix24Twin, asked: Row) -> tuple[Any, Row]:
    wanted = asked.get("filter") or {}
    rows = [row for row in twin.tables["statuses"].rows.values()
            if all(row.get(key) == value for key, value in wanted.items())]  # fmt: skip
    return rows, {"total": len(rows)}


def _users(twin: Bitrix24Twin, asked: Row) -> tuple[Any, Row]:
    told = {key.lower(): value for key, value in asked.items()}
    order = {told.get("sort", "ID"): told.get("order", "ASC")}
    rows, more = _listed(twin, "users", {**told, "order": order})
    return [{key: row[key] for key in _BRIEF if key in row} for row in rows], more


def _departments(twin: Bitrix24Twin, asked: Row) -> tuple[Any, Row]:
    told = {key.lower(): value for key, value in asked.items()}
    rows, more = _listed(twin, "departments", {"start": told.get("start", 0)})
    return rows, more


def _shown(field: Field, value: Any) -> Any:
    """A value as it is shown: a custom field of text is never null."""
    return "" if value is None and field.kind == "string" and field.upper else value


def _activities(twin: Bitrix24Twin, asked: Row) -> tuple[Any, Row]:
    rows, more = _listed(twin, "activities", asked)
    select = asked.get("select") or ["*"]
    if "*" in select:
        return rows, more
    return [{name: row[name] for name in select if name in row} for row in rows], more


METHODS: dict[str, Callable[[Any, Row], tuple[Any, Row]]] = {
    "scope": lambda twin, _: (sorted(twin.scopes), {}),
    "crm.item.list": _item_list,
    "crm.item.get": _item_get,
    "crm.item.fields": _item_fields,
    "crm.item.update": _item_update,
    "crm.stagehistory.list": _stage_history,
    "crm.category.list": lambda twin, _: (
        {"categories": twin.categories}, {"total": len(twin.categories)}
    ),
    "crm.status.list": _statuses,
    "crm.currency.list": lambda twin, _: (twin.currencies, {"total": 0}),
    "crm.activity.list": _activities,
    "user.get": _users,
    "department.get": _departments,
    "userfieldconfig.add": _add_field,
}  # fmt: skip
