"""What a CRM's history tells, as changes: one row for each time that a field took another value.

Vendors keep history in different shapes - a value at a moment, a photograph of some fields at each save,
old and new side by side. All become entries (deal, field, moment, value, author), and an entry is a
change where the value is another than before. What software wrote is taken out, and the values before
and after it are laid together, so that nothing of it can be learned. An entry whose moment does not read
changes nothing: it becomes a reject that says what stood there.
"""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import pyarrow as pa

from salesops_ml.crm.vendor_rows import BAD, VALUE, among

STAGE = "@stage"
"""The field of entries that are moves between stages."""

ENTRY = {
    "deal_id": "string",
    "field": "string",
    "at": "timestamp",
    "tie": "string",
    "value": "string",
    "by": "string",
    BAD: "string",
    VALUE: "string",
}
"""The columns of entries; `tie` orders what one and the same moment brought. Where `at` does not read,
`BAD` names the vendor's column and `VALUE` is what stands there."""


def changes_of(entries: ir.Table, *, software: Sequence[str] = ()) -> ir.Table:
    """Entries as changes: `ENTRY` with `old_value`, `seq`; what repeats the value before is left out.

    Entries without a moment come last, as they are, to become rejects.

    Args:
        entries: rows with the columns of `ENTRY`; the first of a field may have no value.
        software: authors whose changes do not count.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({
        ...     "deal_id": "a", "field": "amount", "tie": "", "by": ["ann", "bot", "ann", "ann"],
        ...     "at": pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]),
        ...     "value": ["10.00", "99.00", "99.00", "20.00"], "@bad": None, "@value": None})
        >>> done = changes_of(ibis.memtable(frame), software=["bot"]).order_by("at").execute()
        >>> done[["old_value", "value"]].values.tolist()
        [[None, '10.00'], ['10.00', '20.00']]
    """
    timed = entries["at"].notnull()
    moved = _moves(entries.filter(timed))
    human = moved.filter(~among(moved.by, software)) if software else moved
    told = _moves(human) if software else moved
    moment = ibis.window(group_by=["deal_id", "field", "at"], order_by=["tie", "value"])
    told = told.filter(told.old_value.notnull() | told.value.notnull())
    told = told.mutate(seq=ibis.row_number().over(moment))
    unread = entries.filter(~timed).mutate(
        old_value=ibis.null("string"), seq=ibis.literal(0, "int64")
    )
    return told.union(unread.select(told.columns))


def _moves(entries: ir.Table) -> ir.Table:
    """The entries that changed something, with the value before."""
    order = ibis.window(group_by=["deal_id", "field"], order_by=["at", "tie", "value"])
    before = entries.value.lag().over(order)
    numbered = entries.mutate(old_value=before, nth=ibis.row_number().over(order))
    other = ~numbered.value.identical_to(numbered.old_value)
    return numbered.filter(other | (numbered.nth == 0)).drop("nth")


def stage_events_of(changes: ir.Table) -> ir.Table:
    """The moves between stages among changes, as `stage_events`."""
    told = changes.value.notnull() | changes[BAD].notnull()
    moves = changes.filter((changes.field == STAGE) & told)
    return moves.select(
        "deal_id", BAD, VALUE, entered_at="at", seq="seq", stage="value", rep_id="by",
        recorded_at="at",
    )  # fmt: skip


def deal_changes_of(changes: ir.Table) -> ir.Table:
    """The changes of fields, as `deal_changes`."""
    fields = changes.filter(changes.field != STAGE)
    return fields.select(
        "deal_id", "field", BAD, VALUE, changed_at="at", seq="seq", old_value="old_value",
        new_value="value", changed_by="by", recorded_at="at",
    )  # fmt: skip


def entries(
    rows: ir.Table,
    *,
    deal_id: ir.Value,
    field: str | ir.Value,
    at: ir.Value,
    value: ir.Value,
    tie: ir.Value | None = None,
    by: ir.Value | None = None,
) -> ir.Table:
    """Rows of a vendor's history as entries; rows whose moment does not read are among them."""
    column = _read_from(at, rows)
    nothing = ibis.null("string")
    stood = rows[column].cast("string").nullif("") if column in rows.columns else nothing
    return rows.select(
        deal_id=deal_id,
        field=ibis.literal(field) if isinstance(field, str) else field,
        at=at,
        tie=(tie if tie is not None else ibis.literal("")).cast("string").fill_null(""),
        value=value.cast("string"),
        by=by if by is not None else nothing,
        **{BAD: ibis.ifelse(at.isnull(), ibis.literal(column), nothing),
           VALUE: ibis.ifelse(at.isnull(), stood, nothing)},
    )  # fmt: skip


def _read_from(at: ir.Value, rows: ir.Table) -> str:
    """The column of `rows` that a moment is read from: the first in its expression."""
    found = at.op().find(ops.Field, filter=ops.Value)
    fields = [field for field in found if field.rel == rows.op()]
    return str(fields[0].name) if fields else "its time"


def all_entries(found: Sequence[ir.Table]) -> ir.Table:
    """Entries from several histories as one table; none where there is no history."""
    if not found:
        types = {"string": pa.string(), "timestamp": pa.timestamp("us")}
        return ibis.memtable(
            pa.schema([(n, types[kind]) for n, kind in ENTRY.items()]).empty_table()
        )
    return ibis.union(*found) if len(found) > 1 else found[0]
