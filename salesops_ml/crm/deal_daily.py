"""The day's photograph: how each open deal stood when it was last read, a file a day.

A CRM that keeps no history overwrites what stood there. Whoever loads it daily keeps it: `salesops
ingest` photographs the open pipeline into a folder beside the warehouse, and the book of photographs
outlives every load and every warehouse. Where the CRM tells nothing of a field's past, a change is what
differs between two photographs; it is known from the moment the later one was taken, and nothing is
known before the first.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from salesops_ml.crm.draft import FILE, LINE, Draft, joined
from salesops_ml.crm.rules import all_rules, apply
from salesops_ml.errors import DataError
from salesops_ml.schema import ARROW, DEAL_CHANGES, DEAL_DAILY, STAGE_EVENTS, CanonicalTables
from salesops_ml.warehouse import database_path

TAKEN_AT = "taken_at"
_SHOWN = ("stage", "amount", "expected_close_date", "rep_id", "forecast_category")
STAGE = "stage"


def book_folder(warehouse: str) -> Path:
    """Where the photographs lie: a folder beside the warehouse.

    Example:
        >>> book_folder("duckdb:///store/warehouse.duckdb").as_posix()
        'store/warehouse.photographs'
    """
    return database_path(warehouse).with_suffix(".photographs")


def photograph(open_deals: pa.Table, *, taken_at: datetime) -> pa.Table:
    """Open deals as they stand, with the day and the moment.

    Args:
        open_deals: `deal_id` and what a photograph shows, one row for each open deal.
        taken_at: naive UTC.
    """
    size = open_deals.num_rows
    fields = [field for field in DEAL_DAILY.arrow() if field.name in open_deals.column_names]
    columns = {field.name: open_deals[field.name].cast(field.type) for field in fields}
    columns["observed_on"] = pa.repeat(pa.scalar(taken_at.date(), ARROW["date"]), size)
    columns[TAKEN_AT] = pa.repeat(pa.scalar(taken_at, ARROW["timestamp"]), size)
    return pa.table(columns).sort_by("deal_id")


def keep(photo: pa.Table, folder: Path, *, day: date) -> pa.Table:
    """Put a photograph into the book, and return it as it stands there.

    A later one of the same day takes the place of the earlier; a deal that stands as it did keeps the
    moment at which that was first known.

    Raises:
        DataError: the folder cannot be written.
    """
    target = folder / f"{day.isoformat()}.parquet"
    fresh = target.with_suffix(".writing")
    try:
        if target.exists():
            photo = _as_first_known(photo, pq.read_table(target))
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(photo, fresh)
        os.replace(fresh, target)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written: {error}; check the folder's rights"
        ) from error
    return photo


def _as_first_known(photo: pa.Table, earlier: pa.Table) -> pa.Table:
    """The photograph with the earlier one's moment where a deal stands as it did there."""
    keys = [name for name in photo.column_names if name != TAKEN_AT]
    frame, before = photo.to_pandas(), earlier.select(photo.column_names).to_pandas()
    both = frame.astype({"amount": str}).merge(
        before.astype({"amount": str}), on=keys, how="left", suffixes=("", "_before")
    )
    at = both[f"{TAKEN_AT}_before"].fillna(both[TAKEN_AT])
    place = photo.column_names.index(TAKEN_AT)
    return photo.set_column(place, TAKEN_AT, pa.array(at, ARROW["timestamp"], from_pandas=True))


def carried_on(folder: Path, *, but: Collection[str], taken_at: datetime) -> pa.Table:
    """The last photograph without some deals, as today's: the others stand as they did."""
    files = sorted(folder.glob("*.parquet")) if folder.exists() else []
    if not files:
        return _nothing()
    last = pq.read_table(files[-1])
    gone = pa.array(list(but), pa.string())
    last = last.filter(pc.invert(pc.is_in(last["deal_id"], value_set=gone)))
    if files[-1].stem == taken_at.date().isoformat():
        return last
    return photograph(last, taken_at=taken_at)


def kept(folder: Path, *, deals: list[str] | None = None) -> pa.Table:
    """Every photograph in the book; only those of `deals` where they are named."""
    files = sorted(folder.glob("*.parquet")) if folder.exists() else []
    wanted = None if deals is None else pc.field("deal_id").isin(pa.array(deals, pa.string()))
    tables = [pq.read_table(file, filters=wanted) for file in files]
    return joined([*tables, _nothing()])


def _nothing() -> pa.Table:
    schema = DEAL_DAILY.arrow().append(pa.field(TAKEN_AT, ARROW["timestamp"]))
    return schema.empty_table()


