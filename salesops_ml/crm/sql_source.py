"""Any SQL warehouse as a source: tables that Fivetran, Airbyte or dlt landed there, or canonical ones.

Only a plain selection runs in the warehouse: the rows of a table that were synced since the last load.
They are merged into our own landing, and the vendor's mapping does the rest, so that a CRM read by its
API and the same CRM landed by a loader come out equal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from salesops_ml.crm import hubspot_mapping, salesforce_mapping
from salesops_ml.crm.landing_book import squashed
from salesops_ml.crm.landing_run import Feed
from salesops_ml.crm.secrets import mask, with_password
from salesops_ml.crm.sql_layouts import DELETED_FLAGS, TABLE_LAYOUTS, LandedTable, TableLayout
from salesops_ml.crm.vendor_rows import landed_rows
from salesops_ml.crm.vendors import Shape, Surroundings, Tables, Vendor
from salesops_ml.crm_settings import SqlSource, is_own_field
from salesops_ml.errors import SourceError
from salesops_ml.schema import TABLES
from salesops_ml.warehouse import database_path

GONE = "_gone"
_PAGE = 50_000
_DRIVER = re.compile(r"(?<=^postgresql)\+\w+(?=://)")
"""SQLAlchemy's driver in a URL, as write-back has it; Ibis has its own."""


def feeds(source: SqlSource, *, pace_book: Path | None = None) -> Sequence[Feed]:
    """The tables of a layout that are there; a warehouse is read at no pace (`pace_book` is left alone).

    Raises:
        SourceError: the warehouse cannot be reached, or lacks a table that nothing can be read without.
    """
    with ExitStack() as opened:
        connection = opened.enter_context(_connected(source))
        names = _names(connection, source)
        if source.layout == "canonical":
            return _canonical_feeds(source, connection, names)
        layout = TABLE_LAYOUTS[source.layout]
        found = [
            _feed(source, connection, layout, vendor_name, there)
            for vendor_name, table in layout.tables.items()
            if (there := _there(source, vendor_name, table, names))
        ]
        _check_needed(source, layout, {feed.name for feed in found}, names)
        held = opened.pop_all()
    return [replace(feed, close=held.close) for feed in found]


def _there(
    source: SqlSource, vendor_name: str, table: LandedTable, names: Mapping[str, str]
) -> list[str]:
    """The names under which a table lies in the warehouse."""
    chosen = source.tables.get(vendor_name)
    wanted = (chosen,) if chosen is not None else table.names
    there = [names[squashed(name)] for name in wanted if squashed(name) in names]
    return there if table.nested else there[:1]


def _check_needed(
    source: SqlSource, layout: TableLayout, found: set[str], names: Mapping[str, str]
) -> None:
    for vendor_name, table in layout.tables.items():
        if table.needed and vendor_name not in found:
            wanted = source.tables.get(vendor_name, table.names[0])
            seen, where = _seen(names), _where(source)
            raise SourceError(
                f"{_place(source)}: no table `{wanted}`, which {layout.loader} lands for "
                f"`layout: {source.layout}`; {where} holds: {seen}; correct `layout` or "
                f"`database_schema`, or name the table under `source.tables.{vendor_name}`"
                + (f"; {layout.cure}" if layout.cure else "")
            )


def _seen(names: Mapping[str, str]) -> str:
    return ", ".join(sorted(names.values())[:12]) or "no tables"


def _where(source: SqlSource) -> str:
    return f"schema `{source.database_schema}`" if source.database_schema else "its schema"


def _feed(
    source: SqlSource, connection: Any, layout: TableLayout, vendor_name: str, there: list[str]
) -> Feed:
    table = layout.tables[vendor_name]
    columns = [_table(connection, source, name).columns for name in there]
    grows = not table.replaced and all(layout.cursor in names for names in columns)
    cursor = layout.cursor if grows else None

    def read(since: Any, *, beyond: bool = False) -> Iterator[pa.Table | list[dict[str, Any]]]:
        with _connected(source) as connection:
            for name in there:
                rows = _table(connection, source, name)
                _refuse_spoiled(source, layout, rows, name, table.texts)
                if table.parent_id is not None:
                    parent = _table(connection, source, name.rpartition("__")[0])
                    rows = _with_parent(rows, parent, table.parent_id)
                if cursor is not None and since is not None:
                    rows = rows.filter(rows[cursor] > since if beyond else rows[cursor] >= since)
                for page in _pages(_selected(rows, table, cursor), source):
                    yield _unnested(page, table, cursor) if table.nested else page

    def tally(since: Any) -> tuple[int, int]:
        with _connected(source) as connection:
            at = _table(connection, source, there[0])[cursor]
            told = at.as_table().aggregate(above=(at > since).sum(), at=(at == since).sum())
            row = told.to_pyarrow().to_pylist()[0]
        return int(row["above"] or 0), int(row["at"] or 0)

    feed = Feed(vendor_name, table.key, read, cursor=cursor, whole=cursor is None, deleted=GONE)
    if cursor is None or table.nested:
        return feed
    return replace(feed, beyond=partial(read, beyond=True), tally=tally)


