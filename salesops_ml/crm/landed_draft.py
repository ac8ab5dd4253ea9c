"""From canonical expressions over a landing to a draft: rows computed, what does not read set aside."""

from __future__ import annotations

from collections.abc import Mapping

import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.draft import FILE, LINE, Draft
from salesops_ml.crm.vendor_rows import BAD, VALUE
from salesops_ml.crm.vendor_tables import attributes_of
from salesops_ml.crm_settings import CrmSource
from salesops_ml.schema import ARROW, REJECTS, TABLES

OF_DEALS = ("deals", "stage_events", "deal_changes", "activities", "quotes", "deal_daily")
OWN_KEY = {"activities": "activity_id", "quotes": "quote_id"}


def draft_of(mapped: Mapping[str, ir.Table], source: CrmSource) -> Draft:
    """The rows of mapped tables, each with the record that it speaks of as its place.

    A row with a value that does not read as its kind is a reject.
    """
    draft = Draft({}, attributes=attributes_of(source))
    for name, expression in mapped.items():
        if name != "deal_daily":
            draft = with_mapped(draft, name, expression, source)
    return draft


def with_mapped(draft: Draft, name: str, expression: ir.Table, source: CrmSource) -> Draft:
    """The draft with one more table."""
    vendor = str(getattr(source, "type", "crm"))
    return _with_table(draft, name, _typed(name, expression.to_pyarrow(), source), vendor)


def _typed(name: str, table: pa.Table, source: CrmSource) -> pa.Table:
    """The columns in their canonical kinds; markers of bad values stay beside them."""
    schema = TABLES[name].arrow(attributes_of(source) if name == "deals" else ())
    kept = [field for field in schema if field.name in table.column_names]
    columns = {field.name: table[field.name].cast(field.type, safe=False) for field in kept}
    for marker in (BAD, VALUE):
        if marker in table.column_names:
            columns[marker] = table[marker]
    return pa.table(columns)


def _with_table(draft: Draft, name: str, table: pa.Table, vendor: str) -> Draft:
    placed = table.append_column(FILE, _places(name, table, vendor))
    placed = placed.append_column(LINE, pa.repeat(pa.scalar(0, ARROW["integer"]), table.num_rows))
    if BAD not in table.column_names:
        return _holding(draft, name, placed)
    wrong = pc.is_valid(placed[BAD])
    rows = placed.filter(wrong)
    reason = pc.if_else(
        pc.is_valid(rows[VALUE]), "does not read as what this field should hold",
        "is empty, but every row needs it",
    )  # fmt: skip
    told = {
        "source": rows[FILE],
        "row": rows[LINE],
        "table": pa.repeat(name, rows.num_rows),
        "column": rows[BAD],
        "value": rows[VALUE],
        "reason": reason,
        "cure": pa.repeat("correct it in the CRM", rows.num_rows),
    }
    draft = _holding(draft, name, placed.drop_columns([BAD, VALUE]).append_column("@wrong", wrong))
    draft = draft.without(name, wrong, pa.table(told, schema=REJECTS.arrow()))
    return _holding(draft, name, draft.tables[name].drop_columns(["@wrong"]))


def _holding(draft: Draft, name: str, table: pa.Table) -> Draft:
    draft.tables[name] = table
    return draft


def _places(name: str, table: pa.Table, vendor: str) -> pa.Array:
    """Which record a row speaks of: its deal, else its own."""
    if name not in OF_DEALS:
        return pa.repeat(vendor, table.num_rows)
    ids = table["deal_id"]
    if name in OWN_KEY:
        ids = pc.coalesce(ids, table[OWN_KEY[name]])
    parts = [pa.scalar(vendor), pa.scalar("deal"), ids.cast(pa.string())]
    return pc.binary_join_element_wise(*parts, pa.scalar(" "))
