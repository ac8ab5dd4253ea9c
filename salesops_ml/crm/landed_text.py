"""A vendor's rows as text: what a service or a database gave, in one way of writing each kind.

Times become ISO in UTC, booleans `true` and `false`, nested values JSON. Nothing is lost: a value reads
back as what it was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.errors import SourceError


def text_rows(page: list[dict[str, Any]] | pa.Table, name: str, key: Sequence[str]) -> pa.Table:
    """One page of table `name` with every value as text.

    Raises:
        SourceError: a row lacks a part of its key.

    Example:
        >>> rows = [{"Id": 7, "IsWon": True, "tags": ["a"]}, {"Id": 8, "Amount": 1.5}]
        >>> text_rows(rows, "Opportunity", ("Id",)).to_pylist()[0]
        {'Id': '7', 'IsWon': 'true', 'tags': '["a"]', 'Amount': None}
    """
    table = _of_columns(page) if isinstance(page, pa.Table) else _of_dicts(page)
    for column in key:
        if column not in table.column_names or table[column].null_count:
            raise SourceError(
                f"table `{name}`: a row has no `{column}`, which tells it from others; give the "
                "reading user the right to see that field"
            )
    return table


def _of_dicts(rows: list[dict[str, Any]]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [pa.array([as_landed(row.get(name)) for row in rows], pa.string()) for name in names]
    return pa.table(columns, names=list(names))


def as_landed(value: Any) -> str | None:
    """One value as text; None stays None.

    Example:
        >>> from datetime import timezone
        >>> as_landed(datetime(2026, 3, 1, 12, tzinfo=timezone.utc)), as_landed(False)
        ('2026-03-01T12:00:00', 'false')
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return moment.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return str(value)


def _of_columns(page: pa.Table) -> pa.Table:
    return pa.table([_text(column) for column in page.columns], names=page.column_names)


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_null(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.string())
    if pa.types.is_timestamp(kind):
        micro = pa.timestamp("us", kind.tz)
        naive = column.cast(micro, safe=False).cast(pa.timestamp("us"))
        return pc.strftime(naive, format="%Y-%m-%dT%H:%M:%S")
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_date(kind):
        return column.cast(pa.string())
    return pa.chunked_array([pa.array(map(as_landed, column.to_pylist()), pa.string())])
