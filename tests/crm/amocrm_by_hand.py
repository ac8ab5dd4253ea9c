"""The histories of an amoCRM account told by a slow loop, lead by lead: an oracle for the mapping."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from salesops_ml.crm.amocrm_twin import AmoCrmTwin
from salesops_ml.crm.twin_world import Row
from tests.crm.crm_by_hand import ByHand, Told, _changes, _money


def by_hand(twin: AmoCrmTwin, *, software: int) -> ByHand:
    """What the account tells, without what `software` wrote."""
    done = ByHand(set(), set(), {}, {})
    names = {
        (pipeline["id"], status["id"]): status["name"]
        for pipeline in twin.tables["pipelines"].values()
        for status in pipeline["_embedded"]["statuses"]
    }

    def stage(told: list[Row]) -> Any:
        status = told[0]["lead_status"]
        return names[status["pipeline_id"], status["id"]]

    def money(told: list[Row]) -> Any:
        sale = told[0]["sale_field_value"]["sale"]
        return _money(sale) if sale else None

    for lead in twin.tables["leads"].values():
        if lead["is_deleted"]:
            continue
        here = names[lead["pipeline_id"], lead["status_id"]]
        price = _money(lead["price"]) if lead["price"] else None
        for kind, read, today, into in (
            ("lead_status_changed", stage, here, done.stage_events),
            ("sale_field_changed", money, price, done.amounts),
        ):
            events = sorted(
                (e for e in twin.events if e["entity_id"] == lead["id"] and e["type"] == kind),
                key=lambda e: (e["created_at"], e["id"]),
            )
            first = read(events[0]["value_before"]) if events else today
            told: list[Told] = [(_moment(lead["created_at"]), "", first, str(lead["created_by"]))]
            told += [
                (_moment(e["created_at"]), e["id"], read(e["value_after"]), str(e["created_by"]))
                for e in events
            ]
            into |= {(str(lead["id"]), at, value) for at, value in _changes(told, [str(software)])}
        closed = {142: "won", 143: "lost"}
        done.status[str(lead["id"])] = closed.get(lead["status_id"], "open")
    return done


def _moment(stamp: int) -> datetime:
    return datetime.fromtimestamp(stamp, UTC).replace(tzinfo=None)
