"""A small change of a CRM, mapped and written alone: which deals it touches, and how they are put back.

The deals whose rows a load brought, and those tied to them, are mapped as if there were no others; then
all that the warehouse holds of them is taken out and what was mapped is put in. A change that could move
other deals - of a stage, a pipeline, a currency - is none of these: everything is mapped anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.landing import LOAD
from salesops_ml.crm.vendor_rows import landed_rows, squashed
from salesops_ml.crm.vendors import Shape
from salesops_ml.errors import DataError
from salesops_ml.schema import TABLES, CanonicalTables, conform
from salesops_ml.warehouse import content_digest, database_path, workshop

LANDED_MARK = "landed"
_LARGEST_SHARE = 0.2
_MOST_ROUNDS = 20
_OF_DEALS = ("deals", "stage_events", "deal_changes", "deal_daily", "activities", "quotes")
_OWN_KEY = {"activities": "activity_id", "quotes": "quote_id"}


@dataclass(frozen=True)
class Narrowed:
    """The landed rows of the deals that a change touches.

    Attributes:
        tables: landed tables, those that belong to deals with the rows of these deals alone.
        deals: ids of the deals, gone ones among them.
        own: canonical table -> ids of its rows that changed, whatever deal they belong to.
        untouched: canonical tables that did not change, and need not be computed.
        nothing: no row of any table changed.
    """

    tables: dict[str, ir.Table]
    deals: list[str]
    own: dict[str, list[str]]
    untouched: frozenset[str]
    nothing: bool


def narrowed(
    tables: Mapping[str, ir.Table], shape: Shape, counts: Mapping[str, int], *, since: int
) -> Narrowed | None:
    """The part of a landing that later loads than `since` touch; None where that may be all of it.

    Args:
        tables: landed tables by name.
        shape: which of them belong to deals.
        counts: rows that these loads changed, by table.
    """
    moved = {squashed(name) for name, count in counts.items() if count}
    of_deals = {squashed(name) for name in (*shape.deals, *shape.links)}
    apart = {squashed(name): canonical for name, canonical in shape.apart.items()}
    if moved - of_deals - apart.keys():
        return None
    ids = _touched(tables, shape, moved, since)
    if ids is None:
        return None
    chosen = ibis.memtable(pa.table({"deal": pa.array(sorted(ids), pa.string())}))
    own = {
        name: _changed_ids(tables, sources, key, since)
        for name, (sources, key) in shape.own.items()
    }
    moved_apart = {apart[name] for name in moved & apart.keys()}
    untouched = frozenset({"accounts", "reps"} - moved_apart)
    part = _only(tables, shape, chosen, since)
    return Narrowed(part, sorted(ids), own, untouched, not moved)


def _touched(
    tables: Mapping[str, ir.Table], shape: Shape, moved: set[str], since: int
) -> set[str] | None:
    """Deals of changed rows, and all that are tied to them by a shared row or a merger."""
    ids: set[str] = set()
    for name, column in shape.deals.items():
        rows = landed_rows(tables, name)
        if squashed(name) in moved:
            ids |= _values(rows.table.filter(rows.table[LOAD] > since), rows.text(column))
    for name, link in shape.links.items():
        if squashed(name) in moved:
            rows, links = landed_rows(tables, name), landed_rows(tables, link.through)
            fresh = rows.table.filter(rows.table[LOAD] > since).select(_k=rows.text(link.column))
            tied = links.table.semi_join(fresh, links.text(link.by) == fresh["_k"])
            ids |= _values(tied, links.text(shape.deals[link.through]))
    most = _LARGEST_SHARE * _count(landed_rows(tables, next(iter(shape.deals))).table)
    for _ in range(_MOST_ROUNDS):
        if len(ids) > most:
            return None
        more = _tied(tables, shape, ids)
        if more <= ids:
            return ids
        ids |= more
    return None


def _tied(tables: Mapping[str, ir.Table], shape: Shape, ids: set[str]) -> set[str]:
    """Deals that share an activity or quote with one of `ids`, or were merged with one."""
    chosen = ibis.memtable(pa.table({"_deal": pa.array(sorted(ids), pa.string())}))
    found: set[str] = set()
    for link in set(shape.links.values()):
        links = landed_rows(tables, link.through)
        if links.here:
            deal = links.text(shape.deals[link.through])
            theirs = links.table.semi_join(chosen, deal == chosen["_deal"])
            shared = theirs.select(_k=links.text(link.by)).distinct()
            found |= _values(
                links.table.semi_join(shared, links.text(link.by) == shared["_k"]), deal
            )
    if shape.merged is not None:
        rows = landed_rows(tables, shape.merged[0])
        if rows.has(shape.merged[1]):
            named = rows.table.filter(rows.text(shape.merged[1]).notnull())
            pairs = named.select(
                deal=rows.text(shape.deals[shape.merged[0]]), into=rows.text(shape.merged[1])
            ).to_pyarrow()
            found |= _merged_with(pairs.to_pylist(), ids)
    return found


def _merged_with(pairs: Iterable[Mapping[str, str]], ids: set[str]) -> set[str]:
    found: set[str] = set()
    for pair in pairs:
        family = {pair["deal"], *(part.strip() for part in pair["into"].split(";"))}
        if family & ids:
            found |= family
    return found


def _only(
    tables: Mapping[str, ir.Table], shape: Shape, chosen: ir.Table, since: int
) -> dict[str, ir.Table]:
    """Each landed table with the rows that the chosen deals need."""
    keys = {squashed(name): column for name, column in shape.deals.items()}
    links = {squashed(name): link for name, link in shape.links.items()}
    shared = {squashed(link.through): link for link in shape.links.values()}
    own = {squashed(name) for sources, _ in shape.own.values() for name in sources}
    done = {}
    for name, table in tables.items():
        rows = landed_rows(tables, name)
        short = squashed(name)
        if short in keys and short not in shared:
            near = rows.text(keys[short]).isin(chosen["deal"])
            keep = near | (table[LOAD] > since) if short in own else near
            table = table.filter(keep)
        elif short in shared:
            table = _whole_links(rows, shared[short], keys[short], chosen)
        elif short in links:
            link = links[short]
            through = landed_rows(tables, link.through)
            theirs = through.table.filter(
                through.text(keys[squashed(link.through)]).isin(chosen["deal"])
            )
            near = rows.text(link.column).isin(theirs.select(_k=through.text(link.by))["_k"])
            table = table.filter(near | (table[LOAD] > since))
        done[name] = table
    return done


def _whole_links(rows: Any, link: Any, column: str, chosen: ir.Table) -> ir.Table:
    """Every link of what the chosen deals share."""
    theirs = rows.table.filter(rows.text(column).isin(chosen["deal"]))
    return rows.table.filter(rows.text(link.by).isin(theirs.select(_k=rows.text(link.by))["_k"]))


def _changed_ids(
    tables: Mapping[str, ir.Table], sources: Iterable[str], key: str, since: int
) -> list[str]:
    found: set[str] = set()
    for name in sources:
        rows = landed_rows(tables, name)
        if rows.here:
            found |= _values(rows.table.filter(rows.table[LOAD] > since), rows.text(key))
    return sorted(found)


def _values(table: ir.Table, column: ir.Value) -> set[str]:
    rows = table.select(_v=column).distinct().to_pyarrow()
    return set(rows["_v"].drop_null().to_pylist())


def _count(table: ir.Table) -> int:
    return int(table.count().execute())


def write_part(
    url: str, done: CanonicalTables, part: Narrowed, *, today: pa.Table, at: datetime, number: int
) -> bool:
    """Put the part's rows in the place of what the warehouse holds of its deals; all or nothing.

    Args:
        url: the warehouse.
        done: canonical tables of the part's deals; tables that deals do not own are whole.
        today: today's photograph of all open deals.
        at: the moment of the load, naive UTC.
        number: the landing's load that this brings the warehouse up to.

    Returns:
        False where nothing would change; the warehouse is untouched then.

    Raises:
        DataError: the warehouse cannot be written.
    """
    path = database_path(url)
    try:
        with workshop(path.parent) as folder:
            fresh = folder / path.name
            shutil.copyfile(path, fresh)
            with closing(duckdb.connect(str(fresh))) as raw:
                raw.execute("BEGIN")
                moved = [_put(raw, name, rows, done, part) for name, rows in done.tables.items()]
                moved += [_gone(raw, name, done, part) for name in _OF_DEALS]
                moved += [_put_rejects(raw, done, part), _put_photograph(raw, today, part, at)]
                if not any(moved):
                    return False
                _note(raw, done, at, number)
                raw.execute("COMMIT")
            os.replace(fresh, path)
    except (OSError, duckdb.IOException) as error:
        raise DataError(f"{path}: cannot be written: {error}; check the folder's rights") from error
    return True


def _put(
    raw: duckdb.DuckDBPyConnection, name: str, rows: pa.Table, done: CanonicalTables, part: Narrowed
) -> bool:
    """Rows of one table put in place; whether that changes anything."""
    fresh = conform(name, rows, done.attributes)
    if name not in _tables(raw):
        raw.register("_fresh", fresh)
        raw.execute(f'CREATE TABLE "{name}" AS SELECT * FROM _fresh')
        raw.unregister("_fresh")
        return bool(fresh.num_rows)
    where = _of_part(raw, name, part) if name in _OF_DEALS else _by_key(raw, name, fresh)
    stands = raw.execute(f'SELECT * FROM "{name}" t WHERE {where}').to_arrow_table()
    if bool(conform(name, stands, done.attributes).equals(fresh)):
        return False
    raw.execute(f'DELETE FROM "{name}" t WHERE {where}')
    raw.register("_fresh", fresh)
    raw.execute(f'INSERT INTO "{name}" BY NAME SELECT * FROM _fresh')
    raw.unregister("_fresh")
    return True


def _gone(raw: duckdb.DuckDBPyConnection, name: str, done: CanonicalTables, part: Narrowed) -> bool:
    """A table that the part has no rows of loses those of its deals."""
    if name in done.tables or name not in _tables(raw):
        return False
    where = _of_part(raw, name, part)
    row = raw.execute(f'SELECT count(*) FROM "{name}" t WHERE {where}').fetchone()
    raw.execute(f'DELETE FROM "{name}" t WHERE {where}')
    return bool(row and row[0])


def _of_part(raw: duckdb.DuckDBPyConnection, name: str, part: Narrowed) -> str:
    """The condition that a row of table `name` is of the part."""
    raw.register("_deals", pa.table({"id": pa.array(part.deals, pa.string())}))
    near = "t.deal_id IN (SELECT id FROM _deals)"
    if name not in _OWN_KEY:
        return near
    ids = pa.array(part.own.get(name, []), pa.string())
    raw.register(f"_own_{name}", pa.table({"id": ids}))
    return f"({near} OR t.{_OWN_KEY[name]} IN (SELECT id FROM _own_{name}))"


def _by_key(raw: duckdb.DuckDBPyConnection, name: str, fresh: pa.Table) -> str:
    """The condition that stands for all rows; stages keep those that closings have added."""
    if name != "stages":
        return "true"
    raw.register("_keys", fresh.select(list(TABLES[name].key)))
    return "(t.pipeline, t.stage) IN (SELECT (pipeline, stage) FROM _keys)"


def _put_rejects(raw: duckdb.DuckDBPyConnection, done: CanonicalTables, part: Narrowed) -> bool:
    """Rejects of the part's records, by the place that each names."""
    fresh = conform("rejects", done.rejects)
    ids = [*part.deals, *(key for keys in part.own.values() for key in keys)]
    raw.register("_records", pa.table({"id": pa.array(ids, pa.string())}))
    where = (
        "regexp_extract(source, ' deal (.+)$', 1) IN (SELECT id FROM _records) "
        "OR regexp_extract(reason, '^deal ([^:]+):', 1) IN (SELECT id FROM _records)"
    )
    stands = raw.execute(f"SELECT * FROM rejects WHERE {where}").to_arrow_table()
    raw.execute(f"DELETE FROM rejects WHERE {where}")
    raw.register("_fresh", fresh)
    raw.execute("INSERT INTO rejects BY NAME SELECT * FROM _fresh")
    raw.unregister("_fresh")
    known = [sorted(map(str, table.to_pylist())) for table in (stands, fresh)]
    return bool(known[0] != known[1])


