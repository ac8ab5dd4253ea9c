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
from salesops_ml.schema import DEAL_CHANGES, REJECTS, CanonicalTables, conform

_MOMENT = ["changed_at", "seq"]


def complete_history(
    tables: CanonicalTables, *, base_currency: str, first_values: bool = True
) -> CanonicalTables:
    """`tables` with the first value of each field that has a history, and every closing entered.

    Amounts in company money get a history too where the amounts have one: at the rate of the day of
    each change, and of the closing day once a deal is won. A change on a day without a rate is a reject.
    Completing twice changes nothing. Without `first_values` the source knows what stood there at first,
    and none are added.
    """
    tables = with_closings(tables)
    if "deal_changes" not in tables.tables:
        return tables
    recorded = conform("deal_changes", tables.tables["deal_changes"])
    changes = joined([recorded, _first_values(tables, recorded)]) if first_values else recorded
    own = _in_own_money(changes)
    if pc.any(own).as_py():
        moves, rejects = _without_unpriced(tables, changes.filter(own), base_currency)
        priced = _in_company_money(tables, moves, base_currency)
        changes = joined([changes.filter(pc.invert(own)), moves, priced])
        tables = replace(tables, rejects=pa.concat_tables([tables.rejects, rejects]))
    return replace(tables, tables={**tables.tables, "deal_changes": changes})


def _in_own_money(changes: pa.Table) -> pa.ChunkedArray:
    """Which rows are amounts of deals whose amounts have a history in the deal's own money only."""
    told = changes.filter(pc.equal(changes["field"], "amount_base"))["deal_id"]
    in_company_money = pc.is_in(changes["deal_id"], value_set=told.combine_chunks())
    return pc.and_(pc.equal(changes["field"], "amount"), pc.invert(in_company_money))


def _first_values(tables: CanonicalTables, recorded: pa.Table) -> pa.Table:
    """The row of creation for every deal and tracked field that lacks one.

    Company money of a deal whose amounts moved in its own money alone is worked out from these: today's
    value was not there at first.
    """
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
    if not rows:
        return DEAL_CHANGES.arrow().empty_table()
    found = _as_changes(pd.concat(rows))
    moved = recorded.filter(_in_own_money(recorded))["deal_id"].combine_chunks()
    of_today = pc.and_(
        pc.equal(found["field"], "amount_base"), pc.is_in(found["deal_id"], value_set=moved)
    )
    return found.filter(pc.invert(of_today))


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


def _without_unpriced(
    tables: CanonicalTables, changes: pa.Table, base: str
) -> tuple[pa.Table, pa.Table]:
    """Changes of amounts but for those on a day without a rate, and these as rejects."""
    rates, currencies = _rates_of_moves(tables, changes, base)
    told = pc.is_valid(changes["new_value"])
    unpriced = pc.and_(pc.and_(told, pc.is_valid(currencies)), pc.is_null(rates))
    rows = changes.filter(unpriced)
    named = zip(
        rows["deal_id"].to_pylist(), currencies.filter(unpriced).to_pylist(),
        rows["changed_at"].to_pylist(), rows["new_value"].to_pylist(), strict=True,
    )  # fmt: skip
    rejects = [
        {"source": "deal_changes", "row": 0, "table": "deal_changes", "column": "new_value",
         "value": value, "reason": f"deal {deal}: no rate for {currency} on {at:%Y-%m-%d}",
         "cure": "add the rate to `exchange_rates`, or bring the history of `amount_base`"}
        for deal, currency, at, value in named
    ]  # fmt: skip
    return changes.filter(pc.invert(unpriced)), pa.Table.from_pylist(rejects, REJECTS.arrow())


def _rates_of_moves(
    tables: CanonicalTables, changes: pa.Table, base: str
) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """The rate and the currency of each change; after a deal has closed, the rate of that day."""
    deals = tables.tables["deals"]
    at = pc.index_in(changes["deal_id"], deals["deal_id"].combine_chunks())
    currencies = _currencies_then(tables, changes, deals["currency"].take(at))
    days = changes["changed_at"]
    if "closed_at" in deals.column_names:
        days = pc.min_element_wise(days, deals["closed_at"].take(at))
    return rates_on(tables.tables, currencies, days, base), currencies


def _currencies_then(
    tables: CanonicalTables, changes: pa.Table, today: pa.ChunkedArray
) -> pa.ChunkedArray:
    """The currency of each change's deal at that moment, where its history tells; else today's."""
    recorded = conform("deal_changes", tables.tables["deal_changes"])
    told = recorded.filter(pc.equal(recorded["field"], "currency")).to_pandas()
    if told.empty:
        return today
    asked = changes.select(["deal_id", "changed_at"]).to_pandas()
    asked = asked.assign(row=range(len(asked))).sort_values(["changed_at", "row"])
    told = told.sort_values(_MOMENT)[["deal_id", "changed_at", "new_value"]]
    found = pd.merge_asof(asked, told, on="changed_at", by="deal_id").sort_values("row")
    then = pa.array(found["new_value"], pa.string(), from_pandas=True)
    return pc.coalesce(pa.chunked_array([then]), today)


def _in_company_money(tables: CanonicalTables, moves: pa.Table, base: str) -> pa.Table:
    """The history of `amount`, at each day's rate, as the history of `amount_base`."""
    bookings = _bookings(tables, moves, base)
    priced = pc.is_valid(_rates_of_moves(tables, bookings, base)[0])
    moves = joined([moves, bookings.filter(priced)])
    rates, _ = _rates_of_moves(tables, moves, base)
    for name in ("old_value", "new_value"):
        money = in_base(moves[name].cast(pa.decimal128(18, 2)), rates)
        moves = moves.set_column(moves.column_names.index(name), name, money.cast(pa.string()))
    field = pa.repeat("amount_base", moves.num_rows)
    return moves.set_column(moves.column_names.index("field"), "field", field)


def _bookings(tables: CanonicalTables, moves: pa.Table, base: str) -> pa.Table:
    """The amount of each foreign deal that was won, told once more on the day it was booked."""
    deals = tables.tables["deals"]
    if not {"closed_at", "status"} <= set(deals.column_names):
        return DEAL_CHANGES.arrow().empty_table()
    foreign = deals.select(["deal_id", "currency", "status", "closed_at"]).to_pandas()
    foreign = foreign[(foreign["currency"] != base) & (foreign["status"] == "won")]
    rows = moves.to_pandas().merge(foreign.dropna(subset=["closed_at"]), on="deal_id")
    rows = rows[rows["changed_at"] < rows["closed_at"]].sort_values(["deal_id", *_MOMENT])
    last = rows.drop_duplicates("deal_id", keep="last")
    at = last["closed_at"]
    return _as_changes(
        last.assign(changed_at=at, recorded_at=at, seq=-1, old_value=last["new_value"])
    )


def _as_changes(rows: pd.DataFrame) -> pa.Table:
    fields = [field for field in DEAL_CHANGES.arrow() if field.name in rows.columns]
    columns = [pa.array(rows[field.name], field.type, from_pandas=True) for field in fields]
    return pa.table(columns, schema=pa.schema(fields))
