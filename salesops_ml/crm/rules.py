"""What a row must hold to be used: on its own, and against the other tables.

A rule looks at a whole table and says which rows break it; those are left out and told, with the
column, the value and the cure. Rules run in order, each on what the ones before it left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from salesops_ml.crm.draft import Draft, rejects_of
from salesops_ml.periods import to_local
from salesops_ml.schema import STATUSES, TABLES


@dataclass(frozen=True)
class Rule:
    """One demand on the rows of one table; `broken` is true where a row does not meet it."""

    table: str
    column: str
    reason: str
    cure: str
    broken: Callable[[pa.Table, Draft], pa.ChunkedArray]


def apply(rules: Iterator[Rule], draft: Draft) -> Draft:
    """The draft without the rows that break a rule, each noted as a reject."""
    for rule in rules:
        rows = draft.tables.get(rule.table)
        if rows is None or rule.column not in rows.column_names:
            continue
        bad = pc.fill_null(rule.broken(rows, draft), False)
        if pc.any(bad).as_py():
            broken = rows.filter(bad)
            values = broken[rule.column]
            noted = rejects_of(broken, table=rule.table, column=rule.column, values=values,
                               reason=rule.reason, cure=rule.cure)  # fmt: skip
            draft = draft.without(rule.table, bad, noted)
    return draft


def all_rules() -> Iterator[Rule]:
    """Every rule, in the order in which they run: rows alone, deals, then what hangs on deals."""
    for table in TABLES.values():
        for column in table.columns:
            if column.required:
                yield _filled(table.name, column.name)
            if column.kind == "money":
                yield _not_negative(table.name, column.name)
    yield from _DEALS
    yield from _REFERENCES
    for table in TABLES.values():
        yield _once(table.name, table.key)


def _filled(table: str, column: str) -> Rule:
    def broken(rows: pa.Table, _: Draft) -> pa.ChunkedArray:
        return pc.is_null(rows[column])

    cure = "fill it in at the source, or select only rows that have it"
    return Rule(table, column, "is empty, but every row needs it", cure, broken)


def _not_negative(table: str, column: str) -> Rule:
    def broken(rows: pa.Table, _: Draft) -> pa.ChunkedArray:
        return pc.less(rows[column], 0)

    cure = "correct it, or keep credits and refunds out of this table"
    return Rule(table, column, "is negative", cure, broken)


def _once(table: str, key: tuple[str, ...]) -> Rule:
    def broken(rows: pa.Table, _: Draft) -> pa.ChunkedArray:
        return repeated(rows, key)

    reason = f"stands twice: another row has the same {' and '.join(key)}"
    return Rule(table, key[0], reason, "keep one row for each at the source", broken)


def repeated(rows: pa.Table, key: tuple[str, ...]) -> pa.ChunkedArray:
    """True for every row but one of each key; which one stays does not depend on the row order.

    The row that stays is the one whose values come first when read from left to right.
    """
    content = [name for name in rows.column_names if not name.startswith("@")]
    keyed = [name for name in key if name in content]
    if rows.group_by(keyed).aggregate([]).num_rows == rows.num_rows:
        return pa.chunked_array([pa.repeat(False, rows.num_rows)])
    rest = [name for name in content if name not in keyed]
    numbered = rows.append_column("@n", pa.array(range(rows.num_rows), pa.int64()))
    order = [(name, "ascending") for name in (*keyed, *rest, "@line")]
    ranked = numbered.sort_by(order)
    same = pa.chunked_array([pa.repeat(True, max(rows.num_rows - 1, 0))])
    for name in keyed:
        values = ranked[name].combine_chunks()
        before, after = values.slice(0, len(values) - 1), values.slice(1)
        equal = pc.fill_null(pc.equal(before, after), False)
        both_null = pc.and_(pc.is_null(before), pc.is_null(after))
        same = pc.and_(same, pc.or_(equal, both_null))
    extra = ranked["@n"].slice(1).filter(same)
    return pc.is_in(numbered["@n"], value_set=extra.combine_chunks())


def _closed_without_date(rows: pa.Table, _: Draft) -> pa.ChunkedArray:
    return pc.and_(pc.not_equal(rows["status"], "open"), pc.is_null(rows["closed_at"]))


def _closed_before_creation(rows: pa.Table, draft: Draft) -> pa.ChunkedArray:
    if "created_at" not in rows.column_names:
        return pa.chunked_array([pa.repeat(False, rows.num_rows)])
    return before(rows["closed_at"], rows["created_at"], draft.time_zone)


def before(times: pa.ChunkedArray, starts: pa.ChunkedArray, time_zone: str) -> pa.ChunkedArray:
    """True where a time lies before its start; a bare date counts as any moment of that day."""
    early = pc.less(times, starts)
    local = to_local(times, time_zone)
    day = pc.floor_temporal(local, unit="day")
    same_day = pc.equal(day, pc.floor_temporal(to_local(starts, time_zone), unit="day"))
    return pc.and_(early, pc.invert(pc.and_(pc.equal(local, day), same_day)))


def _unknown_deal(rows: pa.Table, draft: Draft) -> pa.ChunkedArray:
    known = draft.tables["deals"]["deal_id"].combine_chunks()
    return pc.and_(pc.is_valid(rows["deal_id"]), pc.invert(pc.is_in(rows["deal_id"], known)))


def _before_creation(rows: pa.Table, draft: Draft) -> pa.ChunkedArray:
    deals = draft.tables["deals"]
    if "created_at" not in deals.column_names:
        return pa.chunked_array([pa.repeat(False, rows.num_rows)])
    at = pc.index_in(rows["deal_id"], deals["deal_id"].combine_chunks())
    return before(rows["entered_at"], deals["created_at"].take(at), draft.time_zone)


def _unknown_stage(rows: pa.Table, draft: Draft) -> pa.ChunkedArray:
    known = draft.tables.get("stages")
    if known is None:
        return pa.chunked_array([pa.repeat(False, rows.num_rows)])
    return pc.invert(pc.is_in(rows["stage"], known["stage"].combine_chunks()))


_DEALS = (
    Rule("deals", "status", f"is none of {', '.join(STATUSES)}",
         "map it under `values: {status: {...}}`",
         lambda rows, _: pc.invert(pc.is_in(rows["status"], pa.array(STATUSES)))),
    Rule("deals", "closed_at", "the deal is won or lost, but has no close date",
         "fill in the day it closed, or leave `closed_at` unmapped for the whole table",
         _closed_without_date),
    Rule("deals", "closed_at", "lies before the deal's creation",
         "correct the one date or the other", _closed_before_creation),
)  # fmt: skip

_REFERENCES = (
    *(Rule(name, "deal_id", "no such deal in `deals`, or it was rejected there",
           "add the deal, or drop this row", _unknown_deal)
      for name in ("stage_events", "deal_changes", "activities", "quotes", "deal_daily")),
    Rule("stage_events", "entered_at", "lies before the deal's creation",
         "correct the time, or map `created_at` to the deal's true beginning", _before_creation),
    Rule("stage_events", "stage", "is not among the known stages",
         "add it to `stages` (or `process.stages`), or map it under `values`", _unknown_stage),
    Rule("stages", "probability", "is not between 0 and 1",
         "divide percentages by 100",
         lambda rows, _: pc.or_(pc.less(rows["probability"], 0),
                                pc.greater(rows["probability"], 1))),
    Rule("exchange_rates", "rate", "is not above 0", "correct the rate",
         lambda rows, _: pc.less_equal(rows["rate"], 0)),
)  # fmt: skip
