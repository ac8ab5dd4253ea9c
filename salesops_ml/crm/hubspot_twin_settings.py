"""Pipelines, owners, exchange rates and properties as HubSpot's twin shows them.

Source: HubSpot developer documentation, "Pipelines", "Owners", "Currencies", "Properties".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from salesops_ml.crm.hubspot_twin_fields import ValueFault, created_property, refusal
from salesops_ml.crm.twin_vendor import Request, Response
from salesops_ml.crm.twin_world import Row

if TYPE_CHECKING:
    from salesops_ml.crm.hubspot_twin import HubSpotTwin

_BEGUN = "2020-01-01T00:00:00Z"


class SettingsPages:
    """What an account has beside its records."""

    def __init__(self, twin: HubSpotTwin) -> None:
        self.twin = twin

    def pipelines(self, request: Request) -> Response:
        """The pipelines of deals; deleted ones and their stages are not shown."""
        stages, rows = self._rows("pipeline_stages"), self._rows("pipelines")
        told = [pipeline_shown(row, stages) for row in rows if not row["archived"]]
        return self.twin.answer({"results": told})

    def owners(self, request: Request) -> Response:
        """Owners: those who are here, or those who left."""
        left = request.one("archived").lower() == "true"
        rows = [owner_shown(row) for row in self._rows("owners") if row["archived"] == left]
        return self._page(request, rows, most=500)

    def rates(self, request: Request) -> Response:
        """All exchange rates that ever held."""
        return self._page(
            request, [rate_shown(row) for row in self._rows("exchange_rates")], most=100
        )

    def properties(self, request: Request) -> Response:
        """The properties of deals."""
        return self.twin.answer(
            {"results": [one.described() for one in self.twin.properties.values()]}
        )

    def create_property(self, request: Request) -> Response:
        """A property of deals made."""
        try:
            made = created_property(request.json())
        except ValueFault as fault:
            return refusal(400, "VALIDATION_ERROR", str(fault))
        if made.name in self.twin.properties:
            return refusal(
                409, "OBJECT_ALREADY_EXISTS", f"A property named '{made.name}' already exists."
            )
        self.twin.properties[made.name] = made
        return self.twin.answer(made.described(), 201)

    def _rows(self, name: str) -> list[Row]:
        return list(self.twin.tables.get(name, {}).values())

    def _page(self, request: Request, rows: list[Row], *, most: int) -> Response:
        start, limit = int(request.one("after", "0")), int(request.one("limit", str(most)))
        if not 1 <= limit <= most:
            return refusal(400, "VALIDATION_ERROR", f"limit: at most {most} a page, not {limit}")
        more = start + limit < len(rows)
        paging = {"paging": {"next": {"after": str(start + limit)}}} if more else {}
        return self.twin.answer({"results": rows[start : start + limit], **paging})


def pipeline_shown(row: Row, stages: Iterable[Row]) -> Row:
    """A pipeline with its stages."""
    return {
        "id": row["id"], "label": row["label"], "displayOrder": int(row["display_order"]),
        "archived": False, "createdAt": _BEGUN, "updatedAt": _BEGUN,
        "stages": [_stage(stage) for stage in stages
                   if stage["pipeline_id"] == row["id"] and not stage["archived"]],
    }  # fmt: skip


def _stage(row: Row) -> Row:
    return {
        "id": row["id"], "label": row["label"], "displayOrder": int(row["display_order"]),
        "metadata": {"isClosed": row["is_closed"], "probability": row["probability"]},
        "archived": False, "createdAt": _BEGUN, "updatedAt": _BEGUN,
        "writePermissions": "CRM_PERMISSIONS",
    }  # fmt: skip


def owner_shown(row: Row) -> Row:
    """An owner; one who left has a user no more, but the number of one."""
    user = None if row["user_id"] is None else int(row["user_id"])
    teams = [{"id": row["team"], "name": row["team"], "primary": True}] if row.get("team") else []
    return {
        "id": row["id"], "email": row["email"], "type": "PERSON", "firstName": row["first_name"],
        "lastName": row["last_name"], "userId": None if row["archived"] else user,
        "userIdIncludingInactive": user, "archived": row["archived"], "teams": teams,
        "createdAt": _BEGUN, "updatedAt": _BEGUN,
    }  # fmt: skip


def rate_shown(row: Row) -> Row:
    """An exchange rate."""
    return {
        "id": row["id"], "fromCurrencyCode": row["from_currency"],
        "toCurrencyCode": row["to_currency"], "conversionRate": float(row["rate"]),
        "effectiveAt": row["effective_at"], "visibleInUI": True, "createdAt": _BEGUN,
        "updatedAt": _BEGUN,
    }  # fmt: skip
