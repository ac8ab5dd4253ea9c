"""Pages of Tryton's records, by id, and each row as it lands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from salesops_ml.crm.tryton_rpc import Tryton
from salesops_ml.errors import Refused, SourceError

PAGE = 1_000
IDS = 5_000
"""Ids a call; so many records share the moments at which their history is asked for."""
MODIFIED = "modified"
"""Our name of when a record was last saved; the cursor."""
OVERLAP = timedelta(minutes=10)
"""A save is stamped when its transaction begins, so one that took long may appear after later ones."""


def pages(
    tryton: Tryton, model: str, fields: Sequence[str], domain: list[Any]
) -> Iterator[list[dict[str, Any]]]:
    """All records of a domain, by id; archived ones too."""
    after = 0
    while True:
        wanted = [["id", ">", after], *domain]
        rows = tryton.read(
            f"model.{model}.search_read", wanted, 0, PAGE, [["id", "ASC"]], list(fields),
            context={"active_test": False},
        )  # fmt: skip
        if rows:
            yield rows
        if len(rows) < PAGE:
            return
        last = max(row["id"] for row in rows)
        if last <= after:
            raise SourceError(f"{tryton.place}: page after id {after} of `{model}` repeats itself")
        after = last


def ids_of(tryton: Tryton, model: str, domain: list[Any]) -> Iterator[list[int]]:
    """Pages of the ids of a domain."""
    after = 0
    while True:
        wanted = [["id", ">", after], *domain]
        ids = tryton.read(f"model.{model}.search", wanted, 0, IDS, [["id", "ASC"]])
        if ids:
            yield ids
        if len(ids) < IDS:
            return
        after = ids[-1]


def count_of(tryton: Tryton, model: str, domain: list[Any]) -> int | None:
    """How many ids a domain has; None where the user may not ask."""
    try:
        return int(tryton.read(f"model.{model}.search_count", domain))
    except Refused:
        return None


def moment_from(since: str | None) -> datetime | None:
    """From when on saves are asked for once more."""
    return None if since is None else datetime.fromisoformat(since) - OVERLAP


def changed(since: str | None) -> list[Any]:
    """The domain of records saved since."""
    at = moment_from(since)
    if at is None:
        return []
    return [
        ["OR", ["write_date", ">=", at], [["write_date", "=", None], ["create_date", ">=", at]]]
    ]


def stamped(row: dict[str, Any]) -> dict[str, Any]:
    """A row with the moment of its last save; our own cursor, in a form that sorts."""
    at = row.get("write_date") or row["create_date"]
    kept = {name: value for name, value in row.items() if name not in ("write_date", "_row")}
    return {**kept, MODIFIED: at.isoformat(timespec="microseconds")}


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """Values of linked records beside the row's own: `party.rec_name` as `party_rec_name`."""
    flat = {name: value for name, value in row.items() if not name.endswith(".")}
    for name, value in row.items():
        if name.endswith(".") and isinstance(value, dict):
            flat |= {f"{name[:-1]}_{part}": told for part, told in value.items() if part != "id"}
    return flat
