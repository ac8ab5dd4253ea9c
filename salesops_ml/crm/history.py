"""The first value of every tracked field, so that its value on any day is its last change till then.

A change feed tells what changed, seldom what stood there at the start. Where a field has a history, its
first value is the `old_value` of its first change, or today's value where it never changed. Where a
field has none, nothing is known of its past and nothing is made up.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.closings import with_closings
from salesops_ml.crm.currency import in_base, rates_on
from salesops_ml.crm.draft import joined
from salesops_ml.crm.values import plain_text
from salesops_ml.schema import DEAL_CHANGES, CanonicalTables, conform

_MOMENT = ["changed_at", "seq"]


def complete_history(tables: CanonicalTables, *, base_currency: str) -> CanonicalTables:
    """`tables` with the first value of each field that has a history, and every closing entered.

    Amounts in company money get a history too where the amounts have one. Completing twice changes
    nothing.
    """
    tables = with_closings(tables)
    if "deal_changes" not in tables.tables:
        return tables
    recorded = conform("deal_changes", tables.tables["deal_changes"])
    changes = joined([recorded, _first_values(tables, recorded)])
    changes = joined([changes, _in_company_money(tables, changes, base_currency)])
    return replace(tables, tables={**tables.tables, "deal_changes": changes})


def _first_values(tables: CanonicalTables, recorded: pa.Table) -> pa.Table:
    """The row of creation for every deal and tracked field that lacks one."""
    deals = tables.tables["deals"]
    if "created_at" not in deals.column_names:
        return DEAL_CHANGES.arrow().empty_table()
    changes = recorded.to_pandas()
    created = deals.select(["deal_id", "created_at"]).to_pandas().dropna()
    ordered = changes.sort_values(["deal_id", *_MOMENT])
    rows = []
    for name, of_field in ordered.groupby("field"):
        column = _column_of(tables, str(name))
        if column is not None:
            today = pd.DataFrame({"deal_id": deals["deal_id"].to_pandas(),
                                  "today": plain_text(deals[column]).to_pandas()})  # fmt: skip
            rows.append(_creation_rows(str(name), of_field, created, today))
    return _as_changes(pd.concat(rows)) if rows else DEAL_CHANGES.arrow().empty_table()


def _column_of(tables: CanonicalTables, field: str) -> str | None:
    """The column of `deals` that a change field speaks of."""
    names = {attribute.name: attribute.column for attribute in tables.attributes}
    column = names.get(field, field)
    return column if column in tables.tables["deals"].column_names else None


def _creation_rows(
    field: str, changes: pd.DataFrame, created: pd.DataFrame, today: pd.DataFrame
) -> pd.DataFrame:
    first = changes.drop_duplicates("deal_id")[["deal_id", "old_value", *_MOMENT]]
    deals = created.merge(today, on="deal_id").merge(first, on="deal_id", how="left")
    never_changed = deals["changed_at"].isna()
    value = deals["today"].where(never_changed, deals["old_value"])
    at = deals[["created_at", "changed_at"]].min(axis=1)
    same_moment = at == deals["changed_at"]
    seq = (deals["seq"] - 1).where(same_moment, 0)
    rows = pd.DataFrame({"deal_id": deals["deal_id"], "field": field, "changed_at": at,
                         "seq": seq.astype("int64"), "new_value": value})  # fmt: skip
    return rows[value.notna()]


def _in_company_money(tables: CanonicalTables, changes: pa.Table, base: str) -> pa.Table:
    """The history of `amount`, at each day's rate, as the history of `amount_base`."""
    fields = set(pc.unique(changes["field"]).to_pylist())
    if "amount" not in fields or "amount_base" in fields:
        return DEAL_CHANGES.arrow().empty_table()
    moves = changes.filter(pc.equal(changes["field"], "amount"))
    deals = tables.tables["deals"]
    at = pc.index_in(moves["deal_id"], deals["deal_id"].combine_chunks())
    rates = rates_on(tables.tables, deals["currency"].take(at), moves["changed_at"], base)
    for name in ("old_value", "new_value"):
        money = in_base(moves[name].cast(pa.decimal128(18, 2)), rates)
        moves = moves.set_column(moves.column_names.index(name), name, money.cast(pa.string()))
    field = pa.repeat("amount_base", moves.num_rows)
    return moves.set_column(moves.column_names.index("field"), "field", field)


def _as_changes(rows: pd.DataFrame) -> pa.Table:
    fields = [field for field in DEAL_CHANGES.arrow() if field.name in rows.columns]
    columns = [pa.array(rows[field.name], field.type, from_pandas=True) for field in fields]
    return pa.table(columns, schema=pa.schema(fields))