def _refuse_spoiled(
    source: SqlSource, layout: TableLayout, rows: ir.Table, name: str, texts: Sequence[str]
) -> None:
    """dlt takes a column for times where its first value is one, and makes times of numbers then."""
    for column in texts:
        if column in rows.columns and not rows[column].type().is_string():
            kind = type(rows[column].type()).__name__.lower()
            raise SourceError(
                f"{_place(source)}: column `{column}` of `{name}` is of kind {kind}, so that "
                f"{layout.loader} has spoiled what is none; give its resource the hint `columns="
                f'{{"{column}": {{"data_type": "text"}}}}`, drop the table, and load it again'
            )


def _with_parent(rows: ir.Table, parent: ir.Table, name: str) -> ir.Table:
    """Items of lists, as dlt lays them out, each with its parent's id."""
    ids = parent.select(_parent="_dlt_id", **{name: parent["id"]})
    return rows.inner_join(ids, rows["_dlt_parent_id"] == ids["_parent"]).drop("_parent")


def _selected(rows: ir.Table, table: LandedTable, cursor: str | None) -> ir.Table:
    """Rows under the vendor's names, and whether each is gone; the newest last."""
    rows = rows if cursor is None else rows.order_by(cursor)
    loose = {squashed(name): name for name in table.key}
    loose |= {squashed(theirs): ours for theirs, ours in table.columns.items()}
    flags = [rows[name] for name in (*DELETED_FLAGS, *table.deleted) if name in rows.columns]
    gone = ibis.literal(False)
    for flag in flags:
        gone = gone | (flag.fill_null(False) if flag.type().is_boolean() else flag.notnull())
    rows = rows.mutate(**{GONE: gone}).drop(*[c for c in rows.columns if is_own_field(c)])
    for theirs, ours in loose.items():
        here = {squashed(name): name for name in rows.columns}
        name, other = here.get(theirs), here.get(squashed(ours))
        if name is None or name == ours:
            continue
        if other is None or other == name:
            rows = rows.rename({ours: name})
        else:
            both = ibis.coalesce(rows[name].cast("string"), rows[other].cast("string"))
            rows = rows.mutate(**{other: both}).drop(name)
    return rows


def _pages(rows: ir.Table, source: SqlSource) -> Iterator[pa.Table]:
    try:
        for batch in rows.to_pyarrow_batches(chunk_size=_PAGE):
            yield pa.Table.from_batches([batch])
    except Exception as error:
        raise SourceError(f"{_place(source)}: {_first_line(error)}") from error


def _unnested(page: pa.Table, table: LandedTable, cursor: str | None) -> list[dict[str, Any]]:
    """The items of a list that lies in a column, each with its row's id."""
    rows = []
    for row in page.to_pylist():
        held = row.get(str(table.nested))
        items = json.loads(held) if isinstance(held, str) else (held or [])
        shared = {GONE: row[GONE], **({cursor: row[cursor]} if cursor else {})}
        for item in items:
            rows.append({**_item(row, item, table), **shared})
    return rows


def _item(row: Mapping[str, Any], item: Any, table: LandedTable) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        id_name, item_name = table.key
        return {id_name: row.get(id_name), item_name: str(item)}
    flat = {**item, **(item.get("metadata") or {})}
    named = {
        table.columns.get(name, name): value for name, value in flat.items() if name != "metadata"
    }
    return {**named, "pipeline_id": row.get("id", row.get("pipelineId"))}


def _canonical_feeds(source: SqlSource, connection: Any, names: Mapping[str, str]) -> list[Feed]:
    """Canonical tables, each read whole."""
    found = []
    for name, spec in TABLES.items():
        there = names.get(squashed(source.tables.get(name, name)))
        if there is None:
            continue

        def read(_: Any, there: str = there) -> Iterator[pa.Table]:
            with _connected(source) as connection:
                yield from _pages(_table(connection, source, there), source)

        columns = _table(connection, source, there).columns
        key = tuple(column for column in spec.key if column in columns)
        found.append(Feed(name, key, read, whole=True))
    if not any(feed.name == "deals" for feed in found):
        raise SourceError(
            f"{_place(source)}: no table `deals`; {_where(source)} holds: {_seen(names)}; name it under "
            "`source.tables.deals`, or choose the layout of your loader"
        )
    return found


