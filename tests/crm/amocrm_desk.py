"""A warehouse that is loaded from an amoCRM twin by its API, and what people do there at random."""

from __future__ import annotations

import random
from copy import deepcopy
from pathlib import Path
from typing import Any

from salesops_ml.crm.amocrm_twin import AmoCrmTwin
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.crm.twin_world import Row, Rows
from salesops_ml.crm.twin_world_amocrm import COMPANY_FIELDS
from salesops_ml.settings import Settings, parse
from tests.crm.amocrm_plug import PACE, connection
from tests.crm.crm_desk import CrmDesk, source, vendor_rows

BOT = 999_999
"""The user that the twin's token stands for."""
SOURCE = source("amocrm", account_fields=COMPANY_FIELDS, calls_a_second=PACE)


def world_rows(deals: int, *, activities: int | None = None) -> Rows:
    """The company's records, to be changed at will."""
    rows = {
        name: [_copied(row) for row in told] for name, told in vendor_rows("amocrm", deals).items()
    }
    if activities is not None:
        for name in ("tasks", "notes", "contact_notes"):
            rows[name] = rows[name][:activities]
    return rows


def _copied(row: Row) -> Row:
    if "_embedded" in row and "custom_fields_values" not in row:
        return deepcopy(row)
    if "custom_fields_values" in row:
        return {**row, "custom_fields_values": list(row["custom_fields_values"] or [])}
    return dict(row)


def small() -> AmoCrmTwin:
    """A hundred deals with few activities, and the fields for scores."""
    return AmoCrmTwin(world_rows(100, activities=50), calls_a_second=PACE).with_own_fields()


class AmoDesk(CrmDesk):
    """A warehouse that is loaded from a twin."""

    def __init__(self, folder: Path, twin: TwinServer, **more: Any) -> None:
        self.folder, self.twin, self.more = folder, twin, more

    @property
    def settings(self) -> Settings:
        return parse({
            "source": connection(self.twin.url, **{**SOURCE, **self.more}),
            "warehouse": self.warehouse,
            "write_back": {"target": "amocrm", "outbox": f"sqlite:///{self.folder}/outbox.db"},
        })  # fmt: skip


class AmoEdits:
    """What people and software do in an account, drawn at random."""

    kinds = ("create", "move", "price", "owner", "custom", "close_day", "delete", "restore", "merge",
             "rename", "task", "call", "bot", "own_write")  # fmt: skip

    def __init__(self, twin: AmoCrmTwin, seed: int) -> None:
        self.twin, self.rng = twin, random.Random(seed)
        self.number = 0

    def edit(self, kind: str) -> None:
        """One edit of a lead that still stands."""
        self.twin.people.tick(self.rng.randint(0, 20_000))
        live = [row for row in self.twin.tables["leads"].values() if not row["is_deleted"]]
        getattr(self, f"_{kind}")(self.rng.choice(live), self.rng.choice(self._users()))

    def _users(self) -> list[int]:
        return [user for user in self.twin.tables["users"] if user != BOT]

    def _status(self) -> int:
        (pipeline,) = self.twin.tables["pipelines"].values()
        return int(self.rng.choice(pipeline["_embedded"]["statuses"])["id"])

    def _create(self, lead: Row, by: int) -> None:
        fresh = self.twin.people.add({**lead, "status_id": self._status()}, by=by)
        if fresh["status_id"] in (142, 143):
            fresh["closed_at"] = fresh["created_at"]

    def _move(self, lead: Row, by: int) -> None:
        """Any status to any other: closing and re-opening among them."""
        self.twin.people.move(lead["id"], self._status(), by=by)

    def _price(self, lead: Row, by: int) -> None:
        self.twin.people.price(lead["id"], self.rng.randint(0, 90_000), by=by)

    def _owner(self, lead: Row, by: int) -> None:
        self.twin.people.owner(lead["id"], self.rng.choice(self._users()), by=by)

    def _custom(self, lead: Row, by: int) -> None:
        self.twin.people.custom(lead["id"], "COMPETITOR", self.rng.choice("ABC"), by=by)

    def _close_day(self, lead: Row, by: int) -> None:
        day = f"2027-0{self.rng.randint(1, 9)}-1{self.rng.randint(0, 9)}"
        self.twin.people.custom(lead["id"], "EXPECTED_CLOSE", day, by=by)

    def _delete(self, lead: Row, by: int) -> None:
        self.twin.people.delete(lead["id"], by=by, for_good=self.rng.random() < 0.3)

    def _restore(self, lead: Row, by: int) -> None:
        gone = [row["id"] for row in self.twin.tables["leads"].values() if row["is_deleted"]]
        if gone:
            self.twin.people.restore(self.rng.choice(gone), by=by)

    def _merge(self, lead: Row, by: int) -> None:
        others = [r["id"] for r in self.twin.tables["leads"].values()
                  if not r["is_deleted"] and r["id"] != lead["id"]]  # fmt: skip
        self.twin.people.merge(lead["id"], self.rng.choice(others), by=by)

    def _rename(self, lead: Row, by: int) -> None:
        self.number += 1
        self.twin.people.rename(lead["status_id"], f"Renamed {self.number}")

    def _task(self, lead: Row, by: int) -> None:
        """A new task, or one that moves to another lead."""
        tasks = self.twin.tables["tasks"]
        task = dict(self.rng.choice(list(tasks.values())))
        if self.rng.random() < 0.5:
            task["id"] = max(tasks) + 1
        at = self.twin.people.tick()
        told = {"entity_id": lead["id"], "entity_type": "leads", "updated_at": at}
        self.twin.put({"tasks": [{**task, **told}]})

    def _call(self, lead: Row, by: int) -> None:
        """A call with a lead's contact."""
        calls, at = self.twin.tables["contact_notes"], self.twin.people.tick()
        (contact,) = lead["_embedded"]["contacts"]
        fresh = {
            "id": max(calls) + 1,
            "entity_id": contact["id"],
            "created_at": at,
            "updated_at": at,
        }
        self.twin.put({"contact_notes": [{**self.rng.choice(list(calls.values())), **fresh}]})

    def _bot(self, lead: Row, by: int) -> None:
        """Software edits a field that people edit too."""
        self.twin.people.price(lead["id"], self.rng.randint(100_000, 200_000), by=BOT)

    def _own_write(self, lead: Row, by: int) -> None:
        chance = str(self.rng.randint(0, 100))
        self.twin.people.custom(lead["id"], "SALESOPS_WIN_PROBABILITY", chance, by=BOT)