def _put_photograph(
    raw: duckdb.DuckDBPyConnection, today: pa.Table, part: Narrowed, at: datetime
) -> bool:
    """Today's photograph of the deals that did not change, where the day has none yet."""
    ours = pa.array(part.deals, pa.string())
    others = today.filter(pc.invert(pc.is_in(today["deal_id"], value_set=ours)))
    raw.register("_today", conform("deal_daily", others))
    row = raw.execute(
        "INSERT INTO deal_daily BY NAME SELECT * FROM _today "
        "WHERE deal_id NOT IN (SELECT deal_id FROM deal_daily WHERE observed_on = ?) "
        "AND deal_id IN (SELECT deal_id FROM deals)",
        [at.date()],
    ).fetchone()
    return bool(row and row[0])


def _note(raw: duckdb.DuckDBPyConnection, done: CanonicalTables, at: datetime, number: int) -> None:
    """What was loaded, and up to where; the digest is another one with each change."""
    last = raw.execute("SELECT digest, counts FROM _ingests ORDER BY ingested_at DESC").fetchone()
    before, told = (str(last[0]), json.loads(last[1])) if last else ("", {})
    for name in _tables(raw) & TABLES.keys():
        row = raw.execute(f'SELECT count(*) FROM "{name}"').fetchone()
        told[f"{name}: used"] = int(row[0]) if row else 0
    digest = hashlib.sha256(f"{before}{content_digest(done)}".encode()).hexdigest()
    raw.execute("INSERT INTO _ingests VALUES (?, ?, ?)", [at, digest, json.dumps(told)])
    raw.execute(f'UPDATE "_landing_{LANDED_MARK}" SET number = ?', [number])


def _tables(raw: duckdb.DuckDBPyConnection) -> set[str]:
    return {str(row[0]) for row in raw.execute("SHOW TABLES").fetchall()}
