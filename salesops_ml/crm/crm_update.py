"""A part of the deals put into the warehouse: what it holds of them is taken out, what is new put in.

Nothing else in the file is touched, so a small change costs little; a copy of the file is worked on, and
takes its place at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import closing
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.crm_narrow import ACTIVITIES, Narrowed
from salesops_ml.crm.landed_draft import OF_DEALS, OWN_KEY
from salesops_ml.crm.vendor_quotes import ANSWER
from salesops_ml.errors import DataError
from salesops_ml.schema import TABLES, CanonicalTables, conform
from salesops_ml.warehouse import content_digest, database_path, workshop

LANDED_MARK = "landed"


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
                moved += [_gone(raw, name, done, part) for name in OF_DEALS]
                moved += [_put_rejects(raw, done, part), _put_photograph(raw, today, part, at)]
                if not any(moved):
                    return False
                _note(raw, done, at, number)
                raw.execute("COMMIT")
            os.replace(fresh, path)
    except (OSError, duckdb.IOException) as error:
        raise DataError(f"{path}: cannot be written: {error}; check the folder's rights") from error
    return True


def came_or_went(url: str, done: CanonicalTables, part: Narrowed) -> set[str]:
    """The part's deals that the warehouse does not hold yet, or will hold no longer."""
    with closing(duckdb.connect(str(database_path(url)), read_only=True)) as raw:
        rows = raw.execute(
            f"SELECT deal_id FROM deals t WHERE {_of_part(raw, 'deals', part)}"
        ).fetchall()
    return {str(row[0]) for row in rows} ^ set(done.tables["deals"]["deal_id"].to_pylist())


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
    where = _of_part(raw, name, part, fresh) if name in OF_DEALS else _by_key(raw, name, fresh)
    stands = raw.execute(
        f'SELECT *, t.rowid AS "@row" FROM "{name}" t WHERE {where}'
    ).to_arrow_table()
    if bool(conform(name, stands.drop_columns(["@row"]), done.attributes).equals(fresh)):
        return False
    raw.register("_fresh", fresh)
    raw.register("_stale", stands.select(["@row"]))
    raw.execute(f'DELETE FROM "{name}" t WHERE t.rowid IN (SELECT "@row" FROM _stale)')
    raw.execute(f'INSERT INTO "{name}" BY NAME SELECT * FROM _fresh')
    raw.unregister("_stale")
    raw.unregister("_fresh")
    return True


def _gone(raw: duckdb.DuckDBPyConnection, name: str, done: CanonicalTables, part: Narrowed) -> bool:
    """A table that the part has no rows of loses those of its deals."""
    if name in done.tables or name in part.untouched or name not in _tables(raw):
        return False
    where = _of_part(raw, name, part)
    row = raw.execute(f'SELECT count(*) FROM "{name}" t WHERE {where}').fetchone()
    raw.execute(f'DELETE FROM "{name}" t WHERE {where}')
    return bool(row and row[0])


def _of_part(
    raw: duckdb.DuckDBPyConnection, name: str, part: Narrowed, fresh: pa.Table | None = None
) -> str:
    """The condition that a row of table `name` is of the part, or that `fresh` has it anew."""
    deals = part.hanging if name == ACTIVITIES else part.deals
    raw.register("_deals", pa.table({"id": pa.array(deals, pa.string())}))
    near = "t.deal_id IN (SELECT id FROM _deals)"
    if name not in OWN_KEY:
        return near
    own = part.own.get(name, [])
    again = [] if fresh is None else fresh[OWN_KEY[name]].to_pylist()
    answers = [key + ANSWER for key in own if name == "quotes"]
    ids = pa.array([*own, *answers, *again], pa.string())
    raw.register(f"_own_{name}", pa.table({"id": ids}))
    return f"({near} OR t.{OWN_KEY[name]} IN (SELECT id FROM _own_{name}))"


def _by_key(raw: duckdb.DuckDBPyConnection, name: str, fresh: pa.Table) -> str:
    """The condition that stands for all rows; stages keep those that closings have added."""
    if name != "stages":
        return "true"
    raw.register("_keys", fresh.select(list(TABLES[name].key)))
    return "(t.pipeline, t.stage) IN (SELECT (pipeline, stage) FROM _keys)"


def _put_rejects(raw: duckdb.DuckDBPyConnection, done: CanonicalTables, part: Narrowed) -> bool:
    """Rejects of the part's records, by the place that each names."""
    fresh = conform("rejects", done.rejects)
    own = [key for keys in part.own.values() for key in keys]
    for name, ids in (("_records", part.deals), ("_hanging", part.hanging)):
        raw.register(name, pa.table({"id": pa.array([*ids, *own], pa.string())}))
    told = (
        "regexp_extract(source, ' deal (.+)$', 1)", "regexp_extract(reason, '^deal ([^:]+):', 1)"
    )  # fmt: skip
    near, hanging = (
        " OR ".join(f"{one} IN (SELECT id FROM {name})" for one in told)
        for name in ("_records", "_hanging")
    )
    where = f"""({near}) AND ("table" <> '{ACTIVITIES}' OR {hanging})"""
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
