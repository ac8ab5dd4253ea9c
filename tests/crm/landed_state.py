"""Whether what landed is what a twin holds, field by field; needs nothing else of the tests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

State = tuple[str, tuple[str, ...], Sequence[Mapping[str, Any]]]
"""A landed table, the fields that tell its rows apart, and the rows that it should hold."""


def refuse_unlike(tables: Mapping[str, Any], state: Iterator[State]) -> dict[str, int]:
    """Every field of every row that a twin holds, against the landing; rows by table.

    Args:
        tables: the landing's tables.
        state: what the twin holds; tables that it has no rows of may be missing.

    Raises:
        AssertionError: a row is missing, too many, or unlike.
    """
    landed = {plain(name): table for name, table in tables.items()}
    counts = {}
    for name, key, rows in state:
        if not rows:
            continue
        frame = landed[plain(name)].to_pyarrow()
        frame = frame.filter([not gone for gone in frame["_deleted"].to_pylist()])
        columns = {plain(column): frame[column].to_pylist() for column in frame.column_names}
        keys = zip(*(columns[plain(part)] for part in key), strict=True)
        place = {one: at for at, one in enumerate(keys)}
        assert len(place) == len(rows) == frame.num_rows, (name, len(place), len(rows))
        for row in rows:
            at = place[tuple(as_text(row[part]) for part in key)]
            for field, value in row.items():
                assert columns[plain(field)][at] == as_text(value), (name, field, row)
        counts[name] = len(rows)
    return counts


def plain(name: str) -> str:
    """A name without case and underscores."""
    return name.replace("_", "").lower()


def as_text(value: Any) -> str | None:
    """A value as it lands."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return None if value is None else str(value)
