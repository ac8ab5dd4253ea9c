"""Who may see and edit which fields in Salesforce's twin: made fields, permission sets, assignments.

Source: Salesforce Tooling API, CustomField; Object Reference, PermissionSet, FieldPermissions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from salesops_ml.crm.salesforce_twin_fields import USER, Field, created_field, refusal
from salesops_ml.crm.twin_vendor import Request, Response

if TYPE_CHECKING:
    from salesops_ml.crm.salesforce_twin import SalesforceTwin

_RIGHTS = {
    "PermissionSet": ("Id", "Name", "Label"),
    "FieldPermissions": ("Id", "ParentId", "SobjectType", "Field", "PermissionsEdit"),
    "PermissionSetAssignment": ("Id", "AssigneeId", "PermissionSetId"),
}


class Rights:
    """The org's permission sets; a field that was made is hidden until one of them grants it."""

    def __init__(self, twin: SalesforceTwin) -> None:
        self.twin = twin
        twin.put({name: [] for name in _RIGHTS})
        for name, columns in _RIGHTS.items():
            twin.fields[name] = {column: Field(column, "string") for column in columns}

    def create(self, request: Request, version: str, name: str) -> Response:
        """A permission set, a field's permissions, or an assignment made."""
        given = request.json()
        if name not in _RIGHTS:
            return refusal(400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "not kept by this twin")
        if not self.twin.may_customize:
            return refusal(403, "INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights")
        record_id = f"0PS{next(self.twin.numbers):012d}AAA"
        self.twin.put({name: [{"Id": record_id, **given}]})
        granted = {
            row["ParentId"]: row for row in self.twin.tables.get("FieldPermissions", {}).values()
        }
        for row in self.twin.tables.get("PermissionSetAssignment", {}).values():
            if row["AssigneeId"] == USER and row["PermissionSetId"] in granted:
                self._grant(row["PermissionSetId"])
        return self.twin.answer({"id": record_id, "success": True, "errors": []}, 201)

    def _grant(self, permission_set: str) -> None:
        for row in self.twin.tables["FieldPermissions"].values():
            if row["ParentId"] == permission_set:
                name = str(row["Field"]).partition(".")[2]
                self.twin.hidden.discard(name)
                if row["PermissionsEdit"]:
                    self.twin.read_only.discard(name)

    def create_field(self, request: Request, version: str) -> Response:
        """A field made, which nobody sees yet."""
        if not self.twin.may_customize:
            return refusal(403, "INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights")
        field = created_field(request.json())
        if field.name in self.twin.fields["Opportunity"]:
            return refusal(400, "DUPLICATE_DEVELOPER_NAME",
                           f"There is already a field named {field.name} on Opportunity.")  # fmt: skip
        self.twin.fields["Opportunity"][field.name] = field
        self.twin.hidden.add(field.name)
        made = f"00N{next(self.twin.numbers):012d}AAA"
        return self.twin.answer({"id": made, "success": True, "errors": []}, 201)
