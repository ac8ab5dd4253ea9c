"""What only several tables together can tell: long for whom, dear for whom, quoted at what share.

A deal of 27 days in a stage is slow only where deals that won took 11. Blocks hand such yardsticks on
as columns without `f_`; here they become ratios.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

RATIOS = {
    "f_days_in_stage_of_won": ("f_days_in_stage", "usual_stage_days"),
    "f_age_of_won": ("f_age_days", "usual_cycle_days"),
    "f_amount_of_rep": ("amount", "usual_rep_amount"),
    "f_amount_of_won": ("amount", "usual_won_amount"),
    "f_amount_of_segment": ("amount", "usual_segment_amount"),
    "f_quote_of_amount": ("f_quote_amount", "own_amount"),
}
"""Feature: what is measured, and the yardstick."""
SPEEDS = {
    "f_days_to_first_activity": "first_activity_ago",
    "f_days_to_first_quote": "first_quote_ago",
}
"""Feature: how long ago the first such thing was, which its age turns into how soon it came."""

SIGNS = (
    "f_age_days",
    "f_days_in_stage",
    "f_days_since_activity",
    "f_days_since_quote",
    "f_days_since_amount_change",
    "f_days_since_push",
)
"""How long ago the last of each sign of life was."""
_LONG = 1e6


def with_relations(table: ir.Table) -> ir.Table:
    """`table` with the ratios and speeds whose parts it has.

    f_days_in_stage_of_won: slower than deals that won were in this stage. f_age_of_won: older than
    they became. f_amount_of_rep: more than the rep is used to. f_amount_of_won,
    f_amount_of_segment: more than is usually sold, over all or in the segment. f_quote_of_amount:
    quoted below what was hoped. f_days_to_first_activity: speed to lead. f_days_to_first_quote: how
    soon there was something to say yes to. f_days_since_anything: since anybody did anything at all.
    """
    here = set(table.columns)
    columns: dict[str, ir.Value] = {}
    for name, (part, whole) in RATIOS.items():
        if {part, whole} <= here:
            columns[name] = table[part] / ibis.ifelse(table[whole] > 0, table[whole], None)
    for name, ago in SPEEDS.items():
        if ago in here:
            soon = ibis.greatest(table.f_age_days - table[ago], 0.0)
            columns[name] = ibis.ifelse(table[ago].notnull(), soon, None)
    columns["f_days_since_anything"] = _least([table[name] for name in SIGNS if name in here])
    return table.mutate(**columns)


def _least(values: list[ir.Value]) -> ir.Value:
    """The least of the values that there are; null where there is none."""
    least = ibis.least(*[value.fill_null(_LONG) for value in values], _LONG)
    return ibis.ifelse(least < _LONG, least, None)