def map_canonical(tables: Tables, options: SqlSource, around: Surroundings) -> dict[str, ir.Table]:
    """Canonical tables that lie in a warehouse as such: their text read as their columns' kinds."""
    done = {}
    for name, spec in TABLES.items():
        rows = landed_rows(tables, name).live
        if not rows.here:
            continue
        readers = {"string": rows.text, "timestamp": rows.moment, "date": rows.day,
                   "money": rows.money, "float": rows.number, "integer": rows.integer,
                   "boolean": rows.truth}  # fmt: skip
        chosen = {
            column.name: readers[column.kind](column.name)
            for column in spec.columns if rows.has(column.name)
        }  # fmt: skip
        if name == "deals":
            from salesops_ml.crm.vendor_tables import custom_columns

            chosen |= custom_columns(rows, options)
        done[name] = rows.table.select(**chosen, **rows.unread())
    if "deal_daily" not in done:
        done["deal_daily"] = _today(done["deals"])
    return done


def _today(deals: ir.Table) -> ir.Table:
    """What a photograph of the open deals shows; canonical deals do not tell their stage."""
    shown = [name for name in ("deal_id", "amount", "expected_close_date", "rep_id",
                               "forecast_category") if name in deals.columns]  # fmt: skip
    return deals.filter(deals.status == "open").select(*shown)


@contextmanager
def _connected(source: SqlSource) -> Iterator[Any]:
    """A connection to the warehouse, for reading."""
    url = with_password(source.url, source.password, setting="source.password")
    url = _DRIVER.sub("", url)
    connection = None
    try:
        if urlsplit(url).scheme == "duckdb":
            connection = ibis.duckdb.connect(database_path(url), read_only=True)
        else:
            connection = ibis.connect(url)
    except Exception as error:
        raise SourceError(
            f"{_place(source)}: cannot be opened: {_first_line(error)}; check `source.url`, the "
            "user's rights, and that the secret under `source.password` is right"
        ) from None
    try:
        yield connection
    finally:
        connection.disconnect()


def _names(connection: Any, source: SqlSource) -> dict[str, str]:
    try:
        names = connection.list_tables(database=source.database_schema)
    except Exception as error:
        raise SourceError(
            f"{_place(source)}: `database_schema: {source.database_schema}` cannot be listed: "
            f"{_first_line(error)}"
        ) from error
    return {squashed(name): name for name in names}


def _table(connection: Any, source: SqlSource, name: str) -> ir.Table:
    return connection.table(name, database=source.database_schema)


def _place(source: SqlSource) -> str:
    return f"source `{source.url}`"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return mask(lines[0]) if lines else type(error).__name__


_HUBSPOT = ("fivetran_hubspot", "airbyte_hubspot", "dlt_hubspot")


def mapping(tables: Tables, source: SqlSource, around: Surroundings) -> dict[str, ir.Table]:
    """The mapping of the CRM whose tables were landed."""
    if source.layout == "canonical":
        return map_canonical(tables, source, around)
    if source.layout in _HUBSPOT:
        return hubspot_mapping.map_hubspot(tables, source, around)
    return salesforce_mapping.map_salesforce(tables, source, around)


def shape(source: SqlSource) -> Shape:
    """Which of the landed tables belong to deals."""
    if source.layout == "canonical":
        return Shape(deals={"deals": "deal_id"})
    return hubspot_mapping.SHAPE if source.layout in _HUBSPOT else salesforce_mapping.SHAPE


def tracked(tables: Tables, source: SqlSource) -> frozenset[str]:
    """The fields whose past the landed tables tell."""
    if source.layout == "canonical":
        changes = landed_rows(tables, "deal_changes")
        told = {"stage"} if landed_rows(tables, "stage_events").here else set()
        fields = ("amount", "expected_close_date", "rep_id", "forecast_category")
        return frozenset(told | (set(fields) if changes.here else set()))
    if source.layout in _HUBSPOT:
        return hubspot_mapping.tracked(tables, source)
    return salesforce_mapping.tracked(tables, source)


VENDOR = Vendor(feeds, mapping, shape, tracked)
