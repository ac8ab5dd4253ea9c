"""What people do in amoCRM's twin: each save takes a second, and leaves the event that amoCRM would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salesops_ml.crm.twin_world import Row
from salesops_ml.crm.twin_world_amocrm import custom_change, event_id, field_value

if TYPE_CHECKING:
    from salesops_ml.crm.amocrm_twin import AmoCrmTwin


class People:
    """Edits of one account.

    Attributes:
        now: the account's clock, in unix seconds, without its skew.
    """

    def __init__(self, twin: AmoCrmTwin) -> None:
        self.twin, self.now = twin, 0

    def tick(self, seconds: int = 1) -> int:
        """The moment of the next save."""
        self.now += seconds
        return self.now + int(self.twin.skew)

    def note(
        self, kind: str, record_id: int, at: int, by: int | None, before: list[Row], after: list[Row],
        *, entity: str = "lead",
    ) -> None:  # fmt: skip
        """An event."""
        self.twin.events.append(
            {"id": event_id(at, next(self.twin.numbers) + 10**12), "type": kind, "entity_id": record_id,
             "entity_type": entity, "created_by": by, "created_at": at, "value_before": before,
             "value_after": after}
        )  # fmt: skip

    def add(self, like: Row, *, by: int) -> Row:
        """A new lead, like another one."""
        at = self.tick()
        lead = {**like, "id": max(self.twin.tables["leads"]) + 1, "created_at": at, "created_by": by,
                "updated_at": at, "closed_at": None, "is_deleted": False}  # fmt: skip
        self.twin.tables["leads"][lead["id"]] = lead
        self.note("lead_added", lead["id"], at, by, [], [])
        self.twin.lists.forget()
        return lead

    def move(
        self, lead_id: int, status_id: int, *, by: int, pipeline_id: int | None = None
    ) -> None:
        """A lead into another status, of another pipeline where one is named."""
        lead = self.twin.tables["leads"][lead_id]
        before = {"id": lead["status_id"], "pipeline_id": lead["pipeline_id"]}
        after = {"id": status_id, "pipeline_id": pipeline_id or lead["pipeline_id"]}
        at = self._saved(lead, by, status_id=status_id, pipeline_id=after["pipeline_id"])
        lead["closed_at"] = at if status_id in (142, 143) else None
        if before != after:
            self.note("lead_status_changed", lead_id, at, by, [{"lead_status": before}],
                      [{"lead_status": after}])  # fmt: skip

    def price(self, lead_id: int, price: int, *, by: int) -> None:
        """Another price."""
        lead = self.twin.tables["leads"][lead_id]
        before, at = lead["price"], self._saved(lead, by, price=price)
        if before != price:
            self.note("sale_field_changed", lead_id, at, by, [{"sale_field_value": {"sale": before}}],
                      [{"sale_field_value": {"sale": price}}])  # fmt: skip

    def owner(self, lead_id: int, user_id: int, *, by: int) -> None:
        """Another responsible user."""
        lead = self.twin.tables["leads"][lead_id]
        before, at = lead["responsible_user_id"], self._saved(lead, by, responsible_user_id=user_id)
        if before != user_id:
            shown = [[{"responsible_user": {"id": user}}] for user in (before, user_id)]
            self.note("entity_responsible_changed", lead_id, at, by, *shown)

    def custom(self, lead_id: int, code: str, value: Any, *, by: int) -> None:
        """Another value of a custom field."""
        lead, field = self.twin.tables["leads"][lead_id], self.twin.fields()[code]
        stands = {told["field_id"]: told for told in lead["custom_fields_values"] or []}
        before, after = stands.get(field["id"]), field_value(field, value)
        stands[field["id"]] = after
        at = self._saved(lead, by, custom_fields_values=list(stands.values()))
        if before != after:
            shown = [
                [] if told is None else [custom_change(field, told)] for told in (before, after)
            ]
            self.note(f"custom_field_{field['id']}_value_changed", lead_id, at, by, *shown)

    def delete(self, lead_id: int, *, by: int, for_good: bool = False) -> None:
        """A lead into the bin, or out of it for good."""
        at = self._saved(self.twin.tables["leads"][lead_id], by, is_deleted=True)
        self.note("lead_deleted", lead_id, at, by, [], [])
        if for_good:
            del self.twin.tables["leads"][lead_id]

    def restore(self, lead_id: int, *, by: int) -> None:
        """A lead out of the bin; whether amoCRM then calls it updated is not documented, so not here."""
        self.twin.tables["leads"][lead_id]["is_deleted"] = False
        self.note("lead_restored", lead_id, self.tick(), by, [], [])
        self.twin.lists.forget()

    def merge(self, winner: int, loser: int, *, by: int) -> None:
        """A lead into another: it is gone, and only the event of the other says so."""
        at = self._saved(self.twin.tables["leads"][winner], by)
        del self.twin.tables["leads"][loser]
        self.note("entity_merged", winner, at, by, [{"entity": {"id": loser, "type": "lead"}}],
                  [{"entity": {"id": winner, "type": "lead"}}])  # fmt: skip
        self.twin.lists.forget()

    def drop(self, entity: str, record_id: int, *, by: int) -> None:
        """A `company`, a `task` or a note gone; of the first two events tell."""
        table = {"company": "companies", "task": "tasks"}.get(entity, entity)
        del self.twin.tables[table][record_id]
        if table != entity:
            self.note(f"{entity}_deleted", record_id, self.tick(), by, [], [], entity=entity)
        self.twin.lists.forget()

    def rename(self, status_id: int, name: str) -> None:
        """A status gets another name, in every pipeline."""
        for pipeline in self.twin.tables["pipelines"].values():
            for status in pipeline["_embedded"]["statuses"]:
                if status["id"] == status_id:
                    status["name"] = name
        self.twin.lists.forget()

    def _saved(self, lead: Row, by: int, **values: Any) -> int:
        at = self.tick()
        lead.update(values, updated_at=at, updated_by=by)
        self.twin.lists.forget()
        return at