def with_photographs(draft: Draft, photos: pa.Table, *, tracked: Collection[str]) -> Draft:
    """The draft with the history that only photographs tell.

    Args:
        draft: what the CRM holds today, its deals among it.
        photos: as `kept` gives them, today's among them.
        tracked: fields whose history the CRM keeps itself (`stage` for moves between stages).
    """
    known = draft.tables["deals"]["deal_id"].combine_chunks()
    photos = photos.filter(pc.is_in(photos["deal_id"], value_set=known))
    tables = dict(draft.tables)
    moves = _moves(photos, [name for name in _SHOWN if name not in tracked])
    of_stage = pc.equal(moves["field"], STAGE)
    for name, rows in (
        ("stage_events", _as_stage_events(moves.filter(of_stage))),
        ("deal_changes", _as_changes(moves.filter(pc.invert(of_stage)))),
    ):
        if rows.num_rows:
            before = [tables[name]] if name in tables else []
            tables[name] = joined([*before, _placed(rows)])
    return replace(draft, tables=tables)


def with_daily(done: CanonicalTables, photos: pa.Table) -> CanonicalTables:
    """The tables with photographs as `deal_daily`, those of the deals that are in use.

    The photographs of a deal that is a reject stay in the book, and come back with it.
    """
    known = done.tables["deals"]["deal_id"].combine_chunks()
    shown = photos.filter(pc.is_in(photos["deal_id"], value_set=known)).drop_columns([TAKEN_AT])
    draft = Draft({"deals": done.tables["deals"], "deal_daily": _placed(shown)})
    draft = apply((rule for rule in all_rules() if rule.table == "deal_daily"), draft)
    daily = draft.tables["deal_daily"].drop_columns([FILE, LINE])
    return replace(
        done,
        tables={**done.tables, "deal_daily": daily},
        rejects=pa.concat_tables([done.rejects, draft.all_rejects()]),
        counts={**done.counts, "deal_daily: used": daily.num_rows},
    )


def _moves(photos: pa.Table, fields: list[str]) -> pa.Table:
    """Where a field differs from the photograph before, or stands in the first one."""
    if not photos.num_rows:
        return _moves_schema().empty_table()
    frame = photos.sort_by([("deal_id", "ascending"), (TAKEN_AT, "ascending")])
    deals = frame["deal_id"].to_pandas()
    found = []
    for field in fields:
        text = frame[field].cast(pa.string()).to_pandas()
        first = deals.ne(deals.shift())
        before = text.shift().where(~first)
        same = text.eq(before) | (text.isna() & before.isna())
        rows = pd.DataFrame({"deal_id": deals, "field": field, "at": frame[TAKEN_AT].to_pandas(),
                             "old_value": before, "new_value": text})  # fmt: skip
        found.append(rows[~same])
    if not found:
        return _moves_schema().empty_table()
    return pa.Table.from_pandas(pd.concat(found), schema=_moves_schema(), preserve_index=False)


def _moves_schema() -> pa.Schema:
    text = pa.string()
    return pa.schema([("deal_id", text), ("field", text), ("at", ARROW["timestamp"]),
                      ("old_value", text), ("new_value", text)])  # fmt: skip


def _as_stage_events(moves: pa.Table) -> pa.Table:
    moves = moves.filter(pc.is_valid(moves["new_value"]))
    rows = {"deal_id": moves["deal_id"], "entered_at": moves["at"], "seq": _zeros(moves),
            "stage": moves["new_value"], "recorded_at": moves["at"]}  # fmt: skip
    return _shaped(rows, STAGE_EVENTS.arrow())


def _as_changes(moves: pa.Table) -> pa.Table:
    rows = {"deal_id": moves["deal_id"], "field": moves["field"], "changed_at": moves["at"],
            "seq": _zeros(moves), "old_value": moves["old_value"],
            "new_value": moves["new_value"], "recorded_at": moves["at"]}  # fmt: skip
    return _shaped(rows, DEAL_CHANGES.arrow())


def _zeros(table: pa.Table) -> pa.Array:
    return pa.repeat(pa.scalar(0, ARROW["integer"]), table.num_rows)


def _shaped(rows: dict[str, pa.ChunkedArray], schema: pa.Schema) -> pa.Table:
    return pa.table(rows, schema=pa.schema([schema.field(name) for name in rows]))


def _placed(table: pa.Table) -> pa.Table:
    places = pc.binary_join_element_wise(
        pa.scalar("the photographs, deal"), table["deal_id"], pa.scalar(" ")
    )
    zero = pa.repeat(pa.scalar(0, ARROW["integer"]), table.num_rows)
    return table.append_column(FILE, places).append_column(LINE, zero)
