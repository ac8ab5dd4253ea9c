"""Checks between tables: rows that point at nothing, and histories that contradict today's values."""

from __future__ import annotations

from collections.abc import Callable

import ibis
import ibis.expr.types as ir

from salesops_ml.quality.check import Check, rows_where
from salesops_ml.quality.known import Known


def _orphans(name: str, example: str, column: str, target: str) -> Callable[[Known], ir.Table]:
    """Rows of `name` whose `column` is filled, but not found as the same column of `target`."""

    def bad(known: Known) -> ir.Table:
        rows = known.table(name)
        ids = known.warehouse.table(target).select(column).distinct()
        return rows.filter(rows[column].notnull()).anti_join(ids, column).select(
            example=ibis._[example]
        )  # fmt: skip

    return bad


def _unknown_deal(name: str, example: str = "deal_id") -> Check:
    return Check(
        f"{name.replace('_', ' ')} of unknown deals", name,
        "they count for nothing", "load the deals too, or drop the rows",
        _orphans(name, example, "deal_id", "deals"), fail_above=0.2,
    )  # fmt: skip


def _probability_out_of_range(known: Known) -> ir.Table:
    stages = known.table("stages")
    return rows_where(stages, (stages.probability < 0) | (stages.probability > 1), "stage")


def _contradicts(field: str) -> Check:
    """Deals whose last recorded change of `field` is not the value that stands there today."""

    def bad(known: Known) -> ir.Table:
        changes = known.warehouse.table("deal_changes")
        changes = changes.filter(changes.field == field)
        window = ibis.window(
            group_by="deal_id", order_by=[changes.changed_at.desc(), changes.seq.desc()]
        )
        last = changes.mutate(back=ibis.row_number().over(window)).filter(ibis._.back == 0)
        deals = known.table("deals")
        today = deals.select("deal_id", today=deals[field].cast("string"))
        both = last.select("deal_id", "new_value").join(today, "deal_id")
        return rows_where(both, ~both.new_value.identical_to(both.today))

    return Check(
        f"{field.replace('_', ' ')} is not the last change's", "deals",
        "the history of this field is not whole, so features from it may be stale",
        "load all changes of the field", bad, needs=("deal_changes",), warn_above=0.01,
        fail_above=0.5,
    )  # fmt: skip


def tracked_fields(known: Known) -> list[str]:
    """The columns of `deals` that have a history of changes."""
    if not known.has("deal_changes"):
        return []
    fields = known.warehouse.table("deal_changes").select("field").distinct().execute()["field"]
    return sorted(set(fields) & set(known.table("deals").columns))


def reference_checks(known: Known) -> list[Check]:
    """The checks between tables that this warehouse can answer."""
    return [
        *(_unknown_deal(name) for name in ("stage_events", "deal_changes", "deal_daily")),
        _unknown_deal("activities", "activity_id"),
        _unknown_deal("quotes", "quote_id"),
        Check("account not in `accounts`", "deals",
              "account features are empty for these deals", "load all accounts",
              _orphans("deals", "account_id", "account_id", "accounts"), needs=("accounts",)),
        Check("rep not in `reps`", "deals",
              "these deals belong to no team or region", "load all reps, former ones too",
              _orphans("deals", "rep_id", "rep_id", "reps"), needs=("reps",)),
        Check("probability outside 0 to 1", "stages",
              "the CRM's weighted pipeline would be a hundred times too high",
              "divide percentages by 100", _probability_out_of_range, fail_above=0.0),
        *(_contradicts(field) for field in tracked_fields(known)),
    ]  # fmt: skip
