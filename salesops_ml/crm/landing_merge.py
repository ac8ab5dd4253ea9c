"""A few new rows laid over those that landed, in plain SQL: what dlt does, without its start-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from salesops_ml.crm.landing_book import DATASET, ROW, squashed

if TYPE_CHECKING:
    from salesops_ml.crm.landing_run import Feed

SMALL = 20_000
"""Rows that are merged plainly; more go through dlt."""
Columns = Mapping[str, set[str]]


def few_rows(
    pages: Mapping[Feed, Sequence[pa.Table]], columns: Columns
) -> dict[Feed, pa.Table] | None:
    """The rows of each feed in one table; None where a table or a column is new to the landing.

    Args:
        pages: rows to merge, by feed.
        columns: the landing's tables with their columns.
    """
    known = {squashed(table): names for table, names in columns.items()}
    found = {}
    for feed, held in pages.items():
        landed = {squashed(name) for name in known.get(squashed(feed.name), ())}
        found[feed] = pa.concat_tables(held, promote_options="default")
        if any(squashed(name) not in landed for name in found[feed].column_names):
            return None
    return found


def merge(raw: duckdb.DuckDBPyConnection, few: Mapping[Feed, pa.Table], columns: Columns) -> None:
    """Rows in the place of those that have their keys; of a key that comes twice, the later stands.

    Args:
        raw: the landing to merge into.
        few: what `few_rows` found.
        columns: the landing's tables with their columns.
    """
    tables = {squashed(table): table for table in columns}
    for feed, rows in few.items():
        table = tables[squashed(feed.name)]
        landed = {squashed(name): name for name in columns[table]}
        raw.register("fresh", rows)
        same = " AND ".join(f'o."{landed[squashed(key)]}" = n."{key}"' for key in feed.key)
        raw.execute(f'DELETE FROM {DATASET}."{table}" o USING fresh n WHERE {same}')
        names = ", ".join(f'"{landed[squashed(name)]}"' for name in rows.column_names)
        keys = ", ".join(f'"{key}"' for key in feed.key)
        raw.execute(
            f'INSERT INTO {DATASET}."{table}" ({names}) SELECT * FROM fresh '
            f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {ROW} DESC) = 1"
        )
        raw.unregister("fresh")
