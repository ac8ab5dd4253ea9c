"""Our own fields created in a Salesforce org, and the right of the calling user to edit them.

A field made through the API is seen by nobody until a permission set grants it, so one is made, too.

Sources: Salesforce Tooling API, CustomField; Object Reference, PermissionSet, FieldPermissions and
PermissionSetAssignment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from salesops_ml.crm.salesforce_api import Org, quoted
from salesops_ml.crm.salesforce_fields import OwnField
from salesops_ml.errors import Ambiguous, Refused

PERMISSION_SET = "Salesops_Scores"
_THERE_ALREADY = ("DUPLICATE_DEVELOPER_NAME", "DUPLICATE_VALUE")


def create_own_fields(org: Org, fields: Sequence[OwnField]) -> None:
    """Create fields on opportunities and let the calling user edit them; again where it was cut off.

    Raises:
        Refused: the user may not customize the org, or the login does not tell who it is.
    """
    for field in fields:
        metadata = {"label": field.label, "required": False, **field.metadata}
        _made(org, "tooling/sobjects/CustomField",
              {"FullName": f"Opportunity.{field.name}", "Metadata": metadata})  # fmt: skip
    rights = _permission_set(org)
    for field in fields:
        _made(org, "sobjects/FieldPermissions",
              {"ParentId": rights, "SobjectType": "Opportunity",
               "Field": f"Opportunity.{field.name}", "PermissionsRead": True,
               "PermissionsEdit": True})  # fmt: skip
    if org.user is None:
        raise Refused(
            f"{org.place}: the fields and the permission set {PERMISSION_SET} are made, but a bare "
            "token does not tell whose it is; assign the permission set to the integration user"
        )
    _made(org, "sobjects/PermissionSetAssignment",
          {"AssigneeId": org.user, "PermissionSetId": rights})  # fmt: skip


def _permission_set(org: Org) -> str:
    """The permission set's id; made where there is none."""
    soql = f"SELECT Id FROM PermissionSet WHERE Name = {quoted(PERMISSION_SET)}"
    for _ in range(2):
        for page in org.pages(soql):
            if page:
                return str(page[0]["Id"])
        _made(org, "sobjects/PermissionSet", {"Name": PERMISSION_SET, "Label": "Salesops scores"})
    raise Refused(
        f"{org.place}: the permission set {PERMISSION_SET} is not seen; create it by hand"
    )


def _made(org: Org, rest: str, record: dict[str, Any]) -> None:
    """A record made; one that was there already will do, which makes a lost answer harmless."""

    def attempt() -> None:
        try:
            org.write("POST", rest, json=record)
        except Ambiguous:
            raise
        except Refused as error:
            if not any(code in str(error) for code in _THERE_ALREADY):
                raise

    org.door.patiently(attempt)
