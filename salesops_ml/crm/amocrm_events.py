"""amoCRM's list of events: how leads changed, and which were deleted, restored or merged.

Events come newest first. The next page is asked for by the moment of the last row and not by its number,
since a list of a million rows cannot be paged into by number; only where one moment fills a page is the
number used. What a merger leaves over is not documented, so every record that it names is asked for.

Sources: amoCRM developer documentation, page "Events and notes" (types, values, 100 a page, 204); the
tests of the public client mttzzz/amo-client, run against an account, for the entity of a task's events
(`task`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from salesops_ml.crm.amocrm_api import (
    EVENTS_PAGE,
    Account,
    Record,
    came_twice,
    embedded,
    has_next,
)
from salesops_ml.errors import SourceError

TRACKED = ("lead_status_changed", "sale_field_changed", "entity_responsible_changed")
CUSTOM = "custom_field_{}_value_changed"
FATES = {
    "lead": ("lead_deleted", "lead_restored", "entity_merged"),
    "company": ("company_deleted", "company_restored", "entity_merged"),
    "task": ("task_deleted",),
}
"""Kind of record -> the events that tell where it stands no more, or stands again."""
TYPES_A_CALL = 10


def walk(
    account: Account, types: Sequence[str], since: int | None, *, entity: str = "lead"
) -> Iterator[list[Record]]:
    """Events of a kind of record, page by page, the newest first.

    Args:
        account: the account.
        types: the kinds of events.
        since: unix seconds; None for all that there are.
        entity: the kind of record, as events name it.

    Raises:
        SourceError: the list repeats, or is in an order that this walk does not understand.
    """
    for start in range(0, len(types), TYPES_A_CALL):
        asked = {
            "filter[entity][]": [entity],
            "filter[type][]": types[start : start + TYPES_A_CALL],
        }
        yield from _walk(account, asked, since)


def _walk(account: Account, asked: Mapping[str, Any], since: int | None) -> Iterator[list[Record]]:
    if since is not None:
        asked = {**asked, "filter[created_at][from]": since}
    until: int | None = None
    page, before = 1, None
    while True:
        bound = {} if until is None else {"filter[created_at][to]": until}
        found = account.get("events", {"limit": EVENTS_PAGE, "page": page, **asked, **bound})
        rows = embedded(found, "events")
        if not rows:
            return
        ids = [row["id"] for row in rows]
        if page > 1 and ids == before:
            raise came_twice(account.place, "events", page)
        _check_order(account, rows)
        yield rows
        if not has_next(found):
            return
        before, oldest = ids, rows[-1]["created_at"] + 1
        if until is None or oldest < until:
            until, page = oldest, 1
        else:
            page += 1


def _check_order(account: Account, rows: Sequence[Record]) -> None:
    moments = [row["created_at"] for row in rows]
    if moments != sorted(moments, reverse=True):
        raise SourceError(
            f"{account.place}: events do not come newest first, so they cannot be read safely; "
            "nothing was kept. Please report it"
        )


def fates(account: Account, since: int, *, entity: str = "lead") -> dict[int, bool]:
    """Records that events since speak of: whether the last word is that it was deleted.

    Those that a merger names are to be asked for.
    """
    told: dict[int, bool] = {}
    for page in walk(account, FATES[entity], since, entity=entity):
        for event in page:
            deleted = event["type"] == FATES[entity][0]
            named = {event["entity_id"]}
            if event["type"] == "entity_merged":
                named |= _ids(event.get("value_before")) | _ids(event.get("value_after"))
            for record in named:
                told.setdefault(record, deleted)
    return told


def _ids(value: Any) -> set[int]:
    """Every `id` that a value of a merger holds."""
    if isinstance(value, list):
        return {found for one in value for found in _ids(one)}
    if not isinstance(value, dict):
        return set()
    here = {value["id"]} if isinstance(value.get("id"), int) else set()
    return here | {found for one in value.values() for found in _ids(one)}
