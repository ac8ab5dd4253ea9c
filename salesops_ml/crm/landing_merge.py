"""A few new rows laid over those that landed, in plain SQL: what dlt does, without its start-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from salesops_ml.crm.landing_book import DATASET, ROW, columns_of, squashed

if TYPE_CHECKING:
    from salesops_ml.crm.landing_run import Feed

SMALL = 20_000
"""Rows that are merged plainly; more go through dlt."""


def merged_plainly(pages: Mapping[Feed, Sequence[pa.Table]], landing: Path) -> bool:
    """Whether the rows could be merged by key; not where a table or a column is new to the landing.

    Args:
        pages: rows to merge, by feed; of a key that comes twice, the later row stands.
        landing: the file to merge into.
    """
    with closing(duckdb.connect(str(landing))) as raw:
        known = {squashed(table): (table, names) for table, names in columns_of(raw).items()}
        ready = []
        for feed, held in pages.items():
            table, names = known.get(squashed(feed.name), ("", set()))
            landed = {squashed(name): name for name in names}
            rows = pa.concat_tables(held, promote_options="default")
            if any(squashed(name) not in landed for name in rows.column_names):
                return False
            ready.append((feed, table, landed, rows))
        raw.execute("BEGIN")
        for feed, table, landed, rows in ready:
            _merge(raw, feed, table, landed, rows)
        raw.execute("COMMIT")
    return True


def _merge(
    raw: duckdb.DuckDBPyConnection,
    feed: Feed,
    table: str,
    landed: Mapping[str, str],
    rows: pa.Table,
) -> None:
    """Rows of one table in the place of those that have their keys."""
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
