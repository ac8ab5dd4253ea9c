"""The one rule of time travel: a row counts at `as_of` when it had happened and was recorded."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

KEY = ("deal_id", "as_of")


def visible(spine: ir.Table, history: ir.Table, *, at: str) -> ir.Table:
    """Each look joined with the rows of the deal's history that could be seen then.

    Args:
        spine: looks, with deal_id and as_of.
        history: rows with deal_id, `recorded_at` and the event time `at`.
        at: name of the column that says when the row happened.
    """
    looks = spine.select(*KEY)
    seen = looks.join(
        history,
        [
            looks.deal_id == history.deal_id,
            history.recorded_at <= looks.as_of,
            history[at] <= looks.as_of,
        ],
    )
    return seen.drop("deal_id_right") if "deal_id_right" in seen.columns else seen


def numbered(history: ir.Table, *order: str) -> ir.Table:
    """`history` with `place`, each row's rank within its deal, so that "latest" is an argmax."""
    window = ibis.window(group_by="deal_id", order_by=[history[name] for name in order])
    return history.mutate(place=ibis.row_number().over(window))


def days_between(start: ir.Value, end: ir.Value) -> ir.Value:
    """Days from `start` to `end`, with their fraction."""
    return (end.epoch_seconds() - start.epoch_seconds()).cast("float64") / 86_400.0
