"""The histories of a CRM's rows told by a slow loop, deal by deal: an oracle for the mappings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from salesops_ml.crm.twin_world import Row, Rows

Told = tuple[datetime, str, Any, str | None]


@dataclass(frozen=True)
class ByHand:
    """Moves between stages, amounts, status, and closings that no move tells."""

    stage_events: set[tuple[str, datetime, str]]
    amounts: set[tuple[str, datetime, str]]
    status: dict[str, str]
    closings: dict[str, tuple[str, datetime]]


def by_hand(vendor: str, rows: Rows, software: Sequence[str]) -> ByHand:
    """What the rows tell, without what `software` wrote."""
    return _salesforce(rows, software) if vendor == "salesforce" else _hubspot(rows, software)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text[:19])


def _changes(told: list[Told], software: Sequence[str]) -> list[tuple[datetime, Any]]:
    """Values that differ from the one before; then without software, and again."""
    moved: list[Told] = []
    for entry in sorted(told, key=lambda entry: (entry[0], entry[1])):
        if not moved or moved[-1][2] != entry[2]:
            moved.append(entry)
    found: list[tuple[datetime, Any]] = []
    for at, _, value, by in moved:
        if by not in software and (not found or found[-1][1] != value):
            found.append((at, value))
    return [(at, value) for at, value in found if value is not None]


def _money(value: Any) -> str | None:
    return None if value is None else str(Decimal(str(value)).quantize(Decimal("0.01")))


def _salesforce(rows: Rows, software: Sequence[str]) -> ByHand:
    done = ByHand(set(), set(), {}, {})
    for deal in rows["Opportunity"]:
        if deal["IsDeleted"]:
            continue
        saves = [row for row in rows["OpportunityHistory"] if row["OpportunityId"] == deal["Id"]]
        for name, read, into in (
            ("StageName", str, done.stage_events),
            ("Amount", _money, done.amounts),
        ):
            told: list[Told] = [
                (_moment(row["CreatedDate"]), row["Id"], read(row[name]), row["CreatedById"])
                for row in saves
            ]
            into |= {(deal["Id"], at, value) for at, value in _changes(told, software)}
        status = "won" if deal["IsWon"] else "lost"
        done.status[deal["Id"]] = status if deal["IsClosed"] else "open"
    return done


def _hubspot(rows: Rows, software: Sequence[str]) -> ByHand:
    done = ByHand(set(), set(), {}, {})
    stages = {row["id"]: row for row in rows["pipeline_stages"]}
    gone = {
        part for row in rows["deals"] if row["hs_merged_object_ids"]
        for part in row["hs_merged_object_ids"].split(";")
    }  # fmt: skip
    for deal in rows["deals"]:
        if deal["archived"] or deal["id"] in gone:
            continue
        of_deal = [row for row in rows["deal_property_history"] if row["deal_id"] == deal["id"]]
        for name, into in (("dealstage", done.stage_events), ("amount", done.amounts)):
            told = [_told(row, stages) for row in of_deal if row["name"] == name]
            into |= {(deal["id"], at, value) for at, value in _changes(told, software)}
        stage = stages[deal["dealstage"]]
        won = float(stage["probability"]) == 1
        closed = stage["is_closed"] == "true"
        done.status[deal["id"]] = ("won" if won else "lost") if closed else "open"
    return done


def _told(row: Row, stages: dict[str, Row]) -> Told:
    value = row["value"]
    text = stages[value]["label"] if row["name"] == "dealstage" else _money(value)
    return _moment(row["timestamp"]), "", text, row["source_id"]
